// RoPE (Su et al., 2021): turns the two halves of each head, a block for each position of a row. Turning back, with
// direction -1, is its gradient.

template <class T, int N>
__device__ void rotate(const T* x, const float* cos, const float* sin, T* y, int heads, int half, int64 positions,
                       float direction) {
  const int64 row = static_cast<int64>(blockIdx.x) * heads * half * 2;
  const int64 turn = blockIdx.x % positions * half;
  const int packs = half / N;
  for (int pack = threadIdx.x; pack < heads * packs; pack += blockDim.x) {
    const int i = pack % packs * N;
    const int64 at = row + static_cast<int64>(pack / packs) * half * 2 + i;
    const auto c = load<N>(cos + turn + i), s = load<N>(sin + turn + i);
    auto first = load<N>(x + at), second = load<N>(x + at + half);
    for (int j = 0; j < N; ++j) {
      const float a = wide(first.at[j]), b = wide(second.at[j]), t = s.at[j] * direction;
      narrow(a * c.at[j] - b * t, first.at[j]);
      narrow(b * c.at[j] + a * t, second.at[j]);
    }
    store(y + at, first);
    store(y + at + half, second);
  }
}

#define ROTATE(kind, T, N)                                                                                                \
  KERNEL rotate_##kind##_##N(const T* x, const float* cos, const float* sin, T* y, int heads, int half, int64 positions,  \
                             float direction) {                                                                           \
    rotate<T, N>(x, cos, sin, y, heads, half, positions, direction);                                                      \
  }
ROTATE(f32, float, 1)
ROTATE(f32, float, 4)
ROTATE(bf16, bf16, 1)
ROTATE(bf16, bf16, 8)
