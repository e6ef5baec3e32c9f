// Layers of codecs: lengths and causality of sequence convolutions, weight normalisation, Snake.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/nn/sequence_conv.hpp>
#include <kolmo/nn/snake.hpp>

#include "catch.hpp"
#include "expect_op_checks.hpp"

using namespace kolmo;
using kolmo_test::contains;
using kolmo_test::Numbers;

namespace {

using V = Tensor<double, Cpu>;

V random_tensor(const Shape& shape, std::uint64_t seed) {
  const std::vector<double> values = Numbers(seed).vector(static_cast<std::size_t>(shape.size()));
  return V::from(std::span<const double>(values), shape);
}

/// Rows i of a [1, N, C] result whose values changed between two results.
std::vector<index_t> changed_rows(const V& a, const V& b) {
  const auto first = a.to_vector(), second = b.to_vector();
  const auto channels = static_cast<std::size_t>(a.shape()[2]);
  std::vector<index_t> rows;
  for (std::size_t i = 0; i < first.size() / channels; ++i)
    for (std::size_t c = 0; c < channels; ++c)
      if (first[i * channels + c] != second[i * channels + c]) {
        rows.push_back(static_cast<index_t>(i));
        break;
      }
  return rows;
}

V with_changed_point(const V& x, index_t point) {
  V y = x;
  y.mutable_data()[point * x.shape()[2]] += 0.5;
  return y;
}

}  // namespace

TEST_CASE("R27: a sequence convolution takes N points to ceil(N / stride) and its transpose N to N stride") {
  for (const bool causal : {true, false})
    for (const index_t stride : {1, 2, 3, 5})
      for (const index_t dilation : {1, 4})
        for (index_t points = 1; points < 14; ++points) {
          nn::SequenceConv<V> layer(
              {.in = 2, .out = 3, .kernel = 2 * stride, .stride = stride, .dilation = dilation, .causal = causal});
          INFO("stride " << stride << " dilation " << dilation << " points " << points << " causal " << causal);
          CHECK((layer(V::ones(Shape{2, points, 2})).shape() == Shape{2, (points + stride - 1) / stride, 3}));
          nn::SequenceConvTranspose<V> back(
              {.in = 3, .out = 2, .kernel = 2 * stride, .stride = stride, .causal = causal});
          CHECK((back(V::ones(Shape{2, points, 3})).shape() == Shape{2, points * stride, 2}));
        }
}

TEST_CASE("R27: a point of a causal sequence reaches results from floor(t / stride) on, and as far as the kernel") {
  const index_t points = 24;
  const V x = random_tensor({1, points, 2}, 1);
  for (const index_t stride : {1, 2, 4})
    for (const index_t dilation : {1, 3}) {
      nn::SequenceConv<V> layer({.in = 2, .out = 3, .kernel = 4, .stride = stride, .dilation = dilation});
      nn::init(Key{7}, layer);
      const V y = layer(x);
      for (index_t t = 0; t < points; ++t) {
        // Result i reads t = i s + s - 1 - d j, j = 0..3.
        std::vector<index_t> expected;
        for (index_t i = 0; i < points / stride; ++i)
          for (index_t j = 0; j < 4; ++j)
            if (t == i * stride + stride - 1 - dilation * j) expected.push_back(i);
        INFO("stride " << stride << " dilation " << dilation << " t " << t);
        CHECK(changed_rows(y, layer(with_changed_point(x, t))) == expected);
        if (!expected.empty()) CHECK(expected.front() >= t / stride);
      }
    }
  nn::SequenceConvTranspose<V> up({.in = 2, .out = 2, .kernel = 6, .stride = 3});
  nn::init(Key{8}, up);
  const V y = up(x);
  for (const index_t t : {0, 5, 23}) {
    std::vector<index_t> expected;
    for (index_t i = 3 * t; i < std::min(3 * t + 6, 3 * points); ++i) expected.push_back(i);
    CHECK(changed_rows(y, up(with_changed_point(x, t))) == expected);
  }
}

