// Causal attention on the processor (Dao et al., 2022): the documents of a batch lie one behind the other, and each is attended
// to by itself, so neither padding nor what other documents hold is multiplied. Queries go in blocks of 64 rows. The scores of a
// block are there for all keys at once, in the cache; nothing of that size is kept for the backward pass, which makes them again.
//
// One thread computes a head of a document from its first query to its last, so the bits do not depend on how many there are.
#include "exponential.h"
#include "guarded.h"
#include "shim.h"
#include "tiles.h"
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <atomic>
#include <cmath>
#include <memory>
#include <torch/csrc/autograd/custom_function.h>

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

#ifdef WITH_TILES
using namespace tiles;

constexpr int64_t kBlock = 64;  // queries of a block, and keys of a panel

// ---- blocks -----------------------------------------------------------------------------------------------------------

// A block `[64, width]` turned, as a left factor `[width, 64]`.
template <class Number>
void turn_block(const Number* block, int64_t width, Number* to) {
  turn_columns(Rows<Number>{block, width}, kBlock, kBlock, width, 0, width, to, kBlock);
}

// The columns from one on of rows of scores, as a panel `[64, 64]`: where they lie, or packed into `space`.
const float* as_panel(const float* scores, int64_t, float*) { return scores; }
const uint16_t* as_panel(const uint16_t* scores, int64_t stride, uint16_t* space) {
  pack_plain(Rows<uint16_t>{scores, stride}, kBlock, kBlock, kBlock, kBlock, space);
  return space;
}
int64_t panel_stride(const float*, int64_t stride) { return stride; }
int64_t panel_stride(const uint16_t*, int64_t) { return kBlock; }

// ---- rows of scores ---------------------------------------------------------------------------------------------------

// Below this a share of attention is nothing. Smaller numbers would soon be subnormal, and those are slow.
constexpr float kNothing = -60.0f;

INLINE float share(float x) { return x < kNothing ? 0.0f : exponential_within(between(kNothing, x, 0.0f)); }

FOR_TILES float largest_of(const float* x, int64_t count) { return largest_among(x, count); }

// Scores become exp(scale · score - most), those from `count` on zero; returns their sum.
FOR_TILES float to_shares(float* x, int64_t count, int64_t all, float scale, float most) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    x[i] = share(x[i] * scale - most);
    sum += x[i];
  }
  std::fill(x + count, x + all, 0.0f);
  return sum;
}

// Gradients of shares become those of scores.
FOR_TILES void to_gradients(const float* shares, float* x, int64_t count, float along, float scale) {
  for (int64_t i = 0; i < count; ++i) x[i] = shares[i] * (x[i] - along) * scale;
}

FOR_TILES void as_numbers(const float* from, uint16_t* to, int64_t count) {
  for (int64_t at = 0; at < count; at += 16) give(to + at, floats(from + at));
}
FOR_TILES void as_numbers(const float*, float*, int64_t) {}  // they lie there

template <class Number>
FOR_TILES float dot(const Number* x, const Number* y, int64_t count) {
  auto sum = _mm512_setzero_ps();
  for (int64_t at = 0; at < count; at += 16) sum = _mm512_fmadd_ps(floats(x + at), floats(y + at), sum);
  return _mm512_reduce_add_ps(sum);
}

template <class Number>
FOR_TILES void give_row(const float* sums, float factor, Number* out, int64_t count) {
  for (int64_t at = 0; at < count; at += 16) give(out + at, _mm512_mul_ps(floats(sums + at), _mm512_set1_ps(factor)));
}

// ---- memory -----------------------------------------------------------------------------------------------------------

// Grows and is kept: a thread's.
template <class Number>
class Memory {
 public:
  Number* of(int64_t count) {
    const int64_t lines = (count * static_cast<int64_t>(sizeof(Number)) + 63) / 64;
    if (lines > lines_) {
      held_ = std::make_unique_for_overwrite<Line[]>(lines);
      lines_ = lines;
    }
    return reinterpret_cast<Number*>(held_.get());
  }

