// Dual numbers: every function against the complex step, second derivatives, kinks, mixed arithmetic.

#include <limits>

#include <kolmo/core/complex_step.hpp>
#include <kolmo/core/functors.hpp>

#include "catch.hpp"

// Inside the namespace, so that no function of the standard library is taken for ours.
namespace kolmo {

namespace {

using D1 = Dual<double, 1>;
using D2 = Dual<double, 2>;
using Step = ComplexStep<double>;

// Functors for the functions that kolmo/core/functors.hpp has none for.
struct Erfc {
  auto operator()(auto x) const { return erfc(x); }
};
struct NormalCdf {
  auto operator()(auto x) const { return normal_cdf(x); }
};
struct Rsqrt {
  auto operator()(auto x) const { return rsqrt(x); }
};
struct SquareFunction {
  auto operator()(auto x) const { return square(x); }
};
struct Everything {
  template <class S>
  S operator()(S x, S y) const {
    S sum = pow(x, y) * sin(x) / tanh(y) + erf(x) * sigmoid(y) - softplus(x * y);
    sum += log1p(x) + maximum(x, y) * abs(x - y);
    sum *= 2 * x - y / 3;
    sum -= rsqrt(x) / (1 + expm1(y));
    sum /= select(x > y, x, 3 - y) + cos(x) + clamp(y, 0, 1);
    return sum;
  }
};

double difference(double a, double b) { return std::abs(a - b) / std::max(1.0, std::abs(b)); }

/// First derivative of dual against complex step, second of a dual on the complex step against a dual on duals.
template <class F>
void agrees(const char* name, F f, std::initializer_list<double> points) {
  for (const double x : points) {
    INFO(name << " at " << x);
    const D1 first = f(D1::variable(x, 0));
    CHECK(difference(first.v, f(x)) < 1e-15);
    CHECK(difference(first.d[0], f(Step::variable(x)).derivative()) < 1e-13);
    const auto second = f(Dual<D1, 1>::variable(D1::variable(x, 0), 0));
    CHECK(second.v.v == first.v);
    CHECK(difference(second.d[0].v, first.d[0]) < 1e-15);
    CHECK(difference(second.v.d[0], first.d[0]) < 1e-15);
    const auto step = f(Dual<Step, 1>::variable(Step::variable(x), 0));
    CHECK(difference(second.d[0].d[0], step.d[0].derivative()) < 1e-12);
  }
}

}  // namespace

TEST_CASE("the derivative of every function agrees with the complex step") {
  const auto everywhere = {-7.5, -2.0, -0.6, -1e-3, 1e-3, 0.3, 0.95, 1.0, 2.5, 8.0};
  const auto positive = {1e-3, 0.3, 0.95, 1.0, 2.5, 8.0};
  agrees("exp", fn::Exp{}, everywhere);
  agrees("expm1", fn::Expm1{}, everywhere);
  agrees("tanh", fn::Tanh{}, everywhere);
  agrees("sigmoid", fn::Sigmoid{}, everywhere);
  agrees("softplus", fn::Softplus{}, everywhere);
  agrees("erf", fn::Erf{}, everywhere);
  agrees("erfc", Erfc{}, everywhere);
  agrees("normal_cdf", NormalCdf{}, everywhere);
  agrees("sin", fn::Sin{}, everywhere);
  agrees("cos", fn::Cos{}, everywhere);
  agrees("square", SquareFunction{}, everywhere);
  agrees("abs", fn::Abs{}, everywhere);
  agrees("sign", fn::Sign{}, everywhere);
  agrees("reciprocal", fn::Reciprocal{}, everywhere);
  agrees("relu", fn::Relu{}, everywhere);
  agrees("silu", fn::Silu{}, everywhere);
  agrees("gelu", fn::Gelu{}, everywhere);
  agrees("cube", fn::PowerConstant<double>{3}, everywhere);
  agrees("clamp", fn::Clamp<double>{-1.5, 1.5}, everywhere);
  agrees("log", fn::Log{}, positive);
  agrees("log1p", fn::Log1p{}, positive);
  agrees("sqrt", fn::Sqrt{}, positive);
  agrees("rsqrt", Rsqrt{}, positive);
  agrees("power", fn::PowerConstant<double>{1.7}, positive);
}

TEST_CASE("two partial derivatives come out in one evaluation") {
  const Everything f;
  for (const double x : {0.4, 1.3, 2.0})
    for (const double y : {0.2, 0.7, 1.9}) {
      INFO(x << ", " << y);
      const D2 result = f(D2::variable(x, 0), D2::variable(y, 1));
      CHECK(difference(result.v, f(x, y)) < 1e-15);
      CHECK(difference(result.d[0], f(Step::variable(x), Step(y)).derivative()) < 1e-13);
      CHECK(difference(result.d[1], f(Step(x), Step::variable(y)).derivative()) < 1e-13);
      // Mixed second derivatives do not depend on the order.
      const auto xy = f(Dual<D1, 1>(D1(x), {{D1(1)}}), Dual<D1, 1>(D1::variable(y, 0)));
      const auto yx = f(Dual<D1, 1>(D1::variable(x, 0)), Dual<D1, 1>(D1(y), {{D1(1)}}));
      CHECK(difference(xy.d[0].d[0], yx.d[0].d[0]) < 1e-12);
    }
}

TEST_CASE("duals mix with numbers on either side") {
  const D2 x = D2::variable(3, 0);
  const D2 y = D2::variable(2, 1);
  const auto is = [](const D2& a, double v, double d0, double d1) { return a.v == v && a.d[0] == d0 && a.d[1] == d1; };
  CHECK(is(x + y, 5, 1, 1));
  CHECK(is(x + 1, 4, 1, 0));
  CHECK(is(1 + x, 4, 1, 0));
  CHECK(is(x - y, 1, 1, -1));
  CHECK(is(x - 1, 2, 1, 0));
  CHECK(is(1 - x, -2, -1, 0));
  CHECK(is(-x, -3, -1, 0));
  CHECK(is(+x, 3, 1, 0));
  CHECK(is(x * y, 6, 2, 3));
  CHECK(is(x * 2, 6, 2, 0));
  CHECK(is(2 * x, 6, 2, 0));
  CHECK(is(x / y, 1.5, 0.5, -0.75));
  CHECK(is(x / 2, 1.5, 0.5, 0));
  CHECK(is(6 / y, 3, 0, -1.5));
  D2 z = x;
  z += 1;
  z *= y;
  z -= x;
  z /= 2;
  CHECK(is(z, 2.5, 0.5, 2));
  CHECK(is(chain(7.0, 2.0, x, 3.0, y), 7, 2, 3));
  // Numbers of other types and of every depth are constants.
  CHECK(is(D2(1.5f), 1.5, 0, 0));
  CHECK(is(D2(), 0, 0, 0));
  CHECK((Dual<D2, 1>(4) * 2).v.v == 8);
}

TEST_CASE("comparisons look at the values") {
  const D1 x = D1::variable(1, 0);
  const D1 same_value = 1;
  CHECK(x == same_value);
  CHECK_FALSE(x != same_value);
  CHECK((x < 2 && 0 < x && x <= 1 && 1 >= x && x > 0 && 2 > x && x >= same_value && x <= same_value));
  CHECK_FALSE(x < same_value);
  CHECK(x == 1);
  CHECK(1 == x);
}

TEST_CASE("at a kink the documented slope is taken") {
  const D1 zero = D1::variable(0, 0);
  CHECK(abs(zero).d[0] == 0);
  CHECK(sign(zero).d[0] == 0);
  CHECK(floor(D1::variable(2.5, 0)).v == 2);
  CHECK(floor(D1::variable(2.5, 0)).d[0] == 0);
  const D2 x = D2::variable(1, 0);
  const D2 y = D2::variable(1, 1);
  CHECK(maximum(x, y).d == Array<double, 2>{{1, 0}});
  CHECK(minimum(x, y).d == Array<double, 2>{{1, 0}});
  CHECK(maximum(x, 2).d == Array<double, 2>{{0, 0}});
  CHECK(minimum(x, 2).d == Array<double, 2>{{1, 0}});
  CHECK(clamp(x, 2, 3).d[0] == 0);
  CHECK(clamp(x, -3, 0).d[0] == 0);
  CHECK(clamp(x, 0, 3).d[0] == 1);
}

TEST_CASE("powers with a constant exponent have the right slope for every base") {
  CHECK(pow(D1::variable(-3, 0), 2).d[0] == -6);
  CHECK(pow(D1::variable(-3, 0), D1(2)).d[0] == -6);
  CHECK(pow(D1::variable(0, 0), 2).d[0] == 0);
  CHECK(pow(D1::variable(0, 0), 1).d[0] == 1);
  CHECK(pow(D1::variable(0, 0), D1(0)).d[0] == 0);
  CHECK(pow(D1::variable(5, 0), 0).v == 1);
  CHECK(pow(2, D1::variable(3, 0)).v == 8);
  CHECK(pow(2, D1::variable(3, 0)).d[0] == Approx(8 * std::log(2.0)).epsilon(1e-15));
  CHECK(pow(0, D1::variable(3, 0)).d[0] == 0);
}

TEST_CASE("derivatives stay accurate where the function saturates") {
  const D1 x = D1::variable(-40, 0);
  CHECK(sigmoid(x).d[0] == Approx(std::exp(-40.0)).epsilon(1e-14));
  CHECK(sigmoid(-x).d[0] == Approx(-std::exp(-40.0)).epsilon(1e-14));
  CHECK(softplus(x).d[0] == Approx(std::exp(-40.0)).epsilon(1e-14));
  CHECK(erfc(D1::variable(10, 0)).d[0] ==
        Approx(-2 / std::sqrt(3.14159265358979323846) * std::exp(-100.0)).epsilon(1e-13));
}

TEST_CASE("NaN and infinities are recognised through every depth") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(is_nan(Dual<D1, 1>(nan)));
  CHECK_FALSE(is_finite(D1(std::numeric_limits<double>::infinity())));
  CHECK(is_finite(D1(1)));
  CHECK(is_nan(maximum(D1(1), nan)));
  CHECK(is_nan(minimum(D1(nan), 1)));
  CHECK(value_of(Dual<D1, 1>(2.5)) == 2.5);
  STATIC_REQUIRE(is_dual<D1>);
  STATIC_REQUIRE(!is_dual<double>);
}

}  // namespace kolmo
