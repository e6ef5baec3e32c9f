#pragma once
// exp, expm1, tanh and sigmoid.
//
// x = k ln 2 + r with |r| <= ln(2) / 2, exp(x) = 2^k (1 + r + r^2 P(r)) with P a minimax polynomial.
// ln 2 is subtracted in two parts, the product of the first with k being exact.

#include <kolmo/core/math/basic.hpp>

namespace kolmo {
namespace detail {

/// exp(x) = 2^k (1 + tail).
template <Real T>
struct ExpParts {
  SignedBitsOf<T> k;
  T tail;
};

/// P(r) in exp(r) = 1 + r + r^2 P(r).
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T exp_polynomial(T r) {
  if constexpr (std::same_as<T, float>)
    return polynomial(r, T(0.5), T(0.166665435), T(0.0416666083), T(0.00836655218), T(0.0013921347));
  else
    return polynomial(r, T(0.5), T(0.16666666666666677), T(0.041666666666666664), T(0.0083333333333210722),
                      T(0.0013888888888886112), T(0.00019841269888226982), T(2.4801587317971009e-5),
                      T(2.755724152586412e-6), T(2.7557282636175693e-7), T(2.5110140754907761e-8),
                      T(2.0911148197194408e-9));
}

/// ln 2 in two parts. The first has 9 and 32 bits: times a k of 9 and 12 bits exact.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T ln2_high() {
  return std::same_as<T, float> ? T(0x1.63p-1) : T(0x1.62e42feep-1);
}
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T ln2_low() {
  return std::same_as<T, float> ? T(-0x1.bd0106p-13) : T(0x1.a39ef35793c76p-33);
}

/// The k of a number that was rounded to an integer by adding the rounding shift.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr SignedBitsOf<T> integer_of_shifted(T shifted) {
  return SignedBitsOf<T>(to_bits(shifted) - to_bits(rounding_shift<T>()));
}

/// For |x| up to some thousands.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr ExpParts<T> exp_parts(T x) {
  const T shifted = x * T(1.4426950408889634074) + rounding_shift<T>();
  const T n = shifted - rounding_shift<T>();
  const T r = (x - n * ln2_high<T>()) - n * ln2_low<T>();
  return {integer_of_shifted(shifted), r + r * r * exp_polynomial(r)};
}

/// The parts of exp(x + x_low), |x_low| < 1, with r to twice the precision.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr ExpParts<T> exp_parts_corrected(T x, T x_low) {
  const T shifted = (x + x_low) * T(1.4426950408889634074) + rounding_shift<T>();
  const T n = shifted - rounding_shift<T>();
  const T high = x - n * ln2_high<T>();
  const T low = n * ln2_low<T>() - x_low;
  const T r = high - low;
  // Either of the two may be the larger.
  const T back = r - high;
  const T r_low = (high - (r - back)) - (low + back);
  return {integer_of_shifted(shifted), r + (r * r * exp_polynomial(r) + r_low)};
}

/// x 2^k in two exact steps and one rounding, so that results may be denormal or overflow.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T scale(T x, SignedBitsOf<T> k) {
  const SignedBitsOf<T> half = k >> 1;
  return x * power_of_two<T>(half) * power_of_two<T>(k - half);
}

/// Beyond these arguments exp rounds to zero and to infinity.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T exp_lowest() {
  return std::same_as<T, float> ? T(-104) : T(-746);
}
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T exp_highest() {
  return std::same_as<T, float> ? T(89) : T(710);
}

/// A number as a rounded value and what rounding lost.
template <Real T>
struct Corrected {
  T value;
  T lost;
};

/// exp(x) for x <= 0 as value (1 + lost).
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr Corrected<T> exp_of_negative(T x) {
  const ExpParts<T> parts = exp_parts(x < exp_lowest<T>() ? exp_lowest<T>() : x);
  const T rounded = T(1) + parts.tail;
  // 2^k in two factors of which one is constant, for results may be denormal.
  constexpr SignedBitsOf<T> shift = std::same_as<T, float> ? 64 : 512;
  return {rounded * power_of_two<T>(parts.k + shift) * power_of_two<T>(-shift), parts.tail - (rounded - T(1))};
}

}  // namespace detail

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T exp(T x) {
  const auto parts = detail::exp_parts(clamp(x, detail::exp_lowest<T>(), detail::exp_highest<T>()));
  return detail::scale(T(1) + parts.tail, parts.k);
}

/// exp(x) - 1, accurate near zero.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T expm1(T x) {
  const auto parts = detail::exp_parts_corrected(clamp(x, T(-60), detail::exp_highest<T>()), T(0));
  // Halved, since 2^k itself may overflow where the result does not.
  const T half = detail::power_of_two<T>(parts.k - 1);
  const T result = (half * parts.tail + (half - T(0.5))) * T(2);
  return abs(x) < detail::power_of_two<T>(-60) ? x : result;
}

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T tanh(T x) {
  const T a = abs(x);
  const T z = x * x;
  T p;
  if constexpr (std::same_as<T, float>)
    p = detail::polynomial(z, T(-0.333333194), T(0.133326381), T(-0.0538570099), T(0.0210890919), T(-0.00629686145));
  else
    p = detail::polynomial(z, T(-0.33333333333332349), T(0.13333333333173386), T(-0.053968253878198182),
                           T(0.021869486021841956), T(-0.0088631950947732976), T(0.0035917241766702797),
                           T(-0.0014532376778418586), T(0.00057919588395840291), T(-0.0002103939111885493),
                           T(5.1081844569639621e-5));
  const T near = a + a * z * p;
  const auto parts = detail::exp_parts(T(2) * a);
  const T far = T(1) - T(2) / ((T(1) + parts.tail) * detail::power_of_two<T>(parts.k) + T(1));
  // Rounded, tanh is 1 from 9.02 on in float, from 19.1 in double.
  return detail::with_sign_of(a < T(0.55) ? near : a > T(20) ? T(1) : far, x);
}

/// 1 / (1 + exp(-x)).
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T sigmoid(T x) {
  // For x < 0 numerator e and denominator 1 + e, else 1 and 1 + e, corrected to first order for what they lost.
  const auto e = detail::exp_of_negative(-abs(x));
  const T denominator = T(1) + e.value;
  const T lost = e.value * e.lost + (e.value - (denominator - T(1)));
  const auto negative = detail::negative_mask(x);
  const T quotient = detail::blend(negative, e.value, T(1)) / denominator;
  return quotient + quotient * (detail::blend(negative, e.lost, T(0)) - lost);
}

}  // namespace kolmo
