#include "products.h"

#include "guarded.h"
#include "shim.h"
#include "tiles.h"
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <algorithm>
#include <memory>

namespace products {
namespace {

#ifdef WITH_TILES
using namespace tiles;

// A block of rows is multiplied by a panel of columns at a time.
constexpr int64_t kWidth = 64;      // columns of a panel, the widest that libtorch's tile products take
constexpr int64_t kDepth = 1536;    // rows of the right factor in a tile product
constexpr int64_t kPanels = 512 << 10;  // bytes of all panels that lie ready at once, in the cache of their core
constexpr int64_t kRows = 1024;     // rows of the result that panels are made for, a whole number of blocks
constexpr int64_t kBlock = 128;     // rows of a tile product
constexpr int64_t kSmallBlock = 32; // and of those behind them
constexpr int64_t kFewRows = 8;     // of the last one rows are a whole number of these

// Of a left factor `reach` numbers of a row may be read, an even count; those from k on are zero, or meet zeros.
template <class Number>
struct Piece {
  Rows<Number> left, right;
  Lies lies;
  int64_t k, reach;
};

// Sums, and the start if there is one, as a row of the result.
template <class Number>
FOR_TILES void give_row(const float* sums, const Number* start, Number* out, int64_t count) {
  for (int64_t at = 0; at < count; at += 16) {
    auto sum = floats(sums + at);
    if (start) sum = _mm512_add_ps(sum, floats(start + at, count - at));
    give(out + at, sum, count - at);
  }
}

// Rows of sums `[rows, width]` as columns of the result: `[columns, stride]`. Sums of rows up to a whole number of 16 may be read.
template <class Number>
FOR_TILES void give_columns(const float* sums, int64_t rows, int64_t width, int64_t columns, Number* out, int64_t stride) {
  for (int64_t row = 0; row < rows; row += 16) {
    for (int64_t at = 0; at < columns; at += 16) {
      __m512i words[16];
      for (int64_t next = 0; next < 16; ++next) words[next] = _mm512_loadu_si512(sums + (row + next) * width + at);
      turn(words);
      for (int64_t column = 0; column < std::min<int64_t>(16, columns - at); ++column) {
        give(out + (at + column) * stride + row, _mm512_castsi512_ps(words[column]), rows - row);
      }
    }
  }
}

// What a thread multiplies in. Tiles are read in whole lines of the cache.
template <class Number>
struct Space {
  alignas(64) float sums[(kRows + 16) * kWidth];
  alignas(64) Number panels[kPanels / sizeof(Number)];
  alignas(64) Number rows[kSmallBlock * kDepth];
};

template <class Number>
void pack(const Piece<Number>& piece, int64_t column, int64_t columns, int64_t width, Number* panel) {
  const auto& right = piece.right;
  if (piece.lies == Lies::kPlain) {
    pack_plain(Rows<Number>{right.data + column, right.stride}, piece.k, piece.reach, columns, width, panel);
  } else {
    pack_turned(Rows<Number>{right.data + column * right.stride, right.stride}, piece.k, piece.reach, columns, width, panel);
  }
}

// Rows of a left factor from one on, `count` of them. Where fewer are there, they are copied and have zeros behind them.
template <class Number>
Rows<Number> rows_of(const Piece<Number>& piece, int64_t row, int64_t there, int64_t count, Number* space) {
  const auto& left = piece.left;
  if (there >= count) return {left.data + row * left.stride, left.stride};
  std::fill_n(space, count * kDepth, Number{0});
  for (int64_t next = 0; next < there; ++next) std::copy_n(left.data + (row + next) * left.stride, piece.reach, space + next * kDepth);
  return {space, kDepth};
}

// The pieces cut to what a tile product takes.
template <class Number>
std::vector<Piece<Number>> cut(const std::vector<Piece<Number>>& pieces) {
  std::vector<Piece<Number>> parts;
  for (const auto& [left, right, lies, all, reach] : pieces) {
    for (int64_t k = 0; k < reach; k += kDepth) {
      const auto* from = right.data + (lies == Lies::kPlain ? k * right.stride : k);
      parts.push_back({{left.data + k, left.stride}, {from, right.stride}, lies, std::min(kDepth, all - k), std::min(kDepth, reach - k)});
    }
  }
  return parts;
}

// Rows of the next block. There are few kinds of blocks, for libtorch compiles a product for each.
int64_t block_of(int64_t rows) {
  if (rows >= kBlock) return kBlock;
  if (rows >= kSmallBlock) return kSmallBlock;
  return (rows + kFewRows - 1) / kFewRows * kFewRows;
}

// A stretch of the rows of a result and the columns of one panel: what a thread computes at a time.
struct Part {
  int64_t row, last, column, columns;
  int64_t width() const { return (columns + 15) / 16 * 16; }
};

// Where sums go: rows `[m, n]`, with a start added if there is one, or without one turned, `[n, m]`.
template <class Number>
struct Result {
  int64_t m, n;
  Rows<Number> start;
  Number* out;
  Lies lies;

