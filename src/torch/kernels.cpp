// One-pass kernels for the processor, forward and backward, and the layers made of products as one node of the graph.
//
// A row is computed by one thread from its first element to its last, so the bits do not depend on how many threads there
// are. Rows are fp32; those of bf16 tensors are widened on their way in and rounded on their way out.
//
// Tensors on a GPU take the same nodes; their rows are those of kernels/cuda, which the CUDA half launches.
#include "shim.h"

#include "cuda/half.h"
#include "exponential.h"
#include "guarded.h"
#include "nf4.h"
#include "products.h"
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <atomic>
#include <cmath>
#include <torch/csrc/autograd/custom_function.h>

using torch::autograd::AutogradContext;
using torch::autograd::CppNode;
using torch::autograd::Edge;
using torch::autograd::Function;
using torch::autograd::Node;
using torch::autograd::variable_list;
using products::Lies;

// Each row function is compiled for what the processor may have; the loader takes the best that it has.
#if defined(__x86_64__) && defined(__ELF__) && !defined(__clang__) && __GNUC__ >= 12
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

namespace {

// ---- rows ---------------------------------------------------------------------------------------------------------

INLINE float exponential(float x) { return exponential_within(between(-87.0f, x, 88.0f)); }

// Nothing below -60: the compiler multiplies every x with what stands for those beyond a bound, and a subnormal factor would cost
// it a hundred cycles each time.
INLINE float sigmoid(float x) { return x < -60.0f ? 0.0f : 1.0f / (1.0f + exponential_within(between(-60.0f, -x, 60.0f))); }

FOR_EACH_PROCESSOR void widen(const uint16_t* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = __builtin_bit_cast(float, static_cast<uint32_t>(from[i]) << 16);
}

// Rounds to the nearest bf16, ties to even; what is not a number stays one.
FOR_EACH_PROCESSOR void narrow(const float* from, uint16_t* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, from[i]);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const bool is_number = (bits & 0x7fffffffu) <= 0x7f800000u;
    to[i] = static_cast<uint16_t>(is_number ? rounded : 0x7fc0u);
  }
}

// y = x / root(mean(x²) + eps) · w; returns the factor of x.
FOR_EACH_PROCESSOR float rms_norm_row(const float* x, const float* w, float* __restrict y, int64_t d, float eps) {
  float square = 0.0f;
#pragma omp simd reduction(+ : square)
  for (int64_t i = 0; i < d; ++i) square += x[i] * x[i];
  const float factor = 1.0f / std::sqrt(square / static_cast<float>(d) + eps);
  for (int64_t i = 0; i < d; ++i) y[i] = x[i] * factor * w[i];
  return factor;
}

FOR_EACH_PROCESSOR void rms_norm_gradient_row(const float* dy, const float* x, const float* w, float factor, float* __restrict dx,
                                              int64_t d) {
  float along = 0.0f;
#pragma omp simd reduction(+ : along)
  for (int64_t i = 0; i < d; ++i) along += dy[i] * w[i] * x[i];
  const float back = along * factor * factor / static_cast<float>(d);
  for (int64_t i = 0; i < d; ++i) dx[i] = factor * (dy[i] * w[i] - x[i] * back);
}

FOR_EACH_PROCESSOR void add_norm_weight_row(const float* dy, const float* x, float factor, float* __restrict dw, int64_t d) {
  for (int64_t i = 0; i < d; ++i) dw[i] += dy[i] * x[i] * factor;
}

// Turns the two halves of one head.
FOR_EACH_PROCESSOR void rotate_row(const float* x, const float* cos, const float* sin, float direction, float* __restrict y,
                                   int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float s = sin[i] * direction;
    y[i] = x[i] * cos[i] - x[half + i] * s;
    y[half + i] = x[half + i] * cos[i] + x[i] * s;
  }
}

