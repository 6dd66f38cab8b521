// What the kernels share. All files of this folder are one program, in the order of src/torch/cuda.rs; NVRTC compiles it
// with no header at all, and tests/cuda/emulated.cpp as plain C++. Sums are taken in a fixed order: no float atomics.
using int64 = long long;

#define KERNEL extern "C" __global__ void
#define WHOLE_WARP 0xffffffffu

struct bf16 {
  unsigned short bits;
};

// So many elements side by side: 16 bytes are one load. With one element any width and any address will do.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
};

template <int N, class T>
__device__ inline Pack<T, N> load(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <class T, int N>
__device__ inline void store(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

__device__ inline float wide(float x) { return x; }
__device__ inline float wide(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }

// Rounds to the nearest, ties to even; what is not a number stays one.
__device__ inline void narrow(float x, float& to) { to = x; }
__device__ inline void narrow(float x, bf16& to) {
  const unsigned bits = __float_as_uint(x);
  const unsigned rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  to.bits = static_cast<unsigned short>((bits & 0x7fffffffu) <= 0x7f800000u ? rounded : 0x7fc0u);
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// The sum over a block of whole warps, the same in every thread.
__device__ inline float block_sum(float x) {
  __shared__ float of_warp[32];
  for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(WHOLE_WARP, x, lane);
  __syncthreads();  // an earlier sum has been read
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  x = threadIdx.x % 32 < blockDim.x / 32 ? of_warp[threadIdx.x % 32] : 0.0f;
  for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(WHOLE_WARP, x, lane);
  return x;
}

// A number and where it stands.
struct Place {
  float value;
  int64 at;
};

__device__ inline Place larger(Place a, Place b) {
  return b.value > a.value || (b.value == a.value && b.at < a.at) ? b : a;
}

__device__ inline Place largest_of_warp(Place x) {
  for (int lane = 16; lane > 0; lane /= 2) {
    const Place other = {__shfl_xor_sync(WHOLE_WARP, x.value, lane), __shfl_xor_sync(WHOLE_WARP, x.at, lane)};
    x = larger(x, other);
  }
  return x;
}

// The largest over a block and the first place that holds it, the same in every thread.
__device__ inline Place block_largest(Place x) {
  __shared__ Place of_warp[32];
  x = largest_of_warp(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  return largest_of_warp(of_warp[threadIdx.x % 32 < blockDim.x / 32 ? threadIdx.x % 32 : 0]);
}

#define INFINITE __uint_as_float(0x7f800000u)
