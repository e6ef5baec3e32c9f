// The score network of states without a grid: sizes of the published networks, times and contexts that are shared or
// per sample, files, and refusals.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/score/score_net.hpp>

#include "catch.hpp"

using namespace kolmo;
using Ten = Tensor<double, Cpu>;
using Net = score::ScoreNet<Ten>;

namespace {

index_t lorenz_parameters(index_t order, index_t width) {
  return parameter_count(Net({.features = 3 * (2 * order + 1),
                              .embedding = 32,
                              .hidden = std::vector<index_t>(5, width),
                              .activation = nn::ActivationKind::silu}));
}

Net small(index_t context = 0) {
  Net net({.features = 3, .context = context, .embedding = 4, .hidden = {6, 6}, .activation = nn::ActivationKind::elu});
  init(Key{3}, net);
  return net;
}

Ten numbers(std::uint64_t seed, const Shape& shape) { return nn::uniform_values<Ten>(Key{seed}, shape, -1, 1); }

bool close(const Ten& a, const Ten& b, double tolerance = 1e-13) {
  const auto x = a.to_vector(), y = b.to_vector();
  bool good = a.shape() == b.shape();
  for (std::size_t i = 0; good && i < x.size(); ++i) good = std::abs(x[i] - y[i]) <= tolerance;
  return good;
}

}  // namespace

TEST_CASE("the Lorenz networks have the published numbers of parameters") {
  CHECK(lorenz_parameters(1, 128) == 188509);
  CHECK(lorenz_parameters(2, 128) == 190351);
  CHECK(lorenz_parameters(2, 256) == 691215);
  CHECK(lorenz_parameters(3, 256) == 694737);
  CHECK(lorenz_parameters(4, 256) == 698403);
}

TEST_CASE("a time for each sample is that sample's time, with and without more axes") {
  const Net net = small(2);
  const Ten x = numbers(1, {3, 3}), t = Ten::from({0.1, 0.5, 0.9}), context = numbers(2, {2});
  const Ten y = net(x, t, context);
  for (index_t i = 0; i < 3; ++i) {
    const Ten row = slice(x, 0, i, i + 1);
    CHECK(close(slice(y, 0, i, i + 1), net(row, t.to_vector()[static_cast<std::size_t>(i)], context)));
    CHECK(close(slice(y, 0, i, i + 1), net(row, slice(t, 0, i, i + 1), reshape(context, {1, 2}))));
  }
  const Ten wide = numbers(4, {3, 5, 3});
  CHECK(close(at(net(wide, t, context), 1, 2), net(at(wide, 1, 2), t, context)));
}

TEST_CASE("the order of the inputs is state, time, context") {
  // The first layer sees the state in rows 0..2, the embedding in 3..6 and the context in 7..8.
  Net net = small(2);
  const Ten x = numbers(1, {1, 3}), c = numbers(2, {2});
  const Ten& weight = net.network.stages[0].change->weight;
  REQUIRE(weight.shape() == Shape{9, 6});
  const Ten before = net(x, 0.3, c);
  net.network.stages[0].change->weight = concat(0, slice(weight, 0, 0, 7), Ten::zeros({2, 6}));
  CHECK(close(net(x, 0.3, c), net(x, 0.3, Ten::zeros({2}))));
  CHECK(!close(net(x, 0.3, c), before, 1e-6));
}

TEST_CASE("the gradient and the tangent with respect to state and weights agree") {
  const Net net = small();
  const Ten x = numbers(5, {4, 3}), dx = numbers(6, {4, 3}), u = numbers(7, {4, 3}), t = numbers(8, {4});
  auto pullback = vjp([&](const auto& s) { return net(s, t); }, x);
  const Ten forward = jvp([&](const auto& s) { return net(s, t); }, x, dx).tangent;
  CHECK(sum(u * forward).item() == Approx(sum(pullback.pull(u) * dx).item()).epsilon(1e-11));
  const auto loss = [&](const auto& model) { return sum(square(model(x, t))); };
  const Net direction = [&] {
    Net d = zeros_like(net);
    init(Key{9}, d);
    return d;
  }();
  const auto gradient = value_and_grad(net, loss).gradient;
  double product = 0;
  visit_parameters([&](const std::string&, const Ten& g, const Ten& d) { product += sum(g * d).item(); }, gradient,
                   direction);
  CHECK(jvp(loss, net, direction).tangent.item() == Approx(product).epsilon(1e-11));
}

TEST_CASE("starting values fill the range of one over the root of the fan") {
  Net net({.features = 15, .embedding = 32, .hidden = {128}, .activation = nn::ActivationKind::silu});
  init(Key{1}, net);
  const auto check = [](const Ten& values, double bound) {
    double low = 1, high = -1;
    for (const double v : values.to_vector()) low = std::min(low, v), high = std::max(high, v);
    CHECK(low >= -bound);
    CHECK(high <= bound);
    CHECK(high - low > 1.5 * bound);
  };
  check(net.network.stages[0].change->weight, 1 / std::sqrt(47.0));
  check(net.network.stages[0].change->bias, 1 / std::sqrt(47.0));
  check(net.network.stages[1].second.bias, 1 / std::sqrt(15.0));
  check(net.embedding.hidden.bias, 1 / std::sqrt(32.0));
}

TEST_CASE("a network reads from its file with sizes and activation") {
  const Net net = small(2);
  const Net read = io::model_from_arrays<Net>(io::to_arrays(net));
  const Ten x = numbers(1, {2, 3}), c = numbers(2, {2, 2});
  CHECK(read.network.activation == nn::ActivationKind::elu);
  CHECK(read(x, 0.4, c).to_vector() == net(x, 0.4, c).to_vector());
}

TEST_CASE("states, times and contexts that do not fit are refused") {
  const Net net = small();
  CHECK_THROWS_AS(net(numbers(1, {2, 4}), 0.5), ShapeError);
  CHECK_THROWS_AS(net(numbers(1, {2, 3}), Ten::zeros({3})), ShapeError);
  CHECK_THROWS_AS(net(numbers(1, {2, 3}), 0.5, Ten::zeros({2})), ShapeError);
  CHECK_THROWS_AS(small(2)(numbers(1, {2, 3}), 0.5), ShapeError);
  CHECK_THROWS_AS(Net({.features = 1}), ArgumentError);
  CHECK_THROWS_AS(Net({.features = 3, .embedding = 0}), ArgumentError);
  CHECK_THROWS_AS(nn::activation_of("Tanh"), ArgumentError);
  CHECK(nn::activation_of("silu") == nn::ActivationKind::silu);
}
