// Layers: the fused layer normalisation against its definition with every derivative, dropout, starting values, and
// networks assembled from layers.

#include <cmath>

#include <kolmo/nn/mlp.hpp>
#include <kolmo/nn/sequential.hpp>

#include "expect_op.hpp"

using namespace kolmo;
using namespace kolmo_test;
using Ten = Tensor<double, Cpu>;

namespace {

/// f(gamma (x - mean) / deviation + beta), row by row.
Result normalised(const Inputs& in, double epsilon, double (*f)(double)) {
  Result y{in[0].shape, in[0].values};
  const auto n = in[1].values.size();
  for (std::size_t row = 0; row < y.values.size(); row += n) {
    double mean = 0, variance = 0;
    for (std::size_t c = 0; c < n; ++c) mean += in[0].values[row + c] / static_cast<double>(n);
    for (std::size_t c = 0; c < n; ++c)
      variance += (in[0].values[row + c] - mean) * (in[0].values[row + c] - mean) / static_cast<double>(n);
    for (std::size_t c = 0; c < n; ++c)
      y.values[row + c] =
          f(in[1].values[c] * (in[0].values[row + c] - mean) / std::sqrt(variance + epsilon) + in[2].values[c]);
  }
  return y;
}

double identity_of(double x) { return x; }
double relu_of(double x) { return x > 0 ? x : 0; }
double silu_of(double x) { return x / (1 + std::exp(-x)); }

template <class F>
void expect_layer_norm(const char* name, const F& f, double (*reference)(double), const Shape& shape,
                       const OpOptions& options = {}) {
  const Shape row{shape[-1]};
  expect_op(
      name, [&](const auto& x, const auto& g, const auto& b) { return nn::layer_norm(x, g, b, 1e-5, f); },
      {random_input(shape, 1), random_input(row, 2, 0.5, 1.5), random_input(row, 3)},
      [&](const Inputs& in) { return normalised(in, 1e-5, reference); }, options);
}

nn::MlpOptions small() { return {.inputs = 3, .hidden = {6, 5}, .outputs = 2, .layer_norm = true, .dropout = 0.2}; }

template <class V>
nn::Mlp<V, fn::Silu> network() {
  nn::Mlp<V, fn::Silu> net(small());
  nn::init(Key{1}, net);
  return net;
}

}  // namespace

TEST_CASE("layer normalisation with an activation is its definition, and all derivatives are exact") {
  const OpOptions errors{.bad = {{{Shape{3, 4}, Shape{3}, Shape{4}}},
                                 {{Shape{3, 4}, Shape{4}, Shape{1}}},
                                 {{Shape{3, 4}, Shape{1, 4}, Shape{4}}},
                                 {{Shape{}, Shape{}, Shape{}}},
                                 {{Shape{2, 0}, Shape{0}, Shape{0}}}},
                         .large = {{random_input({700, 130}, 4), random_input({130}, 5), random_input({130}, 6)}}};
  expect_layer_norm("layer_norm", fn::Identity{}, identity_of, {3, 5}, errors);
  expect_layer_norm("layer_norm_relu", fn::Relu{}, relu_of, {2, 3, 7});
  expect_layer_norm("layer_norm_silu", fn::Silu{}, silu_of, {4, 3});
  expect_layer_norm("layer_norm_relu wide", fn::Relu{}, relu_of, {2, 81});
}

TEST_CASE("layer normalisation of equal values is the shift, and of an empty batch is empty") {
  const Ten gamma = Ten::from({2.0, 3.0}), beta = Ten::from({-1.0, 0.5});
  CHECK(nn::layer_norm(Ten::full({1, 2}, 1e8), gamma, beta).to_vector() == std::vector<double>{-1.0, 0.5});
  CHECK(nn::layer_norm_relu(Ten::full({1, 2}, 7.0), gamma, beta).to_vector() == std::vector<double>{0.0, 0.5});
  CHECK(nn::layer_norm(Ten::zeros({0, 2}), gamma, beta).shape() == Shape{0, 2});
  const auto gradient = grad([&](const auto& g) { return sum(nn::layer_norm(Ten::zeros({0, 2}), g, beta)); }, gamma);
  CHECK(gradient.to_vector() == std::vector<double>{0, 0});
  CHECK_THROWS_AS(nn::layer_norm(Ten::ones({1, 2}), gamma, beta, 0.0), ArgumentError);
}

