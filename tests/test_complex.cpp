// Complex numbers against the standard library's, and the complex step against known derivatives.

#include <complex>
#include <limits>

#include <kolmo/core/complex_step.hpp>

#include "catch.hpp"

// Inside the namespace, so that no function of the standard library is taken for ours.
namespace kolmo {

namespace {

using C = Complex<double>;
using Standard = std::complex<double>;

double relative_distance(C ours, Standard exact) {
  const double distance = std::abs(Standard(ours.re, ours.im) - exact);
  return exact == Standard(0) ? distance : distance / std::abs(exact);
}

template <class F, class G>
void agree(const char* name, F ours, G standard) {
  for (const double x : {-30.0, -2.5, -0.7, -1e-3, 1e-4, 0.3, 0.9, 1.0, 1.2, 4.0, 25.0})
    for (const double y : {-20.0, -3.0, -1.0, -1e-5, 0.0, 1e-9, 0.4, 1.0, 2.0, 7.0}) {
      INFO(name << " at " << x << " + " << y << "i");
      CHECK(relative_distance(ours(C(x, y)), standard(Standard(x, y))) < 1e-15);
    }
}

}  // namespace

TEST_CASE("complex functions agree with the standard library") {
  agree(
      "exp", [](C z) { return exp(z); }, [](Standard z) { return std::exp(z); });
  agree(
      "log", [](C z) { return log(z); }, [](Standard z) { return std::log(z); });
  agree(
      "sqrt", [](C z) { return sqrt(z); }, [](Standard z) { return std::sqrt(z); });
  agree(
      "sin", [](C z) { return sin(z); }, [](Standard z) { return std::sin(z); });
  agree(
      "cos", [](C z) { return cos(z); }, [](Standard z) { return std::cos(z); });
  agree(
      "tanh", [](C z) { return tanh(z); }, [](Standard z) { return std::tanh(z); });
  agree(
      "square", [](C z) { return square(z); }, [](Standard z) { return z * z; });
  agree(
      "quotient", [](C z) { return C(1.3, -0.2) / z; }, [](Standard z) { return Standard(1.3, -0.2) / z; });
  agree(
      "product", [](C z) { return C(1.3, -0.2) * z; }, [](Standard z) { return Standard(1.3, -0.2) * z; });
  agree(
      "abs", [](C z) { return C(abs(z)); }, [](Standard z) { return Standard(std::abs(z)); });
  agree(
      "arg", [](C z) { return C(arg(z)); }, [](Standard z) { return Standard(std::arg(z)); });
}

TEST_CASE("complex arithmetic mixes with numbers") {
  C z{1, 2};
  z += 1;
  z *= C(0, 1);
  CHECK(z == C(-2, 2));
  z -= 0.5;
  z /= 2;
  CHECK(z == C(-1.25, 1));
  CHECK(2 * z == C(-2.5, 2));
  CHECK(1 - z == C(2.25, -1));
  CHECK(-z == C(1.25, -1));
  CHECK(conj(z) == C(-1.25, -1));
  CHECK(norm(z) == 2.5625);
  CHECK(real(z) == -1.25);
  CHECK(imag(z) == 1);
  STATIC_REQUIRE(is_complex<C>);
  STATIC_REQUIRE(!is_complex<double>);
}

TEST_CASE("expm1 and log1p keep the digits of small arguments") {
  const C z{1e-12, 3e-13};
  CHECK(abs(expm1(z) - (z + square(z) / 2)) < 1e-15 * abs(z));
  CHECK(abs(log1p(z) - (z - square(z) / 2)) < 1e-15 * abs(z));
}

TEST_CASE("quotients, magnitudes and roots survive where squares overflow or vanish") {
  const double big = 1e300, small = 1e-300;
  CHECK(abs(C(3 * big, 4 * big)) == Approx(5 * big).epsilon(1e-15));
  CHECK(abs(C(3 * small, 4 * small)) == Approx(5 * small).epsilon(1e-15));
  CHECK((C(big, big) / C(big, big)).re == Approx(1).epsilon(1e-15));
  CHECK((C(small, small) / C(small, small)).re == Approx(1).epsilon(1e-15));
  CHECK(sqrt(C(0, 2 * big)).re == Approx(std::sqrt(big)).epsilon(1e-15));
  CHECK(abs(C(0, 0)) == 0);
  CHECK(sqrt(C(0, 0)) == C(0, 0));
  CHECK(abs(C(-std::numeric_limits<double>::infinity(), 1)) == std::numeric_limits<double>::infinity());
  CHECK(is_nan(abs(C(std::numeric_limits<double>::quiet_NaN(), 1))));
  CHECK(!is_finite(C(0, std::numeric_limits<double>::infinity())));
}

TEST_CASE("the complex step differentiates to rounding") {
  using Step = ComplexStep<double>;
  for (const double x : {0.3, 1.0, 2.5}) {
    INFO(x);
    const Step v = Step::variable(x);
    CHECK(v.value() == x);
    CHECK(v.derivative() == 1);
    CHECK(exp(v).derivative() == Approx(std::exp(x)).epsilon(1e-15));
    CHECK(log(v).derivative() == Approx(1 / x).epsilon(1e-15));
    CHECK(sqrt(v).derivative() == Approx(0.5 / std::sqrt(x)).epsilon(1e-15));
    CHECK(tanh(v).derivative() == Approx(1 / std::pow(std::cosh(x), 2)).epsilon(1e-14));
    CHECK((sin(v) * cos(v)).derivative() == Approx(std::cos(2 * x)).epsilon(1e-14));
    CHECK((1 / (v + 2)).derivative() == Approx(-1 / ((x + 2) * (x + 2))).epsilon(1e-15));
    CHECK(pow(v, 3).derivative() == Approx(3 * x * x).epsilon(1e-14));
    CHECK(pow(-v, 3).derivative() == Approx(-3 * x * x).epsilon(1e-14));
    CHECK(abs(-v).derivative() == 1);
    CHECK(maximum(v, 0).derivative() == 1);
    CHECK(clamp(v, -1, 0).derivative() == 0);
    CHECK(floor(v).derivative() == 0);
  }
}

}  // namespace kolmo
