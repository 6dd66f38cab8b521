// How the kernels of kernels/cuda are launched: which of their forms, over how many blocks, with which arguments. Who
// includes it says what a launch is: the driver in half.cpp, loops on the processor in tests/cuda/emulated.cpp.
#pragma once
#include "half.h"
#include <algorithm>
#include <string>

namespace launches {

struct Grid {
  unsigned x, y = 1;
};

// Runs a kernel over the grid on the device of `on`, in the order of its work. Arguments as the kernel declares them.
void run(const std::string& name, const at::Tensor& on, Grid grid, unsigned threads, void** arguments);

template <class... Arguments>
void launch(const std::string& name, const at::Tensor& on, Grid grid, unsigned threads, Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0) return;
  void* pointers[] = {&arguments...};
  run(name, on, grid, threads, pointers);
}

inline bool is_half(const at::Tensor& x) { return x.scalar_type() == at::kBFloat16; }
inline int64_t width_of(const at::Tensor& x) { return x.size(-1); }
inline int64_t rows_of(const at::Tensor& x) { return x.numel() / std::max<int64_t>(1, x.size(-1)); }
inline void* write(const at::Tensor& x) {
  TORCH_CHECK(x.is_contiguous(), "a row by row tensor is wanted");
  return x.data_ptr();
}
inline const void* read(const at::Tensor& x) { return write(x); }
inline void* write(const at::Tensor* x) { return x ? write(*x) : nullptr; }
inline const void* read(const at::Tensor* x) { return write(x); }

// The form of a kernel for the kind of `x`: with 16 bytes a load where `count` elements and all addresses allow it.
struct Form {
  std::string name;
  int64_t pack;

  template <class... Pointers>
  Form(const char* kernel, const at::Tensor& x, int64_t count, Pointers... pointers) {
    const int64_t most = is_half(x) ? 8 : 4;
    const bool aligned = ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
    pack = aligned && count % most == 0 ? most : 1;
    name = std::string(kernel) + (is_half(x) ? "_bf16_" : "_f32_") + std::to_string(pack);
  }
};

inline int checked_width(int64_t width) {
  TORCH_CHECK(width <= 0x7fffffff / 2, "a row of ", width, " elements is too long");
  return static_cast<int>(width);
}

// Whole warps, one pack a thread where that is possible.
inline unsigned threads_for(int64_t packs, int64_t most) {
  return static_cast<unsigned>(std::clamp<int64_t>((packs + 31) / 32 * 32, 32, most));
}

inline unsigned blocks_for(int64_t count, int64_t together) {
  const int64_t blocks = (count + together - 1) / together;
  TORCH_CHECK(blocks <= 0x7fffffff, "a tensor of ", count, " elements is too large");
  return static_cast<unsigned>(blocks);
}

constexpr int64_t kThreads = 256;

inline void rms_norm(const at::Tensor& x, const at::Tensor* residual, const at::Tensor& weight, double eps, at::Tensor* sum,
                     at::Tensor& y, at::Tensor& factors) {
  const int width = checked_width(width_of(x));
  const void *from = read(x), *more = read(residual), *w = read(weight);
  void *to_sum = write(sum), *to = write(y), *to_factors = write(factors);
  const Form form("rms_norm", x, width, from, more, w, to_sum, to);
  launch(form.name, x, {blocks_for(rows_of(x), 1)}, threads_for(width / form.pack, 1024), from, more, w, to_sum, to,
         to_factors, width, static_cast<float>(eps));
}

inline void rms_norm_gradient(const at::Tensor& dy, const at::Tensor& s, const at::Tensor& weight, const at::Tensor& factors,
                              const at::Tensor* more, at::Tensor& ds) {
  const int width = checked_width(width_of(s));
  const void *gradient = read(dy), *from = read(s), *w = read(weight), *f = read(factors), *other = read(more);
  void* to = write(ds);
  const Form form("rms_norm_gradient", s, width, gradient, from, w, other, to);
  launch(form.name, s, {blocks_for(rows_of(s), 1)}, threads_for(width / form.pack, 1024), gradient, from, w, f, other, to,
         width);
}

