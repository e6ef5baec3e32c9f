// Attention against its definition with every derivative, the multi-head layer against one head at a time, and the
// encoder block.

#include <cmath>

#include <kolmo/nn/transformer.hpp>
#include <kolmo/ops/join.hpp>

#include "expect_op.hpp"

using namespace kolmo;
using namespace kolmo_test;
using Ten = Tensor<double, Cpu>;

namespace {

/// softmax(q k^T / sqrt(d)) v of one sequence after the other: q [b, n, d], k [b, m, d], v [b, m, e].
Result attended(const Inputs& in) {
  const auto size = [&](int input, int axis) {
    return static_cast<std::size_t>(in[static_cast<std::size_t>(input)].shape[axis]);
  };
  const std::size_t batch = size(0, 0), n = size(0, 1), d = size(0, 2), m = size(1, 1), e = size(2, 2);
  Result y{Shape{in[0].shape[0], in[0].shape[1], in[2].shape[2]}, std::vector<double>(batch * n * e, 0.0)};
  for (std::size_t b = 0; b < batch; ++b)
    for (std::size_t i = 0; i < n; ++i) {
      std::vector<double> weight(m);
      double total = 0;
      for (std::size_t j = 0; j < m; ++j) {
        double product = 0;
        for (std::size_t c = 0; c < d; ++c)
          product += in[0].values[(b * n + i) * d + c] * in[1].values[(b * m + j) * d + c];
        total += weight[j] = std::exp(product / std::sqrt(static_cast<double>(d)));
      }
      for (std::size_t j = 0; j < m; ++j)
        for (std::size_t c = 0; c < e; ++c)
          y.values[(b * n + i) * e + c] += weight[j] / total * in[2].values[(b * m + j) * e + c];
    }
  return y;
}

nn::MultiHeadAttention<Ten> layer(index_t width, index_t heads) {
  nn::MultiHeadAttention<Ten> attention(width, heads);
  nn::init(Key{3}, attention);
  attention.input.bias = nn::normal_values<Ten>(Key{4}, Shape{3 * width}, 0, 0.5);
  attention.output.bias = nn::normal_values<Ten>(Key{5}, Shape{width}, 0, 0.5);
  return attention;
}

std::vector<double> difference(const Ten& a, const Ten& b) { return (a - b).to_vector(); }
double largest(const std::vector<double>& values) {
  double result = 0;
  for (const double v : values) result = std::max(result, std::abs(v));
  return result;
}

}  // namespace

TEST_CASE("attention is its definition, and all derivatives are exact") {
  OpOptions options;
  options.bad = {{{Shape{2, 3, 4}, Shape{2, 3, 5}, Shape{2, 3, 4}}},
                 {{Shape{2, 3, 4}, Shape{2, 5, 4}, Shape{2, 3, 4}}},
                 {{Shape{4}, Shape{3, 4}, Shape{3, 4}}}};
  expect_op<OpChecks{.gemm = true}>(
      "attention", [](const auto& q, const auto& k, const auto& v) { return nn::attention(q, k, v); },
      {random_input(Shape{2, 3, 4}, 1), random_input(Shape{2, 5, 4}, 2), random_input(Shape{2, 5, 2}, 3)}, attended,
      options);
}

TEST_CASE("attention over equal keys is the mean of the values, and large scores do not overflow") {
  const Ten v = nn::normal_values<Ten>(Key{1}, Shape{6, 3});
  const Ten q = nn::normal_values<Ten>(Key{2}, Shape{2, 4}) * 1e6;
  const auto y = nn::attention(q, Ten::ones(Shape{6, 4}), v);
  for (const index_t row : {0, 1}) CHECK(largest(difference(at(y, 0, row), mean(v, {0}))) < 1e-12);
  // One key that every query prefers takes all.
  const Ten keys = concat(0, Ten::ones(Shape{1, 4}) * 1e6, Ten::zeros(Shape{5, 4}));
  CHECK(largest(difference(at(nn::attention(Ten::ones(Shape{1, 4}), keys, v), 0, 0), at(v, 0, 0))) < 1e-12);
}

