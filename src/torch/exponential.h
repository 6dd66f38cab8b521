// exp, and the largest number that it is taken from, in operations that vectorise.
#pragma once
#include <cstdint>
#include <limits>

#define INLINE static inline __attribute__((always_inline))

INLINE float between(float least, float x, float most) { return x < least ? least : x > most ? most : x; }

INLINE float largest_among(const float* x, int64_t count) {
  float largest = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

// To about one unit in the last place (the polynomial of Cephes' expf); of -87 to 88.
INLINE float exponential_within(float x) {
  constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves whole numbers
  const float shifted = x * 1.44269504088896341f + round;
  const float whole = shifted - round;
  const float r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float y = p * r * r + r + 1.0f;
  const int power = (__builtin_bit_cast(int, shifted) - __builtin_bit_cast(int, round) + 127) << 23;
  return y * __builtin_bit_cast(float, power);
}