FOR_EACH_PROCESSOR void swiglu_row(const float* gate, const float* up, float* __restrict out, int64_t count) {
  for (int64_t i = 0; i < count; ++i) out[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

FOR_EACH_PROCESSOR void swiglu_gradient_row(const float* gradient, const float* gate, const float* up, float* __restrict for_gate,
                                            float* __restrict for_up, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float s = sigmoid(gate[i]);
    const float active = gate[i] * s;
    for_gate[i] = gradient[i] * up[i] * (s + active * (1.0f - s));
    for_up[i] = gradient[i] * active;
  }
}

FOR_EACH_PROCESSOR float largest_of(const float* x, int64_t count) { return largest_among(x, count); }

// y = exp(x - largest), in place if y is x; returns the sum.
FOR_EACH_PROCESSOR float exponentials(const float* x, float* y, float largest, int64_t count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) {
    y[i] = exponential(x[i] - largest);
    sum += y[i];
  }
  return sum;
}

FOR_EACH_PROCESSOR float sum_of_exponentials(const float* x, float largest, int64_t count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += exponential(x[i] - largest);
  return sum;
}

FOR_EACH_PROCESSOR void multiply_row(float* x, float factor, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] *= factor;
}

// Sums of long rows are taken in stretches, so that fp32 does not run out of digits.
constexpr int64_t kStretch = 4096;

// The loss of a row of logits; they become the gradient of `scale · loss`.
float loss_to_gradient(float* logits, int64_t target, int64_t v, float scale) {
  const float largest = largest_of(logits, v);
  const float chosen = logits[target];
  double sum = 0.0;
  for (int64_t start = 0; start < v; start += kStretch) {
    sum += exponentials(logits + start, logits + start, largest, std::min(kStretch, v - start));
  }
  multiply_row(logits, static_cast<float>(scale / sum), v);
  logits[target] -= scale;
  return static_cast<float>(std::log(sum) + largest - chosen);
}

float loss_of(const float* logits, int64_t target, int64_t v, int64_t* is_likeliest) {
  const float largest = largest_of(logits, v);
  double sum = 0.0;
  for (int64_t start = 0; start < v; start += kStretch) {
    sum += sum_of_exponentials(logits + start, largest, std::min(kStretch, v - start));
  }
  int64_t first = 0;
  while (first < v && !(logits[first] >= largest)) ++first;  // the first of equals
  *is_likeliest = first == target;
  return static_cast<float>(std::log(sum) + largest - logits[target]);
}

// ---- rows of tensors ------------------------------------------------------------------------------------------------

// Rows of a contiguous tensor, read and written as fp32 whatever it holds.
class Rows {
 public:
  Rows(const at::Tensor& tensor, int64_t width)
      : data_(static_cast<char*>(tensor.data_ptr())), width_(width), is_wide_(tensor.scalar_type() == at::kFloat) {
    TORCH_CHECK(tensor.is_contiguous() && tensor.device().is_cpu(), "a row by row tensor on the CPU is wanted");
    TORCH_CHECK(is_wide_ || tensor.scalar_type() == at::kBFloat16, "fp32 or bf16 is wanted, not ", tensor.scalar_type());
  }
  // The row where it lies, or widened into `space`.
  const float* read(int64_t row, float* space) const {
    if (is_wide_) return wide(row);
    widen(half(row), space, width_);
    return space;
  }
  // Where to write the row; `wrote` brings it home.
  float* write(int64_t row, float* space) const { return is_wide_ ? wide(row) : space; }
  void wrote(int64_t row, const float* space) const {
    if (!is_wide_) narrow(space, half(row), width_);
  }

 private:
  float* wide(int64_t row) const { return reinterpret_cast<float*>(data_) + row * width_; }
  uint16_t* half(int64_t row) const { return reinterpret_cast<uint16_t*>(data_) + row * width_; }
  char* data_;
  int64_t width_;
  bool is_wide_;
};

