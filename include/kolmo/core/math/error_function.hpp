#pragma once
// erf, erfc and the distribution function of the standard normal.

#include <kolmo/core/math/exponential.hpp>

namespace kolmo {
namespace detail {

/// erf(x) for |x| < 0.9375: x + x P(x^2).
template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T erf_near(T x) {
  const T z = x * x;
  T p;
  if constexpr (std::same_as<T, float>)
    p = polynomial(z, T(0.128379151), T(-0.376125038), T(0.112818941), T(-0.0267689805), T(0.0049961023),
                   T(-0.000600344327));
  else
    p = polynomial(z, T(0.12837916709551259), T(-0.37612638903184092), T(0.11283791670970669), T(-0.026866170647873996),
                   T(0.0052239776500768382), T(-0.00085483282981415156), T(0.00012055373216739564),
                   T(-1.4926433071335587e-5), T(1.6471033174183347e-6), T(-1.6412612352848995e-7),
                   T(1.4717947644215889e-8), T(-9.9034740581340404e-10));
  return x + x * p;
}

}  // namespace detail

template <Real T>
KOLMO_HD KOLMO_INLINE constexpr T erf(T x) {
  // log(erfc(a)) is a polynomial P(a) to the accuracy that 1 - exp(P) needs.
  const T a = clamp(abs(x), T(0), std::same_as<T, float> ? T(3.9375) : T(5.9375));
  T p;
  if constexpr (std::same_as<T, float>)
    p = detail::polynomial(a, T(0.000175220281), T(-1.12951756), T(-0.63334161), T(-0.108285949), T(0.0251232516),
                           T(-0.00417253096), T(0.000434769288), T(-2.11219522e-5));
  else
    p = detail::polynomial(
        a, T(-8.5823441716298718e-8), T(-1.1283782615320281), T(-0.63662417124672599), T(-0.10275963013480248),
        T(0.019102764761536221), T(0.00024446227283761608), T(-0.001728761257378918), T(0.00060611505637003652),
        T(-2.0674077344701365e-5), T(-8.361487490464575e-5), T(5.0839522545233943e-5), T(-1.8537543239650931e-5),
        T(4.8848946093175e-6), T(-9.7047884283398819e-7), T(1.4535752569017001e-7), T(-1.599683248262736e-8),
        T(1.2237696117023345e-9), T(-5.8196207590307522e-11), T(1.2958231268392581e-12));
  const auto parts = detail::exp_parts(p);
  const T far = T(1) - (T(1) + parts.tail) * detail::power_of_two<T>(parts.k);
  return a < T(0.921875) ? detail::erf_near(x) : detail::with_sign_of(far, x);
}

}  // namespace kolmo
