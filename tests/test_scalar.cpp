// Elementary functions of float and double: accuracy, exact values at the ends, choices.

#include <limits>

#include <kolmo/core/random.hpp>

#include "catch.hpp"
#include "elementary_reference.hpp"

// Inside the namespace, so that no function of the standard library is taken for ours.
namespace kolmo {

namespace {

template <class T>
constexpr T inf = std::numeric_limits<T>::infinity();
template <class T>
constexpr T nan_of = std::numeric_limits<T>::quiet_NaN();
template <class T>
constexpr T tiny = std::numeric_limits<T>::denorm_min();
template <class T>
constexpr T largest = std::numeric_limits<T>::max();

/// Equal bits, so that zeros are told apart by their signs; any NaN equals any NaN.
template <class T>
bool same(T a, T b) {
  return (std::isnan(a) && std::isnan(b)) || detail::to_bits(a) == detail::to_bits(b);
}

}  // namespace

TEST_CASE("every function of float is within 2 units in the last place") {
  // Every 4001st of all 2^32 floats; elementary_exhaustive visits all.
  kolmo_test::for_each_elementary([](auto f) {
    const auto worst = kolmo_test::worst_of_floats(f, 0, std::uint64_t(1) << 32, 4001);
    INFO(f.name << ": " << worst.ulp << " at " << worst.at);
    CHECK(worst.ulp <= 2);
  });
}

TEST_CASE("every function of double is within 2 units in the last place") {
  kolmo_test::for_each_elementary([](auto f) {
    double worst = 0;
    double at = 0;
    const auto visit = [&](double x) {
      const double ulp = kolmo_test::ulp_distance(f(x), f.reference(static_cast<long double>(x)));
      if (ulp > worst) {
        worst = ulp;
        at = x;
      }
    };
    const Key key{5};
    for (std::uint64_t i = 0; i < 20'000; ++i) {
      const auto block = philox({{static_cast<std::uint32_t>(i), 0, 0, 0}}, {{1, 2}});
      visit(detail::from_bits<double>(detail::joined(block[0], block[1])));
      const double u = 2 * uniform<double>(key, i) - 1;
      for (const double range : {1e-3, 0.5, 1.0, 3.0, 10.0, 40.0, 750.0}) visit(range * u);
      visit(1 + 1e-3 * u);
      visit(std::exp(40 * u));
    }
    INFO(f.name << ": " << worst << " at " << at);
    CHECK(worst <= 2);
  });
}

TEMPLATE_TEST_CASE("zeros keep their sign where the function is odd", "", float, double) {
  using T = TestType;
  for (const T zero : {T(0), -T(0)}) {
    CHECK(same(expm1(zero), zero));
    CHECK(same(log1p(zero), zero));
    CHECK(same(tanh(zero), zero));
    CHECK(same(erf(zero), zero));
    CHECK(same(sin(zero), zero));
    CHECK(same(sqrt(zero), zero));
    CHECK(same(sign(zero), zero));
    CHECK(same(floor(zero), zero));
    CHECK(same(abs(zero), T(0)));
    CHECK(exp(zero) == 1);
    CHECK(cos(zero) == 1);
    CHECK(erfc(zero) == 1);
    CHECK(sigmoid(zero) == T(0.5));
    CHECK(normal_cdf(zero) == T(0.5));
    CHECK(log(zero) == -inf<T>);
  }
}

TEMPLATE_TEST_CASE("infinities map to the limits", "", float, double) {
  using T = TestType;
  CHECK(exp(inf<T>) == inf<T>);
  CHECK(same(exp(-inf<T>), T(0)));
  CHECK(expm1(inf<T>) == inf<T>);
  CHECK(expm1(-inf<T>) == -1);
  CHECK(log(inf<T>) == inf<T>);
  CHECK(log1p(inf<T>) == inf<T>);
  CHECK(tanh(inf<T>) == 1);
  CHECK(tanh(-inf<T>) == -1);
  CHECK(sigmoid(inf<T>) == 1);
  CHECK(same(sigmoid(-inf<T>), T(0)));
  CHECK(softplus(inf<T>) == inf<T>);
  CHECK(same(softplus(-inf<T>), T(0)));
  CHECK(erf(inf<T>) == 1);
  CHECK(erf(-inf<T>) == -1);
  CHECK(same(erfc(inf<T>), T(0)));
  CHECK(erfc(-inf<T>) == 2);
  CHECK(normal_cdf(inf<T>) == 1);
  CHECK(same(normal_cdf(-inf<T>), T(0)));
  CHECK(is_nan(sin(inf<T>)));
  CHECK(is_nan(cos(-inf<T>)));
  CHECK(sqrt(inf<T>) == inf<T>);
  CHECK(same(rsqrt(inf<T>), T(0)));
}

TEMPLATE_TEST_CASE("NaN stays NaN and arguments outside the domain give it", "", float, double) {
  using T = TestType;
  kolmo_test::for_each_elementary([](auto f) {
    INFO(f.name);
    CHECK(is_nan(f(nan_of<T>)));
    CHECK(is_nan(f(-nan_of<T>)));
  });
  CHECK(is_nan(log(T(-1))));
  CHECK(is_nan(log(-tiny<T>)));
  CHECK(is_nan(log(-inf<T>)));
  CHECK(is_nan(log1p(T(-2))));
  CHECK(log1p(T(-1)) == -inf<T>);
  CHECK(is_nan(sqrt(T(-1))));
}

TEMPLATE_TEST_CASE("denormal arguments and results are not flushed", "", float, double) {
  using T = TestType;
  for (const T x : {tiny<T>, 3 * tiny<T>, -tiny<T>}) {
    CHECK(expm1(x) == x);
    CHECK(log1p(x) == x);
    CHECK(tanh(x) == x);
    CHECK(sin(x) == x);
    CHECK(exp(x) == 1);
  }
  CHECK(log(tiny<T>) == static_cast<T>(std::log(static_cast<long double>(tiny<T>))));
  // The argument whose exponential is the smallest number, and one beyond.
  const T lowest = std::log(static_cast<T>(tiny<T>));
  CHECK(exp(lowest) == tiny<T>);
  CHECK(exp(lowest - 1) == 0);
  CHECK(sigmoid(lowest) == tiny<T>);
  CHECK(softplus(lowest) == tiny<T>);
}

TEMPLATE_TEST_CASE("results grow to the largest number and then to infinity", "", float, double) {
  using T = TestType;
  const T highest = std::log(largest<T>);
  const T below = std::nextafter(highest, T(0));
  const T above = std::nextafter(std::nextafter(highest, inf<T>), inf<T>);
  CHECK(is_finite(exp(below)));
  CHECK(exp(below) > largest<T> / 2);
  CHECK(exp(above) == inf<T>);
  CHECK(is_finite(expm1(below)));
  CHECK(expm1(above) == inf<T>);
  CHECK(softplus(largest<T>) == largest<T>);
  CHECK(is_finite(log1p(largest<T>)));
}

TEST_CASE("sin and cos of float reduce every argument exactly") {
  for (const float x : {1e5f, 1e10f, 3.4e38f, 0x1.921fb6p+1f, 0x1.f9cbe2p+7f, 16367173.0f * 0x1p+72f}) {
    CHECK(kolmo_test::ulp_distance(sin(x), std::sin(static_cast<long double>(x))) <= 2);
    CHECK(kolmo_test::ulp_distance(cos(x), std::cos(static_cast<long double>(x))) <= 2);
  }
}

TEMPLATE_TEST_CASE("tests look at the bits", "", float, double) {
  using T = TestType;
  STATIC_REQUIRE(is_nan(nan_of<T>));
  STATIC_REQUIRE(is_nan(-nan_of<T>));
  STATIC_REQUIRE(!is_nan(inf<T>));
  STATIC_REQUIRE(!is_nan(largest<T>));
  STATIC_REQUIRE(!is_finite(nan_of<T>));
  STATIC_REQUIRE(!is_finite(inf<T>));
  STATIC_REQUIRE(!is_finite(-inf<T>));
  STATIC_REQUIRE(is_finite(-largest<T>));
  STATIC_REQUIRE(is_finite(tiny<T>));
}

TEMPLATE_TEST_CASE("maximum and minimum propagate NaN and take the first on a tie", "", float, double) {
  using T = TestType;
  CHECK(maximum(T(1), T(2)) == 2);
  CHECK(minimum(T(1), T(2)) == 1);
  CHECK(maximum(-inf<T>, T(2)) == 2);
  CHECK(is_nan(maximum(nan_of<T>, T(1))));
  CHECK(is_nan(maximum(T(1), nan_of<T>)));
  CHECK(is_nan(minimum(nan_of<T>, T(1))));
  CHECK(is_nan(minimum(T(1), nan_of<T>)));
  CHECK(same(maximum(-T(0), T(0)), -T(0)));
  CHECK(same(minimum(T(0), -T(0)), T(0)));
}

TEMPLATE_TEST_CASE("choices and roundings", "", float, double) {
  using T = TestType;
  CHECK(select(true, T(1), T(2)) == 1);
  CHECK(select(false, T(1), T(2)) == 2);
  CHECK(clamp(T(-3), T(-1), T(1)) == -1);
  CHECK(clamp(T(3), T(-1), T(1)) == 1);
  CHECK(clamp(T(0.25), T(-1), T(1)) == T(0.25));
  CHECK(is_nan(clamp(nan_of<T>, T(-1), T(1))));
  CHECK(sign(T(-5)) == -1);
  CHECK(sign(tiny<T>) == 1);
  CHECK(is_nan(sign(nan_of<T>)));
  CHECK(floor(T(-0.5)) == -1);
  CHECK(floor(T(2.75)) == 2);
  CHECK(square(T(-3)) == 9);
  CHECK(pow(T(2), T(10)) == 1024);
  CHECK(pow(T(-2), T(3)) == -8);
  CHECK(value_of(T(3)) == 3);
}

}  // namespace kolmo
