// Samplers: traces of every method against an independent implementation, the predictor-corrector of the specification,
// grids, weights, order of convergence on a Gaussian, and what stops a run.

#include <algorithm>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/score/parameterisation.hpp>
#include <kolmo/score/sampler.hpp>

#include "catch.hpp"
#include "reference/score_samplers.hpp"

using namespace kolmo;
using namespace kolmo::score;
using kolmo_test::contains;
using V = Tensor<double, Cpu>;

namespace {

double largest_difference(const V& a, const V& b) { return max(abs(a - b)).item(); }

template <class Enum>
Enum named(const std::string& name, std::initializer_list<const char*> names) {
  int i = 0;
  for (const char* candidate : names) {
    if (name == candidate) return static_cast<Enum>(i);
    ++i;
  }
  throw ArgumentError("no " + name);
}

/// The exact estimator of data N(0, variance).
auto gaussian(const Schedule& schedule, double variance) {
  return [=](const V& x, double t) {
    const double mu = schedule.mu(t), sigma = schedule.sigma(t);
    return x * (sigma / (mu * mu * variance + sigma * sigma));
  };
}

/// Deviation at the end over the exact one, of a deterministic sampler.
double spread(const SamplerOptions& options, double variance, const Schedule& schedule = {}) {
  const V start = V::full(Shape{1, 1}, schedule.sigma(options.grid.start_time));
  const double end = sample(gaussian(schedule, variance), schedule, start, options, Key{}).item();
  const double t = options.grid.end_time, mu = schedule.mu(t), sigma = schedule.sigma(t);
  return end / std::sqrt(mu * mu * variance + sigma * sigma);
}

}  // namespace

TEST_CASE("1.5, 1.6: every sampler follows an independent implementation, noise included") {
  const Schedule schedule;
  const auto estimate = [&](const V& x, double t) {
    const double mu = schedule.mu(t), s = schedule.sigma(t);
    return x * (s / (.5 * mu * mu + s * s)) + .1 * mu * sin(3 * x + t);
  };
  for (const SamplerReference& r : sampler_references) {
    SamplerOptions options;
    options.method = named<SamplerMethod>(
        r.method, {"ddim", "heun", "ito", "adams_bashforth", "multistep_eps", "multistep_xhat", "multistep_v"});
    options.grid.policy = named<GridPolicy>(r.grid, {"uniform_time", "power_time", "log_rho", "power_rho"});
    options.grid.power = options.grid.policy == GridPolicy::power_time ? 2 : 7;
    options.steps = r.steps;
    options.order = r.order;
    options.corrections = r.corrections;
    options.corrector = named<Corrector>(r.corrector, {"langevin", "balanced_langevin", "variance_preserving"});
    options.eta = r.eta;
    options.temperature = r.temperature;
    options.tau = r.tau;
    const V x = sample(estimate, schedule, initial_noise<V>(Shape{2, 3}, Key{11}), options, Key{12});
    INFO(r.method << " " << r.grid << " order " << r.order << " corrections " << r.corrections);
    const V expected = V::from(std::span<const double>(r.x), Shape{2, 3});
    CHECK(largest_difference(x, expected) < 1e-10 * (1 + max(abs(expected)).item()));
  }
}

TEST_CASE("1.5: amplification and coefficient of eps in the first step") {
  struct Row {
    double eta;
    int steps;
    double of_state, of_eps;
  };
  const Row rows[] = {{1e-3, 16, 16.251, -15.251}, {1e-3, 32, 6.343, -5.343}, {1e-3, 64, 3.097, -2.097},
                      {1e-3, 128, 1.904, -.904},   {1e-3, 256, 1.416, -.416}, {1e-3, 512, 1.199, -.199},
                      {1e-2, 16, 3.644, -2.645},   {1e-2, 32, 2.120, -1.120}, {1e-2, 64, 1.509, -.509},
                      {1e-2, 128, 1.242, -.242},   {1e-2, 256, 1.118, -.118}, {1e-2, 512, 1.058, -.058}};
  for (const Row& row : rows) {
    const auto options = SamplerOptions::predictor_corrector(row.steps);
    const Schedule schedule{.eta = row.eta};
    const std::vector<double> times = time_points(schedule, options.grid, options.steps);
    const PredictorStep step = predictor_step(schedule, times[0], times[1]);
    INFO("eta " << row.eta << ", " << row.steps << " steps");
    CHECK(std::abs(step.of_state - row.of_state) < 6e-4);
    CHECK(std::abs(step.of_eps - row.of_eps) < 6e-4);
  }
}

