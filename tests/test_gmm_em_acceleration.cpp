#include "catch.hpp"
#include "gmm_reference.hpp"

#include <limits>

#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/metrics.hpp>
#include <kolmo/gmm/preprocess.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

EmOptions with(Acceleration acceleration, double tolerance, int most = 3000) {
  EmOptions options;
  options.acceleration = acceleration;
  options.tolerance = tolerance;
  options.max_iterations = most;
  return options;
}

double total_iterations(const EmFit<Double>& fit) {
  double sum = 0.0;
  for (std::int32_t n : fit.iterations.to_vector()) sum += n;
  return sum;
}

double mean_error(const Double& densities, const EmFit<Double>& fit, const Preprocessed<Double>& input) {
  return summarize(evaluate(densities, Grid{}, to_input_units(fit.mixture, input)).density_error).mean;
}

/// The likelihoods of all iterates that one density's run keeps.
std::vector<double> trace_of(const double* masses, const double* points, EmStartKind kind) {
  gmm::detail::EmProblem<double> problem{};
  problem.masses = masses;
  problem.points = points;
  problem.count = 96;
  problem.components = 5;
  problem.max_iterations = 150;
  problem.acceleration = Acceleration::anderson;
  problem.starts = 1;
  problem.floor_in_spacings = 0.5;
  const gmm::detail::EmIteration<double, 8> em{{{problem}}};
  const gmm::detail::EmStart<double, 8> starts{{problem}};
  const auto density = em.examine(0);
  gmm::detail::EmParameters<double, 8> p;
  REQUIRE(starts.begin(kind, 0, 0, density, p) == Status::ok);
  gmm::detail::EmStep<double, 8>::Points loaded;
  em.load(density, density.begin, loaded);
  std::vector<double> trace(151, std::numeric_limits<double>::quiet_NaN());
  int iterations = 0;
  Status status = Status::ok;
  const double last = em.iterate(density, loaded, p, iterations, status, trace.data());
  while (trace.back() != trace.back()) trace.pop_back();
  CHECK(trace.back() == last);
  return trace;
}

}  // namespace

TEST_CASE("acceleration never lets the likelihood fall", "[gmm][em]") {
  const auto foreign = make_foreign<Double>(Key{3}, 60);
  const auto v5 = make_v5<Double>(Key{4}, 60);
  int steps = 0;
  for (const auto* set : {&foreign, &v5}) {
    const auto input = preprocess(set->densities, Grid{});
    const auto masses = input.masses.to_vector(), points = input.points.to_vector();
    for (std::size_t b = 0; b < 60; ++b)
      for (EmStartKind kind : {EmStartKind::quantile, EmStartKind::random, EmStartKind::kmeans}) {
        const auto trace = trace_of(&masses[96 * b], &points[96 * b], kind);
        for (std::size_t i = 1; i < trace.size(); ++i) REQUIRE(trace[i] >= trace[i - 1] - 1e-13);
        steps += static_cast<int>(trace.size());
      }
  }
  CHECK(steps > 3000);
}

TEST_CASE("acceleration reaches the accuracy of plain EM in a fraction of its iterations", "[gmm][em]") {
  const auto set = make_v5<Double>(Key{2}, 150);
  const auto input = preprocess(set.densities, Grid{});
  const auto plain = fit_em(input.masses, input.points, with(Acceleration::none, 1e-8));
  const auto fast = fit_em(input.masses, input.points, with(Acceleration::anderson, 1e-8));
  CHECK(total_iterations(fast) < 0.35 * total_iterations(plain));
  CHECK(mean_error(set.densities, fast, input) < 1.02 * mean_error(set.densities, plain, input));
  // The default stops sooner and is still closer than plain EM to 1e-6.
  const auto usual = fit_em(input.masses, input.points);
  const auto old = fit_em(input.masses, input.points, with(Acceleration::none, 1e-6, 300));
  CHECK(total_iterations(usual) < total_iterations(old));
  CHECK(mean_error(set.densities, usual, input) < mean_error(set.densities, old, input));
}