  // So many rows of sums, `[count, width]`.
  void take(const Part& part, int64_t row, int64_t count, const float* sums) const {
    if (lies == Lies::kTurned) return give_columns(sums, count, part.width(), part.columns, out + part.column * m + row, m);
    for (int64_t end = row + count; row < end; ++row, sums += part.width()) {
      const auto* from = start.data ? start.data + row * start.stride + part.column : nullptr;
      give_row(sums, from, out + row * n + part.column, part.columns);
    }
  }
};

// Packs panels of as many pieces as there is space for, from one on; returns the first that is left.
template <class Number>
size_t pack_some(const std::vector<Piece<Number>>& pieces, size_t index, const Part& part, Space<Number>& space) {
  auto* panel = space.panels;
  for (; index < pieces.size() && panel + pieces[index].reach * part.width() <= std::end(space.panels); ++index) {
    pack(pieces[index], part.column, part.columns, part.width(), panel);
    panel += pieces[index].reach * part.width();
  }
  return index;
}

// Adds the products with packed pieces to the sums of a block; those of the very first piece are their beginning.
template <class Number>
void add_products(const std::vector<Piece<Number>>& pieces, size_t first, size_t last, const Part& part, int64_t row, int64_t count,
                  Space<Number>& space, float* sums) {
  const int64_t width = part.width();
  const auto* panel = space.panels;
  for (size_t index = first; index < last; panel += pieces[index++].reach * width) {
    const auto left = rows_of(pieces[index], row, part.last - row, count, space.rows);
    tiles::multiply(count, width, pieces[index].reach, left.data, left.stride, panel, width, sums, width, index > 0);
  }
}

template <class Number>
void multiply(const std::vector<Piece<Number>>& pieces, const Part& part, const Result<Number>& result, Space<Number>& space) {
  for (size_t index = 0, next; index < pieces.size(); index = next) {
    next = pack_some(pieces, index, part, space);
    const bool at_once = index == 0 && next == pieces.size();  // then the sums of a block need not wait
    for (int64_t row = part.row, count; row < part.last; row += count) {
      count = block_of(part.last - row);
      auto* sums = space.sums + (at_once ? 0 : row - part.row) * part.width();
      add_products(pieces, index, next, part, row, count, space, sums);
      if (next == pieces.size()) result.take(part, row, std::min(count, part.last - row), sums);
    }
  }
}

// The sum of all products of pieces. Threads share the blocks of the result, panel after panel, so that few panels are packed by two.
template <class Number>
void multiply(const std::vector<Piece<Number>>& whole, const Result<Number>& result) {
  const auto pieces = cut(whole);
  const int64_t blocks = (result.m + kBlock - 1) / kBlock, panels = (result.n + kWidth - 1) / kWidth;
  at::parallel_for(0, panels * blocks, 1, [&](int64_t begin, int64_t end) {
    static thread_local const auto own = std::make_unique_for_overwrite<Space<Number>>();
    for (int64_t at = begin, count; at < end; at += count) {
      const int64_t block = at % blocks, row = block * kBlock, column = at / blocks * kWidth;
      count = std::min({blocks - block, end - at, kRows / kBlock});
      multiply(pieces, {row, std::min(row + count * kBlock, result.m), column, std::min(kWidth, result.n - column)}, result, *own);
    }
    tiles::release();
  });
}

// A matrix whose rows lie as they are; `keep` holds it if it had to be copied.
template <class Number>
Rows<Number> rows_in(const at::Tensor& matrix, std::vector<at::Tensor>& keep) {
  keep.push_back(matrix.stride(1) == 1 ? matrix : matrix.contiguous());
  const auto& held = keep.back();
  return {static_cast<const Number*>(held.const_data_ptr()), held.stride(0)};
}

template <class Number>
void over_rows_into(at::Tensor& out, const at::Tensor& left, const at::Tensor& right) {
  constexpr int64_t line = sizeof(Line) / sizeof(Number);
  // The narrower one is turned, and with it the result if need be.
  const bool is_wide = left.size(1) > right.size(1);
  const auto &narrow = is_wide ? right : left, &wide = is_wide ? left : right;
  const int64_t rows = left.size(0), m = narrow.size(1), n = wide.size(1), reach = (rows + line - 1) / line * line;
  const int64_t stride = line * (reach / line | 1);  // an odd count of lines, or rows would meet in few places of the cache
  std::vector<at::Tensor> keep;
  const auto from = rows_in<Number>(narrow, keep), other = rows_in<Number>(wide, keep);
  const auto space = at::empty({m * stride}, out.options());  // a tensor: libtorch's memory begins at lines
  auto* turned = static_cast<Number*>(space.mutable_data_ptr());
  at::parallel_for(0, (m + 15) / 16, 4, [&](int64_t begin, int64_t end) {
    turn_columns(from, rows, reach, m, 16 * begin, std::min(16 * end, m), turned, stride);
  });
  const std::vector<Piece<Number>> pieces{{{turned, stride}, other, Lies::kPlain, rows, reach}};
  const auto lies = is_wide ? Lies::kTurned : Lies::kPlain;
  multiply(pieces, Result<Number>{m, n, {nullptr, 0}, static_cast<Number*>(out.mutable_data_ptr()), lies});
}

// out = start + the sum of the terms
template <class Number>
void fill(at::Tensor& out, const std::vector<Term>& terms, const at::Tensor& start) {
  const int64_t m = out.size(0), n = out.size(1);
  std::vector<at::Tensor> keep;
  std::vector<Piece<Number>> pieces;
  for (const auto& [left, right, lies] : terms) {
    const bool fits = left.size(0) == m && right.size(lies == Lies::kPlain ? 1 : 0) == n;
    TORCH_CHECK(fits && right.scalar_type() == out.scalar_type(), "these factors do not make that product");
    // Tiles take numbers in pairs.
    const int64_t k = left.size(1), more = k % 2;
    const auto rows = rows_in<Number>(more ? at::constant_pad_nd(left, {0, more}) : left, keep);
    pieces.push_back({rows, rows_in<Number>(right, keep), lies, k, k + more});
  }
  const auto from = start.defined() ? rows_in<Number>(start.expand({m, n}), keep) : Rows<Number>{nullptr, 0};
  multiply(pieces, Result<Number>{m, n, from, static_cast<Number*>(out.mutable_data_ptr()), Lies::kPlain});
}

#endif

// For fewer rows panels are not worth making, but of a factor so small that what libtorch does around a product costs more.
constexpr int64_t kWorthIt = 32;
constexpr int64_t kSmallFactor = 32 << 10;

bool tiles_multiply(at::ScalarType kind) {
#ifdef WITH_TILES
  return kind == at::kBFloat16 ? are_there() : kind == at::kFloat && multiply_floats();
#else
  return false;
#endif
}

bool tiles_serve(const at::Tensor& left, const at::Tensor& right) {
  const int64_t rows = left.size(0);
  return left.is_cpu() && (rows >= kWorthIt || (rows > 1 && right.numel() <= kSmallFactor)) && tiles_multiply(left.scalar_type());
}

}  // namespace

void Sum::add(const at::Tensor& left, const at::Tensor& right, Lies lies) {
  if (tiles_serve(left, right)) {
    const auto [k, n] = lies == Lies::kPlain ? std::pair(right.size(0), right.size(1)) : std::pair(right.size(1), right.size(0));
    TORCH_CHECK(left.size(1) == k, "these factors do not fit each other");
    if (!made_.defined()) made_ = at::empty({left.size(0), n}, left.options());
    terms_.push_back({left, right, lies});
    return;
  }
  const auto factor = lies == Lies::kPlain ? right : right.t();
  if (is_own_) {
    out_.addmm_(left, factor);
  } else {
    out_ = out_.defined() ? at::addmm(out_, left, factor) : at::mm(left, factor);
    is_own_ = true;
  }
}

void Sum::fill() {
#ifdef WITH_TILES
  TORCH_CHECK(made_.is_contiguous(), "a row by row tensor is wanted");
  if (made_.scalar_type() == at::kFloat) products::fill<float>(made_, terms_, out_);
  else products::fill<uint16_t>(made_, terms_, out_);
  terms_.clear();
  out_ = made_;
#endif
}

at::Tensor Sum::done() {
  if (!terms_.empty()) fill();
  return out_;
}

at::Tensor product(const at::Tensor& left, const at::Tensor& right, Lies lies) {
  Sum sum;
  sum.add(left, right, lies);
  return sum.done();
}

void product_into(at::Tensor& out, const at::Tensor& left, const at::Tensor& right, Lies lies) {
  if (!tiles_serve(left, right)) {
    at::mm_out(out, left, lies == Lies::kPlain ? right : right.t());
    return;
  }
  Sum sum;
  sum.made_ = out;
  sum.add(left, right, lies);
  sum.done();
}

at::Tensor over_rows(const at::Tensor& left, const at::Tensor& right) {
#ifdef WITH_TILES
  if (tiles_serve(left, right)) {
    TORCH_CHECK(left.size(0) == right.size(0) && left.scalar_type() == right.scalar_type(), "these factors do not fit each other");
    auto out = at::empty({left.size(1), right.size(1)}, left.options());
    if (left.scalar_type() == at::kFloat) over_rows_into<float>(out, left, right);
    else over_rows_into<uint16_t>(out, left, right);
    return out;
  }
#endif
  return at::mm(left.t(), right);
}

}  // namespace products

extern "C" {

int ltune_has_tiles(int bf16) {
#ifdef WITH_TILES
  return bf16 ? tiles::are_there() : tiles::are_there_for_floats();
#else
  return 0;
#endif
}

int ltune_tiles_multiply(int bf16) { return products::tiles_multiply(bf16 ? at::kBFloat16 : at::kFloat); }

char* ltune_product(Handle left, Handle right, int turned, Handle out) {
  return guarded([&] {
    products::product_into(*out, *left, *right, turned ? products::Lies::kTurned : products::Lies::kPlain);
  });
}

char* ltune_product_over_rows(Handle left, Handle right, Handle* out) {
  return guarded([&] { *out = new at::Tensor(products::over_rows(*left, *right)); });
}

}  // extern "C"