// Calls `work(row, space)` for every row, rows side by side; `space` holds `spaces` rows of fp32.
template <class Work>
void for_rows(int64_t rows, int64_t width, int64_t spaces, Work&& work) {
  const int64_t together = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width));
  at::parallel_for(0, rows, together, [&](int64_t begin, int64_t end) {
    std::vector<float> space(spaces * width);
    for (int64_t row = begin; row < end; ++row) work(row, space.data());
  });
}

int64_t last_size(const at::Tensor& tensor) { return tensor.size(-1); }
int64_t row_count(const at::Tensor& tensor) { return tensor.numel() / std::max<int64_t>(1, tensor.size(-1)); }

// ---- the CUDA half ------------------------------------------------------------------------------------------------

std::atomic<const CudaHalf*> opened{nullptr};
thread_local const CudaHalf* imitated = nullptr;

// The half that computes with this tensor; null for those of the CPU.
const CudaHalf* half_for(const at::Tensor& x) {
  if (imitated) return imitated->serves(x) ? imitated : nullptr;
  if (x.is_cpu()) return nullptr;
  const auto* half = opened.load(std::memory_order_acquire);
  TORCH_CHECK(half && half->serves(x), "no kernels are loaded for ", x.device());
  return half;
}

at::Tensor floats_beside(const at::Tensor& x, at::IntArrayRef shape) { return at::empty(shape, x.options().dtype(at::kFloat)); }

// ---- nodes of the graph ---------------------------------------------------------------------------------------------

// Rows whose share of a norm's weight gradient is summed first: fixed, whatever the threads.
constexpr int64_t kNormBlock = 64;

// y and the factors of rows s: of x, or of x + residual, which is then written to `sum`.
void norm_rows(const at::Tensor& x, const at::Tensor* residual, const at::Tensor& weight, double eps, at::Tensor* sum, at::Tensor& y,
               at::Tensor& factors) {
  const auto wide = weight.to(at::kFloat).contiguous();
  if (const auto* half = half_for(x)) return half->rms_norm(x, residual, wide, eps, sum, y, factors);
  if (residual) at::add_out(*sum, x, *residual);
  const int64_t d = last_size(x);
  const Rows from(residual ? *sum : x, d), to(y, d);
  const float* w = wide.const_data_ptr<float>();
  float* factor = factors.data_ptr<float>();
  for_rows(row_count(x), d, 2, [&](int64_t row, float* space) {
    float* out = to.write(row, space + d);
    factor[row] = rms_norm_row(from.read(row, space), w, out, d, static_cast<float>(eps));
    to.wrote(row, out);
  });
}

// The gradient for the rows s, and to it `more`, what flows into them from elsewhere.
at::Tensor norm_gradient(const at::Tensor& dy, const at::Tensor& s, const at::Tensor& weight, const at::Tensor& factors,
                         const at::Tensor* more) {
  auto out = at::empty_like(s);
  const auto wide = weight.to(at::kFloat).contiguous();
  if (const auto* half = half_for(s)) {
    half->rms_norm_gradient(dy, s, wide, factors, more, out);
    return out;
  }
  const int64_t d = last_size(s);
  const Rows gradient(dy, d), from(s, d), to(out, d);
  const float *w = wide.const_data_ptr<float>(), *factor = factors.const_data_ptr<float>();
  for_rows(row_count(s), d, 3, [&](int64_t row, float* space) {
    float* made = to.write(row, space + 2 * d);
    rms_norm_gradient_row(gradient.read(row, space), from.read(row, space + d), w, factor[row], made, d);
    to.wrote(row, made);
  });
  return more ? out.add_(*more) : out;
}

