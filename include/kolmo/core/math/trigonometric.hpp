#pragma once
// sin and cos.
//
// Of float: the product of the integer mantissa with a window of 96 bits of 2 / pi, modulo four
// quadrants, is exact enough for every float (Payne and Hanek 1983), and has no branch. Of double: the
// standard library's, whose tables for large arguments do not fit into a straight line.

#include <kolmo/core/math/basic.hpp>

namespace kolmo {
namespace detail {

/// The angle r + q pi / 2, |r| <= pi / 4.
template <Real T>
struct Quadrant {
  T r;
  std::uint32_t q;
};

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T sin_of_quadrant(Quadrant<T> at) {
  const T r = at.r;
  const T z = r * r;
  T s, c;
  if constexpr (std::same_as<T, float>) {
    s = polynomial(z, T(-0.166666672), T(0.00833338033), T(-0.000198534733), T(2.83705799e-6));
    c = polynomial(z, T(0.0416666456), T(-0.00138873095), T(2.44324183e-5));
  } else {
    s = polynomial(z, T(-0.16666666666666632), T(0.0083333333333224721), T(-0.00019841269829836471),
                   T(2.7557313697678755e-6), T(-2.5050758548779371e-8), T(1.589680000343699e-10));
    c = polynomial(z, T(0.041666666666666595), T(-0.0013888888888873327), T(2.4801587288985467e-5),
                   T(-2.7557314210688273e-7), T(2.0875704359204692e-9), T(-1.1358687871592487e-11));
  }
  const T sine = r + r * z * s;
  const T cosine = T(1) - (T(0.5) * z - z * z * c);
  // Masks instead of conditions: g++ threads the jumps of dependent conditions and then does not vectorise.
  const T result = blend(BitsOf<T>(0) - (at.q & 1), cosine, sine);
  return from_bits<T>(to_bits(result) ^ (BitsOf<T>(at.q & 2) << (8 * sizeof(T) - 2)));
}

/// All ones if j >= i.
KOLMO_HD KOLMO_INLINE constexpr std::uint64_t reached(std::uint32_t j, std::uint32_t i) {
  return std::uint64_t(0) - std::uint64_t(j >= i);
}

/// 64 bits of the stream made of 32 zeros and the binary places of 2 / pi, from bit 32 j on, j = 0, ..., 6.
KOLMO_HD KOLMO_INLINE constexpr std::uint64_t two_over_pi(std::uint32_t j) {
  // The differences of consecutive values, each masked by whether j has reached it.
  constexpr std::uint64_t v0 = 0x00000000a2f9836eu, v1 = 0xa2f9836e4e441529u, v2 = 0x4e441529fc2757d1u,
                          v3 = 0xfc2757d1f534ddc0u, v4 = 0xf534ddc0db629599u, v5 = 0xdb6295993c439041u,
                          v6 = 0x3c439041fe5163abu;
  return v0 ^ ((v0 ^ v1) & reached(j, 1)) ^ ((v1 ^ v2) & reached(j, 2)) ^ ((v2 ^ v3) & reached(j, 3)) ^
         ((v3 ^ v4) & reached(j, 4)) ^ ((v4 ^ v5) & reached(j, 5)) ^ ((v5 ^ v6) & reached(j, 6));
}

KOLMO_HD KOLMO_INLINE constexpr Quadrant<float> reduce_to_quadrant(float x) {
  const std::uint32_t bits = to_bits(x) & 0x7fffffffu;
  const std::uint64_t mantissa = (bits & 0x7fffffu) | 0x800000u;
  // The first bit of weight below four quadrants; small exponents belong to arguments that need no reduction.
  const std::uint32_t exponent = bits >> 23;
  const std::uint32_t position = (exponent > 120 ? exponent : 120) - 120;
  const std::uint32_t word = position >> 5;
  const std::uint32_t shift = position & 31;
  const std::uint64_t a = two_over_pi(word);
  const std::uint64_t b = two_over_pi(word + 2);
  const std::uint64_t high = (a << shift) | ((b >> 1) >> (63 - shift));
  const std::uint64_t low = (b << shift) >> 32;
  const std::uint64_t turns = mantissa * high + ((mantissa * low) >> 32);
  const std::uint32_t q = std::uint32_t((turns + (std::uint64_t(1) << 61)) >> 62);
  const auto rest = std::int64_t(turns - (std::uint64_t(q) << 62));
  const float r = float(double(rest) * 0x1.921fb54442d18p-62);
  // Odd in x: for negative x both the rest and the number of quadrants change sign.
  const std::uint32_t negative = negative_mask(x);
  const float signed_r = from_bits<float>(to_bits(r) ^ (to_bits(x) & sign_bit<float>()));
  const bool small = bits <= 0x3f490fdbu;
  const std::uint32_t keep = std::uint32_t(small) - 1;
  return {small ? x : signed_r, ((q ^ negative) - negative) & keep};
}

/// cos(2 pi t) for t in [0, 1].
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T cos_of_turns(T t) {
  const T quarters = T(4) * t;
  const T shifted = quarters + rounding_shift<T>();
  const T r = (quarters - (shifted - rounding_shift<T>())) * T(1.5707963267948966192);
  return sin_of_quadrant(Quadrant<T>{r, std::uint32_t(to_bits(shifted)) + 1});
}

}  // namespace detail

// Templates, so that beside the global functions of C, which nvcc declares everywhere, a call is not ambiguous.

template <Real T>
KOLMO_HD KOLMO_INLINE T sin(T x) {
  if constexpr (std::same_as<T, float>) {
    const float result = detail::sin_of_quadrant(detail::reduce_to_quadrant(x));
    return is_finite(x) ? (abs(x) < 0x1p-12f ? x : result) : x - x;
  } else {
    return std::sin(x);
  }
}

template <Real T>
KOLMO_HD KOLMO_INLINE T cos(T x) {
  if constexpr (std::same_as<T, float>) {
    const auto at = detail::reduce_to_quadrant(x);
    const float result = detail::sin_of_quadrant(detail::Quadrant<float>{at.r, at.q + 1});
    return is_finite(x) ? result : x - x;
  } else {
    return std::cos(x);
  }
}

}  // namespace kolmo