TEST_CASE("a large offset of a row does not spoil its normalisation") {
  std::vector<float> values(64), shifted(64);
  for (std::size_t i = 0; i < 64; ++i) {
    values[i] = static_cast<float>(i % 7) - 3.0f;
    shifted[i] = values[i] + 4096.0f;
  }
  using Single = Tensor<float, Cpu>;
  const auto norm = [](const std::vector<float>& row) {
    return nn::LayerNorm<Single>(64)(Single::from(row).reshaped({1, 64})).to_vector();
  };
  const auto expected = norm(values), found = norm(shifted);
  for (std::size_t i = 0; i < 64; ++i) CHECK(found[i] == Approx(expected[i]).margin(1e-4));
}

TEST_CASE("a linear layer is a product and a sum") {
  nn::Linear<Ten> layer(2, 3);
  layer.weight = Ten::from({1., 2., 3., 4., 5., 6.}, {2, 3});
  layer.bias = Ten::from({0.5, 0., -1.});
  CHECK(layer(Ten::from({1., 10.}, {1, 2})).to_vector() == std::vector<double>{41.5, 52., 62.});
  CHECK(layer(Ten::ones({4, 5, 2})).shape() == Shape{4, 5, 3});
  CHECK_THROWS_WITH(layer(Ten::ones({1, 3})), contains("[1, 3]") && contains("[2, 3]"));
}

TEST_CASE("dropout is the identity in evaluation and keeps the mean in training") {
  const nn::Dropout<Ten> layer{0.3};
  const Ten x = Ten::ones({100, 101});
  CHECK(layer(x, nn::Pass{Key{1}, false}).to_vector() == x.to_vector());
  const auto y = layer(x, nn::Pass{Key{1}, true}).to_vector();
  std::size_t zeros = 0;
  for (const double v : y) {
    CHECK((v == 0 || v == 1 / 0.7));
    zeros += v == 0 ? 1u : 0u;
  }
  // Four standard deviations of a binomial count.
  CHECK(std::abs(static_cast<double>(zeros) - 3030) < 4 * std::sqrt(10100 * 0.3 * 0.7));
  CHECK(layer(x, nn::Pass{Key{1}, true}).to_vector() == y);
  CHECK(layer(x, nn::Pass{Key{2}, true}).to_vector() != y);
  CHECK_THROWS_AS(nn::dropout(Key{1}, x, 1.0), ArgumentError);
  CHECK_THROWS_AS(nn::dropout(Key{1}, x, -0.1), ArgumentError);

  SECTION("elements are dropped independently of their neighbours") {
    double together = 0;
    for (std::size_t i = 0; i + 1 < y.size(); ++i) together += (y[i] == 0 && y[i + 1] == 0) ? 1 : 0;
    CHECK(together / static_cast<double>(y.size()) == Approx(0.09).margin(0.012));
  }
  SECTION("the gradient passes where the value does") {
    const auto g = grad([&](const auto& v) { return sum(layer(v, nn::Pass{Key{1}, true})); }, x);
    CHECK(g.to_vector() == y);
  }
  SECTION("a device drops the same elements") {
    using Device = Tensor<double, TestDevice>;
    CHECK(nn::dropout(Key{1}, Device::ones({100, 101}), 0.3).to_vector() == y);
  }
}

TEST_CASE("starting values have the bounds and moments of their names") {
  const auto moments = [](const Ten& x) {
    double mean = 0, square = 0, largest = 0;
    for (const double v : x.to_vector()) {
      mean += v;
      square += v * v;
      largest = std::max(largest, std::abs(v));
    }
    const auto n = static_cast<double>(x.size());
    return std::array<double, 3>{mean / n, square / n, largest};
  };
  const Shape shape{200, 100};
  const auto he = moments(nn::he_uniform<Ten>(Key{1}, shape, 200));
  CHECK(he[0] == Approx(0).margin(0.003));
  CHECK(he[1] == Approx(2.0 / 200).epsilon(0.03));
  CHECK(he[2] <= std::sqrt(6.0 / 200));
  const auto xavier = moments(nn::xavier_uniform<Ten>(Key{2}, shape, 200, 100));
  CHECK(xavier[1] == Approx(2.0 / 300).epsilon(0.03));
  const auto normal = moments(nn::normal_values<Ten>(Key{3}, shape, 1, 2));
  CHECK(normal[0] == Approx(1).margin(0.06));
  CHECK(normal[1] == Approx(5).epsilon(0.03));
  CHECK_THROWS_AS(nn::he_uniform<Ten>(Key{1}, shape, 0), ArgumentError);

  nn::Linear<Ten> zero(3, 2);
  nn::init(Key{1}, zero, nn::Start::zeros);
  CHECK(moments(zero.weight)[2] == 0);
}

