// Networks of windows composed over trajectories: windows and back, every rule, order and stride; adjoints; chunks of
// bounded memory; times per trajectory; training through the composition.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/score/markov.hpp>
#include <kolmo/score/score_net.hpp>

#include "catch.hpp"

using namespace kolmo;
using Ten = Tensor<double, Cpu>;
using Net = score::ScoreNet<Ten>;
using score::FoldRule;
using score::WindowPlan;

namespace {

Ten numbers(std::uint64_t seed, const Shape& shape) { return nn::uniform_values<Ten>(Key{seed}, shape, -1, 1); }

double distance(const Ten& a, const Ten& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst;
}

Net network(index_t order) {
  Net net({.features = 3 * (2 * order + 1), .embedding = 4, .hidden = {8}, .activation = nn::ActivationKind::silu});
  init(Key{7}, net);
  return net;
}

std::vector<index_t> owners(index_t length, index_t width, index_t stride, FoldRule rule) {
  std::vector<index_t> result;
  for (const index_t place : WindowPlan(length, width, stride, rule).places()) result.push_back(place / width);
  return result;
}

using List = std::vector<index_t>;

}  // namespace

TEST_CASE("fold puts back what unfold took apart, for any order, length, stride and rule") {
  for (const FoldRule rule : {FoldRule::symmetrical, FoldRule::causal, FoldRule::average})
    for (index_t order = 0; order < 4; ++order)
      for (index_t stride = 1; stride <= 2 * order + 1; ++stride)
        for (index_t length = 2 * order + 1; length < 2 * order + 6; ++length) {
          const WindowPlan plan(length, 2 * order + 1, stride, rule);
          const Ten x = numbers(static_cast<std::uint64_t>(length), {2, length, 3, 2});
          const Ten windows = score::unfold(x, plan);
          CHECK(windows.shape() == Shape{2, plan.count(), plan.width() * 3, 2});
          CHECK(distance(score::fold(windows, plan), x) < 1e-15);
          CHECK(distance(at(windows, 1, plan.count() - 1),
                         reshape(slice(x, 1, length - plan.width()), {2, 3 * plan.width(), 2})) == 0);
        }
}

TEST_CASE("which window gives a frame") {
  // Order 2, every frame: the first window gives frames 0..2, each other its centre, the last its centre and the end.
  CHECK(owners(8, 5, 1, FoldRule::symmetrical) == List{0, 0, 0, 1, 2, 3, 3, 3});
  CHECK(owners(8, 5, 1, FoldRule::causal) == List{0, 0, 0, 0, 0, 1, 2, 3});
  // Stride 3, i = 1: [0, 4) from the first, [1, 4) from inner ones, [1, 5) from the last.
  CHECK(owners(11, 5, 3, FoldRule::symmetrical) == List{0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2});
  CHECK(owners(11, 5, 3, FoldRule::causal) == List{0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2});
  CHECK(owners(4, 1, 1, FoldRule::symmetrical) == List{0, 1, 2, 3});
}

TEST_CASE("the average of windows that disagree is their mean, and its adjoint shares the cotangent") {
  const WindowPlan plan(4, 3, 1, FoldRule::average);
  const Ten y = Ten::from({1.0, 2.0, 3.0, 5.0, 7.0, 11.0}, {1, 2, 3});
  CHECK(score::fold(y, plan).to_vector() == std::vector<double>{1, 3.5, 5, 11});
  const Ten g = grad([&](const auto& w) { return sum(score::fold(w, plan)); }, y);
  CHECK(g.to_vector() == std::vector<double>{1, .5, .5, .5, .5, 1});
}

TEST_CASE("the composition evaluates each frame in its window") {
  const Net net = network(2);
  const score::MarkovScore<Net> composed(net, 2);
  const Ten x = numbers(1, {2, 8, 3});
  const Ten y = composed(x, 0.4);
  const auto window = [&](index_t start) {
    return reshape(net(reshape(slice(x, 1, start, start + 5), {2, 15}), 0.4), {2, 5, 3});
  };
  CHECK(distance(slice(y, 1, 0, 3), slice(window(0), 1, 0, 3)) < 1e-14);
  CHECK(distance(slice(y, 1, 4, 5), slice(window(2), 1, 2, 3)) < 1e-14);
  CHECK(distance(slice(y, 1, 5, 8), slice(window(3), 1, 2, 5)) < 1e-14);
}

