// Cross-entropy of rows of logits, a block for each: one pass finds the largest and the sum together (Milakov and
// Gimelshein, 2018), a second one makes the logits the gradient where they lie.

struct Softmax {
  float largest, sum;
  int64 first;  // where the largest stands first
};

template <class T, int N>
__device__ Softmax softmax_of(const T* x, int width) {
  Place most = {-INFINITE, width};
  float sum = 0.0f;
  for (int i = threadIdx.x * N; i < width; i += blockDim.x * N) {
    const auto pack = load<N>(x + i);
    const float before = most.value;
    for (int j = 0; j < N; ++j) {
      const float value = wide(pack.at[j]);
      if (value > most.value) most = {value, i + j};
    }
    if (most.value > before) sum *= expf(before - most.value);
    for (int j = 0; j < N; ++j) sum += expf(wide(pack.at[j]) - most.value);
  }
  const Place all = block_largest(most);
  const float share = most.value == all.value ? sum : sum * expf(most.value - all.value);
  return {all.value, block_sum(share), all.at};
}

// The loss of each row at its target; the logits become the gradient of `scale` times it: scale · (p - y).
template <class T, int N>
__device__ void loss_to_gradient(T* logits, const int64* targets, float* losses, int width, float scale) {
  T* x = logits + static_cast<int64>(blockIdx.x) * width;
  const int64 target = targets[blockIdx.x];
  const auto softmax = softmax_of<T, N>(x, width);
  if (threadIdx.x == 0) losses[blockIdx.x] = logf(softmax.sum) + softmax.largest - wide(x[target]);
  __syncthreads();  // the target's logit has been read
  const float factor = scale / softmax.sum;
  for (int i = threadIdx.x * N; i < width; i += blockDim.x * N) {
    auto pack = load<N>(x + i);
    for (int j = 0; j < N; ++j) {
      const float share = expf(wide(pack.at[j]) - softmax.largest) * factor;
      narrow(i + j == target ? share - scale : share, pack.at[j]);
    }
    store(x + i, pack);
  }
}

template <class T, int N>
__device__ void losses_of(const T* logits, const int64* targets, float* losses, int64* are_likeliest, int width) {
  const T* x = logits + static_cast<int64>(blockIdx.x) * width;
  const int64 target = targets[blockIdx.x];
  const auto softmax = softmax_of<T, N>(x, width);
  if (threadIdx.x != 0) return;
  losses[blockIdx.x] = logf(softmax.sum) + softmax.largest - wide(x[target]);
  are_likeliest[blockIdx.x] = softmax.first == target;
}

#define LOSS(kind, T, N)                                                                                                  \
  KERNEL loss_to_gradient_##kind##_##N(T* logits, const int64* targets, float* losses, int width, float scale) {          \
    loss_to_gradient<T, N>(logits, targets, losses, width, scale);                                                        \
  }                                                                                                                       \
  KERNEL losses_##kind##_##N(const T* logits, const int64* targets, float* losses, int64* are_likeliest, int width) {     \
    losses_of<T, N>(logits, targets, losses, are_likeliest, width);                                                       \
  }
LOSS(f32, float, 1)
LOSS(f32, float, 4)
LOSS(bf16, bf16, 1)
LOSS(bf16, bf16, 8)