TEST_CASE("The Langevin correction takes its step from the estimate of each sample over all event axes") {
  const V x = nn::normal_values<V>(Key{1}, Shape{2, 3, 4}), e = nn::normal_values<V>(Key{2}, Shape{2, 3, 4});
  const V z = nn::normal_values<V>(Key{3}, Shape{2, 3, 4});
  const V y = langevin_correction(x, e, z, .7, .5);
  for (index_t b = 0; b < 2; ++b) {
    const double power = mean(square(at(e, 0, b))).item(), delta = .5 / power;
    const V expected = at(x, 0, b) - .7 * (delta * at(e, 0, b) + std::sqrt(2 * delta) * at(z, 0, b));
    CHECK(largest_difference(at(y, 0, b), expected) < 1e-14);
  }
  // White noise of unit variance has eps = x: repeated, the variance becomes 1 + tau / 2, and 1 when balanced.
  for (const bool balanced : {false, true}) {
    V noise = nn::normal_values<V>(Key{4}, Shape{1, 20000});
    for (std::uint64_t k = 0; k < 12; ++k)
      noise = langevin_correction(noise, noise, nn::normal_values<V>(Key{10 + k}, noise.shape()), 1, .5, balanced);
    CHECK(mean(square(noise)).item() == Approx(balanced ? 1 : 1.25).epsilon(.04));
  }
  CHECK_THROWS_AS(langevin_correction(V::ones(Shape{3}), V::ones(Shape{3}), V::ones(Shape{3}), 1, 1), ShapeError);
}

TEST_CASE("Grids fall from the start to the end by their rule") {
  const Schedule schedule;
  const std::vector<double> uniform = time_points(schedule, {.policy = GridPolicy::uniform_time}, 4);
  REQUIRE(uniform == std::vector<double>{1, .75, .5, .25, 0});
  const auto ratio = [&](const TimeGrid& grid, auto f) {
    const std::vector<double> times = time_points(schedule, grid, 8);
    REQUIRE(times.size() == 9);
    for (std::size_t i = 1; i + 1 < times.size(); ++i)
      CHECK(f(times[i]) - f(times[i - 1]) == Approx(f(times[i + 1]) - f(times[i])).epsilon(1e-6));
  };
  ratio({.policy = GridPolicy::log_rho}, [&](double t) { return std::log(schedule.rho(t)); });
  ratio({.policy = GridPolicy::log_rho, .start_time = .6, .end_time = .05},
        [&](double t) { return std::log(schedule.rho(t)); });
  ratio({.policy = GridPolicy::power_rho, .power = 5}, [&](double t) { return std::pow(schedule.rho(t), .2); });
  ratio({.policy = GridPolicy::power_time, .power = 2}, [](double t) { return std::sqrt(t); });
  // Without noise at the end, the last step of a logarithmic grid is the one to zero.
  const Schedule beta{.kind = ScheduleKind::linear_beta};
  const std::vector<double> to_zero = time_points(beta, {}, 10);
  CHECK(beta.rho(to_zero[9]) == Approx(1e-3));
  CHECK(to_zero[10] == 0);
  CHECK_THROWS_WITH(time_points(schedule, {}, 0), contains("at least one step"));
  CHECK_THROWS_AS(time_points(schedule, {.start_time = .5, .end_time = .6}, 3), ArgumentError);
  CHECK_THROWS_AS(time_points(schedule, {.policy = GridPolicy::power_time, .power = 0}, 3), ArgumentError);
}

TEST_CASE("Methods converge on a Gaussian with their order") {
  const auto error = [](SamplerMethod method, int order, index_t steps) {
    SamplerOptions options;
    options.method = method;
    options.order = order;
    options.steps = steps;
    return std::abs(spread(options, .3) - 1);
  };
  const auto rate = [&](SamplerMethod method, int order, index_t steps) {
    return std::log2(error(method, order, steps) / error(method, order, 2 * steps));
  };
  // At least the order: errors of a Gaussian partly cancel.
  CHECK(rate(SamplerMethod::ddim, 1, 50) > .9);
  CHECK(rate(SamplerMethod::heun, 1, 50) > 1.9);
  for (int order = 1; order <= 3; ++order) {
    INFO("order " << order);
    CHECK(rate(SamplerMethod::adams_bashforth, order, 100) > order - .3);
    CHECK(rate(SamplerMethod::multistep_eps, order, 50) > order - .1);
    CHECK(rate(SamplerMethod::multistep_xhat, order, 50) > order - .1);
    CHECK(rate(SamplerMethod::multistep_v, order, 50) > order - .2);
  }
}

