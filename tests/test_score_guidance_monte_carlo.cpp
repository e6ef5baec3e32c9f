// Section 6.5, the rows with the Langevin corrector: 128 observations, 16 samples of each, the paper's sampler of 256
// steps. bias, spread and residual as tabulated there, which is a Monte Carlo run of its own.
#include <kolmo/score/guidance/dps.hpp>
#include <kolmo/score/guidance/mmps.hpp>
#include <kolmo/score/linear_gaussian.hpp>
#include <kolmo/score/observations/sampling.hpp>
#include <kolmo/score/sampler.hpp>

#include "catch.hpp"

namespace {

using namespace kolmo;
using namespace kolmo::score;
using V = Tensor<double, Cpu>;

struct Row {
  double bias, spread, residual;
};

double total_square(const V& x) { return dot(flatten(x), flatten(x)).item(); }

template <class Method>
Row run(index_t every, const Method& method, index_t corrections) {
  constexpr index_t observed = 128, samples = 16;
  const PeriodicProblem problem{64, every};
  const Schedule schedule;
  const index_t d = problem.points, n = problem.observations(), batch = observed * samples;
  const PeriodicPosterior<V> exact(problem);
  const V root = periodic_matrix<V>(problem, [](double x) { return std::sqrt(x); });
  const SubsampleSpace sensor{every, 0, 1};
  const V truth = matmul(nn::normal_values<V>(Key{1}, Shape{observed, d}), root);
  const V measured = sensor(truth) + nn::normal_values<V>(Key{2}, Shape{observed, n}) * problem.deviation;
  const V y = V(broadcast_to(unsqueeze(measured, 1), Shape{observed, samples, n})).reshaped(Shape{batch, n});
  const auto estimate =
      guided(PeriodicPrior<V>(problem, schedule), schedule, observe(sensor, y, problem.deviation), method);
  const V x = sample(estimate, schedule, initial_noise<V>(Shape{batch, d}, Key{3}),
                     SamplerOptions::predictor_corrector(256, corrections), Key{4});
  const double trace = sum(diagonal(exact.covariance)).item() + static_cast<double>(d) * 1e-6;
  const V each = x.reshaped(Shape{observed, samples, d}), centre = mean(each, {1}, true);
  const double variance = total_square(each - centre) / static_cast<double>(observed * (samples - 1));
  const V off = V(squeeze(centre, 1)) - matmul(measured, transpose(exact.gain));
  // Without the part of the squared bias that the finite number of samples makes.
  const double bias = total_square(off) / static_cast<double>(observed) - variance / static_cast<double>(samples);
  return {std::sqrt(std::max(bias, 0.0) / trace), std::sqrt(variance / trace),
          std::sqrt(total_square(V(sensor(x) - y)) / static_cast<double>(batch * n)) / problem.deviation};
}

template <class Method>
void expect_row(index_t every, const Method& method, index_t corrections, const Row& tabulated,
                double tolerance = 0.03) {
  const Row row = run(every, method, corrections);
  INFO("every " << every << ": " << row.bias << " / " << row.spread << " / " << row.residual);
  CHECK(row.bias == Approx(tabulated.bias).margin(std::max(0.04, tolerance * tabulated.bias)));
  CHECK(row.spread == Approx(tabulated.spread).epsilon(tolerance));
  CHECK(row.residual == Approx(tabulated.residual).epsilon(tolerance));
}

}  // namespace

TEST_CASE("section 6.5, Monte Carlo: SDA with one correction", "[long]") {
  expect_row(1, SdaGuidance<>{1e-2}, 1, {0.049, 1.001, 0.994});
  expect_row(4, SdaGuidance<>{1e-2}, 1, {0.076, 0.951, 0.934});
  expect_row(16, SdaGuidance<>{1e-2}, 1, {0.070, 1.008, 0.939});
}

TEST_CASE("section 6.5, Monte Carlo, and R10: dual scaling has the wrong spread away from its reference", "[long]") {
  const ScaledGuidance dual{Scaling::dual, 16, 1e-2};
  expect_row(1, dual, 1, {0.293, 1.716, 1.364});
  expect_row(4, dual, 1, {0.076, 0.951, 0.934});
  expect_row(16, dual, 1, {0.094, 1.002, 0.508});
}

TEST_CASE("section 6.5, Monte Carlo: MMPS with one iteration and one correction", "[long]") {
  expect_row(1, MmpsGuidance{1, 0}, 1, {0.032, 1.030, 1.007});
  expect_row(4, MmpsGuidance{1, 0}, 1, {0.039, 1.028, 1.028});
  expect_row(16, MmpsGuidance{1, 0}, 1, {0.051, 1.016, 1.032});
}

TEST_CASE("section 6.5, Monte Carlo: DPS with zeta = 1 is far off", "[long]") {
  expect_row(1, DpsGuidance{1}, 1, {5.5, 9.5, 6.6}, 0.2);
  expect_row(4, DpsGuidance{1}, 1, {4.7, 6.5, 9.2}, 0.2);
  expect_row(16, DpsGuidance{1}, 1, {0.41, 1.18, 8.3}, 0.2);
}
