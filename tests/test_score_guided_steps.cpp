// Rules for whole steps against their formulas in dense matrices, and point estimates against the posterior's mean.
#include <kolmo/score/guided_steps.hpp>
#include <kolmo/score/plug_and_play.hpp>

#include "catch.hpp"
#include "score_gaussian_support.hpp"

using namespace kolmo_test;

namespace {

constexpr double before = 0.5, after = 0.45;

struct Step {
  Problem p;
  double mu = p.schedule.mu(after), sigma = p.schedule.sigma(after), rho = p.schedule.rho(after);
  Matrix eps, clean;
  Step() {
    p.t = before;
    eps = p.x * p.eps.e(before).transpose();
    clean = p.x * p.j().transpose();
  }
  /// mu xhat + sigma (sqrt(1 - tau) eps + sqrt(tau) noise)
  Matrix ancestral(Key key) const {
    const double ratio = p.mu() * sigma / (mu * p.sigma()), tau = 1 - ratio * ratio;
    return mu * clean + sigma * (std::sqrt(1 - tau) * eps + std::sqrt(tau) * noise(key));
  }
  static Matrix noise(Key key) { return matrix(nn::normal_values<V>(key, Shape{3, 12})); }
};

}  // namespace

TEST_CASE("DPS as published: an ancestral step, then down the gradient of the norm of the residual") {
  const Step s;
  const auto observation = observe(SubsampleSpace{2, 0, 1}, V(at(tensor(s.p.y), 0, 0)), 0.1);
  const DpsStep<GaussianEstimator, SubsampleSpace, V> rule{s.p.eps, s.p.schedule, observation, 0.3};
  Matrix residual = s.p.y.replicate(3, 1) - s.clean * s.p.a.transpose();
  for (Eigen::Index i = 0; i < 3; ++i) residual.row(i) *= 0.3 / residual.row(i).norm();
  const Matrix expected = s.ancestral(Key{5}) + residual * s.p.a * s.p.j();
  CHECK(distance(matrix(rule(tensor(s.p.x), before, after, Key{5})), expected) < 1e-10);
}

TEST_CASE("RePaint: observed entries are mu y + sigma noise after every step, the others an ancestral step") {
  const Step s;
  std::vector<double> mask(12, 0), value(12, 0);
  for (std::size_t i = 0; i < 12; i += 2) mask[i] = 1, value[i] = s.p.y(0, static_cast<Eigen::Index>(i / 2));
  RepaintStep<GaussianEstimator, V> rule{s.p.eps, s.p.schedule, V::from(mask), V::from(value)};
  const Matrix once = matrix(rule(tensor(s.p.x), before, after, Key{5}));
  const auto keys = kolmo::split<3>(fold_in(Key{5}, 0));
  const Matrix free = s.ancestral(keys[0]), noise = Step::noise(keys[1]);
  for (Eigen::Index c = 0; c < 12; ++c)
    for (Eigen::Index r = 0; r < 3; ++r)
      CHECK(once(r, c) == Approx(c % 2 == 0 ? s.mu * s.p.y(0, c / 2) + s.sigma * noise(r, c) : free(r, c)));
  rule.repetitions = 3;
  CHECK(distance(matrix(rule(tensor(s.p.x), before, after, Key{5})), once) > 1e-3);
  rule.repetitions = 0;
  CHECK_THROWS_AS(rule(tensor(s.p.x), before, after, Key{5}), ArgumentError);
}

