// Weights in nf4 with double quantisation (Dettmers et al., 2023), on the processor: the layout is described in nf4.rs.
//
// A block is computed by one thread in one order, and no two operations are joined into one, so that every processor gets
// the same bits.
#include "nf4.h"

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
// The quantiles of a normal distribution that the 16 codes stand for.
constexpr std::array<float, 16> kCode = {
    -1.0f,      -0.6961928f, -0.52507305f, -0.3949175f, -0.28444138f, -0.18477343f, -0.091050036f, 0.0f,
    0.0795803f, 0.1609302f,  0.2461123f,   0.33791524f, 0.44070983f,  0.562617f,    0.72295684f,   1.0f};
// Where the 256 codes of a scale stand (Dettmers et al., 2021): these below zero, zero, these above it, and one.
constexpr std::array<float, 127> kMagnitudes = {
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
  TORCH_CHECK(codes.device().is_cpu() && codes.is_contiguous(), "codes on the CPU are wanted");
  const int64_t rows = codes.numel() * 2 / columns;
  auto out = at::empty({rows, columns}, codes.options().dtype(kind));
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
