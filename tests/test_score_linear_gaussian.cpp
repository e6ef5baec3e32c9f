// The linear-Gaussian inverse problem of the specification, sections 6.1 to 6.5: affine methods in physical and in
// Fourier space, the closed-form posterior, and every table of bias, spread, transport distance and residual.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/score/linear_gaussian_compare.hpp>
#include <kolmo/score/parameterisation.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::score;
using V = Tensor<double, Cpu>;

namespace {

double largest_difference(const V& a, const V& b) { return max(abs(a - b)).item(); }

const AffineKind all_kinds[] = {AffineKind::exact, AffineKind::sda,  AffineKind::detached, AffineKind::mean_reduction,
                                AffineKind::pigdm, AffineKind::tmpd, AffineKind::proximal};

SamplerOptions uniform(index_t steps) { return SamplerOptions::predictor_corrector(steps, 0); }

/// Mean gain [D, N] and covariance [D, D] of the predictor with dense matrices, by the recursion of the specification.
struct DensePropagation {
  V gain, covariance;
  DensePropagation(const PeriodicProblem& problem, const AffineMethod& method, const Schedule& schedule,
                   index_t steps) {
    const std::vector<double> times = time_points(schedule, uniform(steps).grid, steps);
    gain = V::zeros(Shape{problem.points, problem.observations()});
    const V unit = periodic_matrix<V>(problem, [](double) { return 1.0; });
    covariance = unit;
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
      const PredictorStep p = predictor_step(schedule, times[i], times[i + 1]);
      const auto e = affine_estimate<V>(problem, method, schedule, times[i]);
      const V f = unit * p.of_state + e.state * p.of_eps;
      gain = matmul(f, gain) + e.observation * p.of_eps;
      covariance = matmul(matmul(f, covariance), transpose(f));
    }
  }
};

}  // namespace

TEST_CASE("6.5: the prior has unit variance, and its estimator, Jacobian and conditional covariance agree") {
  const PeriodicProblem problem{.points = 12, .every = 3, .length = 2};
  const Schedule schedule;
  const V prior = periodic_matrix<V>(problem, [](double s) { return s; });
  CHECK(largest_difference(diagonal(prior), V::ones(Shape{12})) < 1e-14);
  // Far from the poles of clipping, the covariance is the kernel: (1 - 1e-3) exp(-(1/2)^2 / 2) at distance one.
  CHECK(prior.view(Shape{}, Strides{}, 1).item() == Approx(.999 * std::exp(-.125)).epsilon(.02));
  const double t = .6, mu = schedule.mu(t), sigma = schedule.sigma(t), rho = sigma / mu;
  const V unit = periodic_matrix<V>(problem, [](double) { return 1.0; });
  // (S^-1 + rho^-2 I)^-1 (S^-1 + rho^-2 I) = I with the inverse from a Cholesky factor.
  const V inverse = cholesky_solve(cholesky(prior), unit);
  const V covariance =
      periodic_matrix<V>(problem, [&](double s) { return sigma * sigma * s / (mu * mu * s + sigma * sigma); });
  CHECK(largest_difference(matmul(inverse + unit / (rho * rho), covariance), unit) < 1e-9);
  // eps = E x, and xhat has the derivative J with Cov[x | x_t] = sigma^2 / mu J.
  const PeriodicPrior<V> eps(problem, schedule);
  const V x = nn::normal_values<V>(Key{1}, Shape{2, 12}), v = nn::normal_values<V>(Key{2}, Shape{2, 12});
  auto recorded = vjp([&](const auto& z) { return xhat_from_eps(z, eps(z, t), schedule, t); }, x);
  CHECK(largest_difference(recorded.pull(v) * (sigma * rho), matmul(v, covariance)) < 1e-12);
}

TEST_CASE("6.5: the exact method is the noisy posterior's estimate, in all three forms") {
  const Schedule schedule;
  for (const PeriodicProblem& problem : {PeriodicProblem{.points = 12, .every = 3, .length = 2},
                                         PeriodicProblem{.points = 9, .every = 1, .length = 0, .deviation = .3}}) {
    const PeriodicPosterior<V> posterior(problem);
    const V x = nn::normal_values<V>(Key{1}, Shape{3, problem.points});
    const V y = nn::normal_values<V>(Key{2}, Shape{3, problem.observations()});
    for (const double t : {.02, .4, .95}) {
      const auto e = affine_estimate<V>(problem, {}, schedule, t);
      const V direct = posterior.eps(x, y, schedule, t);
      CHECK(largest_difference(matmul(x, transpose(e.state)) + matmul(y, transpose(e.observation)), direct) <
            1e-10 * max(abs(direct)).item());
    }
  }
}

