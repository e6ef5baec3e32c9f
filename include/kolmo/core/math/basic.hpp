#pragma once
// Exact functions: tests and choices on floating-point numbers, their bits, square roots, rounding.

#include <cmath>
#include <concepts>
#include <type_traits>

#include <kolmo/core/array.hpp>

namespace kolmo {

/// The scalars with elementary functions of our own.
template <class T>
concept Real = std::same_as<T, float> || std::same_as<T, double>;

namespace detail {

template <class T>
struct FloatingFormat;

template <>
struct FloatingFormat<float> {
  using Bits = std::uint32_t;
  using Signed = std::int32_t;
  static constexpr int mantissa_bits = 23;
  static constexpr Bits exponent_bias = 127;
};

template <>
struct FloatingFormat<double> {
  using Bits = std::uint64_t;
  using Signed = std::int64_t;
  static constexpr int mantissa_bits = 52;
  static constexpr Bits exponent_bias = 1023;
};

template <Real T>
using BitsOf = typename FloatingFormat<T>::Bits;
template <Real T>
using SignedBitsOf = typename FloatingFormat<T>::Signed;

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr BitsOf<T> to_bits(T x) {
  return __builtin_bit_cast(BitsOf<T>, x);
}

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T from_bits(BitsOf<T> bits) {
  return __builtin_bit_cast(T, bits);
}

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr BitsOf<T> sign_bit() {
  return BitsOf<T>(1) << (8 * sizeof(T) - 1);
}

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T infinity() {
  using Format = FloatingFormat<T>;
  return from_bits<T>((2 * Format::exponent_bias + 1) << Format::mantissa_bits);
}

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T not_a_number() {
  using Format = FloatingFormat<T>;
  return from_bits<T>(((4 * Format::exponent_bias + 3) << (Format::mantissa_bits - 1)));
}

/// 2^k for an exponent of the normal range.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T power_of_two(SignedBitsOf<T> k) {
  using Format = FloatingFormat<T>;
  return from_bits<T>((BitsOf<T>(k) + Format::exponent_bias) << Format::mantissa_bits);
}

/// Adding this number rounds a small one to an integer and leaves the integer in the last bits.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T rounding_shift() {
  return T(3) * power_of_two<T>(FloatingFormat<T>::mantissa_bits - 1);
}

/// Magnitude of the first, sign of the second.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T with_sign_of(T magnitude, T sign) {
  return from_bits<T>((to_bits(magnitude) & ~sign_bit<T>()) | (to_bits(sign) & sign_bit<T>()));
}

/// All ones if the sign bit of x is set.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr BitsOf<T> negative_mask(T x) {
  return BitsOf<T>(0) - (to_bits(x) >> (8 * sizeof(T) - 1));
}

/// `where_set` under an all-ones mask, `where_clear` under a zero one. Unlike a condition it keeps compilers from
/// computing what follows once for each case.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T blend(BitsOf<T> mask, T where_set, T where_clear) {
  return from_bits<T>((to_bits(where_set) & mask) | (to_bits(where_clear) & ~mask));
}

/// c0 + x (c1 + x (c2 + ...)).
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T polynomial(T, T c0) {
  return c0;
}
template <Real T, std::same_as<T>... C>
KOLMO_HD KOLMO_INLINE constexpr T polynomial(T x, T c0, T c1, C... rest) {
  return polynomial(x, c1, rest...) * x + c0;
}

}  // namespace detail

/// Tested on the bits, hence also right under a user's -ffinite-math-only.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr bool is_nan(T x) {
  return (detail::to_bits(x) & ~detail::sign_bit<T>()) > detail::to_bits(detail::infinity<T>());
}

/// Neither infinite nor NaN; tested on the bits.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr bool is_finite(T x) {
  return (detail::to_bits(x) & ~detail::sign_bit<T>()) < detail::to_bits(detail::infinity<T>());
}

/// The choice every functor must make in place of `if`, so that it runs on duals and vectorises.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T select(bool condition, T if_true, std::type_identity_t<T> if_false) {
  return condition ? if_true : if_false;
}

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T abs(T x) {
  return detail::from_bits<T>(detail::to_bits(x) & ~detail::sign_bit<T>());
}

/// -1, 0 or 1; a zero and NaN are returned as they are.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T sign(T x) {
  return x > 0 ? T(1) : x < 0 ? T(-1) : x;
}

namespace detail {

/// Disjunction without the branch that || asks for.
KOLMO_HD KOLMO_INLINE constexpr bool either(bool a, bool b) { return (int(a) | int(b)) != 0; }

}  // namespace detail

/// The larger of two, the first on a tie, NaN if either is.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T maximum(T x, std::type_identity_t<T> y) {
  return detail::either(x < y, is_nan(y)) ? y : x;
}

/// The smaller of two, the first on a tie, NaN if either is.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T minimum(T x, std::type_identity_t<T> y) {
  return detail::either(x > y, is_nan(y)) ? y : x;
}

/// Limits x to [low, high]; NaN stays.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T clamp(T x, std::type_identity_t<T> low, std::type_identity_t<T> high) {
  return x < low ? low : x > high ? high : x;
}

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T square(T x) {
  return x * x;
}

template <Real T>
KOLMO_HD KOLMO_INLINE T sqrt(T x) {
  return std::sqrt(x);
}

/// 1 / sqrt(x).
template <Real T>
KOLMO_HD KOLMO_INLINE T rsqrt(T x) {
  return T(1) / std::sqrt(x);
}

template <Real T>
KOLMO_HD KOLMO_INLINE T floor(T x) {
  return std::floor(x);
}

/// Value of a scalar without its derivatives; on plain numbers the number.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T value_of(T x) {
  return x;
}

}  // namespace kolmo
