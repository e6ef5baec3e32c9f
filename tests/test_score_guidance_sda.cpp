// The Gaussian score of SDA, its scalings with the number of observations, DPS, the report and the stability number.
#include <kolmo/score/guidance/dps.hpp>
#include <kolmo/score/guidance/sda.hpp>
#include <kolmo/score/observations/sensors.hpp>

#include "catch.hpp"
#include "score_gaussian_support.hpp"

using namespace kolmo_test;

TEST_CASE("DPS: the gradient of the norm of the residual, twice, sample by sample") {
  Problem p;
  const Matrix clean = p.x * p.j().transpose();
  Matrix residual = p.y.replicate(3, 1) - clean * p.a.transpose();
  for (Eigen::Index i = 0; i < residual.rows(); ++i) residual.row(i) *= 2 * 0.7 / residual.row(i).norm();
  const Matrix expected = p.x * p.eps.e(p.t).transpose() - p.sigma() * residual * (p.a * p.j());
  CHECK(distance(p.posterior(DpsGuidance{0.7}), expected) < 1e-10);
  // R6: SDA with gamma = 0 is DPS but for its normalisation.
  const Matrix prior = p.x * p.eps.e(p.t).transpose();
  const Matrix sda = p.posterior(SdaGuidance<>{0}) - prior, dps = p.posterior(DpsGuidance{1}) - prior;
  for (Eigen::Index i = 0; i < 3; ++i)
    CHECK(std::abs(sda.row(i).dot(dps.row(i))) == Approx(sda.row(i).norm() * dps.row(i).norm()));
}

TEST_CASE("DPS stands still where the residual is zero") {
  Problem p;
  p.x.setZero();
  p.y.setZero();
  CHECK(p.posterior(DpsGuidance{1}).norm() == 0);
}

TEST_CASE("R2-R4: the scalings of the likelihood with the number of observations") {
  Problem p;
  const Matrix jt = p.j().transpose();
  const double s2 = p.deviation * p.deviation, rho2 = p.rho() * p.rho(), gamma = 1e-2;
  for (const double reference : {1.0, 2.0, 24.0}) {
    const double n = static_cast<double>(p.a.rows()), q = n / reference;
    const auto expect = [&](Scaling scaling, double var) {
      ScaledGuidance method{scaling, reference, gamma};
      CHECK(distance(p.posterior(method), p.affine(p.unit() / var, jt)) < 1e-10);
    };
    expect(Scaling::likelihood_weighting, q * s2 + gamma * rho2);
    expect(Scaling::dual, q * (s2 + gamma * rho2));
    expect(Scaling::linear, q * q * (s2 + gamma * rho2));
    expect(Scaling::clamped_linear,
           std::pow(std::max(p.deviation * q, 0.15), 2) + std::max(gamma * q * q, 0.02) * rho2);
    expect(Scaling::gamma_only, s2 + gamma * q * rho2);
    expect(Scaling::mean_reduction, n * (s2 + gamma * rho2));
  }
}

TEST_CASE("adaptive guidance: the likelihood's term is xi times as long as the prior's") {
  Problem p;
  const Matrix prior = p.x * p.eps.e(p.t).transpose();
  const Matrix moved = p.posterior(AdaptiveGuidance{0.5}) - prior;
  for (Eigen::Index i = 0; i < 3; ++i) CHECK(moved.row(i).norm() == Approx(0.5 * prior.row(i).norm()));
  const Matrix direction = p.posterior(SdaGuidance<>{0}) - prior;
  for (Eigen::Index i = 0; i < 3; ++i)
    CHECK(moved.row(i).dot(direction.row(i)) == Approx(moved.row(i).norm() * direction.row(i).norm()));
}

TEST_CASE("nonlinear sensors: SDA is the gradient of the likelihood, by central differences") {
  Problem p;
  const auto sensor = compose(SubsampleSpace{2, 0, 1}, Saturation{});
  const auto estimate =
      guided(p.eps, p.schedule, observe(sensor, V(at(tensor(p.y), 0, 0)), p.deviation), SdaGuidance<>{1e-2});
  const double var = p.deviation * p.deviation + 1e-2 * p.rho() * p.rho();
  const auto log_likelihood = [&](const Matrix& x) {
    const Matrix clean = x * p.j().transpose() * p.a.transpose();
    const Matrix residual = p.y.replicate(3, 1) - clean.cwiseQuotient((1 + clean.array().abs()).matrix());
    return -residual.squaredNorm() / (2 * var);
  };
  const Matrix term = matrix(estimate(tensor(p.x), p.t)) - p.x * p.eps.e(p.t).transpose();
  const Matrix direction = random(3, p.d, 7);
  const double h = 1e-5;
  const double slope = (log_likelihood(p.x + h * direction) - log_likelihood(p.x - h * direction)) / (2 * h);
  CHECK(-p.sigma() * slope == Approx(term.cwiseProduct(direction).sum()).epsilon(1e-6));
}

