// Changing shapes without touching elements, against xtensor on every tensor kind, backend and scalar.

#include <kolmo/ops/views.hpp>

#include <xtensor/xmanipulation.hpp>
#include <xtensor/xview.hpp>

#include "expect_op.hpp"
#include "xtensor_oracle.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {
const Input a = random_input({2, 3, 4}, 1);
}  // namespace

TEST_CASE("reshape keeps the row-major order and computes one open extent") {
  expect_op("reshape",
            [](const auto& x) {
              return reshape(x, {-1, 2, 3});
            },
            {a}, oracle([](const XArray& x) {
              return XArray(xt::reshape_view(x, {4, 2, 3}));
            }),
            {.bad = {{{Shape{2, 2}}}, {{Shape{5}}}, {{Shape{7, 2}}}}});
  expect_op("flatten", [](const auto& x) { return flatten(x, 1); }, {a}, oracle([](const XArray& x) {
              return XArray(xt::reshape_view(x, {2, 12}));
            }),
            {.bad = {{{Shape{3}}}}});

  const auto x = Tensor<float, Cpu>::arange(24);
  REQUIRE(reshape(x, {2, -1, 3}).shape() == Shape{2, 4, 3});
  REQUIRE(reshape(x, {2, -1, 3}).data() == x.data());
  REQUIRE(flatten(reshape(x, {2, 3, 4})).shape() == Shape{24});
  REQUIRE_THROWS_WITH(reshape(x, {-1, -1}), contains("only one extent may be -1"));
  REQUIRE_THROWS_WITH(reshape(x, {5, -1}), contains("[24]") && contains("product 5"));
  REQUIRE_THROWS_AS(reshape(x, {0, -1}), ShapeError);
  REQUIRE_THROWS_AS(reshape(x, {-2, 12}), ShapeError);
}

TEST_CASE("transpose, permute and swap_axes are views with exchanged axes") {
  expect_op("transpose", [](const auto& x) { return transpose(x); }, {a}, oracle([](const XArray& x) {
              return XArray(xt::transpose(x, {0, 2, 1}));
            }),
            {.bad = {{{Shape{3}}}, {{Shape{}}}}, .large = {{random_input({5, 130, 90}, 3)}}});
  expect_op("permute",
            [](const auto& x) {
              return permute(x, {2, 0, 1});
            },
            {a}, oracle([](const XArray& x) {
              return XArray(xt::transpose(x, {2, 0, 1}));
            }),
            {.bad = {{{Shape{3, 2}}}}});
  expect_op("swap_axes", [](const auto& x) { return swap_axes(x, 0, -1); }, {a}, oracle([](const XArray& x) {
              return XArray(xt::transpose(x, {2, 1, 0}));
            }),
            {.bad = {{{Shape{}}}}});

  const auto x = Tensor<float, Cpu>::arange(24).reshaped({2, 3, 4});
  REQUIRE(permute(x, {2, 0, 1}).data() == x.data());
  REQUIRE_THROWS_WITH(permute(x, {0, 1, 1}), contains("axis 1 is named twice"));
  REQUIRE_THROWS_AS(permute(x, {0, 1, 3}), ShapeError);
}

TEST_CASE("broadcast_to repeats and its derivative sums") {
  expect_op("broadcast_to",
            [](const auto& x) {
              return broadcast_to(x, {2, 3, 4});
            },
            {random_input({3, 1}, 4)}, oracle([](const XArray& x) {
              return XArray(xt::broadcast(x, {2, 3, 4}));
            }),
            {
                .bad = {{{Shape{2, 1}}}, {{Shape{2, 2, 3, 4}}}, {{Shape{5}}}},
            });
  const auto x = Tensor<float, Cpu>::arange(3);
  REQUIRE(broadcast_to(x, {1000, 3}).data() == x.data());
}

TEST_CASE("squeeze and unsqueeze remove and insert axes of extent one") {
  expect_op(
      "unsqueeze", [](const auto& x) { return squeeze(unsqueeze(unsqueeze(x, 1), -1), 1); }, {a},
      oracle([](const XArray& x) { return XArray(xt::expand_dims(x, 3)); }));
  const auto x = Tensor<float, Cpu>::zeros({2, 1, 3});
  REQUIRE(squeeze(x, -2).shape() == Shape{2, 3});
  REQUIRE(unsqueeze(x, 0).shape() == Shape{1, 2, 1, 3});
  REQUIRE_THROWS_WITH(squeeze(x, 0), contains("[2, 1, 3]"));
  REQUIRE_THROWS_AS(unsqueeze(x, 5), ShapeError);
  REQUIRE_THROWS_AS(unsqueeze(x, -5), ShapeError);
  REQUIRE_THROWS_AS(unsqueeze(Tensor<float, Cpu>::zeros({1, 1, 1, 1, 1, 1}), 0), ShapeError);
}

TEST_CASE("slice reads a range with a step; negative positions count from the end") {
  expect_op("slice", [](const auto& x) { return slice(x, {.axis = -1, .begin = 1, .end = -1, .step = 2}); },
            {random_input({2, 3, 7}, 5)},
            oracle([](const XArray& x) { return XArray(xt::view(x, xt::all(), xt::all(), xt::range(1, 6, 2))); }),
            {.bad = {{{Shape{}}}, {{Shape{2, 1}}, Thrown::argument}}, .large = {{random_input({40, 900}, 6)}}});
  expect_op("at", [](const auto& x) { return at(x, 1, -1); }, {a},
            oracle([](const XArray& x) { return XArray(xt::view(x, xt::all(), 2, xt::all())); }),
            {.bad = {{{Shape{4}}}, {{Shape{4, 0}}, Thrown::argument}}});

  const auto x = Tensor<float, Cpu>::arange(10);
  REQUIRE(slice(x, 0, 2, 8, 3).to_vector() == std::vector<float>{2, 5});
  REQUIRE(slice(x, 0, 4, 4).shape() == Shape{0});
  REQUIRE(slice(x, 0, 10).shape() == Shape{0});
  for (const Slice range : {Slice{0, 0, 11}, Slice{0, -11}, Slice{0, 5, 4}, Slice{0, 0, 5, 0}, Slice{0, 0, 5, -1}})
    REQUIRE_THROWS_AS(slice(x, range), ArgumentError);
  REQUIRE_THROWS_WITH(slice(x, 0, 3, 12), contains("[3, 12)") && contains("[10]"));
}

TEST_CASE("flip reverses an axis as a view that every operation can read") {
  expect_op("flip", [](const auto& x) { return flip(x, 1); }, {a},
            oracle([](const XArray& x) { return XArray(xt::flip(x, 1)); }), {.bad = {{{Shape{4}}}}});
  const auto x = Tensor<double, Cpu>::arange(6).reshaped({2, 3});
  REQUIRE(sum(flip(x, 1), {0}).to_vector() == std::vector<double>{7, 5, 3});
  REQUIRE(matmul(flip(x, 1), transpose(x)).to_vector() == std::vector<double>{1, 10, 10, 46});
  REQUIRE(flip(Tensor<double, Cpu>::zeros({0, 2}), 0).copy().shape() == Shape{0, 2});
}