TEST_CASE("a centred convolution reads half of its reach on either side") {
  const V x = random_tensor({1, 15, 1}, 2);
  nn::SequenceConv<V> layer({.in = 1, .out = 1, .kernel = 5, .causal = false});
  nn::init(Key{9}, layer);
  CHECK(changed_rows(layer(x), layer(with_changed_point(x, 7))) == std::vector<index_t>{5, 6, 7, 8, 9});
}

TEST_CASE("weight normalisation leaves the kernel as it starts, and its gains are the lengths of the kernels") {
  nn::SequenceConv<V> layer({.in = 3, .out = 4, .kernel = 5, .weight_norm = true});
  nn::init(Key{3}, layer, nn::KernelStart::narrow);
  const auto v = layer.weight.to_vector(), w = layer.kernel().to_vector();
  double largest = 0;
  for (std::size_t i = 0; i < v.size(); ++i) {
    CHECK(w[i] == Approx(v[i]).epsilon(1e-14));
    largest = std::max(largest, std::abs(v[i]));
  }
  CHECK(largest <= 0.04);
  CHECK(largest > 0.03);
  for (const double b : layer.bias.to_vector()) CHECK(b == 0);
  // A longer direction changes nothing, a larger gain scales its channel.
  layer.weight = layer.weight * 7.0;
  layer.gain->mutable_data()[2] *= 3;
  const auto scaled = layer.kernel().to_vector();
  for (std::size_t i = 0; i < v.size(); ++i) CHECK(scaled[i] == Approx(v[i] * (i / 15 == 2 ? 3 : 1)).epsilon(1e-14));

  nn::SequenceConvTranspose<V> up({.in = 3, .out = 2, .kernel = 4, .stride = 2, .weight_norm = true});
  nn::init(Key{4}, up);
  up.gain->mutable_data()[1] *= 2;
  const auto direction = up.weight.to_vector(), kernel = up.kernel().to_vector();
  for (std::size_t i = 0; i < kernel.size(); ++i)
    CHECK(kernel[i] == Approx(direction[i] * (i / 4 % 2 == 1 ? 2 : 1)).epsilon(1e-14));
  CHECK_THROWS_WITH(nn::weight_norm(V::ones(Shape{2, 3, 4}), V::ones(Shape{3})), contains("[2, 3, 4]"));
}

TEST_CASE("gradients reach the direction and the gain of a normalised kernel") {
  const V v = random_tensor({3, 2, 4}, 5), x = random_tensor({2, 9, 2}, 6);
  const V gain = random_tensor({3}, 7), bias = random_tensor({3}, 8);
  const auto loss = [&](const auto& direction, const auto& lengths) {
    const auto y = conv1d(x, nn::weight_norm(direction, lengths), bias);
    return sum(y * y);
  };
  const V along_v = grad([&](const auto& d) { return loss(d, gain); }, v);
  const V along_gain = grad([&](const auto& g) { return loss(v, g); }, gain);
  const double step = 1e-5;
  for (const index_t i : {0, 5, 11, 23}) {
    V up = v, down = v;
    up.mutable_data()[i] += step;
    down.mutable_data()[i] -= step;
    CHECK(along_v.to_vector()[static_cast<std::size_t>(i)] ==
          Approx((loss(up, gain).item() - loss(down, gain).item()) / (2 * step)).epsilon(1e-7));
  }
  for (const index_t i : {0, 1, 2}) {
    V up = gain, down = gain;
    up.mutable_data()[i] += step;
    down.mutable_data()[i] -= step;
    CHECK(along_gain.to_vector()[static_cast<std::size_t>(i)] ==
          Approx((loss(v, up).item() - loss(v, down).item()) / (2 * step)).epsilon(1e-7));
  }
  // The gradient along the direction is orthogonal to it: its length has no effect.
  const auto g = along_v.to_vector(), d = v.to_vector();
  for (std::size_t o = 0; o < 3; ++o) {
    double product = 0;
    for (std::size_t i = 8 * o; i < 8 * o + 8; ++i) product += g[i] * d[i];
    CHECK(product == Approx(0).margin(1e-12));
  }
}