 private:
  std::unique_ptr<Line[]> held_;
  int64_t lines_ = 0;
};

int64_t padded(int64_t length) { return (length + kBlock - 1) / kBlock * kBlock; }

// Numbers from one row of scores to the next. There are few such strides: libtorch compiles a product for each.
int64_t stride_for(int64_t length) {
  int64_t stride = 256;
  while (stride < length) stride *= 2;
  return stride + 16;  // or rows would meet in few places of the cache
}

template <class Number>
struct Thread {
  Memory<Number> keys, turned_keys, values, block, other, turned, other_turned, shares, gradients, panel;
  Memory<float> scores, score_gradients, sums;
  static Thread& own() {
    static thread_local Thread thread;
    return thread;
  }
};

// ---- a head of a document ---------------------------------------------------------------------------------------------

struct Document {
  int64_t start, length;
};

// What a head reads and writes; rows are tokens, of the whole batch.
template <class Number>
struct Head {
  Rows<Number> q, k, v;
  int64_t width;
  float scale;
};

template <class Number>
Rows<Number> at_row(const Rows<Number>& rows, int64_t row) {
  return {rows.data + row * rows.stride, rows.stride};
}

// Rows `[count, width]` of a block, with zeros behind them.
template <class Number>
Number* copied(const Rows<Number>& from, int64_t count, int64_t width, Memory<Number>& memory) {
  auto* block = memory.of(kBlock * width);
  for (int64_t row = 0; row < kBlock; ++row) {
    auto* to = block + row * width;
    if (row < count) std::copy_n(from.data + row * from.stride, width, to);
    else std::fill_n(to, width, Number{0});
  }
  return block;
}

// All rows of a document as panels of 64 columns each, `[length, 64]`.
template <class Number>
Number* packed(const Rows<Number>& from, int64_t length, int64_t width, Memory<Number>& memory) {
  const int64_t all = padded(length);
  auto* panels = memory.of(all * width);
  for (int64_t at = 0; at < width; at += kBlock) {
    const int64_t columns = std::min(kBlock, width - at);
    pack_plain(Rows<Number>{from.data + at, from.stride}, length, all, columns, columns, panels + at * all);
  }
  return panels;
}

// The same turned: for each 64 rows a panel `[width, 64]`.
template <class Number>
Number* packed_as_columns(const Rows<Number>& from, int64_t length, int64_t width, Memory<Number>& memory) {
  auto* panels = memory.of(padded(length) * width);
  for (int64_t row = 0; row < length; row += kBlock) {
    pack_turned(at_row(from, row), width, width, std::min(kBlock, length - row), kBlock, panels + row * width);
  }
  return panels;
}

// left `[64, width]` · every panel up to `n` columns, as rows of `stride`.
template <class Number>
void multiply_panels(const Number* left, int64_t width, const Number* panels, int64_t n, float* scores, int64_t stride) {
  for (int64_t at = 0; at < n; at += kBlock) multiply(kBlock, kBlock, width, left, width, panels + at * width, kBlock, scores + at, stride, false);
}

// left `[64, n]` · the first n rows of a packed document, `[64, width]`.
template <class Number>
void multiply_rows(const Number* left, int64_t n, int64_t stride, const Number* panels, int64_t all, int64_t width, float* sums) {
  for (int64_t at = 0; at < width; at += kBlock) {
    const int64_t columns = std::min(kBlock, width - at);
    multiply(kBlock, columns, n, left, stride, panels + at * all, columns, sums + at, width, false);
  }
}

template <class Number>
Number* shares_beside(float* scores, int64_t stride, Memory<Number>& memory) {
  if constexpr (std::is_same_v<Number, float>) return scores;
  else return memory.of(kBlock * stride);
}

