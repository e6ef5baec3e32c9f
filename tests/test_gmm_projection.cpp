// The moment projection of weights: the numbers of the specification, properties of the solution, and what it cannot
// do.

#include "catch.hpp"
#include "device.hpp"
#include "gmm_reference.hpp"

#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/metrics.hpp>
#include <kolmo/gmm/moment_projection.hpp>
#include <kolmo/gmm/preprocess.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

template <class V>
Mixture<V> published_fit() {
  using T = typename V::Scalar;
  const Shape shape{1, 5};
  const auto make = [&](std::initializer_list<double> x) { return V::from(std::vector<T>(x.begin(), x.end()), shape); };
  return {make({0.144739833, 0.201706699, 0.224923170, 0.230419401, 0.198210897}),
          make({0.295832185, 0.709986897, 1.021204487, 1.336625977, 1.756692509}),
          make({0.741529991, 0.696581359, 0.725170496, 0.702383379, 0.776710739})};
}

}  // namespace

TEMPLATE_TEST_CASE("the projection of the published fit", "[gmm][projection]", float, double) {
  using V = Tensor<TestType, Cpu>;
  const V f = reference_density<V>(), z = grid_of<V>();
  // Nine digits of the fit give fewer of the projection: A is badly conditioned.
  const double digits = std::is_same_v<TestType, double> ? 2e-6 : 2e-3;
  const auto hard = project_moments(published_fit<V>(), f, z);
  CHECK(hard.methods()[0] == ProjectionMethod::hard);
  CHECK(largest_difference(hard.mixture.weights, {0.146275542, 0.187010749, 0.251113749, 0.215840803, 0.199759157}) <
        digits);
  CHECK(hard.constraint_error.item() < TestType(1e-8));
  CHECK(hard.warning(0).empty());
  const auto soft =
      project_moments(published_fit<V>(), f, z, {.mode = ProjectionMode::soft, .penalty = 1e4, .standardise = false});
  CHECK(soft.methods()[0] == ProjectionMethod::soft);
  CHECK(largest_difference(soft.mixture.weights, {0.145200363, 0.196810022, 0.234623864, 0.224256804, 0.199108946}) <
        digits);
  CHECK(static_cast<double>(soft.constraint_error.item()) == Approx(0.000161521).margin(1e-6));
  CHECK(soft.warning(0) == "the moments are missed by more than 1e-4");
}

TEST_CASE("projected mixtures have the mean, variance, skewness and kurtosis of the density", "[gmm][projection]") {
  const auto set = make_v5<Double>(Key{21}, 60);
  const auto input = preprocess(set.densities, Grid{});
  EmOptions options;
  options.components = 8;
  const auto fit = fit_em(input.masses, input.points, options);
  const auto p = project_moments(fit.mixture, input.masses, input.points);
  const auto methods = p.methods();
  const auto errors = p.moment_errors.to_vector();
  const auto weights = p.mixture.weights.to_vector();
  int exact = 0;
  for (std::size_t b = 0; b < 60; ++b) {
    double total = 0.0;
    for (std::size_t k = 0; k < 8; ++k) {
      CHECK(weights[8 * b + k] >= 0.0);
      total += weights[8 * b + k];
    }
    CHECK(total == Approx(1.0).margin(1e-14));
    CHECK(methods[b] != ProjectionMethod::none);
    if (methods[b] != ProjectionMethod::hard) continue;
    ++exact;
    for (std::size_t n = 0; n < 5; ++n) CHECK(std::abs(errors[5 * b + n]) < 1e-7);
  }
  CHECK(exact > 40);
  // The reported errors are those of the mixture: from its own moments.
  const auto m = mean(p.mixture).to_vector(), v = variance(p.mixture).to_vector();
  const auto s = input.deviation.to_vector();
  for (std::size_t b = 0; b < 60; ++b) {
    CHECK(m[b] / s[b] == Approx(errors[5 * b + 1]).margin(1e-9));
    CHECK((v[b] + m[b] * m[b]) / (s[b] * s[b]) - 1.0 == Approx(errors[5 * b + 2]).margin(1e-9));
  }
}