TEST_CASE("The default keeps the spread of every variance from 1e-4 to 40 in 32 evaluations") {
  CHECK(SamplerOptions{}.evaluations() == 32);
  for (double variance = 1e-4; variance < 50; variance *= 3) {
    INFO("variance " << variance);
    CHECK(spread({}, variance) == Approx(1).epsilon(2e-3));
  }
  // Uniform steps in time with the predictor need hundreds.
  CHECK(spread(SamplerOptions::predictor_corrector(256, 0), 1e-4) < .77);
}

TEST_CASE("Any start time with the right variance gives the right spread, for any schedule") {
  for (const Schedule& schedule :
       {Schedule{}, Schedule{.process = ProcessKind::ve}, Schedule{.kind = ScheduleKind::linear_beta},
        Schedule{.kind = ScheduleKind::rectified}})
    for (const double time : {1.0, .7}) {
      SamplerOptions options;
      options.grid.start_time = time;
      const V start = initial_state<V>(Shape{1, 20000}, Key{4}, schedule, time, 2.0);
      const double expected = std::sqrt(std::pow(schedule.mu(time), 2) * 2 + std::pow(schedule.sigma(time), 2));
      CHECK(std::sqrt(mean(square(start)).item()) == Approx(expected).epsilon(.02));
      const V end = sample(gaussian(schedule, 2), schedule, start, options, Key{5});
      INFO(name_of(schedule.kind) << " " << name_of(schedule.process) << " from " << time);
      CHECK(std::sqrt(mean(square(end)).item()) == Approx(std::sqrt(2)).epsilon(.025));
    }
  CHECK_THROWS_AS(initial_state<V>(Shape{2}, Key{}, Schedule{}, 1, -1), ArgumentError);
}

TEST_CASE("Stochastic samplers and correctors keep the variance of a Gaussian") {
  const Schedule schedule;
  const double variance = .25;
  const V start = initial_noise<V>(Shape{4, 10000}, Key{6});
  const auto end_deviation = [&](const SamplerOptions& options) {
    return std::sqrt(mean(square(sample(gaussian(schedule, variance), schedule, start, options, Key{7}))).item());
  };
  SamplerOptions ddpm;
  ddpm.method = SamplerMethod::ddim;
  ddpm.eta = 1;
  ddpm.steps = 200;
  CHECK(end_deviation(ddpm) == Approx(.5).epsilon(.05));
  SamplerOptions ito = ddpm;
  ito.method = SamplerMethod::ito;
  CHECK(end_deviation(ito) == Approx(.5).epsilon(.05));
  SamplerOptions langevin;
  langevin.corrections = 1;
  CHECK(end_deviation(langevin) > .5 * 1.08);
  langevin.corrector = Corrector::balanced_langevin;
  CHECK(end_deviation(langevin) == Approx(.5).epsilon(.03));
  SamplerOptions preserving;
  preserving.steps = 128;
  preserving.corrector = Corrector::variance_preserving;
  preserving.corrections = 1;
  preserving.tau = .1;
  CHECK(end_deviation(preserving) == Approx(.5).epsilon(.05));
}

TEST_CASE("Callbacks see every step, and the same key gives the same samples") {
  const Schedule schedule;
  const V start = initial_noise<V>(Shape{2, 5}, Key{1});
  const auto options = SamplerOptions::predictor_corrector(8, 1);
  index_t count = 0;
  double time = 1;
  V last;
  const V x = sample(gaussian(schedule, 1), schedule, start, options, Key{2}, [&](const SamplerStep<V>& s) {
    ++count;
    CHECK(s.step == count);
    CHECK(s.steps == 8);
    CHECK(s.t == time);
    CHECK(s.u < s.t);
    CHECK(s.eps.shape() == start.shape());
    time = s.u;
    last = s.x;
  });
  CHECK(count == 8);
  CHECK(time == 0);
  CHECK(largest_difference(last, x) == 0);
  CHECK(largest_difference(sample(gaussian(schedule, 1), schedule, start, options, Key{2}), x) == 0);
  CHECK(largest_difference(sample(gaussian(schedule, 1), schedule, start, options, Key{3}), x) > 0);
}

