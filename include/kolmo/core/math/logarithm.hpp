#pragma once
// log, log1p, softplus and pow.
//
// x = 2^k (1 + f) with 1 + f between sqrt(1/2) and sqrt(2); with s = f / (2 + f),
// log(1 + f) = 2 artanh(s) = f - f^2/2 + s (f^2/2 + R(s^2)), R a minimax polynomial.

#include <kolmo/core/math/exponential.hpp>

namespace kolmo {
namespace detail {

/// k ln 2 + log(1 + f).
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T log_of_parts(T k, T f) {
  const T s = f / (T(2) + f);
  const T z = s * s;
  const T half_square = T(0.5) * f * f;
  T r;
  if constexpr (std::same_as<T, float>)
    r = polynomial(z, T(0.666666627), T(0.400009722), T(0.284987092), T(0.242811084));
  else
    r = polynomial(z, T(0.6666666666666734), T(0.39999999999416069), T(0.28571428742239813), T(0.2222219857664002),
                   T(0.18183564617573422), T(0.15314033189054557), T(0.14796208328954819));
  const T high = k * ln2_high<T>();
  const T rest = k * ln2_low<T>();
  return high - ((half_square - (s * (half_square + z * r) + rest)) - f);
}

/// x = 2^k m with m from sqrt(1/2) to sqrt(2), for normal x > 0.
template <Real T>
struct LogReduction {
  T k;
  T m;
  BitsOf<T> biased_k;
};

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr LogReduction<T> reduce_for_log(T x) {
  using Format = FloatingFormat<T>;
  constexpr BitsOf<T> root_half = to_bits(T(0.70710678118654752440));
  constexpr BitsOf<T> mantissa_mask = (BitsOf<T>(1) << Format::mantissa_bits) - 1;
  const BitsOf<T> bits = to_bits(x) + (to_bits(T(1)) - root_half);
  const BitsOf<T> biased_k = bits >> Format::mantissa_bits;
  // The integer is put below the rounding shift, an exact conversion without an instruction for it.
  const T k = from_bits<T>(to_bits(rounding_shift<T>()) + biased_k) - (rounding_shift<T>() + T(Format::exponent_bias));
  return {k, from_bits<T>((bits & mantissa_mask) + root_half), biased_k};
}

/// x - log1p(x) for x in [0, 1].
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T excess_over_log1p(T x) {
  const T s = x / (T(2) + x);
  const T z = s * s;
  const T half_square = T(0.5) * x * x;
  T r;
  if constexpr (std::same_as<T, float>)
    r = polynomial(z, T(0.666666746), T(0.399989456), T(0.286153734), T(0.214416087), T(0.242554158));
  else
    r = polynomial(z, T(0.66666666666666297), T(0.40000000000160063), T(0.28571428547475602), T(0.22222223994467535),
                   T(0.18181743014173979), T(0.15386580089633536), T(0.13300699538466207), T(0.121083225401588),
                   T(0.083300488179735455), T(0.17037702321828624));
  return half_square - s * (half_square + z * r);
}

}  // namespace detail

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T log(T x) {
  constexpr int shift = detail::FloatingFormat<T>::mantissa_bits + 1;
  const bool denormal =
      x < detail::power_of_two<T>(2 - detail::SignedBitsOf<T>(detail::FloatingFormat<T>::exponent_bias));
  const auto reduced = detail::reduce_for_log(denormal ? x * detail::power_of_two<T>(shift) : x);
  const T k = reduced.k - (denormal ? T(shift) : T(0));
  T result = detail::log_of_parts(k, reduced.m - T(1));
  result = x < detail::infinity<T>() ? result : x;
  result = x < 0 ? detail::not_a_number<T>() : result;
  return x == 0 ? -detail::infinity<T>() : result;
}

/// log(1 + x), accurate near zero.
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T log1p(T x) {
  using Format = detail::FloatingFormat<T>;
  const T u = T(1) + x;
  const auto reduced = detail::reduce_for_log(u);
  // What the sum lost, in units of 2^k; beyond 2^(mantissa bits + 1) it is below the last place of the result.
  const T lost = x - (u - T(1));
  const T unit = detail::from_bits<T>((2 * Format::exponent_bias - reduced.biased_k) << Format::mantissa_bits);
  const T correction = x > detail::power_of_two<T>(Format::mantissa_bits + 1) ? T(0) : lost * unit;
  T result = detail::log_of_parts(reduced.k, (reduced.m - T(1)) + correction);
  result = abs(x) < detail::power_of_two<T>(-60) ? x : result;
  result = x < detail::infinity<T>() ? result : x;
  result = x < T(-1) ? detail::not_a_number<T>() : result;
  return x == T(-1) ? -detail::infinity<T>() : result;
}

/// log(1 + exp(x)).
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T softplus(T x) {
  // max(x, 0) + log1p(e), summed in the order that rounds least; 1 - e/2 stands for 1 / (1 + e).
  const auto e = detail::exp_of_negative(-abs(x));
  const T excess = detail::excess_over_log1p(e.value) - e.lost * (e.value - T(0.5) * e.value * e.value);
  return ((x > 0 ? x : T(0)) - excess) + e.value;
}

template <Real T>
KOLMO_HD KOLMO_INLINE T pow(T x, std::type_identity_t<T> y) {
  return std::pow(x, y);
}

}  // namespace kolmo