TEST_CASE("several heads are attention over parts of the width") {
  const auto attention = layer(6, 3);
  const Ten x = nn::normal_values<Ten>(Key{1}, Shape{2, 4, 6});
  const Ten parts = attention.input(x);
  std::vector<Ten> heads;
  for (index_t h = 0; h < 3; ++h) {
    const auto part = [&](index_t kind) { return slice(parts, 2, 6 * kind + 2 * h, 6 * kind + 2 * h + 2); };
    heads.push_back(nn::attention(part(0), part(1), part(2)));
  }
  CHECK(largest(difference(attention(x), attention.output(concat(-1, heads[0], heads[1], heads[2])))) < 1e-13);
  // Sequences of a batch do not see each other, and one without a batch is the same.
  CHECK(largest(difference(at(attention(x), 0, 1), attention(at(x, 0, 1)))) < 1e-13);
  // What stands where does not matter.
  CHECK(largest(difference(flip(attention(x), 1), attention(flip(x, 1)))) < 1e-13);
}

TEST_CASE("the gradient of the encoder block agrees with its directional derivative") {
  nn::TransformerBlock<Ten> block(4, 2, 8);
  nn::init(Key{6}, block);
  const Ten x = nn::normal_values<Ten>(Key{7}, Shape{2, 3, 4}), dx = nn::normal_values<Ten>(Key{8}, Shape{2, 3, 4});
  const auto loss = [&](const auto& y) { return sum(square(block(y))); };
  CHECK(block(x).shape() == x.shape());
  CHECK(dot(grad(loss, x), dx).item() == Approx(jvp(loss, x, dx).tangent.item()).epsilon(1e-10));
  const double h = 1e-5;
  CHECK(jvp(loss, x, dx).tangent.item() ==
        Approx((loss(Ten(x + dx * h)).item() - loss(Ten(x - dx * h)).item()) / (2 * h)).epsilon(1e-7));
}

TEST_CASE("dropout in attention keeps the mean of what is mixed and acts in training only") {
  nn::MultiHeadAttention<Ten> attention(4, 2, 0.5);
  nn::init(Key{9}, attention);
  const Ten x = nn::normal_values<Ten>(Key{10}, Shape{1, 8, 4});
  const Ten plain = attention(x);
  CHECK(attention(x, nn::Pass{Key{1}, false}).to_vector() == plain.to_vector());
  Ten total = Ten::zeros(plain.shape());
  for (std::uint64_t i = 0; i < 2000; ++i) total = total + attention(x, nn::Pass{Key{i}, true});
  CHECK(largest(difference(total / 2000.0, plain)) < 0.1);
  CHECK(attention(x, nn::Pass{Key{1}, true}).to_vector() != plain.to_vector());
}

TEST_CASE("sinusoidal positions are those of the paper") {
  const auto table = nn::sinusoidal_positions<Ten>(5, 6).to_vector();
  for (std::size_t p = 0; p < 5; ++p)
    for (std::size_t i = 0; i < 3; ++i) {
      const double angle = static_cast<double>(p) / std::pow(10000.0, 2.0 * static_cast<double>(i) / 6.0);
      CHECK(table[p * 6 + 2 * i] == Approx(std::sin(angle)).margin(1e-14));
      CHECK(table[p * 6 + 2 * i + 1] == Approx(std::cos(angle)).margin(1e-14));
    }
}

TEST_CASE("attention says what does not fit") {
  CHECK_THROWS_WITH(nn::MultiHeadAttention<Ten>(6, 4), Catch::Contains("width of 6") && Catch::Contains("4 heads"));
  CHECK_THROWS_AS(nn::MultiHeadAttention<Ten>(6, 3, 1.0), ArgumentError);
  CHECK_THROWS_AS(layer(6, 3)(Ten::zeros(Shape{6})), ShapeError);
  CHECK_THROWS_AS(layer(6, 3)(Ten::zeros(Shape{2, 5})), ShapeError);
  auto broken = layer(6, 3);
  broken.heads = 4;
  CHECK_THROWS_AS(broken.validate(), ShapeError);
}