namespace {

/// An estimator that asks for steps of at most `longest` in log rho.
struct Cautious {
  struct Report {
    int substeps = 1;
  };
  Schedule schedule;
  double longest;
  mutable Report last{};
  mutable std::vector<double> visited{};
  void begin_step(double t, double u) const {
    last.substeps = static_cast<int>(std::ceil((1 - schedule.rho(u) / schedule.rho(t)) / longest));
  }
  const Report& report() const { return last; }
  V operator()(const V& x, double t) const {
    visited.push_back(t);
    return gaussian(schedule, .01)(x, t);
  }
};

}  // namespace

TEST_CASE("An estimator that judges a step too long gets it in parts, down to the grid's next time") {
  const Schedule schedule;
  SamplerOptions options = SamplerOptions::predictor_corrector(16, 0);
  const Cautious eps{schedule, .1};
  const V start = V::ones(Shape{1, 1});
  std::vector<double> grid;
  const double end =
      sample(eps, schedule, start, options, Key{}, [&](const SamplerStep<V>& s) { grid.push_back(s.u); }).item();
  CHECK(grid.size() == 16);
  CHECK(eps.visited.size() > 60);
  for (std::size_t i = 1; i < eps.visited.size(); ++i) CHECK(eps.visited[i] < eps.visited[i - 1]);
  for (std::size_t i = 0; i + 1 < grid.size(); ++i)
    CHECK(std::find(eps.visited.begin(), eps.visited.end(), grid[i]) != eps.visited.end());
  const double exact = std::sqrt(.01 + 1e-6);
  CHECK(std::abs(end - exact) < .4 * std::abs(spread(options, .01) - 1) * exact);
  options.most_substeps = 1;
  const Cautious held{schedule, .1};
  sample(held, schedule, start, options, Key{});
  CHECK(held.visited.size() == 16);
}

TEST_CASE("A sample that stops being finite ends the run with the step, the time and the last good state") {
  const Schedule schedule;
  const auto options = SamplerOptions::predictor_corrector(10, 0);
  const double infinite = kolmo::detail::infinity<double>();
  const auto broken = [&](const V& x, double t) {
    return t < .55 ? where(V::from({0., 1.}, Shape{2, 1}), V::full(x.shape(), infinite), x) : x;
  };
  V before;
  try {
    sample(broken, schedule, V::ones(Shape{2, 3}), options, Key{}, [&](const SamplerStep<V>& s) { before = s.x; });
    FAIL("expected NonFiniteState");
  } catch (const NonFiniteState<V>& error) {
    CHECK(error.step == 6);
    CHECK(error.time == Approx(.4));
    CHECK(error.last_time == Approx(.5));
    CHECK(largest_difference(error.last_state, before) == 0);
    CHECK_THAT(error.what(), contains("sample 1 of 2") && contains("step 6") && contains("0.4"));
  }
  CHECK_THROWS_AS(sample(gaussian(schedule, 1), schedule, V::full(Shape{1, 2}, infinite), options, Key{}),
                  NonFiniteSample);
}

TEST_CASE("Options out of range are named") {
  const auto run = [](auto change) {
    SamplerOptions options;
    change(options);
    sample([](const V& x, double) { return x; }, Schedule{}, V::ones(Shape{1, 2}), options, Key{});
  };
  CHECK_THROWS_WITH(run([](auto& o) { o.steps = 0; }), contains("one step") && contains("0"));
  CHECK_THROWS_WITH(run([](auto& o) { o.order = 5; }), contains("order"));
  CHECK_THROWS_WITH(run([](auto& o) { o.corrections = -1; }), contains("corrections"));
  CHECK_THROWS_WITH(run([](auto& o) { o.tau = 0; }), contains("tau"));
  CHECK_THROWS_WITH(run([](auto& o) { o.eta = -1; }), contains("eta"));
  CHECK_THROWS_WITH(run([](auto& o) { o.temperature = 0; }), contains("temperature"));
  CHECK_THROWS_AS(
      sample([](const V&, double) { return V::ones(Shape{3}); }, Schedule{}, V::ones(Shape{1, 2}), {}, Key{}),
      ShapeError);
}
