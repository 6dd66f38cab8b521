// RMSNorm (Zhang and Sennrich, 2019): a block for each row, computed in fp32.

// y = s / root(mean(s²) + eps) · w, where s is x, or x + residual, which is then written to `sum`. `factors` keeps 1 / root.
template <class T, int N>
__device__ void rms_norm(const T* x, const T* residual, const float* w, T* sum, T* y, float* factors, int width, float eps) {
  const int64 row = static_cast<int64>(blockIdx.x) * width;
  float square = 0.0f;
  for (int i = threadIdx.x * N; i < width; i += blockDim.x * N) {
    auto s = load<N>(x + row + i);
    if (residual) {
      const auto more = load<N>(residual + row + i);
      for (int j = 0; j < N; ++j) narrow(wide(s.at[j]) + wide(more.at[j]), s.at[j]);
      store(sum + row + i, s);
    }
    for (int j = 0; j < N; ++j) square += wide(s.at[j]) * wide(s.at[j]);
  }
  const float factor = 1.0f / sqrtf(block_sum(square) / static_cast<float>(width) + eps);
  if (threadIdx.x == 0) factors[blockIdx.x] = factor;
  const T* from = residual ? sum : x;  // each thread reads what it has written
  for (int i = threadIdx.x * N; i < width; i += blockDim.x * N) {
    auto s = load<N>(from + row + i);
    const auto weight = load<N>(w + i);
    for (int j = 0; j < N; ++j) narrow(wide(s.at[j]) * factor * weight.at[j], s.at[j]);
    store(y + row + i, s);
  }
}

// The gradient for s, and to it what flows into s from elsewhere, if anything does.
template <class T, int N>
__device__ void rms_norm_gradient(const T* dy, const T* s, const float* w, const float* factors, const T* more, T* ds,
                                  int width) {
  const int64 row = static_cast<int64>(blockIdx.x) * width;
  const float factor = factors[blockIdx.x];
  float along = 0.0f;
  for (int i = threadIdx.x * N; i < width; i += blockDim.x * N) {
    const auto g = load<N>(dy + row + i), x = load<N>(s + row + i);
    const auto weight = load<N>(w + i);
    for (int j = 0; j < N; ++j) along += wide(g.at[j]) * weight.at[j] * wide(x.at[j]);
  }
  const float back = block_sum(along) * factor * factor / static_cast<float>(width);
  for (int i = threadIdx.x * N; i < width; i += blockDim.x * N) {
    const auto g = load<N>(dy + row + i), x = load<N>(s + row + i);
    const auto weight = load<N>(w + i);
    float out[N];
    for (int j = 0; j < N; ++j) out[j] = factor * (wide(g.at[j]) * weight.at[j] - wide(x.at[j]) * back);
    if (more) {
      const auto other = load<N>(more + row + i);
      for (int j = 0; j < N; ++j) out[j] += wide(other.at[j]);
    }
    Pack<T, N> made;
    for (int j = 0; j < N; ++j) narrow(out[j], made.at[j]);
    store(ds + row + i, made);
  }
}

// The gradient for the weight, a thread for each column: the sum over `together` rows for each `blockIdx.y`.
template <class T>
__device__ void rms_norm_weight_gradient(const T* dy, const T* s, const float* factors, float* parts, int64 rows, int width,
                                         int together) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= width) return;
  const int64 first = static_cast<int64>(blockIdx.y) * together;
  const int64 end = first + together < rows ? first + together : rows;
  float sum = 0.0f;
  for (int64 row = first; row < end; ++row) {
    sum += wide(dy[row * width + column]) * wide(s[row * width + column]) * factors[row];
  }
  parts[static_cast<int64>(blockIdx.y) * width + column] = sum;
}

#define RMS_NORM(kind, T, N)                                                                                              \
  KERNEL rms_norm_##kind##_##N(const T* x, const T* residual, const float* w, T* sum, T* y, float* factors, int width,    \
                               float eps) {                                                                               \
    rms_norm<T, N>(x, residual, w, sum, y, factors, width, eps);                                                          \
  }                                                                                                                       \
  KERNEL rms_norm_gradient_##kind##_##N(const T* dy, const T* s, const float* w, const float* factors, const T* more,     \
                                        T* ds, int width) {                                                               \
    rms_norm_gradient<T, N>(dy, s, w, factors, more, ds, width);                                                          \
  }
#define RMS_NORM_WEIGHT(kind, T)                                                                                          \
  KERNEL rms_norm_weight_gradient_##kind##_1(const T* dy, const T* s, const float* factors, float* parts, int64 rows,     \
                                             int width, int together) {                                                   \
    rms_norm_weight_gradient<T>(dy, s, factors, parts, rows, width, together);                                            \
  }
RMS_NORM(f32, float, 1)
RMS_NORM(f32, float, 4)
RMS_NORM(bf16, bf16, 1)
RMS_NORM(bf16, bf16, 8)
RMS_NORM_WEIGHT(f32, float)
RMS_NORM_WEIGHT(bf16, bf16)