TEST_CASE("a fixed point of EM is one of the accelerated iteration, which finds it sooner", "[gmm][em]") {
  // A mixture of two is its own best fit up to the rounding of sums.
  const Double f =
      sampled<Double>([](double z) { return 0.3 * normal_density(z, -1.0, 0.8) + 0.7 * normal_density(z, 1.0, 1.1); });
  EmOptions options = with(Acceleration::none, 1e-15, 100000);
  options.components = 2;
  const auto plain = fit_em(f, grid_of<Double>(), options);
  CHECK(largest_difference(plain.mixture.means, {-1.0, 1.0}) < 1e-4);
  options.acceleration = Acceleration::anderson;
  const auto fast = fit_em(f, grid_of<Double>(), options);
  CHECK(largest_difference(fast.mixture.means, {-1.0, 1.0}) < 1e-4);
  CHECK(fast.iterations.item() < plain.iterations.item() / 4);
  const auto from_there = fit_em(f, grid_of<Double>(), fast.mixture, options);
  CHECK(largest_difference(from_there.mixture.means, fast.mixture.means) < 1e-5);
  CHECK(from_there.log_likelihood.item() == Approx(plain.log_likelihood.item()).margin(1e-12));
}

TEST_CASE("accelerated fits too have the mean and the variance of the density", "[gmm][em]") {
  const auto set = make_v5<Double>(Key{11}, 60);
  const auto input = preprocess(set.densities, Grid{});
  for (int most : {1, 4, 9, 300}) {
    EmOptions options = with(Acceleration::anderson, 1e-7, most);
    options.deviation_floor = 1e-3;
    const auto fit = fit_em(input.masses, input.points, options);
    const auto m = mean(fit.mixture).to_vector(), v = variance(fit.mixture).to_vector();
    const auto s = input.deviation.to_vector();
    for (std::size_t b = 0; b < m.size(); ++b) {
      CHECK(std::abs(m[b]) < 1e-12);
      CHECK(v[b] == Approx(s[b] * s[b]).epsilon(1e-12));
      CHECK(fit.iterations.to_vector()[b] <= most);
    }
  }
}

TEST_CASE("the accelerated iteration commutes with shifts and scales", "[gmm][em]") {
  const Double f = reference_density<Double>();
  std::vector<double> moved;
  for (double x : grid_of<Double>().to_vector()) moved.push_back(128.0 + 0.25 * x);
  const auto a = fit_em(f, grid_of<Double>(), with(Acceleration::anderson, 0.0, 12));
  const auto b = fit_em(f, Double::from(moved), with(Acceleration::anderson, 0.0, 12));
  for (std::size_t k = 0; k < 5; ++k) {
    CHECK(b.mixture.weights.to_vector()[k] == Approx(a.mixture.weights.to_vector()[k]).epsilon(1e-6));
    CHECK(b.mixture.means.to_vector()[k] == Approx(128.0 + 0.25 * a.mixture.means.to_vector()[k]).epsilon(1e-6));
    CHECK(b.mixture.deviations.to_vector()[k] == Approx(0.25 * a.mixture.deviations.to_vector()[k]).epsilon(1e-6));
  }
  CHECK(b.log_likelihood.item() == Approx(a.log_likelihood.item() + std::log(4.0)).epsilon(1e-9));
}

TEMPLATE_TEST_CASE("acceleration handles floors, empty components and any number of components", "[gmm][em]", float,
                   double) {
  using V = Tensor<TestType, Cpu>;
  // A box and two spikes: components at the floor, and more of them than the density needs.
  std::vector<TestType> f(96, TestType(0));
  for (std::size_t i = 20; i < 40; ++i) f[i] = TestType(1);
  f[60] = f[80] = TestType(6);
  EmOptions options;
  for (int k : {1, 2, 3, 8, 9, 16, 32}) {
    options.components = k;
    const auto fit = fit_em(V::from(f), grid_of<V>(), options);
    INFO(k);
    CHECK(is_valid(fit.statuses()[0]));
    CHECK(all_finite(fit.mixture.weights));
    CHECK(all_finite(fit.mixture.means));
    double weight = 0.0;
    for (TestType w : fit.mixture.weights.to_vector()) weight += static_cast<double>(w);
    CHECK(weight == Approx(1.0).epsilon(1e-5));
    for (TestType s : fit.mixture.deviations.to_vector())
      CHECK(static_cast<double>(s) >= 0.5 * Grid{}.spacing() * (1.0 - 1e-5));
  }
}
