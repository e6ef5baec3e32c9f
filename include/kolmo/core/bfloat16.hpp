#pragma once
// BFloat16: the upper half of an IEEE 754 single, 8 exponent and 8 significand bits, as a scalar that is stored but not
// computed with. It widens to float by itself, so that every expression is evaluated in float, and is made only by an
// explicit conversion, which rounds to nearest, ties to even. What an operation computes a stored scalar in is
// ComputeOf<T>: elementwise functors and their derivatives, sums and products of tensors run in that type and round
// once, when they store.

#include <concepts>
#include <limits>
#include <type_traits>

#include <kolmo/core/math/basic.hpp>

namespace kolmo {

namespace detail {

/// Nearest bfloat16, ties to even; overflow gives infinity, subnormal numbers are kept, a NaN stays one and is quiet.
KOLMO_HD KOLMO_INLINE constexpr std::uint16_t bfloat16_bits(float x) {
  const std::uint32_t bits = to_bits(x);
  const std::uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  const std::uint32_t quiet = bits | 0x400000u;
  return static_cast<std::uint16_t>((is_nan(x) ? quiet : rounded) >> 16);
}

/// The float nearest to x or, where that is even and not x itself, its neighbour on the other side of x: rounding
/// this number again gives what rounding x gives.
KOLMO_HD constexpr float rounded_to_odd(double x) {
  const float nearest = static_cast<float>(x);
  const double back = static_cast<double>(nearest);
  const std::uint32_t bits = to_bits(nearest);
  if (back == x || is_nan(x) || (bits & 1u) != 0) return nearest;
  return from_bits<float>(abs(x) > abs(back) ? bits + 1 : bits - 1);
}

}  // namespace detail

struct BFloat16 {
  std::uint16_t bits = 0;

  constexpr BFloat16() = default;
  KOLMO_HD explicit constexpr BFloat16(float x) : bits(detail::bfloat16_bits(x)) {}
  KOLMO_HD explicit constexpr BFloat16(double x) : bits(detail::bfloat16_bits(detail::rounded_to_odd(x))) {}
  template <std::integral I>
  KOLMO_HD explicit constexpr BFloat16(I x) : BFloat16(static_cast<double>(x)) {}
  KOLMO_HD static constexpr BFloat16 from_bits(std::uint16_t bits) {
    BFloat16 result;
    result.bits = bits;
    return result;
  }

  /// Exact.
  KOLMO_HD KOLMO_INLINE constexpr operator float() const {
    return detail::from_bits<float>(static_cast<std::uint32_t>(bits) << 16);
  }

  KOLMO_HD constexpr BFloat16& operator+=(float x) { return *this = BFloat16(float(*this) + x); }
  KOLMO_HD constexpr BFloat16& operator-=(float x) { return *this = BFloat16(float(*this) - x); }
  KOLMO_HD constexpr BFloat16& operator*=(float x) { return *this = BFloat16(float(*this) * x); }
  KOLMO_HD constexpr BFloat16& operator/=(float x) { return *this = BFloat16(float(*this) / x); }
};

KOLMO_HD KOLMO_INLINE constexpr bool is_nan(BFloat16 x) { return (x.bits & 0x7fffu) > 0x7f80u; }
KOLMO_HD KOLMO_INLINE constexpr bool is_finite(BFloat16 x) { return (x.bits & 0x7fffu) < 0x7f80u; }

namespace literals {

/// 1.5_bf16
KOLMO_HD constexpr BFloat16 operator""_bf16(long double x) { return BFloat16(static_cast<double>(x)); }
KOLMO_HD constexpr BFloat16 operator""_bf16(unsigned long long x) { return BFloat16(x); }

}  // namespace literals

namespace detail {
template <class T>
struct ComputeTypeOf {
  using Type = T;
};
template <>
struct ComputeTypeOf<BFloat16> {
  using Type = float;
};
}  // namespace detail

/// The scalar in which numbers stored as T are computed with: float for BFloat16, else T.
template <class T>
using ComputeOf = typename detail::ComputeTypeOf<T>::Type;

/// A floating-point number as stored: one computed with, or one that widens to it.
template <class T>
concept RealStorage = Real<ComputeOf<T>>;

}  // namespace kolmo

template <>
class std::numeric_limits<kolmo::BFloat16> {
  using B = kolmo::BFloat16;

 public:
  static constexpr bool is_specialized = true, is_signed = true, is_integer = false, is_exact = false;
  static constexpr bool has_infinity = true, has_quiet_NaN = true, has_signaling_NaN = true;
  static constexpr bool is_iec559 = false, is_bounded = true, is_modulo = false, traps = false;
  static constexpr bool tinyness_before = false;
  static constexpr std::float_round_style round_style = std::round_to_nearest;
  static constexpr int radix = 2, digits = 8, digits10 = 2, max_digits10 = 4;
  static constexpr int min_exponent = -125, max_exponent = 128, min_exponent10 = -37, max_exponent10 = 38;
  static constexpr B min() noexcept { return B::from_bits(0x0080); }
  static constexpr B lowest() noexcept { return B::from_bits(0xff7f); }
  static constexpr B max() noexcept { return B::from_bits(0x7f7f); }
  /// 2^-7, the distance from one to the next larger number.
  static constexpr B epsilon() noexcept { return B::from_bits(0x3c00); }
  static constexpr B round_error() noexcept { return B::from_bits(0x3f00); }
  static constexpr B infinity() noexcept { return B::from_bits(0x7f80); }
  static constexpr B quiet_NaN() noexcept { return B::from_bits(0x7fc0); }
  static constexpr B signaling_NaN() noexcept { return B::from_bits(0x7fa0); }
  static constexpr B denorm_min() noexcept { return B::from_bits(0x0001); }
};