at::Tensor norm_weight_gradient(const at::Tensor& dy, const at::Tensor& s, const at::Tensor& weight, const at::Tensor& factors) {
  const int64_t d = last_size(s), rows = row_count(s), blocks = (rows + kNormBlock - 1) / kNormBlock;
  auto parts = floats_beside(s, {blocks, d});
  if (const auto* half = half_for(s)) {
    half->rms_norm_weight_gradient(dy, s, factors, kNormBlock, parts);
    return parts.sum(0).to(weight.scalar_type());
  }
  const Rows gradient(dy, d), from(s, d);
  const float* factor = factors.const_data_ptr<float>();
  float* part = parts.zero_().data_ptr<float>();
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> space(2 * d);
    for (int64_t row = begin * kNormBlock; row < std::min(end * kNormBlock, rows); ++row) {
      const float* g = gradient.read(row, space.data());
      add_norm_weight_row(g, from.read(row, space.data() + d), factor[row], part + row / kNormBlock * d, d);
    }
  });
  return parts.sum(0).to(weight.scalar_type());
}

// What a norm of rows s gave, from what it keeps.
at::Tensor normed_again(const AutogradContext& ctx) {
  const auto saved = ctx.get_saved_variables();
  auto out = at::empty_like(saved[0]), factors = at::empty_like(saved[2]);
  norm_rows(saved[0], nullptr, saved[1], ctx.saved_data.at("eps").toDouble(), nullptr, out, factors);
  return out;
}

struct RmsNorm : Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, double eps) {
    const auto input = x.contiguous();
    auto out = at::empty_like(input), factors = floats_beside(input, {row_count(input)});
    norm_rows(input, nullptr, weight, eps, nullptr, out, factors);
    ctx->save_for_backward({input, weight, factors});
    ctx->saved_data["eps"] = eps;
    return out;
  }

  static at::Tensor again(const AutogradContext& ctx) { return normed_again(ctx); }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &factors = saved[2];
    const auto dy = gradients[0].contiguous();
    at::Tensor for_x, for_weight;
    if (ctx->needs_input_grad(0)) for_x = norm_gradient(dy, x, weight, factors, nullptr);
    if (ctx->needs_input_grad(1)) for_weight = norm_weight_gradient(dy, x, weight, factors);
    return {for_x, for_weight, at::Tensor()};
  }
};

// x + residual and its norm, in one pass each way: both terms have the same gradient.
struct AddRmsNorm : Function<AddRmsNorm> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight,
                               double eps) {
    const auto input = x.contiguous(), more = residual.contiguous();
    auto sum = at::empty_like(input), out = at::empty_like(input), factors = floats_beside(input, {row_count(input)});
    norm_rows(input, &more, weight, eps, &sum, out, factors);
    ctx->save_for_backward({sum, weight, factors});
    ctx->saved_data["eps"] = eps;
    return {sum, out};
  }

  static constexpr uint32_t kMadeAgain = 1;  // the output that `again` makes
  static at::Tensor again(const AutogradContext& ctx) { return normed_again(ctx); }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto &s = saved[0], &weight = saved[1], &factors = saved[2];
    if (!gradients[1].defined()) return {gradients[0], gradients[0], at::Tensor(), at::Tensor()};
    const auto dy = gradients[1].contiguous();
    const auto more = gradients[0].defined() ? gradients[0].contiguous() : at::Tensor();
    at::Tensor for_sum, for_weight;
    if (ctx->needs_input_grad(0) || ctx->needs_input_grad(1)) {
      for_sum = norm_gradient(dy, s, weight, factors, more.defined() ? &more : nullptr);
    }
    if (ctx->needs_input_grad(2)) for_weight = norm_weight_gradient(dy, s, weight, factors);
    return {for_sum, for_sum, for_weight, at::Tensor()};
  }
};

