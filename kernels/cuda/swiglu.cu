// SwiGLU without its products (Shazeer, 2020): silu(gate) · up, and both gradients in one pass. A thread for each pack.

template <class T, int N>
__device__ void swiglu(const T* gate, const T* up, T* out, int64 count) {
  const int64 i = (static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (i >= count) return;
  const auto g = load<N>(gate + i), u = load<N>(up + i);
  Pack<T, N> made;
  for (int j = 0; j < N; ++j) {
    const float x = wide(g.at[j]);
    narrow(x * sigmoid(x) * wide(u.at[j]), made.at[j]);
  }
  store(out + i, made);
}

template <class T, int N>
__device__ void swiglu_gradient(const T* gradient, const T* gate, const T* up, T* for_gate, T* for_up, int64 count) {
  const int64 i = (static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (i >= count) return;
  const auto d = load<N>(gradient + i), g = load<N>(gate + i), u = load<N>(up + i);
  Pack<T, N> dg, du;
  for (int j = 0; j < N; ++j) {
    const float x = wide(g.at[j]), s = sigmoid(x), active = x * s, flow = wide(d.at[j]);
    narrow(flow * wide(u.at[j]) * (s + active * (1.0f - s)), dg.at[j]);
    narrow(flow * active, du.at[j]);
  }
  store(for_gate + i, dg);
  store(for_up + i, du);
}

#define SWIGLU(kind, T, N)                                                                                                \
  KERNEL swiglu_##kind##_##N(const T* gate, const T* up, T* out, int64 count) { swiglu<T, N>(gate, up, out, count); }     \
  KERNEL swiglu_gradient_##kind##_##N(const T* gradient, const T* gate, const T* up, T* for_gate, T* for_up,              \
                                      int64 count) {                                                                      \
    swiglu_gradient<T, N>(gradient, gate, up, for_gate, for_up, count);                                                   \
  }
SWIGLU(f32, float, 1)
SWIGLU(f32, float, 4)
SWIGLU(bf16, bf16, 1)
SWIGLU(bf16, bf16, 8)
