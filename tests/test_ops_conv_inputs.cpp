// Convolutions: transposes in 1-D, up-sampling, extents at the edge, wanted gradients and bad inputs.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/fake_device.hpp>
#include <kolmo/ops/conv.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/upsample.hpp>

#include "catch.hpp"
#include "expect_op_checks.hpp"

using namespace kolmo;
using kolmo_test::Numbers;

namespace {

using V = Tensor<double, Cpu>;

template <class U = V>
U random_tensor(const Shape& shape, std::uint64_t seed) {
  std::vector<typename U::Scalar> values;
  for (const double v : Numbers(seed).vector(static_cast<std::size_t>(shape.size())))
    values.push_back(static_cast<typename U::Scalar>(v));
  return U::from(std::span<const typename U::Scalar>(values), shape);
}

double inner_product(const V& a, const V& b) { return sum(a * b).item(); }

}  // namespace

TEST_CASE("conv1d is conv2d of height one, with its gradients") {
  for (const Padding padding : {Padding::zeros, Padding::circular, Padding::reflect, Padding::replicate}) {
    const ConvOptions line{{{2, 9}}, padding, {{2, -1}}}, plane{{{1, 2}}, padding, {{0, 2}}};
    const V x = random_tensor({2, 7, 2}, 21), w = random_tensor({3, 2, 5}, 22), bias = random_tensor({3}, 23);
    const V field = x.reshaped(Shape{2, 1, 7, 2}), kernel = w.reshaped(Shape{3, 2, 1, 5});
    const V y = conv1d(x, w, bias, line, fn::Silu{});
    CHECK((y.shape() == Shape{2, 4, 3}));
    CHECK(y.to_vector() == conv2d(field, kernel, bias, plane, fn::Silu{}).to_vector());
    CHECK(conv1d(x, w, line).to_vector() == conv2d(field, kernel, plane).to_vector());
    CHECK(grad([&](const auto& k) { return sum(conv1d(x, k, bias, line, fn::Silu{})); }, w).to_vector() ==
          grad([&](const auto& k) { return sum(conv2d(field, k, bias, plane, fn::Silu{})); }, kernel).to_vector());
  }
  CHECK_THROWS_AS(conv1d(random_tensor({7, 2}, 1), random_tensor({3, 2, 5}, 1)), ShapeError);
  CHECK_THROWS_AS(conv1d(random_tensor({2, 7, 1}, 1), random_tensor({3, 2, 5}, 1)), ShapeError);
}

TEST_CASE("conv1d reads ahead or behind, and far, by its pads and dilation") {
  const V x = random_tensor({1, 9, 2}, 31), w = random_tensor({3, 2, 3}, 32);
  const ConvOptions causal{{{1, 1}}, Padding::zeros, {{4, 0}}, {{0, 0}}, {{2, 1}}};
  const V y = conv1d(x, w, causal);
  REQUIRE((y.shape() == Shape{1, 9, 3}));
  const auto values = y.to_vector(), field = x.to_vector(), kernel = w.to_vector();
  for (int j = 0; j < 9; ++j)
    for (int o = 0; o < 3; ++o) {
      double expected = 0;
      for (int u = 0; u < 3; ++u)
        for (int c = 0; c < 2; ++c)
          if (j + 2 * u - 4 >= 0)
            expected += field[static_cast<std::size_t>((j + 2 * u - 4) * 2 + c)] *
                        kernel[static_cast<std::size_t>((o * 2 + c) * 3 + u)];
      CHECK(values[static_cast<std::size_t>(j * 3 + o)] == Approx(expected).margin(1e-14));
    }
  // By default the pads keep the size.
  CHECK((conv1d(x, w, ConvOptions{.dilation = {{3, 1}}}).shape() == Shape{1, 9, 3}));
}

