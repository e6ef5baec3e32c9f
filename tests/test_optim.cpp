// Optimisers against their recurrences written out by hand, schedules against tables, and L-BFGS on Rosenbrock's
// valley.

#include "catch.hpp"
#include "device.hpp"

#include <kolmo/backend/cpu.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/early_stopping.hpp>
#include <kolmo/optim/ema.hpp>
#include <kolmo/optim/lbfgs.hpp>
#include <kolmo/optim/schedules.hpp>
#include <kolmo/optim/sgd.hpp>

using namespace kolmo;
using kolmo_test::as_on_host;
using kolmo_test::TestDevice;
using Ten = Tensor<double, Cpu>;

namespace {

template <class V>
struct Point {
  V x, y;
  static void fields(auto&& f, auto&... s) {
    f(param("x"), s.x...);
    f(param("y"), s.y...);
  }
  template <class U>
  using Rebind = Point<U>;
};

struct Rosenbrock {
  auto operator()(const auto& p) const { return square(1 - p.x) + 100 * square(p.y - square(p.x)); }
};

/// Textbook Adam on one number.
struct ScalarAdam {
  double beta1, beta2, epsilon, decay;
  bool decoupled;
  double m = 0, v = 0;
  int t = 0;
  double step(double p, double g, double rate) {
    ++t;
    if (!decoupled) g += decay * p;
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    const double m_hat = m / (1 - std::pow(beta1, t)), v_hat = v / (1 - std::pow(beta2, t));
    if (decoupled) p -= rate * decay * p;
    return p - rate * m_hat / (std::sqrt(v_hat) + epsilon);
  }
};

}  // namespace

TEST_CASE("Adam and AdamW follow their recurrences") {
  const bool decoupled = GENERATE(false, true);
  const double decay = GENERATE(0.0, 0.1);
  const optim::AdamOptions options{
      .learning_rate = 0.01, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .weight_decay = decay};
  const auto optimiser = decoupled ? optim::adamw(options) : optim::adam(options);
  Point<Ten> p{Ten::from({1.5}, Shape{1}), Ten::from({-2.0, 0.25}, Shape{2})};
  auto state = optimiser.init(p);
  double expected[3] = {1.5, -2.0, 0.25};
  ScalarAdam reference[3];
  for (auto& r : reference) r = {0.8, 0.95, 1e-6, decay, decoupled};
  for (int t = 0; t < 20; ++t) {
    double g[3];
    for (int i = 0; i < 3; ++i) g[i] = std::sin(3.0 * t + i) + expected[i];
    const Point<Ten> gradient{Ten::from({g[0]}, Shape{1}), Ten::from({g[1], g[2]}, Shape{2})};
    const double rate = 0.01 / (1 + t);
    optimiser.step(p, gradient, state, rate);
    for (int i = 0; i < 3; ++i) expected[i] = reference[i].step(expected[i], g[i], rate);
    CHECK(p.x.item() == Approx(expected[0]).epsilon(1e-13));
    CHECK(p.y.to_vector()[0] == Approx(expected[1]).epsilon(1e-13));
    CHECK(p.y.to_vector()[1] == Approx(expected[2]).epsilon(1e-13));
  }
  CHECK(state.updates == 20);
}

TEST_CASE("the first step of Adam is the learning rate against the sign of the gradient") {
  Ten p = Ten::from({1.0, 1.0, 1.0}, Shape{3});
  const auto optimiser = optim::adam({.learning_rate = 0.1});
  auto state = optimiser.init(p);
  optimiser.step(p, Ten::from({1e-3, -50.0, 0.0}, Shape{3}), state);
  const auto values = p.to_vector();
  CHECK(values[0] == Approx(0.9).epsilon(1e-5));
  CHECK(values[1] == Approx(1.1).epsilon(1e-9));
  CHECK(values[2] == 1.0);
}

TEST_CASE("SGD: plain, momentum and Nesterov steps") {
  const Ten g = Ten::from({2.0}, Shape{1});
  const auto after_two = [&](const optim::SgdOptions& options) {
    Ten p = Ten::from({1.0}, Shape{1});
    const auto optimiser = optim::sgd(options);
    auto state = optimiser.init(p);
    optimiser.step(p, g, state);
    optimiser.step(p, g, state);
    return p.item();
  };
  CHECK(after_two({.learning_rate = 0.1}) == Approx(1 - 0.2 - 0.2));
  CHECK(after_two({.learning_rate = 0.1, .momentum = 0.5}) == Approx(1 - 0.2 - 0.3));
  CHECK(after_two({.learning_rate = 0.1, .momentum = 0.5, .nesterov = true}) == Approx(1 - 0.1 * 3 - 0.1 * 3.5));
  const double first = 1 - 0.1 * (2 + 0.5 * 1), second = first - 0.1 * (2 + 0.5 * first);
  CHECK(after_two({.learning_rate = 0.1, .weight_decay = 0.5}) == Approx(second));
}