TEST_CASE("a perceptron is its layers one after the other") {
  const auto net = network<Ten>();
  const Ten x = nn::normal_values<Ten>(Key{2}, {4, 3});
  const Ten h0 = silu(net.norms[0](net.layers[0](x)));
  const Ten h1 = silu(net.norms[1](net.layers[1](h0)));
  const auto expected = net.layers[2](h1).to_vector(), found = net(x).to_vector();
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(found[i] == Approx(expected[i]).epsilon(1e-13));
  CHECK(parameter_count(net) == (3 * 6 + 6) + (6 * 5 + 5) + (5 * 2 + 2) + 2 * (6 + 5));

  const nn::Mlp<Ten> trunk({.inputs = 3, .hidden = {4}});
  CHECK(trunk(x).shape() == Shape{4, 4});
  const nn::Mlp<Ten> linear({.inputs = 3, .outputs = 2});
  CHECK(linear(x).shape() == Shape{4, 2});
  CHECK_THROWS_AS(nn::Mlp<Ten>({.inputs = 3}), ArgumentError);
  CHECK_THROWS_AS(nn::Mlp<Ten>({.inputs = 0, .outputs = 1}), ArgumentError);
  CHECK_THROWS_AS(nn::Mlp<Ten>({.inputs = 1, .hidden = {0}}), ArgumentError);
  CHECK_THROWS_AS(nn::Mlp<Ten>({.inputs = 1, .outputs = 1, .dropout = 1}), ArgumentError);
}

TEST_CASE("forward, reverse and second derivatives of a network in training agree") {
  const auto net = network<Ten>();
  const Ten x = nn::normal_values<Ten>(Key{2}, {4, 3});
  const auto loss = [&](const auto& m) { return sum(square(m(x, nn::Pass{Key{3}, true}))); };
  const auto direction = [&](Key key) {
    return rebind<Ten>(net, [&](const std::string& path, FieldKind, const Ten& p) {
      return nn::normal_values<Ten>(fold_in(key, path.size() * 7 + static_cast<std::uint64_t>(path[path.size() / 2])),
                                    p.shape());
    });
  };
  const auto inner = [](const auto& a, const auto& b) {
    double total = 0;
    visit_parameters([&](const std::string&, const Ten& p, const Ten& q) { total += dot(p, q).item(); }, a, b);
    return total;
  };
  const auto u = direction(Key{5}), v = direction(Key{6});
  const auto result = value_and_grad(net, loss);
  CHECK(jvp(loss, net, u).tangent.item() == Approx(inner(result.gradient, u)).epsilon(1e-12));
  CHECK(inner(hvp(loss, net, u), v) == Approx(inner(hvp(loss, net, v), u)).epsilon(1e-11));

  const double h = 1e-6;
  const auto shifted = [&](double t) {
    auto m = net;
    visit_parameters([&](const std::string&, Ten& p, const Ten& d) { p = p + t * d; }, m, u);
    return loss(m).item();
  };
  CHECK((shifted(h) - shifted(-h)) / (2 * h) == Approx(inner(result.gradient, u)).epsilon(1e-7));
}

TEST_CASE("a sequence of layers passes each a key of its own and draws each weight anew") {
  auto net = nn::sequential(nn::Linear<Ten>(8, 8), nn::Dropout<Ten>{0.5}, nn::Relu<Ten>{}, nn::Dropout<Ten>{0.5},
                            nn::Linear<Ten>(8, 8));
  nn::init(Key{1}, net);
  CHECK(std::get<0>(net.layers).weight.to_vector() != std::get<4>(net.layers).weight.to_vector());
  const nn::Pass pass{Key{2}, true};
  const Ten x = nn::normal_values<Ten>(Key{3}, {2, 8});
  const Ten h = std::get<1>(net.layers)(std::get<0>(net.layers)(x), pass.part(1));
  const Ten expected = std::get<4>(net.layers)(std::get<3>(net.layers)(relu(h), pass.part(3)));
  CHECK(net(x, pass).to_vector() == expected.to_vector());
  CHECK(pass.part(1).key.value != pass.part(3).key.value);

  std::string names;
  visit_parameters([&](const std::string& path, const auto&) { names += path + " "; }, net);
  CHECK(names == "0.weight 0.bias 4.weight 4.bias ");
  const auto gradient = value_and_grad(net, [&](const auto& m) { return sum(m(x)); }).gradient;
  CHECK(std::get<4>(gradient.layers).bias.to_vector() == std::vector<double>(8, 2.0));
}