TEST_CASE("conv_transpose1d is the transpose of conv1d") {
  const ConvOptions options{{{3, 1}}, Padding::reflect, {{2, 0}}};
  const V x = random_tensor({2, 11, 3}, 1), w = random_tensor({4, 3, 5}, 2);
  const V y = conv1d(x, w, options);
  REQUIRE((y.shape() == Shape{2, 4, 4}));
  const V u = random_tensor(y.shape(), 3);
  const V back = conv_transpose1d(u, w, options, 1);  // (4 - 1) 3 - 2 2 + 5 + 1 = 11
  REQUIRE((back.shape() == x.shape()));
  CHECK(inner_product(y, u) == Approx(inner_product(x, back)).epsilon(1e-13));
  const V bias = random_tensor({3}, 4);
  const auto with_bias = conv_transpose1d(u, w, bias, options, 1).to_vector(), without = back.to_vector();
  for (std::size_t i = 0; i < without.size(); ++i)
    CHECK(with_bias[i] == Approx(without[i] + bias.to_vector()[i % 3]).epsilon(1e-14));
}

TEST_CASE("upsample_nearest repeats every point, and its gradient sums the block") {
  const V x = V::from({1, 2, 3, 4, 5, 6, 7, 8}, Shape{1, 2, 2, 2});
  const V y = upsample_nearest(x, {{2, 3}});
  REQUIRE((y.shape() == Shape{1, 4, 6, 2}));
  const auto values = y.to_vector();
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 6; ++j)
      for (int c = 0; c < 2; ++c)
        CHECK(values[static_cast<std::size_t>((i * 6 + j) * 2 + c)] == 4 * (i / 2) + 2 * (j / 3) + c + 1);
  const V u = random_tensor(y.shape(), 5);
  auto repeated = vjp([](const auto& a) { return upsample_nearest(a, {{2, 3}}); }, x);
  CHECK(inner_product(y, u) == Approx(inner_product(x, repeated.pull(u))).epsilon(1e-14));
  CHECK((upsample_nearest(random_tensor({2, 3, 4}, 6), {{5, 1}}).shape() == Shape{2, 15, 4}));
  CHECK_THROWS_AS(upsample_nearest(random_tensor({3, 4}, 7)), ShapeError);
  CHECK_THROWS_AS(upsample_nearest(x, {{0, 1}}), ArgumentError);
}

TEST_CASE("an empty batch gives an empty result, empty field gradients and zero kernel gradients") {
  const V x = V::zeros(Shape{0, 5, 6, 2}), w = random_tensor({3, 2, 3, 3}, 8), bias = V::ones(Shape{3});
  CHECK((conv2d(x, w, bias).shape() == Shape{0, 5, 6, 3}));
  CHECK((conv_transpose2d(V::zeros(Shape{0, 5, 6, 3}), w).shape() == Shape{0, 5, 6, 2}));
  CHECK((upsample_nearest(x).shape() == Shape{0, 10, 12, 2}));
  const V gradient = grad([&](const auto& k) { return sum(conv2d(x, k, bias)); }, w);
  for (const double g : gradient.to_vector()) CHECK(g == 0.0);
}

TEST_CASE("odd fields: three halvings and their transposes of 199 x 399 points") {
  using F = Tensor<float, Cpu>;
  F x = random_tensor<F>({1, 199, 399, 1}, 9);
  const F w = random_tensor<F>({1, 1, 3, 3}, 10);
  const ConvOptions half{{{2, 2}}, Padding::reflect};
  const F a = conv2d(x, w, half), b = conv2d(a, w, half);
  CHECK((a.shape() == Shape{1, 100, 200, 1}));
  CHECK((b.shape() == Shape{1, 50, 100, 1}));
  CHECK((conv_transpose2d(a, w, half).shape() == x.shape()));
  CHECK((conv_transpose2d(b, w, half, {{1, 1}}).shape() == a.shape()));
}

TEST_CASE("only wanted gradients are computed, and what they do not need is not kept") {
  const V x = random_tensor({2, 6, 6, 3}, 11), w = random_tensor({4, 3, 3, 3}, 12), bias = random_tensor({4}, 13);
  const detail::ConvGeometry g = detail::conv_geometry("conv2d", x.shape(), w.shape(), {});
  const V gradient = random_tensor({2, 6, 6, 4}, 14);
  const detail::ConvPullBack<fn::Identity, V, V, V> field{g, {}, V(), w, V()}, kernel{g, {}, x, V(), V()};
  const auto only_field = field(gradient, Wanted<3>{{true, false, false}});
  CHECK((std::get<0>(only_field).shape() == x.shape()));
  CHECK_FALSE(std::get<1>(only_field).has_value());
  CHECK_FALSE(std::get<2>(only_field).has_value());
  const auto only_kernel = kernel(gradient, Wanted<3>{{false, true, false}});
  CHECK_FALSE(std::get<0>(only_kernel).has_value());
  CHECK((std::get<1>(only_kernel).shape() == w.shape()));
  auto of_field = vjp([&](const auto& a) { return conv2d(a, w, bias, {}, fn::Silu{}); }, x);
  CHECK((of_field.pull(gradient).shape() == x.shape()));
}