TEST_CASE("an optimiser refuses options out of range and gradients of another shape") {
  CHECK_THROWS_AS(optim::adam({.learning_rate = 0}), ArgumentError);
  CHECK_THROWS_AS(optim::adam({.learning_rate = std::nan("")}), ArgumentError);
  CHECK_THROWS_AS(optim::adam({.beta1 = 1}), ArgumentError);
  CHECK_THROWS_AS(optim::adamw({.weight_decay = -1}), ArgumentError);
  CHECK_THROWS_AS(optim::sgd({.momentum = 1.5}), ArgumentError);
  Point<Ten> p{Ten::ones(Shape{1}), Ten::ones(Shape{2})};
  const Point<Ten> wrong{Ten::ones(Shape{1}), Ten::ones(Shape{3})};
  const auto optimiser = optim::adam();
  auto state = optimiser.init(p);
  CHECK_THROWS_WITH(optimiser.step(p, wrong, state), kolmo_test::contains("field 'y' has shape [2]"));
}

TEST_CASE("steps write only the model's own memory") {
  Ten p = Ten::ones(Shape{4});
  const Ten before = p;
  const auto optimiser = optim::adam();
  auto state = optimiser.init(p);
  optimiser.step(p, Ten::ones(Shape{4}), state);
  CHECK(before.to_vector() == std::vector<double>(4, 1.0));
  CHECK(p.to_vector() != before.to_vector());
}

TEST_CASE("steps and norms have the same bits for any number of threads, and on a device", "[device]") {
  const int threads_before = threads::count();
  const auto run = [](auto tensor) {
    using V = decltype(tensor);
    V p = nn::normal_values<V>(Key{1}, Shape{300, 401});
    const V g = nn::normal_values<V>(Key{2}, Shape{300, 401});
    const auto optimiser = optim::adamw({.weight_decay = 0.1});
    auto state = optimiser.init(p);
    for (int i = 0; i < 3; ++i) optimiser.step(p, g, state);
    auto values = p.to_vector();
    values.push_back(static_cast<typename V::Scalar>(optim::global_norm(p)));
    values.push_back(static_cast<typename V::Scalar>(optim::inner_product(p, g)));
    return values;
  };
  threads::set_count(1);
  const auto expected = run(Tensor<float, Cpu>());
  for (const int count : {2, 4}) {
    threads::set_count(count);
    CHECK(run(Tensor<float, Cpu>()) == expected);
  }
  CHECK(as_on_host(run(Tensor<float, TestDevice>()), expected));
  threads::set_count(threads_before);
}

TEST_CASE("clipping keeps the direction and limits the norm over all leaves") {
  Point<Ten> g{Ten::from({3.0}, Shape{1}), Ten::from({0.0, 4.0}, Shape{2})};
  CHECK(optim::global_norm(g) == Approx(5.0));
  CHECK(optim::clip_by_norm(g, 10) == Approx(5.0));
  CHECK(g.x.item() == 3.0);
  CHECK(optim::clip_by_norm(g, 1) == Approx(5.0));
  CHECK(g.x.item() == Approx(0.6));
  CHECK(g.y.to_vector()[1] == Approx(0.8));
  CHECK_THROWS_AS(optim::clip_by_norm(g, 0), ArgumentError);
}

TEST_CASE("the average of constant weights is the weights from the first update on") {
  const optim::Ema ema(0.9);
  const Point<Ten> p{Ten::from({2.0}, Shape{1}), Ten::from({-1.0, 5.0}, Shape{2})};
  auto average = ema.init(p);
  CHECK(ema.value(average, p).x.item() == 2.0);
  for (int i = 0; i < 3; ++i) {
    ema.update(average, p);
    CHECK(ema.value(average, p).x.item() == Approx(2.0).epsilon(1e-14));
  }
  const Point<Ten> q{Ten::from({3.0}, Shape{1}), Ten::from({-1.0, 5.0}, Shape{2})};
  ema.update(average, q);
  const double weight = 0.1 / (1 - std::pow(0.9, 4));
  CHECK(ema.value(average, q).x.item() == Approx(2.0 + weight).epsilon(1e-13));
  CHECK_THROWS_AS(optim::Ema(1.0), ArgumentError);
}

