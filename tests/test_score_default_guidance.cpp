// The default guidance under the default sampler samples the posterior of the linear-Gaussian problem without bias and
// with the right spread, for any number of observations and any noise of the sensor, with nothing tuned.
#include <kolmo/ops/fft.hpp>
#include <kolmo/score/guidance/choice.hpp>
#include <kolmo/score/linear_gaussian.hpp>
#include <kolmo/score/observations/pixels.hpp>
#include <kolmo/score/observations/sampling.hpp>
#include <kolmo/score/sampler.hpp>

#include "catch.hpp"

namespace {

using namespace kolmo;
using namespace kolmo::score;
using V = Tensor<double, Cpu>;

/// x filtered by a function of the wave number.
template <TensorLike X>
auto filtered(const X& x, const V& factor) {
  return irfft(rfft(x) * factor, x.shape()[-1]);
}

V half_spectrum(const PeriodicProblem& problem) {
  auto all = problem.spectrum();
  all.resize(static_cast<std::size_t>(problem.points / 2 + 1));
  return V::from(all);
}

/// The prior's exact noise estimate, and with `error` a wrong one whose Jacobian is not symmetric.
struct Prior {
  V spectrum;
  Schedule schedule;
  double error = 0;
  template <TensorLike X>
  auto operator()(const X& x, double t) const {
    const double mu = schedule.mu(t), sigma = schedule.sigma(t);
    const auto exact = filtered(x, sigma / (spectrum * (mu * mu) + sigma * sigma));
    const auto scaled = x * mu;
    return exact + (tanh(kolmo::detail::rolled(scaled, -1, 1)) - tanh(scaled * 0.5)) * error;
  }
};

/// The posterior's exact noise estimate; in Fourier space where every point is observed.
struct ExactPosterior {
  PeriodicProblem problem;
  Schedule schedule;
  V y;
  V operator()(const V& x, double t) const {
    if (problem.every > 1) return PeriodicPosterior<V>(problem).eps(x, y, schedule, t);
    const V s = half_spectrum(problem);
    const double mu = schedule.mu(t), sigma = schedule.sigma(t), noise = problem.deviation * problem.deviation;
    const V covariance = s * noise / (s + noise);
    return filtered(x - filtered(y, s / (s + noise)) * mu, sigma / (covariance * (mu * mu) + sigma * sigma));
  }
};

double mean_square(const V& x) { return dot(flatten(x), flatten(x)).item() / static_cast<double>(x.shape()[0]); }

struct Figures {
  double bias, spread, residual, iterations;
};

/// Samples of several observations by a method, and by the exact posterior from the same start: their means differ by
/// the method's bias. Bias and spread in units of the posterior's deviation, the residual in the sensor's.
template <class Method>
Figures figures(const PeriodicProblem& problem, index_t observed, index_t samples, const Method& method,
                double error = 0) {
  const Schedule schedule;
  const V spectrum = half_spectrum(problem);
  const index_t d = problem.points, n = problem.observations(), batch = observed * samples;
  const SubsampleSpace every{problem.every, 0, 1};
  const V truth = filtered(nn::normal_values<V>(Key{1}, Shape{observed, d}), sqrt(spectrum));
  const V measured = every(truth) + nn::normal_values<V>(Key{2}, Shape{observed, n}) * problem.deviation;
  const V y = V(broadcast_to(unsqueeze(measured, 1), Shape{observed, samples, n})).reshaped(Shape{batch, n});
  const V start = initial_noise<V>(Shape{batch, d}, Key{3});
  const auto posterior =
      guided(Prior{spectrum, schedule, error}, schedule, observe(every, y, problem.deviation), method);
  double iterations = 0;
  SamplerOptions options;
  const V x = sample(posterior, schedule, start, options, Key{4}, [&](const SamplerStep<V>&) {
    iterations += posterior.report().solver_iterations / static_cast<double>(options.steps);
  });
  const V exact = sample(ExactPosterior{problem, schedule, y}, schedule, start, options, Key{4});
  const auto per_observation = [&](const V& z) { return z.reshaped(Shape{observed, samples, d}); };
  const auto fluctuation = [&](const V& z) {
    const V each = per_observation(z);
    return mean_square(V(each - mean(each, {1}, true))) / static_cast<double>(samples - 1);
  };
  const double variance = fluctuation(exact);
  return {std::sqrt(mean_square(V(mean(per_observation(x - exact), {1}))) / variance),
          std::sqrt(fluctuation(x) / variance),
          std::sqrt(mean_square(V(every(x) - y)) / static_cast<double>(n)) / problem.deviation, iterations};
}

void expect_calibrated(const PeriodicProblem& problem, index_t observed, index_t samples) {
  const Figures f = figures(problem, observed, samples, default_guidance());
  INFO("N " << problem.observations() << ", length " << problem.length << ", deviation " << problem.deviation
            << ": bias " << f.bias << ", spread " << f.spread << ", residual " << f.residual << ", products "
            << f.iterations);
  CHECK(f.bias <= 0.03);
  CHECK(f.spread >= 0.97);
  CHECK(f.spread <= 1.03);
  CHECK(f.iterations <= 6);
}

}  // namespace

TEST_CASE("the default method is calibrated for 1 to 64 observations of 64 points") {
  for (const index_t every : {1, 4, 16, 64}) expect_calibrated({64, every}, 16, 8);
}

TEST_CASE("the default method is calibrated for sharp and blunt sensors and for long and short correlations") {
  expect_calibrated({64, 1, 4, 0.02}, 16, 8);
  expect_calibrated({64, 1, 4, 1}, 16, 8);
  expect_calibrated({64, 1, 16, 0.1}, 16, 8);
  expect_calibrated({64, 2, 1, 0.1}, 16, 8);
}

TEST_CASE("the default method is calibrated for 1000 and 10000 observations", "[long]") {
  expect_calibrated({1000, 1}, 4, 8);
  expect_calibrated({10000, 1}, 1, 8);
}

TEST_CASE("with a network whose Jacobian is not symmetric the default method stays near, conjugate gradients do not") {
  const Figures good = figures({64, 1}, 16, 8, default_guidance(), 0.03);
  CHECK(good.bias < 0.2);
  CHECK(good.spread == Approx(1).margin(0.03));
  CHECK(figures({64, 1}, 16, 8, MmpsGuidance{10, 0.01}, 0.03).bias > 3 * good.bias);
}

TEST_CASE("R10: dual scaling away from its reference fails the same test of spread") {
  const Figures f = figures({64, 1}, 16, 8, ScaledGuidance{Scaling::dual, 16, 1});
  CHECK(std::abs(f.spread - 1) > 0.2);
}