TEST_CASE("times per trajectory are the times of their windows") {
  const score::MarkovScore<Net> composed(network(1), 1);
  const Ten x = numbers(1, {2, 6, 3}), t = Ten::from({0.2, 0.8});
  CHECK(distance(slice(composed(x, t), 0, 1, 2), composed(slice(x, 0, 1, 2), 0.8)) < 1e-14);
}

TEST_CASE("9.3: the adjoint of the composition against its tangent and finite differences, whole and in chunks") {
  for (const index_t order : {0, 2})
    for (const FoldRule rule : {FoldRule::symmetrical, FoldRule::average})
      for (const index_t chunk : {0, 3}) {
        const score::MarkovScore<Net> composed(network(order), order, 1, rule, chunk);
        const Ten x = numbers(1, {2, 7, 3}), v = numbers(2, {2, 7, 3}), u = numbers(3, {2, 7, 3}),
                  t = Ten::from({.3, .9});
        const auto f = [&](const auto& s) { return composed(s, t); };
        auto pullback = vjp(f, x);
        const double adjoint = sum(pullback.pull(u) * v).item();
        CHECK(sum(u * jvp(f, x, v).tangent).item() == Approx(adjoint).epsilon(1e-11));
        const double h = 1e-5;
        CHECK(sum(u * (f(x + h * v) - f(x - h * v))).item() / (2 * h) == Approx(adjoint).epsilon(1e-7));
      }
}

TEST_CASE("chunks change neither values nor gradients, of the state and of the weights") {
  const Net net = network(1);
  const score::MarkovScore<Net> whole(net, 1, 1, FoldRule::symmetrical, 0),
      chunked(net, 1, 1, FoldRule::symmetrical, 4);
  const Ten x = numbers(1, {3, 5, 3}), t = Ten::from({.1, .5, .9});
  CHECK(distance(whole(x, t), chunked(x, t)) < 1e-14);
  const auto loss = [&](const auto& model) { return sum(square(model(x, t))); };
  const auto a = value_and_grad(whole, loss), b = value_and_grad(chunked, loss);
  double largest = 0;
  visit_parameters(
      [&](const std::string&, const Ten& p, const Ten& q) {
        CHECK(distance(p, q) < 1e-12);
        largest = std::max(largest, distance(p, Ten::zeros(p.shape())));
      },
      a.gradient, b.gradient);
  CHECK(largest > 0.1);
  const auto of_state = [&](const auto& model) {
    return grad([&](const auto& s) { return sum(square(model(s, t))); }, x);
  };
  CHECK(distance(of_state(whole), of_state(chunked)) < 1e-12);
}

TEST_CASE("a context reaches every window, shared or per trajectory") {
  Net net({.features = 9, .context = 2, .embedding = 4, .hidden = {8}});
  init(Key{7}, net);
  const score::MarkovScore<Net> composed(net, 1, 1, FoldRule::symmetrical, 4);
  const Ten x = numbers(1, {2, 5, 3}), c = numbers(2, {2, 2});
  const Ten y = composed(x, 0.3, c);
  CHECK(distance(slice(y, 0, 1, 2), composed(slice(x, 0, 1, 2), 0.3, at(c, 0, 1))) < 1e-14);
}

TEST_CASE("a composed network reads from its file, and what cannot be composed is refused") {
  const score::MarkovScore<Net> composed(network(1), 1, 2, FoldRule::causal, 5);
  const auto read = io::model_from_arrays<score::MarkovScore<Net>>(io::to_arrays(composed));
  const Ten x = numbers(1, {1, 6, 3});
  CHECK(distance(read(x, 0.5), composed(x, 0.5)) == 0);
  CHECK_THROWS_AS(composed(numbers(1, {1, 2, 3}), 0.5), ShapeError);
  CHECK_THROWS_AS(composed(numbers(1, {1, 6, 4}), 0.5), ShapeError);
  CHECK_THROWS_AS(composed(numbers(1, {6, 3}), 0.5), ShapeError);
  CHECK_THROWS_AS(composed(x, Ten::zeros({2})), ShapeError);
  CHECK_THROWS_AS(score::MarkovScore<Net>(network(1), -1), ArgumentError);
  CHECK_THROWS_AS(score::MarkovScore<Net>(network(1), 1, 4), ArgumentError);
  CHECK_THROWS_AS(score::MarkovScore<Net>(network(1), 1, 0), ArgumentError);
}
