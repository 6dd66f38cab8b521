// Weights in nf4 with double quantisation (Dettmers et al., 2023), on the processor: the layout is described in nf4.rs.
//
// A block is computed by one thread in one order, and no two operations are joined into one, so that every processor gets
// the same bits.
#include "nf4.h"

#include "../../kernels/cuda/nf4_values.cu"
#include "guarded.h"
#include "shim.h"
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <algorithm>
#include <array>
#include <cmath>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#endif

namespace {

constexpr int64_t kBlock = 64;
constexpr int64_t kGroup = 256;
constexpr std::array<float, 16> kCode = {NF4_CODE};
constexpr std::array<float, 127> kMagnitudes = {NF4_MAGNITUDES};

constexpr std::array<float, 256> made_map() {
  std::array<float, 256> map{};
  for (int i = 0; i < 127; ++i) {
    map[126 - i] = -kMagnitudes[i];
    map[128 + i] = kMagnitudes[i];
  }
  map[127] = 0.0f;
  map[255] = 1.0f;
  return map;
}
constexpr auto kMap = made_map();

// What lies halfway between neighbours.
template <size_t N>
constexpr std::array<float, N - 1> made_bounds(const std::array<float, N>& values) {
  std::array<float, N - 1> bounds{};
  for (size_t i = 0; i + 1 < N; ++i) bounds[i] = (values[i] + values[i + 1]) / 2.0f;
  return bounds;
}
constexpr auto kCodeBounds = made_bounds(kCode);
constexpr auto kMapBounds = made_bounds(kMap);

int64_t parts(int64_t count, int64_t of) { return (count + of - 1) / of; }

float largest_of(const float* x, int64_t count) {
  float largest = 0.0f;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(x[i]));
  return largest;
}

// What brings the numbers of a block into -1 to 1.
float inverse_of(float largest) { return 1.0f / std::max(largest, 1e-38f); }

float clamped(float x) { return std::min(1.0f, std::max(-1.0f, x)); }

uint8_t code_of(float x) {
  int code = 0;
  for (const float bound : kCodeBounds) code += x > bound;
  return static_cast<uint8_t>(code);
}

uint8_t scale_code_of(float x) {
  return static_cast<uint8_t>(std::lower_bound(kMapBounds.begin(), kMapBounds.end(), x) - kMapBounds.begin());
}

// The largest magnitude of each block as 8-bit codes: less their mean, in groups that share a range.
void quantize_scales(const std::vector<float>& largest, uint8_t* scales, float* ranges) {
  const int64_t blocks = static_cast<int64_t>(largest.size()), groups = parts(blocks, kGroup);
  double sum = 0.0;
  for (const float one : largest) sum += one;
  const float mean = static_cast<float>(sum / static_cast<double>(blocks));
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t begin = group * kGroup, end = std::min(blocks, begin + kGroup);
    float range = 0.0f;
    for (int64_t block = begin; block < end; ++block) range = std::max(range, std::fabs(largest[block] - mean));
    ranges[group] = range;
    for (int64_t block = begin; block < end; ++block) {
      scales[block] = scale_code_of(clamped((largest[block] - mean) * inverse_of(range)));
    }
  }
  ranges[groups] = mean;
}

void quantize(const at::Tensor& weight, const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& ranges) {
  const int64_t count = weight.numel(), blocks = parts(count, kBlock);
  TORCH_CHECK(weight.is_contiguous() && weight.scalar_type() == at::kFloat && count > 0, "rows of fp32 are wanted");
  TORCH_CHECK(codes.numel() == parts(count, 2) && scales.numel() == blocks && ranges.numel() == parts(blocks, kGroup) + 1,
              "codes, scales and ranges are of another size");
  const float* from = weight.const_data_ptr<float>();
  uint8_t* to = codes.mutable_data_ptr<uint8_t>();
  std::vector<float> largest(blocks);
  at::parallel_for(0, blocks, 64, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const float* x = from + block * kBlock;
      const int64_t length = std::min(kBlock, count - block * kBlock);
      largest[block] = largest_of(x, length);
      const float inverse = inverse_of(largest[block]);
      uint8_t q[kBlock + 1] = {};
      for (int64_t i = 0; i < length; ++i) q[i] = code_of(clamped(x[i] * inverse));
      uint8_t* packed = to + block * (kBlock / 2);
      for (int64_t i = 0; i < length; i += 2) packed[i / 2] = static_cast<uint8_t>(q[i] << 4 | q[i + 1]);
    }
  });
  quantize_scales(largest, scales.mutable_data_ptr<uint8_t>(), ranges.mutable_data_ptr<float>());
}

