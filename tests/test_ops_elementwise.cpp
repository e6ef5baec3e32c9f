// The named elementwise functions of one operand: values against the C library, derivatives of all orders
// used, conventions at the points where no derivative exists, and behaviour at infinities and NaN.

#include <kolmo/ops/elementwise.hpp>

#include <limits>

#include "expect_op.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

Oracle each(double (*f)(double)) {
  return [f](const Inputs& in) {
    Result y{in[0].shape, in[0].values};
    for (double& v : y.values) v = f(v);
    return y;
  };
}

const Input around_zero = random_input({3, 7}, 1, -2.5, 2.5);
const Input positive = random_input({3, 7}, 2, 0.2, 4.0);
/// A row longer than a tile, and rows that are short.
const std::vector<Inputs> large{{random_input({40000}, 3, 0.5, 2.0)}, {random_input({900, 20}, 4, 0.5, 2.0)}};
const OpOptions usual{.large = large};

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

/// Value and derivative at points, along ones.
template <class B, class F>
void expect_slope(const F& f, const std::vector<double>& at, const std::vector<double>& slope) {
  using V = Tensor<double, B>;
  const V x = V::from(at);
  REQUIRE(grad([&](const auto& v) { return sum(f(v)); }, x).to_vector() == slope);
  REQUIRE(jvp(f, x, V::ones(x.shape())).tangent.to_vector() == slope);
}

}  // namespace

TEST_CASE("exponentials and logarithms") {
  expect_op(
      "exp", [](const auto& x) { return exp(x); }, {around_zero}, each(std::exp), usual);
  expect_op(
      "expm1", [](const auto& x) { return expm1(x); }, {around_zero}, each(std::expm1), usual);
  expect_op(
      "log", [](const auto& x) { return log(x); }, {positive}, each(std::log), usual);
  expect_op(
      "log1p", [](const auto& x) { return log1p(x); }, {positive}, each(std::log1p), usual);
}

TEST_CASE("roots, squares and trigonometry") {
  expect_op(
      "sqrt", [](const auto& x) { return sqrt(x); }, {positive}, each(std::sqrt), usual);
  expect_op(
      "square", [](const auto& x) { return square(x); }, {around_zero}, each([](double x) { return x * x; }));
  expect_op(
      "sin", [](const auto& x) { return sin(x); }, {around_zero}, each(std::sin), usual);
  expect_op(
      "cos", [](const auto& x) { return cos(x); }, {around_zero}, each(std::cos), usual);
  expect_op(
      "negation", [](const auto& x) { return -x; }, {around_zero}, each([](double x) { return -x; }));
}

TEST_CASE("sigmoidal functions and activations") {
  expect_op(
      "tanh", [](const auto& x) { return tanh(x); }, {around_zero}, each(std::tanh), usual);
  expect_op(
      "erf", [](const auto& x) { return erf(x); }, {around_zero}, each(std::erf), usual);
  expect_op(
      "sigmoid", [](const auto& x) { return sigmoid(x); }, {around_zero}, each(sigmoid_of), usual);
  expect_op(
      "softplus", [](const auto& x) { return softplus(x); }, {around_zero},
      each([](double x) { return std::log1p(std::exp(x)); }), usual);
  expect_op(
      "silu", [](const auto& x) { return silu(x); }, {around_zero}, each([](double x) { return x * sigmoid_of(x); }));
  expect_op(
      "gelu", [](const auto& x) { return gelu(x); }, {around_zero},
      each([](double x) { return 0.5 * x * std::erfc(-x * std::sqrt(0.5)); }));
}

TEST_CASE("functions with a kink have their derivative away from it") {
  // No element of the inputs is closer to a kink than a step of the differences.
  const Input x{{2, 3}, {-1.5, 0.25, 2.0, -0.125, 0.75, -2.25}};
  expect_op(
      "abs", [](const auto& v) { return abs(v); }, {x}, each([](double v) { return std::abs(v); }));
  expect_op(
      "relu", [](const auto& v) { return relu(v); }, {x}, each([](double v) { return v > 0 ? v : 0.0; }));
  expect_op(
      "clamp", [](const auto& v) { return clamp(v, -1, 0.5); }, {x},
      each([](double v) { return std::min(std::max(v, -1.0), 0.5); }));
}

TEMPLATE_TEST_CASE("derivatives at the kinks follow the documented convention", "", Cpu, TestDevice) {
  expect_slope<TestType>([](const auto& x) { return abs(x); }, {0.0, -0.0, -2.0}, {0.0, 0.0, -1.0});
  expect_slope<TestType>([](const auto& x) { return relu(x); }, {0.0, 1.0, -1.0}, {0.0, 1.0, 0.0});
  expect_slope<TestType>([](const auto& x) { return clamp(x, 0, 1); }, {-1.0, 0.5, 2.0}, {0.0, 1.0, 0.0});
}

TEMPLATE_TEST_CASE("infinities and NaN go through as the functions' limits", "", float, double) {
  using T = TestType;
  using V = Tensor<T, Cpu>;
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  // More elements than a vector register holds, so that the vectorised loop sees them.
  const auto at = [&](T x) { return V::full({37}, x); };
  const auto all = [](const V& y, T expected) {
    for (const T v : y.to_vector())
      if (!(v == expected || (std::isnan(v) && std::isnan(expected)))) return false;
    return true;
  };
  CHECK(all(exp(at(-infinity)), 0));
  CHECK(all(exp(at(infinity)), infinity));
  CHECK(all(log(at(0)), -infinity));
  CHECK(all(log(at(-1)), nan));
  CHECK(all(tanh(at(infinity)), 1));
  CHECK(all(tanh(at(-infinity)), -1));
  CHECK(all(erf(at(infinity)), 1));
  CHECK(all(sigmoid(at(-infinity)), 0));
  CHECK(all(sigmoid(at(infinity)), 1));
  CHECK(all(softplus(at(-infinity)), 0));
  CHECK(all(softplus(at(infinity)), infinity));
  CHECK(all(sqrt(at(-1)), nan));
  for (const V& y : {exp(at(nan)), log(at(nan)), tanh(at(nan)), erf(at(nan)), sigmoid(at(nan)), softplus(at(nan)),
                     sin(at(nan)), expm1(at(nan)), log1p(at(nan)), abs(at(nan)), silu(at(nan)), gelu(at(nan))})
    CHECK(all(y, nan));
}

TEST_CASE("clamp refuses bounds in the wrong order") {
  REQUIRE_THROWS_AS(clamp(Tensor<float, Cpu>::ones({2}), 1, 0), ArgumentError);
}
