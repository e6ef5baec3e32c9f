// Operators with broadcasting, constants, comparisons and selection, against xtensor.

#include <kolmo/ops/elementwise.hpp>

#include <limits>

#include <xtensor/xmath.hpp>

#include "expect_op.hpp"
#include "xtensor_oracle.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {
const Input a = random_input({2, 3, 4}, 1);
const Input row = random_input({1, 4}, 2, 0.5, 2.0);
const Input column = random_input({3, 1}, 3, 0.5, 2.0);
const std::vector<BadShapes> mismatched{{{Shape{2, 3}, Shape{2, 4}}}, {{Shape{3}, Shape{2}}}, {{Shape{0}, Shape{2}}}};
const std::vector<Inputs> large{{random_input({300, 1}, 4, 0.5, 2.0), random_input({1, 170}, 5, 0.5, 2.0)},
                                {random_input({30000}, 6, 0.5, 2.0), random_input({30000}, 7, 0.5, 2.0)}};
const OpOptions usual{.bad = mismatched, .large = large};
}  // namespace

TEST_CASE("operators broadcast from the last axis") {
  expect_op(
      "sum", [](const auto& x, const auto& y) { return x + y; }, {a, row},
      oracle2([](const XArray& x, const XArray& y) { return XArray(x + y); }), usual);
  expect_op(
      "difference", [](const auto& x, const auto& y) { return x - y; }, {column, a},
      oracle2([](const XArray& x, const XArray& y) { return XArray(x - y); }), usual);
  expect_op(
      "product", [](const auto& x, const auto& y) { return x * y; }, {column, row},
      oracle2([](const XArray& x, const XArray& y) { return XArray(x * y); }), usual);
  expect_op(
      "quotient", [](const auto& x, const auto& y) { return x / y; }, {a, row},
      oracle2([](const XArray& x, const XArray& y) { return XArray(x / y); }), usual);
}

TEST_CASE("constants stand on either side of an operator") {
  const auto right = [](const auto& x) { return (x + 3) * 0.5 - 1 / (x - 4) + (x / 2); };
  expect_op("constants on the right", right, {a},
            oracle([](const XArray& x) { return XArray((x + 3) * 0.5 - 1 / (x - 4) + x / 2); }));
  const auto left = [](const auto& x) { return 2.5 / (3 - x) + (1 + 2 * x); };
  expect_op("constants on the left", left, {a},
            oracle([](const XArray& x) { return XArray(2.5 / (3 - x) + (1 + 2 * x)); }));
}

TEST_CASE("powers") {
  expect_op(
      "pow", [](const auto& x, const auto& y) { return pow(x, y); }, {column, row},
      oracle2([](const XArray& x, const XArray& y) { return XArray(xt::pow(x, y)); }), usual);
  expect_op(
      "pow with a constant", [](const auto& x) { return pow(x, -1.5); }, {row},
      oracle([](const XArray& x) { return XArray(xt::pow(x, -1.5)); }));
}

TEST_CASE("the larger and the smaller of two") {
  expect_op("maximum", [](const auto& x, const auto& y) { return maximum(x, y); }, {a, random_input({4}, 8)},
            oracle2([](const XArray& x, const XArray& y) { return XArray(xt::maximum(x, y)); }), {.bad = mismatched});
  expect_op("minimum", [](const auto& x, const auto& y) { return minimum(x, y); }, {a, random_input({4}, 8)},
            oracle2([](const XArray& x, const XArray& y) { return XArray(xt::minimum(x, y)); }), {.bad = mismatched});
}

TEST_CASE("on ties the derivative of maximum and minimum goes to the first operand") {
  using V = Tensor<double, Cpu>;
  const V x = V::from({1, 2}), y = V::from({1, 3});
  const auto slope = [&](const auto& f) { return grad([&](const auto& v) { return sum(f(v, y)); }, x).to_vector(); };
  REQUIRE(slope([](const auto& p, const auto& q) { return maximum(p, q); }) == std::vector<double>{1, 0});
  REQUIRE(slope([](const auto& p, const auto& q) { return minimum(p, q); }) == std::vector<double>{1, 1});
}

TEST_CASE("where selects by a mask and passes derivatives to the selected operand only") {
  const auto selected = [](const auto& x, const auto& y) {
    using V = BaseOf<decltype(x)>;
    return where(V::from({1, 0, 0, 2}, {4}), x, y);
  };
  expect_op("where", selected, {a, row}, oracle2([](const XArray& x, const XArray& y) {
              const XArray mask{1, 0, 0, 2};
              return XArray(xt::where(xt::cast<bool>(mask), x, y));
            }),
            {.bad = {{{Shape{3}, Shape{4}}}}});
  // The operand that is not selected may be NaN or have an infinite slope.
  using V = Tensor<double, Cpu>;
  const V x = V::from({0, 4}), mask = V::from({0, 1});
  const auto safe_root = [&](const auto& v) { return sum(where(mask, sqrt(where(mask, v, V::ones({2}))), v)); };
  REQUIRE(grad(safe_root, x).to_vector() == std::vector<double>{1, 0.25});
}

TEST_CASE("comparisons give zeros and ones and carry no derivative") {
  constexpr OpChecks values{.derivative = false};
  expect_op<values>(
      "greater", [](const auto& x, const auto& y) { return greater(x, y); }, {a, row},
      oracle2([](const XArray& x, const XArray& y) { return XArray(xt::cast<double>(x > y)); }), usual);
  expect_op<values>(
      "less", [](const auto& x, const auto& y) { return less(x, y); }, {a, row},
      oracle2([](const XArray& x, const XArray& y) { return XArray(xt::cast<double>(x < y)); }), usual);
  expect_op<values>(
      "equal", [](const auto& x, const auto& y) { return equal(x, y); }, {a, a},
      oracle2([](const XArray& x, const XArray& y) { return XArray(xt::cast<double>(xt::equal(x, y))); }), usual);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto x = Tensor<double, Cpu>::from({nan, 1.0});
  REQUIRE(equal(x, x).to_vector() == std::vector<double>{0, 1});
}