TEST_CASE("with five components the projection is the solution of the linear system", "[gmm][projection]") {
  // Weights that have the moments exactly are found from any start, whatever the distance.
  const auto target = published_fit<Double>();
  std::vector<double> w, z;
  for (int i = 0; i <= 3000; ++i) {
    z.push_back(-9.0 + 0.0065 * i);
    w.push_back(0.0);
    for (std::size_t k = 0; k < 5; ++k)
      w.back() += target.weights.to_vector()[k] *
                  normal_density(z.back(), target.means.to_vector()[k], target.deviations.to_vector()[k]);
  }
  auto start = target;
  start.weights = Double::from({0.6, 0.1, 0.1, 0.1, 0.1}, Shape{1, 5});
  const auto p = project_moments(start, Double::from(w), Double::from(z));
  CHECK(p.methods()[0] == ProjectionMethod::hard);
  CHECK(largest_difference(p.mixture.weights, target.weights) < 1e-6);
}

TEST_CASE("the soft error falls as the penalty grows", "[gmm][projection]") {
  const Double f = reference_density<Double>(), z = grid_of<Double>();
  double last = INFINITY;
  for (double penalty : {1.0, 1e2, 1e3, 1e4, 1e5, 1e6, 1e8}) {
    const auto p = project_moments(published_fit<Double>(), f, z, {.mode = ProjectionMode::soft, .penalty = penalty});
    CHECK(p.methods()[0] == ProjectionMethod::soft);
    CHECK(p.constraint_error.item() < last);
    last = p.constraint_error.item();
  }
  const auto hard = project_moments(published_fit<Double>(), f, z);
  const auto strict = project_moments(published_fit<Double>(), f, z, {.mode = ProjectionMode::soft, .penalty = 1e12});
  CHECK(largest_difference(strict.mixture.weights, hard.mixture.weights) < 1e-5);
}

TEST_CASE("the solution satisfies the conditions of optimality", "[gmm][projection]") {
  // No feasible change of the weights comes closer: compared with many random ones within the null space of A.
  const auto set = make_v5<Double>(Key{5}, 20);
  const auto input = preprocess(set.densities, Grid{});
  EmOptions options;
  options.components = 10;
  const auto fit = fit_em(input.masses, input.points, options);
  const auto p =
      project_moments(fit.mixture, input.masses, input.points, {.mode = ProjectionMode::soft, .penalty = 1e3});
  const auto q = fit.mixture.weights.to_vector(), w = p.mixture.weights.to_vector();
  const auto mu = fit.mixture.means.to_vector(), sigma = fit.mixture.deviations.to_vector();
  const auto s = input.deviation.to_vector(), e = p.moment_errors.to_vector();
  for (std::size_t b = 0; b < 20; ++b) {
    // Gradient of the objective in weight k; equal where weights are positive, larger where they are zero.
    double multiplier = INFINITY, spread = 0.0;
    for (int pass = 0; pass < 2; ++pass)
      for (std::size_t k = 10 * b; k < 10 * b + 10; ++k) {
        const double u = mu[k] / s[b], v = std::pow(sigma[k] / s[b], 2);
        const double rows[5] = {1.0, u, u * u + v, u * (u * u + 3 * v), u * u * (u * u + 6 * v) + 3 * v * v};
        double g = w[k] - q[k];
        for (std::size_t n = 1; n < 5; ++n) g += 1e3 * e[5 * b + n] * rows[n];
        if (pass == 0 && w[k] > 0.0) multiplier = std::min(multiplier, g);
        if (pass == 1) spread = std::max(spread, w[k] > 0.0 ? g - multiplier : multiplier - g);
      }
    CHECK(spread < 1e-8);
  }
}

TEST_CASE("the projection does not depend on the units", "[gmm][projection]") {
  const Double f = reference_density<Double>(), z = grid_of<Double>();
  for (auto mode : {ProjectionMode::hard, ProjectionMode::soft}) {
    const auto here = project_moments(published_fit<Double>(), f, z, {.mode = mode});
    auto m = published_fit<Double>();
    m.means = 1e-3 * m.means + 70.0;
    m.deviations = 1e-3 * m.deviations;
    const auto there = project_moments(m, f, 1e-3 * z + 70.0, {.mode = mode});
    CHECK(largest_difference(here.mixture.weights, there.mixture.weights) < 1e-6);
    CHECK(here.method.item() == there.method.item());
  }
}