TEST_CASE("DDRM: the three cases of a singular value, in the state's entries and in a rotated basis") {
  const Step s;
  const double deviation = 0.1;
  // Unobserved; too small to be seen above this noise level; seen.
  std::vector<double> d(12, 0), y(12, 0);
  for (std::size_t i = 0; i < 12; ++i) d[i] = i % 3 == 0 ? 0 : i % 3 == 1 ? 0.5 * deviation / s.rho : 2.0;
  for (std::size_t i = 0; i < 12; ++i) y[i] = 0.1 * static_cast<double>(i);
  const auto expected = [&](const Matrix& clean, const Matrix& eps, const Matrix& z) {
    Matrix result(3, 12);
    for (Eigen::Index c = 0; c < 12; ++c)
      for (Eigen::Index r = 0; r < 3; ++r) {
        const double x = clean(r, c), own = d[static_cast<std::size_t>(c)], seen = y[static_cast<std::size_t>(c)];
        const double keep = std::sqrt(1 - 0.85 * 0.85);
        double value = x + keep * s.rho * eps(r, c) + 0.85 * s.rho * z(r, c);
        if (c % 3 == 1) value = x + keep * s.rho * (seen - x) * own / deviation + 0.85 * s.rho * z(r, c);
        if (c % 3 == 2) value = seen + std::sqrt(s.rho * s.rho - std::pow(deviation / own, 2)) * z(r, c);
        result(r, c) = s.mu * value;
      }
    return result;
  };
  DdrmStep<GaussianEstimator, V> rule{s.p.eps, s.p.schedule, V::from(d), V::from(y), deviation};
  const Matrix z = Step::noise(Key{5});
  CHECK(distance(matrix(rule(tensor(s.p.x), before, after, Key{5})), expected(s.clean, s.eps, z)) < 1e-10);
  const Matrix basis = random(12, 12, 8).householderQr().householderQ();
  rule.basis = tensor(basis);
  CHECK(distance(matrix(rule(tensor(s.p.x), before, after, Key{5})),
                 expected(s.clean * basis, s.eps * basis, z) * basis.transpose()) < 1e-10);
  rule.eta = 2;
  CHECK_THROWS_AS(rule(tensor(s.p.x), before, after, Key{5}), ArgumentError);
}

TEST_CASE("a run of DDRM steps ends near the observations, in the sensor's noise") {
  const Step s;
  std::vector<double> d(12, 0), y(12, 0);
  for (std::size_t i = 0; i < 12; i += 2) d[i] = 1, y[i] = s.p.y(0, static_cast<Eigen::Index>(i / 2));
  const DdrmStep<GaussianEstimator, V> rule{s.p.eps, s.p.schedule, V::from(d), V::from(y), 0.1};
  int steps = 0;
  const Matrix x = matrix(sample_by_steps(rule, tensor(random(64, 12, 4)), 40, Key{6}, {},
                                          [&](const SamplerStep<V>& step) { steps = static_cast<int>(step.step); }));
  const Matrix residual = x * s.p.a.transpose() - s.p.y.replicate(64, 1);
  CHECK(steps == 40);
  CHECK(residual.norm() / std::sqrt(static_cast<double>(residual.size())) < 0.15);
}

TEST_CASE("plug-and-play ADMM with a Gaussian denoiser held at one noise level finds the posterior's mean") {
  Problem p;
  const Matrix gain = p.s * p.a.transpose() * (p.a * p.s * p.a.transpose() + 0.01 * p.unit()).inverse();
  AdmmOptions options;
  options.steps = 300;
  options.grid = {GridPolicy::uniform_time, 7, 0.3, 0.3 - 1e-9};
  options.solver.tolerance = 1e-10;
  const auto observation = observe(SubsampleSpace{2, 0, 1}, V(at(tensor(p.y), 0, 0)), 0.1);
  const Matrix x = matrix(plug_and_play_admm(p.eps, p.schedule, observation, V::zeros(Shape{2, 12}), options));
  CHECK(distance(x, (p.y * gain.transpose()).replicate(2, 1)) < 1e-3);
  options.lambda = 0;
  CHECK_THROWS_AS(plug_and_play_admm(p.eps, p.schedule, observation, V::zeros(Shape{2, 12}), options), ArgumentError);
}

TEST_CASE("RED-diff without its prior fits the observations, with it unobserved points follow their neighbours") {
  Problem p;
  const auto observation = observe(SubsampleSpace{2, 0, 1}, V(at(tensor(p.y), 0, 0)), 0.1);
  RedDiffOptions options;
  options.lambda = 0;
  const Matrix fitted = matrix(red_diff(p.eps, p.schedule, observation, V::zeros(Shape{2, 12}), Key{1}, options));
  CHECK((fitted * p.a.transpose() - p.y.replicate(2, 1)).cwiseAbs().maxCoeff() < 0.05);
  for (Eigen::Index c = 1; c < 12; c += 2) CHECK(fitted(0, c) == 0);
  const Matrix gain = p.s * p.a.transpose() * (p.a * p.s * p.a.transpose() + 0.01 * p.unit()).inverse();
  const Matrix mean = (p.y * gain.transpose()).replicate(2, 1);
  const Matrix x = matrix(red_diff(p.eps, p.schedule, observation, V::zeros(Shape{2, 12}), Key{1}));
  CHECK(distance(x, mean) < 0.5 * distance(fitted, mean));
}