// `out` gets the rows of this head, `most` for each query the logarithm of the sum of its exponentials.
template <class Number>
void attend(const Head<Number>& head, const Document& document, Rows<Number> out, float* logarithms, int64_t heads) {
  auto& own = Thread<Number>::own();
  const int64_t length = document.length, all = padded(length), width = head.width, stride = stride_for(all);
  const auto q = at_row(head.q, document.start), k = at_row(head.k, document.start), v = at_row(head.v, document.start);
  const auto* keys = packed_as_columns(k, length, width, own.turned_keys);
  const auto* values = packed(v, length, width, own.values);
  auto* scores = own.scores.of(kBlock * stride);
  auto* shares = shares_beside(scores, stride, own.shares);
  auto* sums = own.sums.of(kBlock * width);
  for (int64_t first = 0; first < length; first += kBlock) {
    const int64_t rows = std::min(kBlock, length - first), n = first + kBlock;
    const auto* queries = copied(at_row(q, first), rows, width, own.block);
    multiply_panels(queries, width, keys, n, scores, stride);
    float totals[kBlock];
    for (int64_t row = 0; row < kBlock; ++row) {
      auto* x = scores + row * stride;
      const int64_t seen = row < rows ? first + row + 1 : 1;
      const float most = largest_of(x, seen) * head.scale;
      totals[row] = to_shares(x, seen, n, head.scale, most);
      as_numbers(x, shares + row * stride, n);
      if (row < rows) logarithms[(document.start + first + row) * heads] = most + std::log(totals[row]);
    }
    multiply_rows(shares, n, stride, values, all, width, sums);
    for (int64_t row = 0; row < rows; ++row) {
      auto* to = const_cast<Number*>(out.data) + (document.start + first + row) * out.stride;
      give_row(sums + row * width, 1.0f / totals[row], to, width);
    }
  }
}

// The gradients of the queries into `dq`; those of keys and values, of this head alone, as panels `[width, 64]` for each 64 rows.
template <class Number>
void attend_backward(const Head<Number>& head, const Document& document, Rows<Number> out, Rows<Number> d_out,
                     const float* logarithms, int64_t heads, Rows<Number> dq, float* dk, float* dv) {
  auto& own = Thread<Number>::own();
  const int64_t length = document.length, all = padded(length), width = head.width, stride = stride_for(all);
  const auto q = at_row(head.q, document.start), k = at_row(head.k, document.start), v = at_row(head.v, document.start);
  const auto* turned_keys = packed_as_columns(k, length, width, own.turned_keys);
  const auto* keys = packed(k, length, width, own.keys);
  const auto* values = packed_as_columns(v, length, width, own.values);
  auto *scores = own.scores.of(kBlock * stride), *of_scores = own.score_gradients.of(kBlock * stride);
  auto *shares = shares_beside(scores, stride, own.shares), *gradients = shares_beside(of_scores, stride, own.gradients);
  auto* sums = own.sums.of(kBlock * width);
  auto *turned_queries = own.turned.of(kBlock * width), *turned_d_out = own.other_turned.of(kBlock * width);
  auto* panel = own.panel.of(kBlock * kBlock);
  for (int64_t first = 0; first < length; first += kBlock) {
    const int64_t row_0 = document.start + first, rows = std::min(kBlock, length - first), n = first + kBlock;
    const auto* queries = copied(at_row(q, first), rows, width, own.block);
    const auto* d_outs = copied(at_row(d_out, row_0), rows, width, own.other);
    multiply_panels(queries, width, turned_keys, n, scores, stride);
    multiply_panels(d_outs, width, values, n, of_scores, stride);
    for (int64_t row = 0; row < kBlock; ++row) {
      auto *x = scores + row * stride, *dx = of_scores + row * stride;
      const int64_t seen = row < rows ? first + row + 1 : 0;
      const float most = row < rows ? logarithms[(row_0 + row) * heads] : 0.0f;
      to_shares(x, seen, n, head.scale, most);
      const float along = row < rows ? dot(out.data + (row_0 + row) * out.stride, d_outs + row * width, width) : 0.0f;
      to_gradients(x, dx, seen, along, head.scale);
      std::fill(dx + seen, dx + n, 0.0f);
      as_numbers(x, shares + row * stride, n);
      as_numbers(dx, gradients + row * stride, n);
    }
    multiply_rows(gradients, n, stride, keys, all, width, sums);
    for (int64_t row = 0; row < rows; ++row) {
      give_row(sums + row * width, 1.0f, const_cast<Number*>(dq.data) + (row_0 + row) * dq.stride, width);
    }
    turn_block(queries, width, turned_queries);
    turn_block(d_outs, width, turned_d_out);
    for (int64_t at = 0; at < n; at += kBlock) {
      const bool adds = at < first;  // the block on the diagonal is the first that sees these keys
      const int64_t panel_rows = panel_stride(shares, stride);
      multiply(width, kBlock, kBlock, turned_d_out, kBlock, as_panel(shares + at, stride, panel), panel_rows, dv + at * width, kBlock, adds);
      multiply(width, kBlock, kBlock, turned_queries, kBlock, as_panel(gradients + at, stride, panel), panel_rows, dk + at * width, kBlock,
               adds);
    }
  }
}

