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
using Number = uint16_t;  // of bf16; fp32 is multiplied as fast by libtorch's own products

// A block of rows is multiplied by a panel of columns at a time.
constexpr int64_t kWidth = 64;      // columns of a panel, the widest that libtorch's tile products take
constexpr int64_t kDepth = 1536;    // rows of the right factor in a tile product
constexpr int64_t kPanel = 4096;    // and in all panels that lie ready at once, in the cache of their core
constexpr int64_t kRows = 512;      // rows of the result that panels are made for
constexpr int64_t kBlock = 128;     // rows of a tile product
constexpr int64_t kSmallBlock = 32; // and of those behind them
constexpr int64_t kFewRows = 8;     // of the last one rows are a whole number of these

// Of a left factor `reach` numbers of a row may be read, an even count; those from k on are zero, or meet zeros.
struct Piece {
  Rows<Number> left, right;
  Lies lies;
  int64_t k, reach;
};

// Sums, and the start if there is one, as a row of the result.
FOR_TILES void give_row(const float* sums, const Number* start, Number* out, int64_t count) {
  for (int64_t at = 0; at < count; at += 16) {
    auto sum = floats(sums + at);
    if (start) sum = _mm512_add_ps(sum, floats(start + at, count - at));
    give(out + at, sum, count - at);
  }
}

// Rows of sums `[rows, width]` as columns of the result: `[columns, stride]`. Sums of rows up to a whole number of 16 may be read.
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
struct Space {
  alignas(64) float sums[(kRows + 16) * kWidth];
  alignas(64) Number panels[kPanel * kWidth];
  alignas(64) Number rows[kSmallBlock * kDepth];
};

void pack(const Piece& piece, int64_t column, int64_t columns, int64_t width, Number* panel) {
  const auto& right = piece.right;
  if (piece.lies == Lies::kPlain) {
    pack_plain(Rows<Number>{right.data + column, right.stride}, piece.k, piece.reach, columns, width, panel);
  } else {
    pack_turned(Rows<Number>{right.data + column * right.stride, right.stride}, piece.k, piece.reach, columns, width, panel);
  }
}

// Rows of a left factor from one on, `count` of them. Where fewer are there, they are copied and have zeros behind them.
Rows<Number> rows_of(const Piece& piece, int64_t row, int64_t there, int64_t count, Number* space) {
  const auto& left = piece.left;
  if (there >= count) return {left.data + row * left.stride, left.stride};
  std::fill_n(space, count * kDepth, Number{0});
  for (int64_t next = 0; next < there; ++next) std::copy_n(left.data + (row + next) * left.stride, piece.reach, space + next * kDepth);
  return {space, kDepth};
}

// The pieces cut to what a tile product takes.
std::vector<Piece> cut(const std::vector<Piece>& pieces) {
  std::vector<Piece> parts;
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

// out = start + Σ of the pieces, `[m, n]`; or that turned, `[n, m]`, without a start.
void multiply(const std::vector<Piece>& pieces, int64_t m, int64_t n, const Rows<Number>& start, Number* out, Lies out_lies) {
  const auto parts = cut(pieces);
  const int64_t panels = (n + kWidth - 1) / kWidth, stretches = (m + kRows - 1) / kRows;
  const int64_t even = ((m + stretches - 1) / stretches + kSmallBlock - 1) / kSmallBlock * kSmallBlock;
  at::parallel_for(0, panels * stretches, 1, [&](int64_t begin, int64_t end) {
    static thread_local const auto own = std::make_unique_for_overwrite<Space>();
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task / panels * even, end_row = std::min(first + even, m);
      const int64_t column = task % panels * kWidth, columns = std::min(kWidth, n - column);
      const int64_t width = (columns + 15) / 16 * 16;
      for (size_t part = 0, next; part < parts.size(); part = next) {
        auto* panel = own->panels;
        for (next = part; next < parts.size() && panel + parts[next].reach * width <= std::end(own->panels); ++next) {
          pack(parts[next], column, columns, width, panel);
          panel += parts[next].reach * width;
        }
        for (int64_t row = first, count; row < end_row; row += count) {
          count = block_of(end_row - row);
          auto* sums = own->sums + (row - first) * width;
          panel = own->panels;
          for (size_t index = part; index < next; ++index) {
            const auto left = rows_of(parts[index], row, end_row - row, count, own->rows);
            tiles::multiply(count, width, parts[index].reach, left.data, left.stride, panel, width, sums, width, index > 0);
            panel += parts[index].reach * width;
          }
          if (next < parts.size()) continue;
          const int64_t there = std::min(count, end_row - row);
          if (out_lies == Lies::kTurned) {
            give_columns(sums, there, width, columns, out + column * m + row, m);
            continue;
          }
          for (int64_t each = 0; each < there; ++each) {
            const auto* from = start.data ? start.data + (row + each) * start.stride + column : nullptr;
            give_row(sums + each * width, from, out + (row + each) * n + column, columns);
          }
        }
      }
    }
    tiles::release();
  });
}