inline void rms_norm_weight_gradient(const at::Tensor& dy, const at::Tensor& s, const at::Tensor& factors, int64_t together,
                                     at::Tensor& parts) {
  const int width = checked_width(width_of(s));
  const int64_t rows = rows_of(s);
  const std::string name = is_half(s) ? "rms_norm_weight_gradient_bf16_1" : "rms_norm_weight_gradient_f32_1";
  TORCH_CHECK(parts.size(0) <= 65535, "a norm over ", rows, " rows is too large");
  launch(name, s, {blocks_for(width, kThreads), static_cast<unsigned>(parts.size(0))}, kThreads, read(dy), read(s),
         read(factors), write(parts), static_cast<long long>(rows), width, static_cast<int>(together));
}

// x `[.., positions, heads, k]`, cosines and sines `[positions, .., k / 2]` or with the rows before them.
inline void rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, double direction, at::Tensor& y) {
  const int half = checked_width(width_of(x) / 2), heads = checked_width(x.size(-2));
  const long long positions = cos.numel() / half;
  const void *from = read(x), *c = read(cos), *s = read(sin);
  void* to = write(y);
  const Form form("rotate", x, half, from, c, s, to);
  launch(form.name, x, {blocks_for(x.numel(), static_cast<int64_t>(heads) * half * 2)},
         threads_for(heads * (half / form.pack), kThreads), from, c, s, to, heads, half, positions,
         static_cast<float>(direction));
}

inline void swiglu(const at::Tensor& gate, const at::Tensor& up, at::Tensor& out) {
  const long long count = gate.numel();
  const void *g = read(gate), *u = read(up);
  void* to = write(out);
  const Form form("swiglu", gate, count, g, u, to);
  launch(form.name, gate, {blocks_for(count, kThreads * form.pack)}, kThreads, g, u, to, count);
}

inline void swiglu_gradient(const at::Tensor& gradient, const at::Tensor& gate, const at::Tensor& up, at::Tensor& for_gate,
                            at::Tensor& for_up) {
  const long long count = gate.numel();
  const void *d = read(gradient), *g = read(gate), *u = read(up);
  void *dg = write(for_gate), *du = write(for_up);
  const Form form("swiglu_gradient", gate, count, d, g, u, dg, du);
  launch(form.name, gate, {blocks_for(count, kThreads * form.pack)}, kThreads, d, g, u, dg, du, count);
}

inline void loss_to_gradient(at::Tensor& logits, const at::Tensor& targets, double scale, at::Tensor& losses) {
  const int width = checked_width(width_of(logits));
  void* x = write(logits);
  const Form form("loss_to_gradient", logits, width, x);
  launch(form.name, logits, {blocks_for(rows_of(logits), 1)}, threads_for(width / form.pack, 1024), x, read(targets),
         write(losses), width, static_cast<float>(scale));
}

inline void losses(const at::Tensor& logits, const at::Tensor& targets, at::Tensor& losses, at::Tensor& are_likeliest) {
  const int width = checked_width(width_of(logits));
  const void* x = read(logits);
  const Form form("losses", logits, width, x);
  launch(form.name, logits, {blocks_for(rows_of(logits), 1)}, threads_for(width / form.pack, 1024), x, read(targets),
         write(losses), write(are_likeliest), width);
}

// Codes are two a byte, so that packs hold two numbers at least.
inline void nf4(const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& ranges, at::Tensor& out) {
  const long long count = out.numel(), blocks = (count + 63) / 64, groups = (blocks + 255) / 256;
  TORCH_CHECK(codes.numel() == (count + 1) / 2 && scales.numel() == blocks && ranges.numel() == groups + 1,
              "codes, scales and ranges are of another size than ", count, " numbers");
  const void *from = read(codes), *s = read(scales), *r = read(ranges);
  void* to = write(out);
  Form form("nf4", out, count, from, to);
  if (form.pack == 1) {
    form.pack = 2;
    form.name.back() = '2';
  }
  launch(form.name, out, {blocks_for(count, kThreads * form.pack)}, kThreads, from, s, r, groups, to, count);
}

// A half that computes with these.
constexpr CudaHalf computing(CudaHalf half) {
  half.rms_norm = rms_norm;
  half.rms_norm_gradient = rms_norm_gradient;
  half.rms_norm_weight_gradient = rms_norm_weight_gradient;
  half.rotate = rotate;
  half.swiglu = swiglu;
  half.swiglu_gradient = swiglu_gradient;
  half.loss_to_gradient = loss_to_gradient;
  half.losses = losses;
  half.nf4 = nf4;
  return half;
}

}  // namespace launches