// x `[.., positions, heads, k]`, cosines and sines `[positions, .., k / 2]` or with the rows before them.
at::Tensor rotated(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, float direction) {
  const auto input = x.contiguous();
  auto out = at::empty_like(input);
  if (const auto* half = half_for(input)) {
    half->rotate(input, cos, sin, direction, out);
    return out;
  }
  const int64_t k = last_size(input), heads = input.size(-2), positions = cos.numel() / (k / 2);
  const Rows from(input, heads * k), to(out, heads * k);
  const float *c = cos.const_data_ptr<float>(), *s = sin.const_data_ptr<float>();
  for_rows(input.numel() / (heads * k), heads * k, 2, [&](int64_t row, float* space) {
    const float* read = from.read(row, space);
    float* y = to.write(row, space + heads * k);
    const int64_t turn = row % positions * (k / 2);
    for (int64_t head = 0; head < heads; ++head) rotate_row(read + head * k, c + turn, s + turn, direction, y + head * k, k / 2);
    to.wrote(row, y);
  });
  return out;
}

struct Rotate : Function<Rotate> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
    ctx->save_for_backward({cos, sin});
    return rotated(x, cos, sin, 1.0f);
  }
  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    return {rotated(gradients[0], saved[0], saved[1], -1.0f), at::Tensor(), at::Tensor()};
  }
};

at::Tensor gated(const at::Tensor& g, const at::Tensor& u) {
  auto out = at::empty_like(g);
  if (const auto* half = half_for(g)) {
    half->swiglu(g, u, out);
    return out;
  }
  const int64_t f = last_size(g);
  const Rows gates(g, f), ups(u, f), to(out, f);
  for_rows(row_count(g), f, 3, [&](int64_t row, float* space) {
    float* y = to.write(row, space + 2 * f);
    swiglu_row(gates.read(row, space), ups.read(row, space + f), y, f);
    to.wrote(row, y);
  });
  return out;
}

struct SwiGlu : Function<SwiGlu> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate, const at::Tensor& up) {
    const auto g = gate.contiguous(), u = up.contiguous();
    ctx->save_for_backward({g, u});
    return gated(g, u);
  }

  static at::Tensor again(const AutogradContext& ctx) {
    const auto saved = ctx.get_saved_variables();
    return gated(saved[0], saved[1]);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const auto &g = saved[0], &u = saved[1];
    const auto gradient = gradients[0].contiguous();
    auto for_gate = at::empty_like(g), for_up = at::empty_like(u);
    if (const auto* half = half_for(g)) {
      half->swiglu_gradient(gradient, g, u, for_gate, for_up);
      return {for_gate, for_up};
    }
    const int64_t f = last_size(g);
    const Rows dy(gradient, f), gates(g, f), ups(u, f), to_gate(for_gate, f), to_up(for_up, f);
    for_rows(row_count(g), f, 5, [&](int64_t row, float* space) {
      float *dg = to_gate.write(row, space + 3 * f), *du = to_up.write(row, space + 4 * f);
      swiglu_gradient_row(dy.read(row, space), gates.read(row, space + f), ups.read(row, space + 2 * f), dg, du, f);
      to_gate.wrote(row, dg);
      to_up.wrote(row, du);
    });
    return {for_gate, for_up};
  }
};

// ---- what can be made again -------------------------------------------------------------------------------------------

using Again = at::Tensor (*)(const Node&);

template <class Maker>
at::Tensor again_by(const Node& node) {
  return Maker::again(static_cast<const CppNode<Maker>&>(node).ctx_);
}

// How a node makes its output again, to the last bit, from what it keeps for its own gradient; null where it cannot. Who takes
// such an output need not keep it: on the way back it comes before the node, which still has all it kept.
Again way_to_make(const Edge& output) {
  const auto* node = output.function.get();
  if (dynamic_cast<const CppNode<RmsNorm>*>(node)) return again_by<RmsNorm>;
  if (dynamic_cast<const CppNode<SwiGlu>*>(node)) return again_by<SwiGlu>;
  if (output.input_nr == AddRmsNorm::kMadeAgain && dynamic_cast<const CppNode<AddRmsNorm>*>(node)) return again_by<AddRmsNorm>;
  return nullptr;
}

// ---- linear layers ----------------------------------------------------------------------------------------------------

