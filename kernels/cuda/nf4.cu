// nf4 with double quantisation (Dettmers et al., 2023) back to numbers. Numbers lie in one line of which each has a code of 4
// bits, the first of a byte in its high half, and each 64 a scale. Scales are codes of 8 bits, less their mean: each 256 of
// them share a range, and the mean stands behind the last range. The bits are those of the processor: no two operations
// are joined into one.

__constant__ float kNormalFloat[16] = {-1.0f,      -0.6961928f, -0.52507305f, -0.3949175f, -0.28444138f, -0.18477343f,
                                       -0.091050036f, 0.0f,      0.0795803f,   0.1609302f,  0.2461123f,   0.33791524f,
                                       0.44070983f,   0.562617f, 0.72295684f,  1.0f};

// What the codes of a scale stand for above zero (Dettmers et al., 2021); below it the same with a minus; the last is one.
__constant__ float kMagnitudes[127] = {
    5.5000004e-07f, 3.2500002e-06f, 7.75e-06f, 2.1249998e-05f, 4.375e-05f, 6.625e-05f, 8.875e-05f, 0.00015625001f,
    0.00026875004f, 0.00038125002f, 0.00049375003f, 0.0006062501f, 0.00071875006f, 0.00083125f, 0.0009437501f,
    0.0012812499f, 0.00184375f, 0.00240625f, 0.00296875f, 0.0035312497f, 0.00409375f, 0.0046562497f, 0.0052187503f,
    0.00578125f, 0.00634375f, 0.00690625f, 0.00746875f, 0.00803125f, 0.00859375f, 0.009156249f, 0.00971875f,
    0.01140625f, 0.01421875f, 0.01703125f, 0.019843752f, 0.02265625f, 0.02546875f, 0.028281251f, 0.03109375f,
    0.03390625f, 0.036718752f, 0.03953125f, 0.042343747f, 0.04515625f, 0.04796875f, 0.05078125f, 0.05359375f,
    0.05640625f, 0.059218753f, 0.06203125f, 0.06484375f, 0.067656256f, 0.070468746f, 0.07328125f, 0.07609375f,
    0.07890625f, 0.08171876f, 0.08453125f, 0.08734375f, 0.09015625f, 0.092968754f, 0.09578126f, 0.09859375f,
    0.107031256f, 0.12109375f, 0.13515624f, 0.14921875f, 0.16328125f, 0.17734376f, 0.19140625f, 0.20546874f,
    0.21953125f, 0.23359375f, 0.24765624f, 0.26171875f, 0.27578127f, 0.28984374f, 0.30390626f, 0.31796873f,
    0.33203125f, 0.34609374f, 0.36015624f, 0.37421876f, 0.38828123f, 0.40234375f, 0.41640624f, 0.43046874f,
    0.44453126f, 0.45859373f, 0.47265625f, 0.4867187f, 0.50078124f, 0.5148437f, 0.5289062f, 0.54296875f, 0.5570313f,
    0.5710938f, 0.58515626f, 0.5992187f, 0.61328125f, 0.6273438f, 0.6414063f, 0.65546876f, 0.6695312f, 0.68359375f,
    0.6976563f, 0.7117188f, 0.72578126f, 0.7398437f, 0.75390625f, 0.7679688f, 0.78203124f, 0.79609376f, 0.8101562f,
    0.82421875f, 0.8382813f, 0.85234374f, 0.86640626f, 0.8804687f, 0.89453125f, 0.9085938f, 0.92265624f, 0.93671876f,
    0.9507812f, 0.96484375f, 0.9789063f, 0.99296874f};

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