void dequantize_block(const uint8_t* packed, float scale, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const int code = i % 2 == 0 ? packed[i / 2] >> 4 : packed[i / 2] & 15;
    to[i] = kCode[code] * scale;
  }
}

#if defined(__x86_64__) && defined(__GNUC__)
// The same for a whole block: sixteen codes at a time are looked up in a register.
__attribute__((target("avx512f,avx512vl"))) void dequantize_wide(const uint8_t* packed, float scale, float* to) {
  const __m512 table = _mm512_mul_ps(_mm512_loadu_ps(kCode.data()), _mm512_set1_ps(scale));
  const __m128i low_bits = _mm_set1_epi8(15);
  for (int64_t i = 0; i < kBlock; i += 16) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(packed + i / 2));
    const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), low_bits), low = _mm_and_si128(bytes, low_bits);
    const __m512i codes = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(high, low));
    _mm512_storeu_ps(to + i, _mm512_permutexvar_ps(codes, table));
  }
}
const bool kIsWide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
#else
void dequantize_wide(const uint8_t* packed, float scale, float* to) { dequantize_block(packed, scale, to, kBlock); }
const bool kIsWide = false;
#endif

template <class Number>
void dequantize(const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& ranges, int64_t count, Number* to) {
  const uint8_t *packed = codes.const_data_ptr<uint8_t>(), *scale_codes = scales.const_data_ptr<uint8_t>();
  const float* range = ranges.const_data_ptr<float>();
  const float mean = range[ranges.numel() - 1];
  at::parallel_for(0, scales.numel(), 256, [&](int64_t begin, int64_t end) {
    float space[kBlock];
    for (int64_t block = begin; block < end; ++block) {
      const float scale = kMap[scale_codes[block]] * range[block / kGroup] + mean;
      const int64_t length = std::min(kBlock, count - block * kBlock);
      float* floats;
      if constexpr (std::is_same_v<Number, float>) {
        floats = to + block * kBlock;
      } else {
        floats = space;
      }
      if (kIsWide && length == kBlock) {
        dequantize_wide(packed + block * (kBlock / 2), scale, floats);
      } else {
        dequantize_block(packed + block * (kBlock / 2), scale, floats, length);
      }
      if constexpr (!std::is_same_v<Number, float>) {
        for (int64_t i = 0; i < length; ++i) to[block * kBlock + i] = static_cast<Number>(space[i]);
      }
    }
  });
}

}  // namespace

namespace nf4 {

at::Tensor dequantized(const at::Tensor& codes, const at::Tensor& scales, const at::Tensor& ranges, int64_t columns,
                       at::ScalarType kind) {
  TORCH_CHECK(codes.is_contiguous(), "codes in one piece are wanted");
  const int64_t rows = codes.numel() * 2 / columns;
  auto out = at::empty({rows, columns}, codes.options().dtype(kind));
  if (filled_on_cuda(codes, scales, ranges, out)) return out;
  if (kind == at::kFloat) {
    dequantize(codes, scales, ranges, rows * columns, out.mutable_data_ptr<float>());
  } else {
    TORCH_CHECK(kind == at::kBFloat16, "fp32 or bf16 is wanted, not ", kind);
    dequantize(codes, scales, ranges, rows * columns, out.mutable_data_ptr<at::BFloat16>());
  }
  return out;
}

}  // namespace nf4

extern "C" {

char* ltune_nf4_quantize(Handle weight, Handle codes, Handle scales, Handle ranges) {
  return guarded([&] { quantize(*weight, *codes, *scales, *ranges); });
}

char* ltune_nf4_dequantize(Handle codes, Handle scales, Handle ranges, int64_t columns, int bf16, Handle* out) {
  return guarded([&] {
    const auto kind = bf16 ? at::kBFloat16 : at::kFloat;
    *out = new at::Tensor(nf4::dequantized(*codes, *scales, *ranges, columns, kind));
  });
}

void ltune_nf4_tables(const float** code, const float** map) {
  *code = kCode.data();
  *map = kMap.data();
}

}  // extern "C"
