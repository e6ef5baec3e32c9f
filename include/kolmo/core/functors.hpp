#pragma once
// Elementwise mathematics as functors over a generic scalar. The same functor gives the value, the
// tangent and the reverse rule on every backend.

#include <kolmo/core/dual.hpp>
#include <kolmo/core/math.hpp>

namespace kolmo::fn {

struct Identity {
  KOLMO_HD auto operator()(auto x) const { return x; }
};
struct Add {
  KOLMO_HD auto operator()(auto x, auto y) const { return x + y; }
};
struct Subtract {
  KOLMO_HD auto operator()(auto x, auto y) const { return x - y; }
};
struct Multiply {
  KOLMO_HD auto operator()(auto x, auto y) const { return x * y; }
};
struct Divide {
  KOLMO_HD auto operator()(auto x, auto y) const { return x / y; }
};
struct Negate {
  KOLMO_HD auto operator()(auto x) const { return -x; }
};
struct Maximum {
  KOLMO_HD auto operator()(auto x, auto y) const { return maximum(x, y); }
};
struct Minimum {
  KOLMO_HD auto operator()(auto x, auto y) const { return minimum(x, y); }
};
struct Power {
  KOLMO_HD auto operator()(auto x, auto y) const { return pow(x, y); }
};

struct Exp {
  KOLMO_HD auto operator()(auto x) const { return exp(x); }
};
struct Expm1 {
  KOLMO_HD auto operator()(auto x) const { return expm1(x); }
};
struct Log {
  KOLMO_HD auto operator()(auto x) const { return log(x); }
};
struct Log1p {
  KOLMO_HD auto operator()(auto x) const { return log1p(x); }
};
struct Sqrt {
  KOLMO_HD auto operator()(auto x) const { return sqrt(x); }
};
struct Square {
  KOLMO_HD auto operator()(auto x) const { return x * x; }
};
struct Reciprocal {
  KOLMO_HD auto operator()(auto x) const { return 1 / x; }
};
struct Abs {
  KOLMO_HD auto operator()(auto x) const { return abs(x); }
};
struct Sign {
  KOLMO_HD auto operator()(auto x) const { return sign(x); }
};
struct Sin {
  KOLMO_HD auto operator()(auto x) const { return sin(x); }
};
struct Cos {
  KOLMO_HD auto operator()(auto x) const { return cos(x); }
};
struct Erf {
  KOLMO_HD auto operator()(auto x) const { return erf(x); }
};
struct Tanh {
  KOLMO_HD auto operator()(auto x) const { return tanh(x); }
};
struct Sigmoid {
  KOLMO_HD auto operator()(auto x) const { return sigmoid(x); }
};
struct Softplus {
  KOLMO_HD auto operator()(auto x) const { return softplus(x); }
};
struct Relu {
  /// NaN stays; 0 * x alone would make one of minus infinity.
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return select(x > 0, x, select(x < 0, S(0), S(0 * x)));
  }
};
struct Silu {
  KOLMO_HD auto operator()(auto x) const { return x * sigmoid(x); }
};
/// x above zero, e^x - 1 below (Clevert et al. 2016).
struct Elu {
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return select(x > 0, x, expm1(minimum(x, S(0))));
  }
};
/// The scaled form of Elu that keeps mean 0 and variance 1 (Klambauer et al. 2017).
struct Selu {
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return S(1.0507009873554804934) * select(x > 0, x, S(1.6732632423543772848) * expm1(minimum(x, S(0))));
  }
};
/// x Phi(x), Hendrycks and Gimpel 2016, in the exact form.
struct Gelu {
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return x * (erf(x * S(0.70710678118654752440)) + 1) / 2;
  }
};

template <class T>
struct AddConstant {
  T constant;
  KOLMO_HD auto operator()(auto x) const { return x + constant; }
};
template <class T>
struct SubtractConstant {
  T constant;
  KOLMO_HD auto operator()(auto x) const { return x - constant; }
};
template <class T>
struct SubtractFrom {
  T constant;
  KOLMO_HD auto operator()(auto x) const { return constant - x; }
};
template <class T>
struct MultiplyConstant {
  T constant;
  KOLMO_HD auto operator()(auto x) const { return x * constant; }
};
template <class T>
struct DivideByConstant {
  T constant;
  KOLMO_HD auto operator()(auto x) const { return x / constant; }
};
template <class T>
struct DivideFrom {
  T constant;
  KOLMO_HD auto operator()(auto x) const { return constant / x; }
};
template <class T>
struct PowerConstant {
  T exponent;
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return pow(x, S(exponent));
  }
};
/// Limits to [low, high]; the derivative is zero outside.
template <class T>
struct Clamp {
  T low, high;
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return select(x < low, S(low), select(x > high, S(high), x));
  }
};

/// One where the comparison holds, else zero.
struct Greater {
  template <class S>
  KOLMO_HD S operator()(S x, S y) const {
    return select(x > y, S(1), S(0));
  }
};
struct Less {
  template <class S>
  KOLMO_HD S operator()(S x, S y) const {
    return select(x < y, S(1), S(0));
  }
};
struct Equal {
  template <class S>
  KOLMO_HD S operator()(S x, S y) const {
    return select(x == y, S(1), S(0));
  }
};
/// x where the mask is not zero, else y.
struct Where {
  template <class S>
  KOLMO_HD S operator()(S mask, S x, S y) const {
    return select(mask != 0, x, y);
  }
};

}  // namespace kolmo::fn
