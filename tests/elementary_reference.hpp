#pragma once
// The elementary functions beside references of twice the precision, and the distance between the two
// in units in the last place. Shared by the tests and the exhaustive program.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include <kolmo/core/math.hpp>

namespace kolmo_test {

/// |value - exact| in units of the last place that `exact` has in T. Zero if both are NaN or round to the same
/// infinity.
template <class T, class Wide>
double ulp_distance(T value, Wide exact) {
  if (std::isnan(exact) || std::isnan(value)) return std::isnan(exact) == std::isnan(value) ? 0.0 : 1e30;
  const T rounded = static_cast<T>(exact);
  if (rounded == value) return 0.0;
  if (std::isinf(rounded) && std::isinf(exact)) return 1e30;
  using Limits = std::numeric_limits<T>;
  int exponent = 0;
  std::frexp(exact, &exponent);
  exponent = std::clamp(exponent, Limits::min_exponent, Limits::max_exponent);
  // An infinity stands for the number it rounds from.
  Wide v = static_cast<Wide>(value);
  if (std::isinf(value)) v = std::copysign(std::ldexp(Wide(1), Limits::max_exponent), v);
  return static_cast<double>(std::abs(std::ldexp(v - exact, Limits::digits - exponent)));
}

// One struct a function: the name, ours, and the reference in a wider type.
#define KOLMO_ELEMENTARY(Name, text, ours, wide) \
  struct Name {                                  \
    static constexpr const char* name = text;    \
    template <class T>                           \
    T operator()(T x) const {                    \
      return ours;                               \
    }                                            \
    template <class W>                           \
    static W reference(W x) {                    \
      return wide;                               \
    }                                            \
  };

template <class W>
W reference_sigmoid(W x) {
  const W e = std::exp(-std::abs(x));
  return (x < 0 ? e : W(1)) / (1 + e);
}

template <class W>
W reference_softplus(W x) {
  return std::max(x, W(0)) + std::log1p(std::exp(-std::abs(x)));
}

KOLMO_ELEMENTARY(Exp, "exp", kolmo::exp(x), std::exp(x))
KOLMO_ELEMENTARY(Expm1, "expm1", kolmo::expm1(x), std::expm1(x))
KOLMO_ELEMENTARY(Log, "log", kolmo::log(x), std::log(x))
KOLMO_ELEMENTARY(Log1p, "log1p", kolmo::log1p(x), std::log1p(x))
KOLMO_ELEMENTARY(Tanh, "tanh", kolmo::tanh(x), std::tanh(x))
KOLMO_ELEMENTARY(Sigmoid, "sigmoid", kolmo::sigmoid(x), std::isnan(x) ? x : reference_sigmoid(x))
KOLMO_ELEMENTARY(Softplus, "softplus", kolmo::softplus(x), std::isnan(x) ? x : reference_softplus(x))
KOLMO_ELEMENTARY(Erf, "erf", kolmo::erf(x), std::erf(x))
KOLMO_ELEMENTARY(Erfc, "erfc", kolmo::erfc(x), std::erfc(x))
KOLMO_ELEMENTARY(NormalCdf, "normal_cdf", kolmo::normal_cdf(x),
                 std::erfc(x * -W(0.70710678118654752440084436210484904L)) / 2)
KOLMO_ELEMENTARY(Sin, "sin", kolmo::sin(x), std::sin(x))
KOLMO_ELEMENTARY(Cos, "cos", kolmo::cos(x), std::cos(x))
KOLMO_ELEMENTARY(Sqrt, "sqrt", kolmo::sqrt(x), std::sqrt(x))
KOLMO_ELEMENTARY(Rsqrt, "rsqrt", kolmo::rsqrt(x), 1 / std::sqrt(x))

#undef KOLMO_ELEMENTARY

/// Calls visit(function) for each one-argument function.
template <class Visit>
void for_each_elementary(Visit visit) {
  visit(Exp{});
  visit(Expm1{});
  visit(Log{});
  visit(Log1p{});
  visit(Tanh{});
  visit(Sigmoid{});
  visit(Softplus{});
  visit(Erf{});
  visit(Erfc{});
  visit(NormalCdf{});
  visit(Sin{});
  visit(Cos{});
  visit(Sqrt{});
  visit(Rsqrt{});
}

struct Worst {
  double ulp = 0;
  float at = 0;
};

/// The worst distance over the floats with bits first, first + stride, ... below `last`.
template <class F>
Worst worst_of_floats(F f, std::uint64_t first, std::uint64_t last, std::uint64_t stride) {
  constexpr std::uint64_t block = 4096;
  static thread_local float x[block];
  static thread_local float y[block];
  Worst worst;
  for (std::uint64_t begin = first; begin < last; begin += block * stride) {
    const std::uint64_t count = std::min(block, (last - begin + stride - 1) / stride);
    for (std::uint64_t i = 0; i < count; ++i)
      x[i] = __builtin_bit_cast(float, static_cast<std::uint32_t>(begin + i * stride));
    for (std::uint64_t i = 0; i < count; ++i) y[i] = f(x[i]);
    for (std::uint64_t i = 0; i < count; ++i) {
      const double ulp = ulp_distance(y[i], F::reference(static_cast<double>(x[i])));
      if (ulp > worst.ulp) worst = {ulp, x[i]};
    }
  }
  return worst;
}

}  // namespace kolmo_test
