// Blocks of matrices in the layouts that the tile products of libtorch (oneDNN's micro-kernels) read: of bf16 for a processor
// that multiplies it, of fp32 for one with AVX-512. A panel is a block of a right factor, of at most 64 columns. Of bf16 it holds for each
// pair of rows one row of words, each with the two numbers of a column; of fp32 it lies as it is. Tiles are read in whole lines of
// the cache, so all memory of blocks begins at one.
#pragma once
#include <ATen/native/CPUBlas.h>
#include <algorithm>
#include <cstdint>

#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && __GNUC__ >= 12
#include <immintrin.h>
#define WITH_TILES 1
// All that runs where there are tiles may take what came before them.
#define FOR_TILES __attribute__((target("arch=x86-64-v4")))

namespace tiles {

// Of bf16, by AMX or by AVX-512's products of pairs: on an AMD those take half the time of fp32, on an Intel twice as much.
inline bool are_there() {
  const auto multiplies_pairs = [] { return __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512bf16"); };
  static const bool are = __builtin_cpu_supports("amx-bf16") || multiplies_pairs();
  return are;
}

// Of fp32, by AVX-512.
inline bool are_there_for_floats() {
  static const bool are = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return are;
}

// Whether those are the fastest: 117 of 118 GFLOP/s a core of an AMD (Zen 4), where oneDNN's own products reach 100 and MKL's less.
// On an Intel they are as fast as MKL's.
inline bool multiply_floats() {
  static const bool are = are_there_for_floats() && __builtin_cpu_is("amd");
  return are;
}

struct alignas(64) Line {
  uint16_t numbers[32];
};

template <class Number>
struct Rows {
  const Number* data;
  int64_t stride;
};

// sums (+)= left `[m, k]` · panel `[k, n]`
inline void multiply(int64_t m, int64_t n, int64_t k, const uint16_t* left, int64_t left_stride, const void* panel, int64_t panel_stride,
                     float* sums, int64_t stride, bool adds) {
  const auto as_bf16 = [](const void* data) { return static_cast<const at::BFloat16*>(data); };
  at::native::cpublas::brgemm(m, n, k, left_stride, panel_stride, stride, adds, as_bf16(left), as_bf16(panel), sums);
}
inline void multiply(int64_t m, int64_t n, int64_t k, const float* left, int64_t left_stride, const void* panel, int64_t panel_stride,
                     float* sums, int64_t stride, bool adds) {
  const auto* floats = static_cast<const float*>(panel);
  at::native::cpublas::brgemm(m, n, k, left_stride, panel_stride, stride, adds, left, floats, sums, false);
}

// At the end of a thread's part: whoever multiplies next finds tiles as the system gave them.
inline void release() { at::native::cpublas::brgemm_release(); }

// Turns 16 rows of 16 words into columns.
FOR_TILES inline void turn(__m512i* rows) {
  __m512i other[16];
  for (int i = 0; i < 16; i += 2) {
    other[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    other[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int j = 0; j < 2; ++j) {
      rows[i + 2 * j] = _mm512_unpacklo_epi64(other[i + j], other[i + j + 2]);
      rows[i + 2 * j + 1] = _mm512_unpackhi_epi64(other[i + j], other[i + j + 2]);
    }
  }
  for (int i = 0; i < 4; ++i) {
    const auto low = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88), low_odd = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
    const auto high = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
    const auto high_odd = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
    other[i] = _mm512_shuffle_i32x4(low, high, 0x88);
    other[i + 8] = _mm512_shuffle_i32x4(low, high, 0xdd);
    other[i + 4] = _mm512_shuffle_i32x4(low_odd, high_odd, 0x88);
    other[i + 12] = _mm512_shuffle_i32x4(low_odd, high_odd, 0xdd);
  }
  for (int i = 0; i < 16; ++i) rows[i] = other[i];
}

// Sixteen words of the numbers of two rows.
FOR_TILES inline __m512i paired(__m256i first, __m256i second) {
  const auto low = _mm512_cvtepu16_epi32(first), high = _mm512_cvtepu16_epi32(second);
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

// The mask of so many of sixteen.
inline __mmask16 first_of(int64_t count) { return static_cast<__mmask16>((1u << std::clamp<int64_t>(count, 0, 16)) - 1); }

FOR_TILES inline __m256i sixteen(const uint16_t* from, int64_t count) { return _mm256_maskz_loadu_epi16(first_of(count), from); }

FOR_TILES inline __m512i sixteen(const float* from, int64_t count) {
  return _mm512_castps_si512(_mm512_maskz_loadu_ps(first_of(count), from));
}

// What is read soon is fetched now: one row lies far from the next.
template <class Number>
FOR_TILES inline void fetch(const Rows<Number>& from, int64_t row, int64_t rows, int64_t width) {
  constexpr int64_t line = 64 / sizeof(Number);
  if (row >= rows) return;
  for (int64_t at = 0; at < width; at += line) _mm_prefetch(from.data + row * from.stride + at, _MM_HINT_T0);
}

// Rows `[depth, columns]` as a panel of `[reach, width]`; what is beyond them is zero.
FOR_TILES inline void pack_plain(Rows<uint16_t> from, int64_t depth, int64_t reach, int64_t columns, int64_t width, uint16_t* panel) {
  for (int64_t k = 0; k < reach; k += 2, panel += 2 * width) {
    const auto* row = from.data + k * from.stride;
    fetch(from, k + 16, depth, width);
    fetch(from, k + 17, depth, width);
    for (int64_t at = 0; at < width; at += 16) {
      const auto first = sixteen(row + at, k < depth ? columns - at : 0);
      const auto second = sixteen(row + from.stride + at, k + 1 < depth ? columns - at : 0);
      _mm512_storeu_si512(panel + 2 * at, paired(first, second));
    }
  }
}
FOR_TILES inline void pack_plain(Rows<float> from, int64_t depth, int64_t reach, int64_t columns, int64_t width, float* panel) {
  for (int64_t k = 0; k < reach; ++k, panel += width) {
    fetch(from, k + 8, depth, width);
    for (int64_t at = 0; at < width; at += 16) {
      _mm512_storeu_si512(panel + at, sixteen(from.data + k * from.stride + at, k < depth ? columns - at : 0));
    }
  }
}

// Columns that lie as rows `[columns, depth]`, as a panel of `[reach, width]`.
FOR_TILES inline void pack_turned(Rows<uint16_t> from, int64_t depth, int64_t reach, int64_t columns, int64_t width, uint16_t* panel) {
  for (int64_t at = 0; at < width; at += 16) {
    for (int64_t k = 0; k < reach; k += 32) {
      const int64_t numbers = std::clamp<int64_t>(depth - k, 0, 32);
      const auto those = static_cast<__mmask32>((uint64_t{1} << numbers) - 1);
      __m512i rows[16];
      for (int64_t row = 0; row < 16; ++row) {
        const bool is_there = at + row < columns;
        rows[row] = is_there ? _mm512_maskz_loadu_epi16(those, from.data + (at + row) * from.stride + k) : _mm512_setzero_si512();
      }
      turn(rows);
      const int64_t pairs = std::min<int64_t>(16, (reach - k) / 2);
      for (int64_t pair = 0; pair < pairs; ++pair) _mm512_storeu_si512(panel + ((k / 2 + pair) * width + at) * 2, rows[pair]);
    }
  }
}

// Of rows `[rows, columns]` the columns from one to another as rows of `[columns, stride]`, of which `reach` numbers are written, of
// bf16 a whole number of 32, of fp32 of 16.
FOR_TILES inline void turn_columns(Rows<uint16_t> from, int64_t rows, int64_t reach, int64_t columns, int64_t first, int64_t last,
                                   uint16_t* to, int64_t stride) {
  for (int64_t at = first; at < last; at += 16) {
    for (int64_t k = 0; k < reach; k += 32) {
      __m512i words[16];
      for (int64_t pair = 0; pair < 16; ++pair) {
        const int64_t row = k + 2 * pair;
        const auto* numbers = from.data + row * from.stride + at;
        const auto upper = sixteen(numbers, row < rows ? columns - at : 0);
        words[pair] = paired(upper, sixteen(numbers + from.stride, row + 1 < rows ? columns - at : 0));
      }
      turn(words);
      const int64_t there = std::min<int64_t>(16, last - at);
      for (int64_t column = 0; column < there; ++column) _mm512_storeu_si512(to + (at + column) * stride + k, words[column]);
    }
  }
}
FOR_TILES inline void turn_columns(Rows<float> from, int64_t rows, int64_t reach, int64_t columns, int64_t first, int64_t last, float* to,
                                   int64_t stride) {
  for (int64_t at = first; at < last; at += 16) {
    for (int64_t k = 0; k < reach; k += 16) {
      __m512i words[16];
      for (int64_t row = 0; row < 16; ++row) {
        words[row] = sixteen(from.data + (k + row) * from.stride + at, k + row < rows ? columns - at : 0);
      }
      turn(words);
      const int64_t there = std::min<int64_t>(16, last - at);
      for (int64_t column = 0; column < there; ++column) _mm512_storeu_si512(to + (at + column) * stride + k, words[column]);
    }
  }
}

// Of fp32 that is all there is to it.
FOR_TILES inline void pack_turned(Rows<float> from, int64_t depth, int64_t reach, int64_t columns, int64_t width, float* panel) {
  turn_columns(from, columns, width, depth, 0, reach, panel, width);
}

// To the nearest bf16, ties to even; what is not a number stays one.
FOR_TILES inline __m256i rounded(__m512 sums) {
  const auto bits = _mm512_castps_si512(sums);
  const auto odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const auto nearest = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const auto is_none = _mm512_cmp_ps_mask(sums, sums, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(nearest, is_none, _mm512_set1_epi32(0x7fc0)));
}

// So many of sixteen numbers, as fp32 and from it.
FOR_TILES inline __m512 floats(const uint16_t* from, int64_t count = 16) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(sixteen(from, count)), 16));
}
FOR_TILES inline __m512 floats(const float* from, int64_t count = 16) { return _mm512_castsi512_ps(sixteen(from, count)); }
FOR_TILES inline void give(uint16_t* to, __m512 sums, int64_t count = 16) {
  _mm256_mask_storeu_epi16(to, first_of(count), rounded(sums));
}
FOR_TILES inline void give(float* to, __m512 sums, int64_t count = 16) { _mm512_mask_storeu_ps(to, first_of(count), sums); }

}  // namespace tiles

#endif