TEST_CASE("Snake and its derivatives are the formulas") {
  for (const index_t points : {3, 64}) {
    const V x = random_tensor({2, points, 3}, 9) * 3.0, a = V::from({0.5, 1.0, 2.5}, Shape{3});
    const auto values = x.to_vector(), y = nn::snake(x, a).to_vector();
    const auto dx = grad([&](const auto& in) { return sum(nn::snake(in, a)); }, x).to_vector();
    const auto da = grad([&](const auto& f) { return sum(nn::snake(x, f)); }, a).to_vector();
    double expected_da[3] = {};
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double f = a.to_vector()[i % 3], v = values[i], s = std::sin(f * v);
      CHECK(y[i] == Approx(v + s * s / (f + 1e-9)).epsilon(1e-14).margin(1e-15));
      CHECK(dx[i] == Approx(1 + std::sin(2 * f * v) * f / (f + 1e-9)).epsilon(1e-13).margin(1e-13));
      expected_da[i % 3] += v * std::sin(2 * f * v) / (f + 1e-9) - s * s / ((f + 1e-9) * (f + 1e-9));
    }
    for (std::size_t c = 0; c < 3; ++c) CHECK(da[c] == Approx(expected_da[c]).epsilon(1e-12));
  }
  nn::Snake<V> layer(4);
  CHECK(layer.frequency.to_vector() == std::vector<double>(4, 1.0));
  CHECK(layer(V::zeros(Shape{1, 2, 4})).to_vector() == std::vector<double>(8, 0.0));
  CHECK_THROWS_WITH(nn::snake(V::ones(Shape{2, 3}), V::ones(Shape{2})), contains("one frequency for each channel"));
}

TEST_CASE("Snake of floats has few units of rounding, for small arguments and large ones") {
  double largest = 0;
  for (int i = -4000; i <= 4000; ++i) {
    const float a = 1.25f, x = static_cast<float>(i) * (i % 2 ? 0x1p-10f : 19.75f);  // a x is exact
    const double t = 1.25 * static_cast<double>(x), s = std::sin(t);
    const auto y = fn::Snake{}(Dual<float, 1>(x, {{1.0f}}), Dual<float, 1>(a));
    const double scale = std::abs(static_cast<double>(x)) + 0x1p-20;
    largest = std::max(largest, std::abs(static_cast<double>(y.v) - (static_cast<double>(x) + s * s / 1.25)) / scale);
    largest = std::max(largest, std::abs(static_cast<double>(y.d[0]) - (1 + std::sin(2 * t))) / 4);
  }
  CHECK(largest < 5e-7);
  CHECK(std::isnan(fn::Snake{}(std::numeric_limits<float>::quiet_NaN(), 1.0f)));
}

TEST_CASE("sequence convolutions that would leave gaps or make no layer are refused") {
  CHECK_THROWS_WITH(nn::SequenceConv<V>({.in = 1, .out = 1, .kernel = 3, .stride = 4}),
                    contains("reach of at least the stride"));
  CHECK_THROWS_AS(nn::SequenceConv<V>({.in = 0, .out = 1, .kernel = 3}), ArgumentError);
  CHECK_THROWS_AS(nn::SequenceConvTranspose<V>({.in = 1, .out = 1, .kernel = 3, .stride = 4}), ArgumentError);
  CHECK_THROWS_AS(nn::SequenceConvTranspose<V>({.in = 1, .out = 1, .kernel = 3, .dilation = 2}), ArgumentError);
  nn::SequenceConv<V> layer({.in = 2, .out = 3, .kernel = 3});
  CHECK_THROWS_AS(layer(V::ones(Shape{1, 5, 3})), ShapeError);
  CHECK_THROWS_AS(layer(V::ones(Shape{5, 2})), ShapeError);
  layer.bias = V::ones(Shape{2});
  CHECK_THROWS_AS(layer.validate(), ShapeError);
}
