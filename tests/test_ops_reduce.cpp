// Reductions over axes, against xtensor on every tensor kind, backend and scalar.

#include <kolmo/ops/reduce.hpp>

#include <limits>

#include <xtensor/xmath.hpp>
#include <xtensor/xsort.hpp>

#include "expect_op.hpp"
#include "xtensor_oracle.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {
const Input x = random_input({2, 3, 4}, 1);
/// Rows and columns longer than one task.
const std::vector<Inputs> large{{random_input({3, 500, 40}, 2)}, {random_input({2, 70000, 1}, 3)}};
const OpOptions usual{.bad = {{{Shape{}}}}, .large = large};
}  // namespace

TEST_CASE("sum and mean fold the axes that are named") {
  expect_op("sum",
            [](const auto& v) {
              return sum(v, {0, -1});
            },
            {x}, oracle([](const XArray& v) {
              return XArray(xt::sum(v, {0, 2}));
            }),
            {.bad = {{{Shape{}}}, {{Shape{3}}}}, .large = large});
  expect_op("sum of all", [](const auto& v) { return sum(v); }, {x},
            oracle([](const XArray& v) { return XArray(xt::sum(v)); }), {.large = large});
  expect_op("mean", [](const auto& v) { return mean(v, {1}, true); }, {x},
            oracle([](const XArray& v) { return XArray(xt::mean(v, {1}, xt::keep_dims)); }),
            {.bad = {{{Shape{2}}}, {{Shape{2, 0}}}}, .large = large});
  using V = Tensor<float, Cpu>;
  REQUIRE_THROWS_WITH(sum(V::ones({2, 3}), {0, -2}), contains("named twice"));
  REQUIRE_THROWS_AS(mean(V::ones({0})), ShapeError);
  REQUIRE(sum(V::ones({0, 3}), {0}).to_vector() == std::vector<float>{0, 0, 0});
  REQUIRE(sum(V::ones({3, 0})).item() == 0);
}

TEST_CASE("extrema along an axis or of all") {
  // Small steps stay on one side of the kinks.
  const OpOptions exact{.step = 1e-5, .bad = {{{Shape{}}}, {{Shape{0, 2}}}}, .large = large};
  expect_op(
      "max", [](const auto& v) { return max(v, 0); }, {x},
      oracle([](const XArray& v) { return XArray(xt::amax(v, {0})); }), exact);
  expect_op("min", [](const auto& v) { return min(v, -1, true); }, {x},
            oracle([](const XArray& v) { return XArray(xt::amin(v, {2}, xt::keep_dims)); }),
            {.step = 1e-5, .bad = {{{Shape{}}}, {{Shape{2, 0}}}}});
  expect_op("max of all", [](const auto& v) { return max(v); }, {x},
            oracle([](const XArray& v) { return XArray(xt::amax(v)); }), {.step = 1e-5, .bad = {{{Shape{0}}}}});
}

TEST_CASE("argmax and argmin give the first extremum, NaN before any number") {
  const auto check = []<class B>(B) {
    using V = Tensor<float, B>;
    using Indices = std::vector<index_t>;
    const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
    const V v = V::from({1, 3, 3, 0, 2, nan, 7, nan, -infinity, -infinity, -infinity, -infinity}, {3, 4});
    REQUIRE(argmax(v, 1).to_vector() == Indices{1, 1, 0});
    REQUIRE(argmin(v, 1).to_vector() == Indices{3, 1, 0});
    REQUIRE(argmax(v, 0).to_vector() == Indices{1, 1, 1, 1});
    REQUIRE(argmin(v, 0, true).shape() == Shape{1, 4});
    for (const index_t n : {5, 1000, 1025, 70000}) {
      // Ties far apart: the lowest index, whatever the tree.
      auto ties = V::zeros({n});
      REQUIRE(argmax(ties, 0).item() == 0);
      REQUIRE(argmin(ties + V::from({0}, {1}), 0).item() == 0);
      REQUIRE(argmax(V::arange(n), 0).item() == n - 1);
    }
  };
  check(Cpu{});
  check(TestDevice{});
  const auto tie = Tensor<double, Cpu>::from({2, 5, 5});
  REQUIRE(grad([](const auto& v) { return max(v); }, tie).to_vector() == std::vector<double>{0, 1, 0});
}

TEST_CASE("logsumexp and softmax along an axis") {
  expect_op("logsumexp", [](const auto& v) { return logsumexp(v, 1); }, {x},
            oracle([](const XArray& v) { return XArray(xt::log(xt::sum(xt::exp(v), {1}))); }),
            {.bad = {{{Shape{2}}}, {{Shape{2, 0}}}}, .large = large});
  expect_op(
      "softmax", [](const auto& v) { return softmax(v, -1); }, {x}, oracle([](const XArray& v) {
        const XArray e = xt::exp(v), total = xt::sum(e, {2}, xt::keep_dims);
        return XArray(e / total);
      }),
      usual);
  expect_op(
      "log_softmax", [](const auto& v) { return log_softmax(v, 0); }, {x}, oracle([](const XArray& v) {
        const XArray total = xt::sum(XArray(xt::exp(v)), {0}, xt::keep_dims);
        return XArray(v - xt::log(total));
      }),
      usual);
}

TEMPLATE_TEST_CASE("logsumexp and softmax do not overflow", "", float, double) {
  using V = Tensor<TestType, Cpu>;
  const TestType infinity = std::numeric_limits<TestType>::infinity();
  REQUIRE(logsumexp(V::from({1e30f, 1e30f}), 0).item() == TestType(1e30f));
  REQUIRE(logsumexp(V::from({-1e30f, -1e30f}), 0).item() == TestType(-1e30f));
  REQUIRE(logsumexp(V::from({-infinity, -infinity}), 0).item() == -infinity);
  REQUIRE(logsumexp(V::from({-infinity, 3}), 0).item() == TestType(3));
  REQUIRE(logsumexp(V::from({infinity, 3}), 0).item() == infinity);
  REQUIRE(softmax(V::from({1000, -infinity, 1000}), 0).to_vector() == std::vector<TestType>{0.5, 0, 0.5});
}

TEST_CASE("norms and inner products") {
  expect_op(
      "norm", [](const auto& v) { return norm(v, {-1}); }, {x},
      oracle([](const XArray& v) { return XArray(xt::sqrt(xt::sum(v * v, {2}))); }), usual);
  expect_op("norm_l1", [](const auto& v) { return norm_l1(v, {0}, true); }, {x},
            oracle([](const XArray& v) { return XArray(xt::sum(xt::abs(v), {0}, xt::keep_dims)); }),
            {.step = 1e-5, .large = large});
  expect_op("norm_max", [](const auto& v) { return norm_max(v, 1); }, {x},
            oracle([](const XArray& v) { return XArray(xt::amax(xt::abs(v), {1})); }),
            {.step = 1e-5, .bad = {{{Shape{2}}}, {{Shape{2, 0}}}}});
  expect_op("dot", [](const auto& v, const auto& w) { return dot(v, w); }, {x, random_input({2, 3, 4}, 9)},
            oracle2([](const XArray& v, const XArray& w) { return XArray(xt::sum(v * w)); }),
            {.bad = {{{Shape{2}, Shape{3}}}, {{Shape{2}, Shape{1, 2}}}, {{Shape{2}, Shape{}}}}});
}