// Where the tensors of linear layers stand in one list: the graph takes only tensors that are there.
struct Places {
  enum Part { kWeight, kScales, kRanges, kBias, kA, kB, kParts };
  static constexpr int64_t kNone = -1;
  // The residual's place, then six a layer.
  std::vector<int64_t> places;

  size_t layers() const { return (places.size() - 1) / kParts; }
  int64_t residual() const { return places[0]; }
  int64_t of(size_t layer, Part part) const { return places[1 + layer * kParts + part]; }
  bool is_adapted(size_t layer) const { return of(layer, kA) != kNone; }

  // A layer's weight as a product takes it: brought to its kind, or dequantised, for as long as the product needs it.
  at::Tensor weight(size_t layer, at::TensorList tensors, int64_t columns, at::ScalarType kind) const {
    const auto& held = tensors[of(layer, kWeight)];
    if (of(layer, kScales) == kNone) return held.to(kind);
    return nf4::dequantized(held, tensors[of(layer, kScales)], tensors[of(layer, kRanges)], columns, kind);
  }
};

// Linear layers over one input, with their adapters: products only, each sum taken inside of one. The adapters' first
// products are one, over all A at once. A frozen weight of another kind than x is brought to it for its product alone.
struct Linears : Function<Linears> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, at::TensorList tensors, std::vector<int64_t> list,
                               double scale) {
    const Places places{list};
    const auto get = [&](int64_t place) { return place == Places::kNone ? at::Tensor() : tensors[place]; };
    const auto wants = [&](int64_t place) { return place != Places::kNone && tensors[place].requires_grad(); };
    const auto residual = get(places.residual());
    const auto down = joined(places, tensors);
    at::Tensor low;
    if (down.defined()) low = products::product(x, down, Lies::kTurned).mul_(scale);
    variable_list outs;
    bool low_is_wanted = false;
    int64_t from = 0;
    for (size_t layer = 0; layer < places.layers(); ++layer) {
      auto bias = get(places.of(layer, Places::kBias));
      if (bias.defined()) bias = bias.to(x.scalar_type());
      const auto start = residual.defined() && bias.defined() ? residual + bias : residual.defined() ? residual : bias;
      products::Sum out(start);
      out.add(x, places.weight(layer, tensors, x.size(1), x.scalar_type()), Lies::kTurned);
      if (places.is_adapted(layer)) {
        const auto b = get(places.of(layer, Places::kB));
        out.add(low.narrow(1, from, b.size(1)), b, Lies::kTurned);
        from += b.size(1);
      }
      outs.push_back(out.done());
      low_is_wanted |= wants(places.of(layer, Places::kB));
    }
    variable_list saved(tensors.begin(), tensors.end());
    if (places.residual() != Places::kNone) saved[places.residual()] = at::Tensor();
    const bool is_kept = x_is_wanted(places, wants) && !way_to_make(torch::autograd::impl::gradient_edge(x));
    saved.push_back(is_kept ? x : at::Tensor());
    saved.push_back(low_is_wanted ? low : at::Tensor());
    ctx->save_for_backward(saved);
    ctx->saved_data["places"] = list;
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["columns"] = x.size(1);
    return outs;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const auto saved = ctx->get_saved_variables();
    const Places places{ctx->saved_data["places"].toIntVector()};
    const at::TensorList tensors(saved.data(), saved.size() - 2);
    const auto& low = saved[saved.size() - 1];
    const bool for_x = ctx->needs_input_grad(0);
    const auto wanted = [&](int64_t place) { return place != Places::kNone && ctx->needs_input_grad(1 + place); };
    auto x = saved[saved.size() - 2];
    if (!x.defined() && x_is_wanted(places, wanted)) x = input_again();
    variable_list made(tensors.size());
    products::Sum of_x;
    variable_list lows;  // the gradients of the adapters' first products
    bool a_is_wanted = false;
    int64_t from = 0;
    for (size_t layer = 0; layer < places.layers(); ++layer) {
      const int64_t weight = places.of(layer, Places::kWeight), bias = places.of(layer, Places::kBias);
      const int64_t a = places.of(layer, Places::kA), b = places.of(layer, Places::kB);
      const auto& dy = gradients[layer];
      if (for_x) of_x.add(dy, places.weight(layer, tensors, ctx->saved_data["columns"].toInt(), dy.scalar_type()));
      if (wanted(weight)) made[weight] = products::over_rows(dy, x);
      if (wanted(bias)) made[bias] = dy.sum(0);
      if (!places.is_adapted(layer)) continue;
      const int64_t rank = tensors[a].size(0);
      if (wanted(b)) made[b] = products::over_rows(dy, low.narrow(1, from, rank));
      from += rank;
      a_is_wanted |= wanted(a);
      lows.push_back(products::product(dy, tensors[b]));
    }
    if (!lows.empty()) {
      const auto for_low = (lows.size() == 1 ? lows[0] : at::cat(lows, 1)).mul_(scale_of(ctx));
      if (for_x) of_x.add(for_low, joined(places, tensors));
      if (a_is_wanted) give_each_its_rows(places, products::over_rows(for_low, x), tensors, wanted, made);
    }
    if (wanted(places.residual())) made[places.residual()] = gradients[0];
    variable_list all{for_x ? of_x.done() : at::Tensor()};
    all.insert(all.end(), made.begin(), made.end());
    all.resize(all.size() + 2);  // the places and the scale have none
    return all;
  }

 private:
  // Whether a gradient is made with the layers' input.
  template <class Wanted>
  static bool x_is_wanted(const Places& places, Wanted&& wanted) {
    bool is = false;
    for (size_t layer = 0; layer < places.layers(); ++layer) {
      is |= wanted(places.of(layer, Places::kWeight)) || wanted(places.of(layer, Places::kA));
    }
    return is;
  }

  // That input, which the node now on its way back did not keep.
  static at::Tensor input_again() {
    const auto& edge = torch::autograd::get_current_node()->next_edge(0);
    return way_to_make(edge)(*edge.function);
  }

  static double scale_of(AutogradContext* ctx) { return ctx->saved_data["scale"].toDouble(); }

  // All A, one below the other.
  static at::Tensor joined(const Places& places, at::TensorList tensors) {
    variable_list all;
    for (size_t layer = 0; layer < places.layers(); ++layer) {
      if (places.is_adapted(layer)) all.push_back(tensors[places.of(layer, Places::kA)]);
    }
    if (all.empty()) return {};
    return all.size() == 1 ? all[0] : at::cat(all, 0);
  }

  template <class Wanted>
  static void give_each_its_rows(const Places& places, const at::Tensor& of_all, at::TensorList tensors, Wanted&& wanted,
                                 variable_list& made) {
    int64_t row = 0;
    for (size_t layer = 0; layer < places.layers(); ++layer) {
      const int64_t a = places.of(layer, Places::kA);
      if (a == Places::kNone) continue;
      const int64_t rank = tensors[a].size(0);
      if (wanted(a)) made[a] = of_all.narrow(0, row, rank);
      row += rank;
    }
  }
};

}  // namespace

