#pragma once
// A vector rounded to bytes or to bfloat16, and how far that moved it: what a bound of the error of screened scores is
// made of (backend/nearest_screen.hpp).

#include <kolmo/backend/nearest_bounds.hpp>
#include <kolmo/core/bfloat16.hpp>
#include <kolmo/core/math/basic.hpp>

namespace kolmo::detail {

/// x~, the vector x as rounded: upper bounds of |x - x~| and |x~|, and the step of the bytes.
struct Rounded {
  float scale = 0;
  float error = 0;
  float norm = 0;
};

typedef float QuantizeLanes __attribute__((vector_size(64)));
typedef std::uint32_t QuantizeWords __attribute__((vector_size(64)));
typedef std::uint8_t QuantizeBytes __attribute__((vector_size(16)));

inline constexpr index_t quantize_width = 16;

/// 16 numbers of x [d] from j on, zeros behind its end.
KOLMO_INLINE void load_lanes(const float* x, index_t j, index_t d, QuantizeLanes& lanes) {
  if (j + quantize_width <= d) {
    __builtin_memcpy(&lanes, x + j, sizeof lanes);
  } else {
    lanes = QuantizeLanes{};
    __builtin_memcpy(&lanes, x + j, static_cast<std::size_t>(d - j) * sizeof(float));
  }
}

/// Folds 16 lanes by sums, or by the larger of two.
template <bool sum>
KOLMO_INLINE float fold_lanes(const QuantizeLanes& lanes) {
  typedef float Eight __attribute__((vector_size(32)));
  typedef float Four __attribute__((vector_size(16)));
  Eight half[2];
  Four quarter[2];
  __builtin_memcpy(half, &lanes, sizeof half);
  half[0] = sum ? half[0] + half[1] : half[0] > half[1] ? half[0] : half[1];
  __builtin_memcpy(quarter, half, sizeof quarter);
  quarter[0] = sum ? quarter[0] + quarter[1] : quarter[0] > quarter[1] ? quarter[0] : quarter[1];
  const Four v = quarter[0];
  return sum ? (v[0] + v[2]) + (v[1] + v[3]) : larger(larger(v[0], v[2]), larger(v[1], v[3]));
}

/// <x, y> in an order of its own.
KOLMO_INLINE float fast_dot(const float* x, const float* y, index_t d) {
  QuantizeLanes sum{};
  index_t j = 0;
  for (; j + quantize_width <= d; j += quantize_width) {
    QuantizeLanes a, b;
    __builtin_memcpy(&a, x + j, sizeof a);
    __builtin_memcpy(&b, y + j, sizeof b);
    sum += a * b;
  }
  if (j < d) {
    QuantizeLanes a, b;
    load_lanes(x, j, d, a);
    load_lanes(y, j, d, b);
    sum += a * b;
  }
  return fold_lanes<true>(sum);
}

/// max |x_j| of finite numbers.
inline float largest_modulus(const float* x, index_t d) {
  QuantizeLanes most{};
  for (index_t j = 0; j < d; j += quantize_width) {
    QuantizeLanes lanes;
    load_lanes(x, j, d, lanes);
    QuantizeWords words;
    __builtin_memcpy(&words, &lanes, sizeof words);
    words &= 0x7fffffffu;
    __builtin_memcpy(&lanes, &words, sizeof lanes);
    most = lanes > most ? lanes : most;
  }
  return fold_lanes<false>(most);
}

/// Writes q[j] = round(x[j] / scale), at most 127 in modulus, as bytes q + offset, `padded` of them, a multiple of 16.
inline Rounded round_to_bytes(const float* x, index_t d, index_t padded, std::uint8_t offset, std::uint8_t* bytes) {
  Rounded result;
  const float most = largest_modulus(x, d), root = sqrt(static_cast<float>(d));
  const bool zero = !(most >= least_modulus);
  const float inverse = zero ? 0.0f : 127.0f / most;
  const float shift = rounding_shift<float>();
  QuantizeLanes errors{}, squares{};
  for (index_t j = 0; j < padded; j += quantize_width) {
    QuantizeLanes lanes{};
    if (j < d) load_lanes(x, j, d, lanes);
    lanes *= inverse;
    const QuantizeLanes shifted = lanes + shift, whole = shifted - shift;
    lanes -= whole;
    errors += lanes * lanes;
    squares += whole * whole;
    QuantizeWords words;
    __builtin_memcpy(&words, &shifted, sizeof words);
    QuantizeBytes narrow;
#if defined(__AVX512F__)
    asm("vpmovdb %1, %0" : "=v"(narrow) : "v"(words));  // compilers take the vector apart
#else
    narrow = __builtin_convertvector(words, QuantizeBytes);
#endif
    narrow += offset;
    __builtin_memcpy(bytes + j, &narrow, sizeof narrow);
  }
  if (zero) {
    result.error = most * root * norm_slack(d);
    return result;
  }
  // x[j] / scale differs from the product with the rounded inverse by at most five roundings of 127.
  result.scale = most / 127.0f;
  result.error = result.scale * (sqrt(fold_lanes<true>(errors)) + 4e-5f * root) * norm_slack(d);
  result.norm = result.scale * sqrt(fold_lanes<true>(squares)) * norm_slack(d);
  return result;
}

/// Writes x[j] as bfloat16, `padded` of them.
inline Rounded round_to_bf16(const float* x, index_t d, index_t padded, BFloat16* rounded) {
  Rounded result;
  const float most = largest_modulus(x, d);
  const bool zero = !(most >= least_modulus);
  if (zero || !(most <= 1e30f)) {
    for (index_t j = 0; j < padded; ++j) rounded[j] = BFloat16();
    result.error = most * sqrt(static_cast<float>(d)) * norm_slack(d);
    return result;
  }
  const float scale = 1.0f / most;  // of the sums alone
  QuantizeLanes errors{}, squares{};
  for (index_t j = 0; j < padded; j += quantize_width) {
    QuantizeLanes lanes{}, back;
    if (j < d) load_lanes(x, j, d, lanes);
    QuantizeWords words;
    __builtin_memcpy(&words, &lanes, sizeof words);
    words += 0x7fffu + ((words >> 16) & 1u);
    words &= 0xffff0000u;
    __builtin_memcpy(&back, &words, sizeof back);
    std::uint32_t bits[quantize_width];
    __builtin_memcpy(bits, &words, sizeof bits);
    for (index_t i = 0; i < smaller(quantize_width, padded - j); ++i)
      rounded[j + i] = BFloat16::from_bits(static_cast<std::uint16_t>(bits[i] >> 16));
    lanes = (lanes - back) * scale;
    back *= scale;
    errors += lanes * lanes;
    squares += back * back;
  }
  // The differences are multiples of at most 2^-9 of their numbers, and scaled they may lose what lies below 2^-126.
  const float slack = norm_slack(d) * most * 1.0001f;
  result.error = (sqrt(fold_lanes<true>(errors)) + 1e-15f * static_cast<float>(d)) * slack;
  result.norm = sqrt(fold_lanes<true>(squares)) * slack;
  result.scale = 1;
  return result;
}

}  // namespace kolmo::detail
