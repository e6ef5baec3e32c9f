#pragma once
// A vector rounded to bytes or to bfloat16, and how far that moved it: what a bound of the error of screened scores is
// made of (backend/nearest_screen.hpp).

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

KOLMO_INLINE float sum_of_lanes(const QuantizeLanes& lanes) {
  float values[quantize_width];
  __builtin_memcpy(values, &lanes, sizeof values);
  for (int half = quantize_width / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) values[i] += values[i + half];
  return values[0];
}

/// max |x_j|; infinite or NaN input gives either.
inline float largest_modulus(const float* x, index_t d) {
  QuantizeWords most{};
  for (index_t j = 0; j < d; j += quantize_width) {
    QuantizeLanes lanes;
    load_lanes(x, j, d, lanes);
    QuantizeWords words;
    __builtin_memcpy(&words, &lanes, sizeof words);
    words &= 0x7fffffffu;  // moduli are ordered as their bits
    most = words > most ? words : most;
  }
  std::uint32_t values[quantize_width], result = 0;
  __builtin_memcpy(values, &most, sizeof values);
  for (const std::uint32_t v : values) result = larger(result, v);
  return from_bits<float>(result);
}

/// Below this a vector is taken as zero, which its bound says; sums of squares of others neither vanish nor overflow.
inline constexpr float least_modulus = 1e-30f;

/// Factor on sums of d squares in float and their root that makes them upper bounds.
inline float norm_slack(index_t d) { return 1.00001f + 1.2e-7f * static_cast<float>(d); }

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
    QuantizeBytes narrow = __builtin_convertvector(words, QuantizeBytes) + offset;
    __builtin_memcpy(bytes + j, &narrow, sizeof narrow);
  }
  if (zero) {
    result.error = most * root * norm_slack(d);
    return result;
  }
  // x[j] / scale differs from the product with the rounded inverse by at most five roundings of 127.
  result.scale = most / 127.0f;
  result.error = result.scale * (sqrt(sum_of_lanes(errors)) + 4e-5f * root) * norm_slack(d);
  result.norm = result.scale * sqrt(sum_of_lanes(squares)) * norm_slack(d);
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
  result.error = (sqrt(sum_of_lanes(errors)) + 1e-15f * static_cast<float>(d)) * slack;
  result.norm = sqrt(sum_of_lanes(squares)) * slack;
  result.scale = 1;
  return result;
}

}  // namespace kolmo::detail