// Panels `[width, 64]` of the heads of a group, `apart` floats from one to the next: their sum as rows.
template <class Number>
FOR_TILES void give_sums(const float* panels, int64_t heads, int64_t apart, int64_t width, Rows<Number> to, int64_t rows) {
  for (int64_t first = 0; first < rows; first += 16) {
    for (int64_t at = 0; at < width; at += 16) {
      __m512i words[16];
      for (int64_t column = 0; column < 16; ++column) {
        auto sum = _mm512_setzero_ps();
        for (int64_t head = 0; head < heads; ++head) {
          sum = _mm512_add_ps(sum, floats(panels + head * apart + (at + column) * kBlock + first));
        }
        words[column] = _mm512_castps_si512(sum);
      }
      turn(words);
      for (int64_t row = 0; row < std::min<int64_t>(16, rows - first); ++row) {
        give(const_cast<Number*>(to.data) + (first + row) * to.stride + at, _mm512_castsi512_ps(words[row]));
      }
    }
  }
}

// ---- a batch ----------------------------------------------------------------------------------------------------------

// Whoever is free takes the next task, for documents differ in length.
template <class Work>
void share_out(int64_t tasks, Work&& work) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min<int64_t>(at::get_num_threads(), tasks), 1, [&](int64_t, int64_t) {
    for (int64_t task; (task = next.fetch_add(1)) < tasks;) work(task);
    release();
  });
}

template <class Number>
struct Batch {
  at::Tensor q, k, v;
  std::vector<Document> documents;

  int64_t heads() const { return q.size(2); }
  int64_t groups() const { return k.size(2); }
  int64_t width() const { return q.size(3); }

  static Number* data(const at::Tensor& x) { return static_cast<Number*>(x.data_ptr()); }
  // The rows of one head.
  static Rows<Number> rows(const at::Tensor& x, int64_t head) { return {data(x) + head * x.size(3), x.size(2) * x.size(3)}; }
  Head<Number> head(int64_t head) const {
    const int64_t group = head / (heads() / groups());
    return {rows(q, head), rows(k, group), rows(v, group), width(), 1.0f / std::sqrt(static_cast<float>(width()))};
  }

  void forward(const at::Tensor& out, const at::Tensor& logarithms) const {
    share_out(documents.size() * heads(), [&](int64_t task) {
      const int64_t index = task % heads();
      attend(head(index), documents[task / heads()], rows(out, index), logarithms.data_ptr<float>() + index, heads());
    });
  }

