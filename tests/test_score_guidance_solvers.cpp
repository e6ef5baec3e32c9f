// Guidance that solves with the covariance of the observation, against the exact posterior of a Gaussian prior.
#include <kolmo/score/guidance/jfps.hpp>
#include <kolmo/score/guidance/mmps.hpp>

#include "catch.hpp"
#include "score_gaussian_support.hpp"

using namespace kolmo_test;

TEST_CASE("the covariance of x given x_t is (sigma^2 / mu) J = (S^-1 + rho^-2)^-1") {
  Problem p;
  const Matrix c = p.sigma() * p.sigma() / p.mu() * p.j();
  CHECK(distance(c, (p.s.inverse() + p.identity() / (p.rho() * p.rho())).inverse()) < 1e-10);
}

TEST_CASE("checklist 6: MMPS with as many iterations as observations is the exact posterior") {
  Problem p;
  for (const double t : {0.02, 0.1, 0.4, 0.8, 0.98})
    for (const Eigen::Index step : {1, 2, 4}) {
      p.t = t;
      p.set_step(step);
      const int n = static_cast<int>(p.a.rows());
      INFO("t " << t << ", every " << step);
      CHECK(distance(p.posterior(MmpsGuidance{n, 0}), p.exact()) < 1e-8);
      CHECK(distance(p.posterior(MmpsGuidance{n, 0, Solver::gmres}), p.exact()) < 1e-8);
    }
}

TEST_CASE("JFPS with the prior's covariance is the exact posterior, dense and in Fourier space") {
  Problem p;
  // Eigenvalues of a circulant matrix: the Fourier transform of its first row.
  std::vector<double> spectrum;
  for (Eigen::Index k = 0; k <= p.d / 2; ++k) {
    double sum = 0;
    for (Eigen::Index i = 0; i < p.d; ++i)
      sum += p.s(0, i) * std::cos(2 * 3.14159265358979323846 * static_cast<double>(k * i) / static_cast<double>(p.d));
    spectrum.push_back(sum);
  }
  const SpectralCovariance<V> circulant(V::from(spectrum), 1);
  const DenseCovariance<V> dense(tensor(p.s));
  for (const double t : {0.05, 0.4, 0.95}) {
    p.t = t;
    CHECK(distance(p.posterior(JfpsGuidance{dense, 100, 1e-12}), p.exact()) < 1e-8);
    CHECK(distance(p.posterior(JfpsGuidance{circulant, 100, 1e-12}), p.exact()) < 1e-8);
  }
}

TEST_CASE("MMPS with fewer iterations has the residual it reports and stops at its tolerance") {
  Problem p;
  p.set_step(1);
  const auto observation = observe(SubsampleSpace{1, 0, 1}, V(at(tensor(p.y), 0, 0)), p.deviation);
  for (const Solver solver : {Solver::conjugate_gradients, Solver::gmres}) {
    int first = 0, last = 100;
    for (const double tolerance : {1e-10, 1e-1, 30.0}) {
      const auto estimate = guided(p.eps, p.schedule, observation, MmpsGuidance{50, tolerance, solver});
      estimate(tensor(p.x), p.t);
      CHECK(estimate.report().solver_residual <= tolerance);
      CHECK(estimate.report().solver_iterations <= last);
      last = estimate.report().solver_iterations;
      if (first == 0) first = last;
    }
    CHECK(last < first);
    const auto once = guided(p.eps, p.schedule, observation, MmpsGuidance{1, 0, solver});
    once(tensor(p.x), p.t);
    CHECK(once.report().solver_iterations == 1);
  }
}

TEST_CASE("a warm start changes the number of iterations, not what they converge to, nor a new run") {
  Problem p;
  p.set_step(1);
  const auto observation = observe(SubsampleSpace{1, 0, 1}, V(at(tensor(p.y), 0, 0)), p.deviation);
  for (const Solver solver : {Solver::conjugate_gradients, Solver::gmres}) {
    const auto warm = guided(p.eps, p.schedule, observation, MmpsGuidance{100, 1e-11, solver, true});
    const Matrix first = matrix(warm(tensor(p.x), p.t));
    const int cold = warm.report().solver_iterations;
    CHECK(distance(first, p.exact()) < 1e-8);
    CHECK(distance(matrix(warm(tensor(p.x), p.t)), first) < 1e-12);
    CHECK(warm.report().solver_iterations == 0);
    CHECK(cold > 1);
    // Later in time than the call before: as if it were the first.
    p.t = 0.5;
    warm(tensor(p.x), 0.3);
    const Matrix again = matrix(warm(tensor(p.x), p.t));
    const auto fresh = guided(p.eps, p.schedule, observation, MmpsGuidance{100, 1e-11, solver, true});
    CHECK(again == matrix(fresh(tensor(p.x), p.t)));
    p.t = 0.4;
  }
}