// A matrix whose rows lie as they are; `keep` holds it if it had to be copied.
Rows<Number> rows_in(const at::Tensor& matrix, std::vector<at::Tensor>& keep) {
  keep.push_back(matrix.stride(1) == 1 ? matrix : matrix.contiguous());
  const auto& held = keep.back();
  return {static_cast<const Number*>(held.const_data_ptr()), held.stride(0)};
}

void over_rows_into(at::Tensor& out, const at::Tensor& left, const at::Tensor& right) {
  // The narrower one is turned, and with it the result if need be.
  const bool is_wide = left.size(1) > right.size(1);
  const auto &narrow = is_wide ? right : left, &wide = is_wide ? left : right;
  const int64_t rows = left.size(0), m = narrow.size(1), n = wide.size(1), reach = (rows + 31) / 32 * 32;
  const int64_t stride = 32 * (reach / 32 | 1);  // an odd count of lines, or rows would meet in few places of the cache
  std::vector<at::Tensor> keep;
  const auto from = rows_in(narrow, keep), other = rows_in(wide, keep);
  const auto space = std::make_unique_for_overwrite<Line[]>(m * stride / 32);
  auto* turned = space[0].numbers;
  at::parallel_for(0, (m + 15) / 16, 4, [&](int64_t begin, int64_t end) {
    turn_columns(from, rows, reach, m, 16 * begin, std::min(16 * end, m), turned, stride);
  });
  const std::vector<Piece> pieces{{{turned, stride}, other, Lies::kPlain, rows, reach}};
  multiply(pieces, m, n, {nullptr, 0}, static_cast<Number*>(out.mutable_data_ptr()), is_wide ? Lies::kTurned : Lies::kPlain);
}

#endif

// So few rows are not worth making panels for.
constexpr int64_t kWorthIt = 32;

bool tiles_serve(const at::Tensor& x) {
#ifdef WITH_TILES
  return x.is_cpu() && x.scalar_type() == at::kBFloat16 && x.size(0) >= kWorthIt && are_there();
#else
  return false;
#endif
}

}  // namespace

void Sum::add(const at::Tensor& left, const at::Tensor& right, Lies lies) {
  if (tiles_serve(left)) {
    TORCH_CHECK(left.size(1) == right.size(lies == Lies::kPlain ? 0 : 1), "these factors do not fit each other");
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

void Sum::fill(at::Tensor& out) {
#ifdef WITH_TILES
  TORCH_CHECK(out.is_contiguous(), "a row by row tensor is wanted");
  const int64_t m = out.size(0), n = out.size(1);
  std::vector<at::Tensor> keep;
  std::vector<Piece> pieces;
  for (const auto& [left, right, lies] : terms_) {
    const bool fits = left.size(0) == m && right.size(lies == Lies::kPlain ? 1 : 0) == n;
    TORCH_CHECK(fits && right.scalar_type() == out.scalar_type(), "these factors do not make that product");
    // Tiles take numbers in pairs.
    const int64_t k = left.size(1), more = k % 2;
    const auto rows = rows_in(more ? at::constant_pad_nd(left, {0, more}) : left, keep);
    pieces.push_back({rows, rows_in(right, keep), lies, k, k + more});
  }
  const auto start = out_.defined() ? rows_in(out_.expand({m, n}), keep) : Rows<Number>{nullptr, 0};
  multiply(pieces, m, n, start, static_cast<Number*>(out.mutable_data_ptr()), Lies::kPlain);
#endif
}

at::Tensor Sum::done() {
#ifdef WITH_TILES
  if (!terms_.empty()) {
    const auto& [first, right, lies] = terms_[0];
    auto out = at::empty({first.size(0), right.size(lies == Lies::kPlain ? 1 : 0)}, first.options());
    fill(out);
    return out;
  }
#endif
  return out_;
}

at::Tensor product(const at::Tensor& left, const at::Tensor& right, Lies lies) {
  Sum sum;
  sum.add(left, right, lies);
  return sum.done();
}

void product_into(at::Tensor& out, const at::Tensor& left, const at::Tensor& right, Lies lies) {
  if (!tiles_serve(left)) {
    at::mm_out(out, left, lies == Lies::kPlain ? right : right.t());
    return;
  }
  Sum sum;
  sum.add(left, right, lies);
  sum.fill(out);
}

at::Tensor over_rows(const at::Tensor& left, const at::Tensor& right) {
#ifdef WITH_TILES
  if (tiles_serve(left)) {
    TORCH_CHECK(left.size(0) == right.size(0) && left.scalar_type() == right.scalar_type(), "these factors do not fit each other");
    auto out = at::empty({left.size(1), right.size(1)}, left.options());
    over_rows_into(out, left, right);
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

char* ltune_product(Handle left, Handle right, int turned, Handle out) {
  return guarded([&] {
    products::product_into(*out, *left, *right, turned ? products::Lies::kTurned : products::Lies::kPlain);
  });
}

char* ltune_product_over_rows(Handle left, Handle right, Handle* out) {
  return guarded([&] { *out = new at::Tensor(products::over_rows(*left, *right)); });
}

}  // extern "C"