bool nf4::filled_on_cuda(const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& ranges, at::Tensor& out) {
  const auto* half = half_for(out);
  if (half) half->nf4(codes, scales, ranges, out);
  return half != nullptr;
}

extern "C" {

void ltune_use_cuda(const CudaHalf* half) { opened.store(half, std::memory_order_release); }

void ltune_imitate_cuda(const CudaHalf* half) { imitated = half; }

const CudaHalf* ltune_cuda() { return opened.load(std::memory_order_acquire); }

int ltune_serves(Handle x) {
  if (x->scalar_type() != at::kFloat && x->scalar_type() != at::kBFloat16) return 0;
  if (x->is_cpu()) return 1;
  const auto* half = ltune_cuda();
  return half && half->serves(*x);
}

char* ltune_rms_norm(Handle x, Handle weight, double eps, Handle* out) {
  return guarded([&] { *out = new at::Tensor(RmsNorm::apply(*x, *weight, eps)); });
}

char* ltune_add_rms_norm(Handle x, Handle residual, Handle weight, double eps, Handle* sum, Handle* out) {
  return guarded([&] {
    auto made = AddRmsNorm::apply(*x, *residual, *weight, eps);
    *sum = new at::Tensor(std::move(made[0]));
    *out = new at::Tensor(std::move(made[1]));
  });
}

char* ltune_rotate(Handle x, Handle cos, Handle sin, Handle* out) {
  return guarded([&] { *out = new at::Tensor(Rotate::apply(*x, *cos, *sin)); });
}

char* ltune_swiglu(Handle gate, Handle up, Handle* out) {
  return guarded([&] { *out = new at::Tensor(SwiGlu::apply(*gate, *up)); });
}

char* ltune_linears(Handle x, Handle residual, const Handle* layers, size_t count, double scale, Handle* outs) {
  return guarded([&] {
    variable_list tensors;
    std::vector<int64_t> places;
    const auto add = [&](Handle tensor) {
      places.push_back(tensor ? static_cast<int64_t>(tensors.size()) : Places::kNone);
      if (tensor) tensors.push_back(*tensor);
    };
    add(residual);
    for (size_t index = 0; index < count * Places::kParts; ++index) add(layers[index]);
    auto made = Linears::apply(*x, at::TensorList(tensors), places, scale);
    for (size_t index = 0; index < count; ++index) outs[index] = new at::Tensor(std::move(made[index]));
  });
}

char* ltune_loss_to_gradient(Handle logits, Handle targets, double scale, Handle* losses_out) {
  return guarded([&] {
    const int64_t v = last_size(*logits);
    auto made = floats_beside(*logits, {row_count(*logits)});
    *losses_out = new at::Tensor(made);
    if (const auto* half = half_for(*logits)) return half->loss_to_gradient(*logits, *targets, scale, made);
    float* losses = made.data_ptr<float>();
    const Rows rows(*logits, v);
    const int64_t* target = targets->const_data_ptr<int64_t>();
    for_rows(row_count(*logits), v, 1, [&](int64_t row, float* space) {
      float* x = const_cast<float*>(rows.read(row, space));
      losses[row] = loss_to_gradient(x, target[row], v, static_cast<float>(scale));
      rows.wrote(row, x);
    });
  });
}

char* ltune_nf4_on_cuda(Handle codes, Handle scales, Handle ranges, Handle out) {
  return guarded([&] {
    TORCH_CHECK(nf4::filled_on_cuda(*codes, *scales, *ranges, *out), "this kernel is for tensors on a GPU");
  });
}

char* ltune_losses(Handle logits, Handle targets, Handle* losses_out, Handle* are_likeliest_out) {
  return guarded([&] {
    const int64_t v = last_size(*logits);
    auto made = floats_beside(*logits, {row_count(*logits)});
    auto likeliest = at::empty({row_count(*logits)}, logits->options().dtype(at::kLong));
    *losses_out = new at::Tensor(made);
    *are_likeliest_out = new at::Tensor(likeliest);
    if (const auto* half = half_for(*logits)) return half->losses(*logits, *targets, made, likeliest);
    float* losses = made.data_ptr<float>();
    int64_t* are_likeliest = likeliest.data_ptr<int64_t>();
    const Rows rows(*logits, v);
    const int64_t* target = targets->const_data_ptr<int64_t>();
    for_rows(row_count(*logits), v, 1, [&](int64_t row, float* space) {
      losses[row] = loss_of(rows.read(row, space), target[row], v, are_likeliest + row);
    });
  });
}

}  // extern "C"