TEST_CASE("moments that no weights can have", "[gmm][projection]") {
  const Double f = reference_density<Double>(), z = grid_of<Double>();
  // All components to the right of the density: hard has no solution, soft does what it can.
  const auto right =
      Mixture<Double>{Double::full(Shape{1, 6}, 1.0 / 6.0), Double::from({5.0, 6.0, 7.0, 8.0, 9.0, 10.0}, Shape{1, 6}),
                      Double::full(Shape{1, 6}, 0.5)};
  const auto p = project_moments(right, f, z);
  CHECK(p.methods()[0] == ProjectionMethod::soft);
  CHECK(p.constraint_error.item() > 1.0);
  CHECK(p.mixture.weights.to_vector()[0] == Approx(1.0).margin(1e-6));
  // Fewer weights than moments: a warning, and the best there is.
  const auto three = Mixture<Double>{Double::from({0.3, 0.4, 0.3}, Shape{1, 3}),
                                     Double::from({0.4, 1.1, 1.8}, Shape{1, 3}), Double::full(Shape{1, 3}, 0.7)};
  const auto few = project_moments(three, f, z);
  CHECK(few.methods()[0] == ProjectionMethod::soft);
  CHECK_THAT(few.warning(0), contains("fewer components than moments"));
  // Twins make A singular; the projection is still the nearest point.
  auto twins = published_fit<Double>();
  twins.means = Double::from({0.295832185, 0.709986897, 1.021204487, 1.021204487, 1.756692509}, Shape{1, 5});
  twins.deviations = Double::from({0.741529991, 0.696581359, 0.725170496, 0.725170496, 0.776710739}, Shape{1, 5});
  const auto singular = project_moments(twins, f, z);
  CHECK(singular.methods()[0] == ProjectionMethod::soft);
  CHECK(all_finite(singular.mixture.weights));
}

TEST_CASE("where nothing can be projected the weights stay and the method is none", "[gmm][projection][device]") {
  const Double z = grid_of<Double>();
  auto masses = repeated(reference_density<Double>(), 4).to_vector();
  masses[5] = NAN;
  for (std::size_t i = 96; i < 192; ++i) masses[i] = 0.0;
  masses[2 * 96 + 40] = -1.0;
  const auto all = Double::from(masses, Shape{4, 96});
  const auto fit = published_fit<Double>();
  const Mixture<Double> m{repeated(fit.weights, 4), repeated(fit.means, 4), repeated(fit.deviations, 4)};
  const auto p = project_moments(m, all, z);
  for (std::size_t b = 0; b < 3; ++b) {
    CHECK(p.methods()[b] == ProjectionMethod::none);
    CHECK(same_bits(row_of(p.mixture.weights, static_cast<index_t>(b)), fit.weights.reshaped(Shape{5})));
    CHECK(p.warning(static_cast<index_t>(b)) == "the weights were not projected");
  }
  CHECK(p.methods()[3] == ProjectionMethod::hard);
  // A negative weight counts as none and comes out as none or more.
  auto negative = fit;
  negative.weights = Double::from({-0.1, 0.3, 0.3, 0.3, 0.2}, Shape{1, 5});
  for (double w : project_moments(negative, reference_density<Double>(), z).mixture.weights.to_vector())
    CHECK(w >= 0.0);

  CHECK_THROWS_AS(project_moments(fit, all, z), ShapeError);
  CHECK_THROWS_AS(project_moments(fit, reference_density<Double>(), z, {.penalty = 0.0}), ArgumentError);
  const Double many = Double::full(Shape{1, 33}, 1.0);
  CHECK_THROWS_AS(project_moments(Mixture<Double>{many, many, many}, reference_density<Double>(), z), ArgumentError);
  using F = Tensor<double, TestDevice>;
  const auto device = project_moments(
      Mixture<F>{fit.weights.to<TestDevice>(), fit.means.to<TestDevice>(), fit.deviations.to<TestDevice>()},
      reference_density<Double>().to<TestDevice>(), z.to<TestDevice>());
  CHECK(as_on_host(device.mixture.weights.to_vector(),
                   project_moments(fit, reference_density<Double>(), z).mixture.weights.to_vector(), 1e3));
}