TEST_CASE("6.5: Fourier space and physical space give the same bias and spread for every method") {
  const Schedule schedule;
  for (const PeriodicProblem& problem : {PeriodicProblem{.points = 12, .every = 3, .length = 1.5},
                                         PeriodicProblem{.points = 10, .every = 2, .length = .7, .deviation = .3},
                                         PeriodicProblem{.points = 7, .every = 1, .length = 1}}) {
    const PeriodicPosterior<V> posterior(problem);
    const V prior = periodic_matrix<V>(problem, [](double s) { return s; });
    const V unit = periodic_matrix<V>(problem, [](double) { return 1.0; });
    const V rows = slice(prior, 0, 0, axis_end, problem.every);
    const V observed = slice(rows, 1, 0, axis_end, problem.every) +
                       slice(slice(unit, 0, 0, axis_end, problem.every), 1, 0, axis_end, problem.every) *
                           (problem.deviation * problem.deviation);
    const double trace = sum(diagonal(posterior.covariance)).item() + static_cast<double>(problem.points) * 1e-6;
    for (const AffineKind kind : all_kinds) {
      const AffineMethod method{.kind = kind, .gamma = .05};
      const DensePropagation dense(problem, method, schedule, 24);
      const GaussianComparison modes = compare_with_posterior(problem, method, schedule, uniform(24));
      const V error = dense.gain - posterior.gain;
      INFO("method " << static_cast<int>(kind) << ", every " << problem.every);
      CHECK(modes.bias == Approx(std::sqrt(sum(matmul(error, observed) * error).item() / trace)).epsilon(1e-9));
      CHECK(modes.spread ==
            Approx(std::sqrt(sum(diagonal(dense.covariance)).item() / trace)).epsilon(1e-9).margin(1e-12));
    }
  }
}

TEST_CASE("R8: bias, spread, transport and residual at 256 uniform steps") {
  struct Row {
    AffineMethod method;
    // s = 1, 4, 16; the digits after the point that the specification prints
    double values[3][4];
  };
  const Row rows[] = {
      {{.kind = AffineKind::exact},
       {{.00162, .95533, .05104, .98439}, {.00176, .97949, .02711, .97775}, {.00095, .99421, .00674, .97758}}},
      {{.kind = AffineKind::sda, .gamma = 1e-2},
       {{.32066, .44219, .90944, .83705}, {.36403, .45919, .88583, .29586}, {.16040, .95910, .18476, .28036}}},
      {{.kind = AffineKind::sda, .gamma = 1e-1},
       {{.222, .467, .853, .852}, {.0906, .605, .583, .501}, {.184, 1.01, .190, .494}}},
      {{.kind = AffineKind::sda, .gamma = 1},
       {{.918, 1.40, 1.03, 1.33}, {4.15, 4.45, 5.51, 6.66}, {.614, 1.17, .732, 7.30}}},
      {{.kind = AffineKind::detached},
       {{4.936, .2789, 5.019, 2.150}, {.3896, .5268, .8892, .4866}, {.0337, .9959, .0740, .4572}}},
      {{.kind = AffineKind::mean_reduction},
       {{4.629, 6.058, 6.971, 4.661}, {2.305, 3.154, 3.231, 4.556}, {.0650, .9818, .0874, .7210}}},
      {{.kind = AffineKind::pigdm},
       {{.554, .843, .799, 1.042}, {1.282, 2.328, 1.919, 2.911}, {.134, 1.053, .235, 3.536}}},
      {{.kind = AffineKind::tmpd},
       {{.602, 1.213, .667, 1.185}, {.500, 1.172, .549, 1.356}, {.0010, .9942, .0068, .9753}}},
      {{.kind = AffineKind::proximal},
       {{.410, 2.433, 1.585, 1.672}, {4.225, 5.205, 6.091, 6.816}, {.620, 1.200, .767, 7.280}}},
  };
  const auto tolerance = [](double printed) {
    // Half a unit of the last printed digit, and a little.
    for (const double unit : {.01, .001, .0001, .00001})
      if (std::abs(printed / unit - std::round(printed / unit)) < 1e-6) return .6 * unit;
    return 6e-6;
  };
  for (const Row& row : rows)
    for (int i = 0; i < 3; ++i) {
      const PeriodicProblem problem{.every = i == 0 ? 1 : i == 1 ? 4 : 16};
      const GaussianComparison c = compare_with_posterior(problem, row.method, Schedule{}, uniform(256));
      const double computed[] = {c.bias, c.spread, c.transport, c.residual};
      for (int k = 0; k < 4; ++k) {
        INFO("method " << static_cast<int>(row.method.kind) << " gamma " << row.method.gamma << ", every "
                       << problem.every << ", column " << k);
        CHECK(std::abs(computed[k] - row.values[i][k]) <= tolerance(row.values[i][k]));
      }
    }
}
