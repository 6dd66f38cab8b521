// nf4 with double quantisation (Dettmers et al., 2023) back to numbers. Numbers lie in one line of which each has a code of 4
// bits, the first of a byte in its high half, and each 64 a scale. Scales are codes of 8 bits, less their mean: each 256 of
// them share a range, and the mean stands behind the last range. The bits are those of the processor: no two operations
// are joined into one.

__constant__ float kNormalFloat[16] = {NF4_CODE};
__constant__ float kMagnitudes[127] = {NF4_MAGNITUDES};

__device__ inline float of_scale(int code) {
  if (code == 127) return 0.0f;
  if (code == 255) return 1.0f;
  return code > 127 ? kMagnitudes[code - 128] : -kMagnitudes[126 - code];
}

// A thread for each N numbers, which lie in one block of 64; the last number may stand alone.
template <class T, int N>
__device__ void nf4(const unsigned char* codes, const unsigned char* scales, const float* ranges, int64 groups, T* out,
                    int64 count) {
  __shared__ float table[16];  // sixteen banks: however the threads of a warp read it, none waits
  if (threadIdx.x < 16) table[threadIdx.x] = kNormalFloat[threadIdx.x];
  __syncthreads();
  const int64 i = (static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (i >= count) return;
  const int64 block = i / 64;
  const float scale = __fadd_rn(__fmul_rn(of_scale(scales[block]), ranges[block / 256]), ranges[groups]);
  const auto bytes = load<N / 2>(codes + i / 2);
  Pack<T, N> made;
  for (int j = 0; j < N / 2; ++j) {
    narrow(table[bytes.at[j] >> 4] * scale, made.at[2 * j]);
    narrow(table[bytes.at[j] & 15] * scale, made.at[2 * j + 1]);
  }
  if (i + N <= count) {
    store(out + i, made);
  } else {
    out[i] = made.at[0];
  }
}

#define NF4(kind, T, N)                                                                                                   \
  KERNEL nf4_##kind##_##N(const unsigned char* codes, const unsigned char* scales, const float* ranges, int64 groups,     \
                          T* out, int64 count) {                                                                          \
    nf4<T, N>(codes, scales, ranges, groups, out, count);                                                                 \
  }
NF4(f32, float, 2)
NF4(f32, float, 4)
NF4(bf16, bf16, 2)
NF4(bf16, bf16, 8)