TEST_CASE("schedules") {
  SECTION("the recipe of five epochs of warm-up and a cosine over fifty epochs") {
    const auto rate =
        optim::warm_up_cosine({.learning_rate = 1e-3, .final_fraction = 0.01, .warm_up = 5, .epochs = 50});
    for (int e = 1; e <= 5; ++e) CHECK(rate(e) == Approx(2e-4 * e).epsilon(1e-14));
    CHECK(rate(6) == 1e-3);
    for (int e = 6; e <= 50; ++e)
      CHECK(
          rate(e) ==
          Approx(1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + std::cos(3.14159265358979323846 * (e - 6) / 45.0))).epsilon(1e-13));
    CHECK(rate(7) == Approx(9.98794204878613e-4).epsilon(1e-13));
    CHECK(rate(50) == Approx(1.12057951213870e-5).epsilon(1e-13));
    CHECK_THROWS_AS(optim::warm_up_cosine({.warm_up = 10, .epochs = 10}), ArgumentError);
  }
  SECTION("constant, linear, cosine, step") {
    CHECK(optim::Constant{.learning_rate = 0.5}(7) == 0.5);
    const optim::Linear linear{.learning_rate = 1, .final_learning_rate = 0, .first = 1, .last = 5};
    CHECK(linear(1) == 1.0);
    CHECK(linear(2) == 0.75);
    CHECK(linear(5) == 0.0);
    CHECK(linear(99) == 0.0);
    const optim::Cosine cosine{.learning_rate = 1, .final_learning_rate = 0, .first = 1, .period = 4};
    CHECK(cosine(3) == Approx(0.5));
    CHECK(cosine(5) == 0.0);
    const optim::Step step{.learning_rate = 1, .factor = 0.5, .every = 20};
    CHECK(step(20) == 1.0);
    CHECK(step(21) == 0.5);
    CHECK(step(41) == 0.25);
    const optim::GaussianDecay decay{.learning_rate = 2, .rate = 7, .first = 1, .period = 10};
    CHECK(decay(1) == 2.0);
    CHECK(decay(6) == Approx(2 * std::exp(-1.75)));
    CHECK(decay(11) == Approx(2 * std::exp(-7.0)));
  }
}

TEST_CASE("early stopping keeps the best and counts the epochs since") {
  const optim::EarlyStopping stopping{.patience = 2, .min_improvement = 0.1};
  optim::BestModel<Ten> best;
  const auto model = [](double x) { return Ten::scalar(x); };
  CHECK_FALSE(stopping.update(best, model(1), 1.0, 1));
  CHECK_FALSE(stopping.update(best, model(2), 0.95, 2));
  CHECK(best.model->item() == 1);
  CHECK_FALSE(stopping.update(best, model(3), 0.8, 3));
  CHECK(best.model->item() == 3);
  CHECK(best.epoch == 3);
  CHECK_FALSE(stopping.update(best, model(4), std::nan(""), 4));
  CHECK(stopping.update(best, model(5), 0.79, 5));
  CHECK(best.metric == 0.8);
}

TEST_CASE("L-BFGS finds the minimum of Rosenbrock's valley") {
  const Point<Ten> start{Ten::scalar(-1.2), Ten::scalar(1.0)};
  const auto result = optim::lbfgs(start, Rosenbrock{}, {.max_iterations = 100, .gradient_tolerance = 1e-10});
  CHECK(result.status == optim::LbfgsStatus::converged);
  CHECK(result.model.x.item() == Approx(1.0).epsilon(1e-9));
  CHECK(result.model.y.item() == Approx(1.0).epsilon(1e-9));
  CHECK(result.iterations <= 45);
  CHECK(result.evaluations <= 70);
}

TEST_CASE("L-BFGS solves an ill-conditioned quadratic of fifty unknowns") {
  std::vector<double> scales(50), centre(50);
  for (std::size_t i = 0; i < 50; ++i) {
    scales[i] = std::pow(10.0, static_cast<double>(i) / 16);
    centre[i] = std::sin(static_cast<double>(i));
  }
  const Ten a = Ten::from(scales), c = Ten::from(centre);
  const auto result = optim::lbfgs(Ten::zeros(Shape{50}), [&](const auto& x) { return 0.5 * sum(a * square(x - c)); },
                                   {.max_iterations = 500, .gradient_tolerance = 1e-9});
  CHECK(result.status == optim::LbfgsStatus::converged);
  const auto x = result.model.to_vector();
  for (std::size_t i = 0; i < 50; ++i) CHECK(x[i] == Approx(centre[i]).margin(1e-8));
}

TEST_CASE("L-BFGS says why it stopped") {
  const Point<Ten> start{Ten::scalar(-1.2), Ten::scalar(1.0)};
  CHECK(optim::lbfgs(start, Rosenbrock{}, {.max_iterations = 3}).status == optim::LbfgsStatus::iteration_limit);
  CHECK(optim::lbfgs(start, Rosenbrock{}, {.value_tolerance = 0.1}).status == optim::LbfgsStatus::small_change);
  const auto undefined = optim::lbfgs(Ten::scalar(-1.0), [](const auto& x) { return log(x); });
  CHECK(undefined.status == optim::LbfgsStatus::not_finite);
  const auto rounding = optim::lbfgs(start, Rosenbrock{}, {.gradient_tolerance = 1e-300});
  CHECK((rounding.status == optim::LbfgsStatus::line_search_failed || rounding.gradient_norm == 0));
  const auto barrier = optim::lbfgs(Ten::scalar(3.0), [](const auto& x) { return x - log(x); });
  CHECK(barrier.status == optim::LbfgsStatus::converged);
  CHECK(barrier.model.item() == Approx(1.0));
}