TEST_CASE("the report: norms, chi^2 and effective noise of the call") {
  Problem p;
  const auto estimate =
      guided(p.eps, p.schedule, observe(SubsampleSpace{2, 0, 1}, V(at(tensor(p.y), 0, 0)), 0.1), SdaGuidance<>{1e-2});
  const Matrix posterior = matrix(estimate(tensor(p.x), p.t)), prior = p.x * p.eps.e(p.t).transpose();
  const Matrix residual = p.y.replicate(3, 1) - p.x * p.j().transpose() * p.a.transpose();
  const GuidanceReport& report = estimate.report();
  CHECK(report.time == p.t);
  CHECK(report.prior_norm == Approx(prior.norm() / std::sqrt(3.0)));
  CHECK(report.likelihood_norm == Approx((posterior - prior).norm() / std::sqrt(3.0)));
  CHECK(report.ratio() == Approx((posterior - prior).norm() / prior.norm()));
  CHECK(report.effective_noise == Approx(residual.norm() / std::sqrt(18.0)));
  CHECK(report.chi_squared == Approx(residual.squaredNorm() / 18 / 0.01));
}

TEST_CASE("section 6.3: the stability number is |c| sigma lambda / (var (1 + r + c E)), and capping makes it one") {
  Problem p;
  const double next = p.t - 1.0 / 64;
  const double r = p.schedule.mu(next) / p.mu(), c = p.schedule.sigma(next) - r * p.sigma();
  const double var = 0.01 + 1e-2 * p.rho() * p.rho();
  // The eigenvector of A J J^T A^T and the direction of the state that it moves.
  const Matrix map = p.a * p.j();
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(map * map.transpose());
  const double lambda = solver.eigenvalues().maxCoeff();
  const Eigen::VectorXd moved = map.transpose() * solver.eigenvectors().rightCols(1);
  const double e = moved.dot(p.eps.e(p.t) * moved) / moved.squaredNorm();
  const double number = std::abs(c) * p.sigma() * lambda / var / (1 + r + c * e);
  const auto observation = observe(SubsampleSpace{2, 0, 1}, V(at(tensor(p.y), 0, 0)), 0.1);
  const auto reporting = guided(p.eps, p.schedule, observation, SdaGuidance<>{1e-2}, {StabilityPolicy::report, 40});
  reporting(tensor(p.x), p.t);
  CHECK(reporting.report().stability == 0);  // no step was announced
  reporting.begin_step(p.t, next);
  const Matrix plain = matrix(reporting(tensor(p.x), p.t));
  CHECK(reporting.report().stability == Approx(number).epsilon(1e-6));
  CHECK(plain == p.posterior(SdaGuidance<>{1e-2}));

  const double small = 1e-3 * var;
  const auto sharp = observe(SubsampleSpace{2, 0, 1}, V(at(tensor(p.y), 0, 0)), std::sqrt(small));
  const auto capped = guided(p.eps, p.schedule, sharp, SdaGuidance<>{0}, {StabilityPolicy::cap_variance, 40});
  capped.begin_step(p.t, next);
  const Matrix stable = matrix(capped(tensor(p.x), p.t));
  const double factor = number * var / small;
  REQUIRE(factor > 1);
  CHECK(capped.report().variance_factor == Approx(factor).epsilon(1e-6));
  CHECK(distance(stable, p.affine(p.unit() / (small * factor), p.j().transpose())) < 1e-6);
  const auto divided = guided(p.eps, p.schedule, sharp, SdaGuidance<>{0}, {StabilityPolicy::substep, 40});
  divided.begin_step(p.t, next);
  divided(tensor(p.x), p.t);
  CHECK(divided.report().substeps == static_cast<int>(std::ceil(factor)));
}