TEST_CASE("multiply-adds are counted by the definition") {
  // Section 8 of the score networks' cost: a 3 x 3 convolution of 96 channels over 64 x 64 points.
  CHECK(conv_flops(Shape{1, 64, 64, 96}, Shape{96, 96, 3, 3}) == 339738624);
  CHECK(conv_flops(Shape{1, 64, 64, 96}, Shape{192, 96, 3, 3}, {{{2, 2}}}) == 169869312);
  CHECK(conv_flops(Shape{5, 10, 2}, Shape{3, 2, 4}, {{{2, 1}}, Padding::zeros, {{1, 0}}}) == 5 * 5 * 3 * 2 * 4);
}

TEST_CASE("bad strides, pads and kernels are refused with what was given and expected") {
  using kolmo_test::contains;
  const V x = V::zeros(Shape{1, 4, 5, 2}), w = V::zeros(Shape{3, 2, 3, 3}), bias = V::zeros(Shape{3});
  CHECK_THROWS_AS(conv2d(x, w, bias, {{{0, 1}}}), ArgumentError);
  CHECK_THROWS_AS(conv2d(x, w, bias, {{{1, 1}}, Padding::zeros, {{-2, 1}}}), ArgumentError);
  CHECK_THROWS_WITH(conv2d(x, w, bias, {{{1, 1}}, Padding::reflect, {{4, 1}}}),
                    contains("at most 3 with reflect padding, given 4"));
  CHECK_THROWS_WITH(conv2d(x, w, bias, {{{1, 1}}, Padding::circular, {{1, 6}}}),
                    contains("at most 5 with circular padding, given 6"));
  CHECK_NOTHROW(conv2d(x, w, bias, {{{1, 1}}, Padding::replicate, {{9, 9}}}));
  CHECK_THROWS_AS(conv2d(x, V::zeros(Shape{3, 2, 7, 3}), bias, {{{1, 1}}, Padding::zeros, {{1, 1}}}), ShapeError);
  CHECK_THROWS_WITH(conv2d(x, V::zeros(Shape{3, 4, 3, 3}), bias), contains("4 input channels"));
  CHECK_THROWS_AS(conv2d(x, w, bias, ConvOptions{.dilation = {{0, 1}}}), ArgumentError);
  CHECK_THROWS_AS(conv2d(x, w, bias, ConvOptions{.behind = {{1, -2}}}), ArgumentError);
  CHECK_THROWS_WITH(conv2d(x, w, bias, {{{1, 1}}, Padding::reflect, {{1, 1}}, {{4, 1}}}),
                    contains("at most 3 with reflect padding, given 4"));
  CHECK_THROWS_WITH(conv2d(x, w, bias, {{{1, 1}}, Padding::zeros, {{1, 1}}, {{1, 1}}, {{4, 1}}}),
                    contains("with dilation 4 does not fit a field of 4"));
  CHECK_THROWS_AS(conv2d(V::zeros(Shape{1, 4, 5, 0}), V::zeros(Shape{3, 0, 3, 3}), bias), ShapeError);
  CHECK_THROWS_AS(conv2d(V::zeros(Shape{1, 0, 5, 2}), w, bias), ShapeError);
  CHECK_THROWS_AS(conv2d(x, V::zeros(Shape{3, 2, 0, 3}), bias), ShapeError);
  CHECK_THROWS_AS(conv_transpose2d(x, V::zeros(Shape{2, 3, 3, 3}), {{{2, 2}}}, {{2, 0}}), ArgumentError);
  CHECK_THROWS_AS(conv_transpose2d(x, V::zeros(Shape{2, 3, 3, 3}), {{{1, 1}}, Padding::zeros, {{9, 9}}}), ShapeError);
  CHECK_THROWS_AS(conv_transpose2d(x, w), ShapeError);
}
