// Joining, cutting and padding, against xtensor on every tensor kind, backend and scalar.

#include <kolmo/ops/join.hpp>

#include <xtensor/xbuilder.hpp>
#include <xtensor/xview.hpp>

#include "expect_op.hpp"
#include "xtensor_oracle.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {
const Input a = random_input({2, 3, 4}, 1);
const Input b = random_input({2, 3, 4}, 2);
}  // namespace

TEST_CASE("concat joins tensors of any kinds along an axis") {
  // The third operand is a plain tensor among variables and jets.
  const auto joined = [](const auto& x, const auto& y) {
    return concat(1, x, y, BaseOf<decltype(x)>::ones({2, 1, 4}));
  };
  expect_op("concat", joined, {a, random_input({2, 2, 4}, 2)}, oracle2([](const XArray& x, const XArray& y) {
              const XArray ones = xt::ones<double>({2, 1, 4});
              return XArray(xt::concatenate(xt::xtuple(x, y, ones), 1));
            }),
            {.bad = {{{Shape{2, 3, 4}, Shape{2, 3, 5}}},
                     {{Shape{2, 3, 4}, Shape{2, 3}}},
                     {{Shape{1, 3, 4}, Shape{2, 3, 4}}},
                     {{Shape{}, Shape{}}}}});
  using V = Tensor<float, Cpu>;
  REQUIRE_THROWS_AS(concat(0, std::vector<V>{}), ArgumentError);
  REQUIRE(concat(0, std::vector<V>{V::zeros({0, 2}), V::ones({3, 2})}).shape() == Shape{3, 2});
  REQUIRE_THROWS_WITH(concat(0, V::ones({2, 2}), V::ones({2, 3})), contains("[2, 3]") && contains("operand 1"));
}

TEST_CASE("stack joins along a new axis") {
  expect_op("stack", [](const auto& x, const auto& y) { return stack(-1, x, y); }, {a, b},
            oracle2([](const XArray& x, const XArray& y) {
              // A new last axis puts the elements of the two side by side.
              std::vector<std::size_t> shape(x.shape().begin(), x.shape().end());
              shape.push_back(2);
              XArray joined(shape);
              for (std::size_t i = 0; i < x.size(); ++i) {
                joined.flat(2 * i) = x.flat(i);
                joined.flat(2 * i + 1) = y.flat(i);
              }
              return joined;
            }),
            {.bad = {{{Shape{2, 3}, Shape{3, 2}}}, {{Shape{2}, Shape{1}}}}});
  REQUIRE_THROWS_AS((stack(3, Tensor<float, Cpu>::ones({2}), Tensor<float, Cpu>::ones({2}))), ShapeError);
}

TEST_CASE("split cuts an axis into parts that join to the whole") {
  const auto halves = [](const auto& x) {
    const auto parts = split(x, -1, 2);
    return concat(-1, parts[1] * 2, parts[0]);
  };
  expect_op("split", halves, {a}, oracle([](const XArray& x) {
              const XArray low = xt::view(x, xt::all(), xt::all(), xt::range(0, 2));
              const XArray high = 2 * xt::view(x, xt::all(), xt::all(), xt::range(2, 4));
              return XArray(xt::concatenate(xt::xtuple(high, low), 2));
            }),
            {.bad = {{{Shape{2, 3}}}, {{Shape{}}}}});
  const auto x = Tensor<float, Cpu>::arange(6);
  REQUIRE(split(x, 0, {1, 0, 5})[2].to_vector() == std::vector<float>{1, 2, 3, 4, 5});
  REQUIRE_THROWS_WITH(split(x, 0, {1, 2}), contains("3 elements") && contains("[6]"));
  REQUIRE_THROWS_AS(split(x, 0, {7, -1}), ShapeError);
  REQUIRE_THROWS_AS(split(x, 0, 4), ShapeError);
  REQUIRE_THROWS_AS(split(x, 0, 0), ShapeError);
}

TEST_CASE("pad surrounds with a constant whose derivative is zero") {
  expect_op("pad",
            [](const auto& x) {
              return pad(x, {{0, 1, 1}, {-1, 2, 3}}, 7);
            },
            {random_input({2, 3}, 8)}, oracle([](const XArray& x) {
              XArray y = 7.0 * xt::ones<double>({4, 8});
              xt::view(y, xt::range(1, 3), xt::range(2, 5)) = x;
              return y;
            }),
            {.bad = {{{Shape{}}}}, .large = {{random_input({300, 50}, 9)}}});
  const auto x = Tensor<float, Cpu>::ones({2});
  REQUIRE(pad(x, 0, 1, 1).to_vector() == std::vector<float>{0, 1, 1, 0});
  REQUIRE(pad(x, 0, 2, 0, -1).to_vector() == std::vector<float>{-1, -1, 1, 1});
  REQUIRE_THROWS_AS(pad(x, 0, -1, 0), ArgumentError);
  REQUIRE_THROWS_AS(pad(x, 1, 1, 0), ShapeError);
}
