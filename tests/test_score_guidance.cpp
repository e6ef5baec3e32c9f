// Every guidance method is affine on a Gaussian prior, eps = M x + B y; parameters that make no sense are refused.
#include <kolmo/ops/join.hpp>
#include <kolmo/score/guidance/dps.hpp>
#include <kolmo/score/guidance/jfps.hpp>
#include <kolmo/score/guidance/mmps.hpp>
#include <kolmo/score/guidance/pigdm.hpp>
#include <kolmo/score/guidance/sda.hpp>

#include "catch.hpp"
#include "score_gaussian_support.hpp"

using namespace kolmo_test;

TEST_CASE("R9: for a white prior PiGDM, TMPD and JFPS equal the exact posterior") {
  Problem p;
  p.s = p.identity();
  p.eps.s = p.s;
  for (const double t : {0.05, 0.4, 0.95}) {
    p.t = t;
    CHECK(distance(p.posterior(PigdmGuidance{}), p.exact()) < 1e-10);
    CHECK(distance(p.posterior(PigdmGuidance{1, true}), p.exact()) < 1e-10);
    CHECK(distance(p.posterior(TmpdGuidance{}), p.exact()) < 1e-10);
    CHECK(distance(p.posterior(JfpsGuidance{WhiteCovariance{1}, 100, 1e-12}), p.exact()) < 1e-10);
  }
}

TEST_CASE("section 6.5: every method is the affine map M x + B y") {
  Problem p;
  for (const double t : {0.1, 0.5, 0.9}) {
    p.t = t;
    const double s2 = p.deviation * p.deviation, rho2 = p.rho() * p.rho();
    const Matrix jt = p.j().transpose(), c = p.sigma() * p.sigma() / p.mu() * p.j();
    const Matrix flat = p.unit() / (s2 + 1e-2 * rho2);
    CHECK(distance(p.posterior(SdaGuidance<>{1e-2}), p.affine(flat, jt)) < 1e-10);
    CHECK(distance(p.posterior(SdaGuidance<V>{V::full(Shape{6}, 1e-2)}), p.affine(flat, jt)) < 1e-10);
    // R5
    CHECK(distance(p.posterior(SdaGuidance<>{1e-2, true}), p.affine(flat, p.identity() / p.mu())) < 1e-10);
    const double r2 = rho2 / (1 + rho2);
    CHECK(distance(p.posterior(PigdmGuidance{}), p.affine(p.unit() / (s2 + r2), jt)) < 1e-10);
    const Eigen::VectorXd rows = p.a * c * p.a.transpose() * Eigen::VectorXd::Ones(p.a.rows());
    CHECK(distance(p.posterior(TmpdGuidance{}), p.affine((rows.array() + s2).inverse().matrix().asDiagonal(), jt)) <
          1e-10);
    // Proximal: x' = xhat + (A^T A / s^2 + lambda / rho^2)^-1 A^T (y - A xhat) / s^2, eps' = (x - mu x') / sigma.
    const Matrix gain = (p.a.transpose() * p.a / s2 + 3 / rho2 * p.identity()).inverse() * p.a.transpose() / s2;
    const Matrix clean = p.x * p.j().transpose();
    const Matrix moved = clean + (p.y.replicate(3, 1) - clean * p.a.transpose()) * gain.transpose();
    CHECK(distance(p.posterior(ProximalGuidance{3, 200, 1e-13}), (p.x - p.mu() * moved) / p.sigma()) < 1e-9);
    // Projection: observed entries are replaced.
    Matrix replaced = clean;
    for (Eigen::Index i = 0; i < p.a.rows(); ++i) replaced.col(i * p.step).setConstant(p.y(0, i));
    CHECK(distance(p.posterior(ProjectionGuidance{}), (p.x - p.mu() * replaced) / p.sigma()) < 1e-9);
  }
}

TEST_CASE("parameters that make no sense are refused with the value given") {
  Problem p;
  CHECK_THROWS_WITH(p.posterior(SdaGuidance<>{-1}), kolmo_test::contains("gamma"));
  CHECK_THROWS_AS(p.posterior(SdaGuidance<>{std::numeric_limits<double>::quiet_NaN()}), ArgumentError);
  CHECK_THROWS_AS(p.posterior(SdaGuidance<V>{V::from({1, -1, 1, 1, 1, 1}, Shape{6})}), ArgumentError);
  CHECK_THROWS_WITH(p.posterior(MmpsGuidance{0, 0}), kolmo_test::contains("iterations must be at least 1, given 0"));
  CHECK_THROWS_AS(p.posterior(MmpsGuidance{1, -1}), ArgumentError);
  CHECK_THROWS_WITH((p.posterior(ScaledGuidance{Scaling::dual, 0})), kolmo_test::contains("reference_count"));
  CHECK_THROWS_AS(p.posterior(DpsGuidance{-1}), ArgumentError);
  CHECK_THROWS_AS(p.posterior(AdaptiveGuidance{-1}), ArgumentError);
  CHECK_THROWS_AS(p.posterior(PigdmGuidance{0}), ArgumentError);
  CHECK_THROWS_AS(p.posterior(ProximalGuidance{0}), ArgumentError);
  CHECK_THROWS_AS(p.posterior(JfpsGuidance{WhiteCovariance{}, 0}), ArgumentError);
  CHECK_THROWS_AS(DenseCovariance<V>(V::zeros(Shape{2, 3})), ShapeError);
  CHECK_THROWS_AS(SpectralCovariance<V>(V::from({1, -1}, Shape{2}), 1), ArgumentError);
  p.deviation = 0;
  CHECK_THROWS_WITH(p.posterior(SdaGuidance<>{}), kolmo_test::contains("deviation"));
  p.deviation = 0.1;
  p.y = random(1, 5, 1);
  CHECK_THROWS_WITH(p.posterior(SdaGuidance<>{}), kolmo_test::contains("[5]"));
}

TEST_CASE("a clipped solution believes no negative variance, and is the exact one where all are positive") {
  using W = Tensor<double, Cpu>;
  // Two samples of three unknowns; the second has a direction of variance -9.
  const W variances = W::from({4.0, 0.5, 2.0, 4.0, -9.0, 2.0}, {2, 3}),
          b = W::from({1.0, 2.0, 3.0, 1.0, 2.0, 3.0}, {2, 3});
  const auto product = [&](const W& u) { return u * variances; };
  const auto result = score::clipped_lanczos(product, b, {.iterations = 3});
  const std::vector<double> u = result.solution.to_vector();
  const double expected[] = {1.0 / 5, 2 / 1.5, 1.0, 1.0 / 5, 0.0, 1.0};
  for (std::size_t i = 0; i < 6; ++i) CHECK(u[i] == Approx(expected[i]).margin(1e-12));
  CHECK_THROWS_AS(score::clipped_lanczos(product, b, {.iterations = 0}), ArgumentError);
}

TEST_CASE("the limit shortens what is longer than noise can be, and only that") {
  using W = Tensor<double, Cpu>;
  const index_t d = 100;
  const W noise = W::full({2, d}, 0.5);
  // The first sample's estimate has mean square 0.25, the second's 4.
  const W likelihood = concat(0, W::full({1, d}, 1.0), W::full({1, d}, -1.5));
  const auto factors = kolmo::detail::likelihood_factors(noise, likelihood);
  CHECK(factors[0] == 1.0);
  const W limited = noise - likelihood * score::per_sample<W>(factors, 2);
  CHECK(std::sqrt(sum(square(limited), {1}).to_vector()[1] / static_cast<double>(d)) == Approx(1.3));
}