  void backward(const at::Tensor& out, const at::Tensor& d_out, const at::Tensor& logarithms, const at::Tensor& dq, const at::Tensor& dk,
                const at::Tensor& dv) const {
    std::vector<int64_t> before{0};  // padded tokens before each document
    for (const auto& document : documents) before.push_back(before.back() + padded(document.length));
    const int64_t apart = before.back() * width();
    static thread_local Memory<float> parts;  // the gradients of keys and values, of each head by itself
    auto *of_keys = parts.of(2 * heads() * apart), *of_values = of_keys + heads() * apart;
    share_out(documents.size() * heads(), [&](int64_t task) {
      const int64_t index = task % heads(), place = task / heads(), own = index * apart + before[place] * width();
      attend_backward(head(index), documents[place], rows(out, index), rows(d_out, index), logarithms.data_ptr<float>() + index,
                      heads(), rows(dq, index), of_keys + own, of_values + own);
    });
    const int64_t together = heads() / groups();
    share_out(documents.size() * groups(), [&](int64_t task) {
      const int64_t group = task % groups(), place = task / groups();
      const auto& document = documents[place];
      for (int64_t first = 0; first < document.length; first += kBlock) {
        const int64_t own = group * together * apart + (before[place] + first) * width(), count = std::min(kBlock, document.length - first);
        give_sums(of_keys + own, together, apart, width(), at_row(rows(dk, group), document.start + first), count);
        give_sums(of_values + own, together, apart, width(), at_row(rows(dv, group), document.start + first), count);
      }
    });
  }
};

// Calls `work` with a batch of the numbers that q holds.
template <class Work>
void with_batch(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const std::vector<int64_t>& places, Work&& work) {
  std::vector<Document> documents;
  for (size_t at = 0; at < places.size(); at += 2) documents.push_back({places[at], places[at + 1]});
  if (q.scalar_type() == at::kFloat) work(Batch<float>{q, k, v, documents});
  else work(Batch<uint16_t>{q, k, v, documents});
}

// Tokens that no document holds are zero.
at::Tensor like(const at::Tensor& x, const std::vector<int64_t>& places) {
  int64_t held = 0;
  for (size_t at = 1; at < places.size(); at += 2) held += places[at];
  return held == x.size(0) * x.size(1) ? at::empty_like(x) : at::zeros_like(x);
}

struct Attend : Function<Attend> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::vector<int64_t> places) {
    const auto queries = q.contiguous(), keys = k.contiguous(), values = v.contiguous();
    const auto out = like(queries, places);
    const auto logarithms = at::empty({q.size(0) * q.size(1), q.size(2)}, q.options().dtype(at::kFloat));
    with_batch(queries, keys, values, places, [&](const auto& batch) { batch.forward(out, logarithms); });
    ctx->save_for_backward({queries, keys, values, out, logarithms});
    ctx->saved_data["places"] = places;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &logarithms = saved[4];
    const auto places = ctx->saved_data["places"].toIntVector();
    const auto d_out = gradients[0].contiguous();
    const auto dq = like(q, places), dk = like(k, places), dv = like(v, places);
    with_batch(q, k, v, places, [&](const auto& batch) { batch.backward(out, d_out, logarithms, dq, dk, dv); });
    return {dq, dk, dv, at::Tensor()};
  }
};

#endif

}  // namespace

extern "C" {

char* ltune_attend(Handle q, Handle k, Handle v, const int64_t* places, size_t count, Handle* out) {
  return guarded([&] {
#ifdef WITH_TILES
    const bool fit = k->sizes() == v->sizes() && q->dim() == 4 && k->dim() == 4 && q->size(0) == k->size(0) &&
                     q->size(1) == k->size(1) && q->size(3) == k->size(3) && q->size(2) % k->size(2) == 0;
    TORCH_CHECK(fit && q->scalar_type() == k->scalar_type() && q->scalar_type() == v->scalar_type(),
                "these keys and values are not those of the queries");
    *out = new at::Tensor(Attend::apply(*q, *k, *v, std::vector<int64_t>(places, places + count)));
#else
    TORCH_CHECK(false, "this processor has no tiles");
#endif
  });
}

}  // extern "C"
