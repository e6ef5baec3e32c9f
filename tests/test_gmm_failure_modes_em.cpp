#include "catch.hpp"
#include "gmm_reference.hpp"

#include <cfenv>

#include <kolmo/gmm/em_fit.hpp>
#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

FitOptions with_measures() {
  FitOptions options;
  options.measures = true;
  return options;
}

EmOptions from(EmStartKind kind, int components = 5) {
  EmOptions options;
  options.start = kind;
  options.components = components;
  return options;
}

bool warned(const FitReport<Double>& report, std::size_t row, Warning warning) {
  return (report.warnings.to_vector()[row] & static_cast<std::int32_t>(warning)) != 0;
}

/// A mixture whose first row is broken, as a fitter with damaged weights returns it.
Mixture<Double> broken_mixture(index_t batch) {
  std::vector<double> means(static_cast<std::size_t>(5 * batch), 0.0);
  for (std::size_t i = 0; i < means.size(); ++i) means[i] = static_cast<double>(i % 5) - 1.0;
  means[2] = no_number;
  const Shape shape{batch, 5};
  return {Double::full(shape, 0.2), Double::from(means, shape), Double::full(shape, 0.7)};
}

WinnerParts<Double> reference_winners() {
  return winner_parts<Double>(Tensor<double, Cpu>::from({0.0, 1.0, 1.0, 0.8, 0.5}, Shape{1, 5}), Grid{});
}

/// Fits of the same rows that must be one and the same.
void check_same(const FitReport<Double>& a, const FitReport<Double>& b) {
  CHECK(same_bits(a.mixture, b.mixture));
  CHECK(a.iterations.to_vector() == b.iterations.to_vector());
  CHECK(a.status.to_vector() == b.status.to_vector());
}

}  // namespace

TEMPLATE_TEST_CASE("G-11: nothing subnormal arises, however narrow the components", "[gmm][em]", float, double) {
  using V = Tensor<TestType, Cpu>;
  // Inputs may be subnormal themselves; those are not the iteration's.
  auto values = make_v5<V>(Key{12}, 40).densities.to_vector();
  for (TestType& f : values) f = f < TestType(1e-25) ? TestType(0) : f;
  const V densities = V::from(values, Shape{40, 96});
  // Components at the floor, far apart and far from the mass: their densities underflow nearly everywhere.
  std::vector<TestType> weights, means, deviations;
  for (int b = 0; b < 40; ++b)
    for (int k = 0; k < 5; ++k) {
      weights.push_back(k == 2 ? TestType(1) : TestType(1e-9));
      means.push_back(TestType(7 * (k - 2)));
      deviations.push_back(TestType(1e-6));
    }
  const Shape shape{40, 5};
  const Mixture<V> narrow{V::from(weights, shape), V::from(means, shape), V::from(deviations, shape)};
  const V points = grid_of<V>();
  const int before = threads::count();
  threads::set_count(1);
  for (Acceleration acceleration : {Acceleration::none, Acceleration::anderson}) {
    EmOptions options;
    options.acceleration = acceleration;
    std::feclearexcept(FE_ALL_EXCEPT);
    const auto a = fit_em(densities, points, narrow, options);
    const auto b = fit_em(densities, points, options);
    CHECK(std::fetestexcept(FE_UNDERFLOW) == 0);
    CHECK(all_finite(a.log_likelihood));
    CHECK(all_finite(b.log_likelihood));
  }
  threads::set_count(before);
}

TEST_CASE("G-15: no fit hides mass between the points, whatever the start and the acceleration", "[gmm][em]") {
  const auto v5 = make_v5<Double>(Key{5}, 250);
  const auto foreign = make_foreign<Double>(Key{6}, 70);
  for (const auto* set : {&v5, &foreign})
    for (Acceleration acceleration : {Acceleration::none, Acceleration::anderson})
      for (EmStartKind kind : {EmStartKind::quantile, EmStartKind::qmi, EmStartKind::kmeans}) {
        EmOptions em = from(kind);
        em.acceleration = acceleration;
        INFO(name_of(kind) << " " << name_of(acceleration));
        const auto report = gmm::fit(em, set->densities, set->grid, with_measures(), set->offsets);
        for (double area : report.measures->area.to_vector()) REQUIRE(std::abs(area - 1.0) < 0.02);
        for (double narrowest : report.measures->narrowest.to_vector()) REQUIRE(narrowest >= 0.5 * (1.0 - 1e-9));
        for (double error : report.measures->density_error.to_vector()) REQUIRE(error < 0.3);
      }
}

TEST_CASE("G-16: after a failed network start the fit is that of the fallback, and says so", "[gmm][em]") {
  const auto set = make_v5<Double>(Key{13}, 6);
  EmOptions em = from(EmStartKind::mdn);
  em.key = Key{5};
  const EmGiven<Double> given{broken_mixture(6)};
  const auto report = gmm::fit(em, set.densities, set.grid, given);
  CHECK(warned(report, 0, Warning::fallback_start));
  CHECK(describe_warnings(report.warnings.to_vector()[0]) == "another start than asked for");
  for (std::size_t b = 1; b < 6; ++b) CHECK_FALSE(warned(report, b, Warning::fallback_start));
  // The first row is bit for bit that of k-means++, the others are those of the given mixture.
  const auto kmeans = gmm::fit(
      [&] {
        EmOptions o = em;
        o.start = EmStartKind::kmeans;
        return o;
      }(),
      set.densities, set.grid);
  CHECK(row_of(report.mixture.means, 0).to_vector() == row_of(kmeans.mixture.means, 0).to_vector());
  CHECK(row_of(report.mixture.weights, 0).to_vector() == row_of(kmeans.mixture.weights, 0).to_vector());
  CHECK(report.iterations.to_vector()[0] == kmeans.iterations.to_vector()[0]);
  // And it is a fit of the density, not of a uniform one.
  const auto input = preprocess(set.densities, set.grid);
  CHECK(mean(report.mixture).to_vector()[0] == Approx(input.mean.to_vector()[0]).margin(1e-9));
}

TEST_CASE("G-16: the chain goes on to the parts of a maximum, and then to quantiles", "[gmm][em]") {
  // Two points with mass are too few for k-means++ with five components.
  std::vector<double> two(96, 0.0);
  two[50] = 2.0;
  two[55] = 1.0;
  const Double densities = Double::from(two, Shape{1, 96});
  const EmGiven<Double> with_winners{broken_mixture(1), reference_winners()}, without{broken_mixture(1)};
  const auto used = [&](EmStartKind kind, const EmGiven<Double>& given) {
    return fit_em(densities, grid_of<Double>(), given, from(kind)).starts()[0];
  };
  CHECK(used(EmStartKind::mdn, with_winners) == EmStartKind::wqmi);
  CHECK(used(EmStartKind::mdn, without) == EmStartKind::quantile);
  CHECK(used(EmStartKind::kmeans, without) == EmStartKind::quantile);
  CHECK(used(EmStartKind::lamf, with_winners) == EmStartKind::quantile);
  EmGiven<Double> bad_winners = with_winners;
  bad_winners.winners->x = Double::full(Shape{1, 96}, no_number);
  CHECK(used(EmStartKind::wqmi, bad_winners) == EmStartKind::quantile);
  CHECK(used(EmStartKind::mdn, bad_winners) == EmStartKind::quantile);
  bad_winners.winners = WinnerParts<Double>{Double::zeros(Shape{1, 96}), Double::zeros(Shape{1, 96})};
  CHECK(used(EmStartKind::wqmi, bad_winners) == EmStartKind::quantile);
  const auto report = gmm::fit(from(EmStartKind::mdn), densities, Grid{}, without);
  CHECK(is_valid(report.statuses()[0]));
  CHECK(warned(report, 0, Warning::fallback_start));
  check_same(report, gmm::fit(from(EmStartKind::quantile), densities, Grid{}));
}

TEST_CASE("G-17: a learned fitter that fails leaves a good fit with a warning", "[gmm][em]") {
  const auto set = make_v5<Double>(Key{14}, 4);
  const Mixture<Double> nothing{Double::full(Shape{4, 5}, no_number), Double::full(Shape{4, 5}, no_number),
                                Double::full(Shape{4, 5}, no_number)};
  const auto report =
      gmm::fit(from(EmStartKind::lamf), set.densities, set.grid, EmGiven<Double>{nothing}, with_measures());
  for (std::size_t b = 0; b < 4; ++b) {
    CHECK(is_valid(report.statuses()[b]));
    CHECK(warned(report, b, Warning::fallback_start));
    CHECK(report.measures->density_error.to_vector()[b] < 0.05);
  }
  check_same(report, gmm::fit(EmOptions{}, set.densities, set.grid));
}

TEST_CASE("G-18: starts that would repeat themselves run once", "[gmm][em]") {
  const auto set = make_v5<Double>(Key{15}, 8);
  const EmGiven<Double> given{gmm::fit(from(EmStartKind::random), set.densities, set.grid).mixture,
                              winner_parts<Double>(set.parameters, set.grid)};
  const auto check_once = [&](EmOptions em) {
    INFO(name_of(em.start));
    const auto one = gmm::fit(em, set.densities, set.grid, given);
    em.starts = 5;
    check_same(one, gmm::fit(em, set.densities, set.grid, given));
  };
  check_once(from(EmStartKind::mdn));
  check_once(from(EmStartKind::lamf));
  for (EmStartKind kind : {EmStartKind::quantile, EmStartKind::qmi, EmStartKind::wqmi, EmStartKind::custom}) {
    EmOptions em = from(kind);
    em.noise = em.given_noise = em.variance_noise = em.density_noise = 0.0;
    check_once(em);
    const auto quiet = gmm::fit(em, set.densities, set.grid, given);
    em = from(kind);
    em.starts = 5;
    CHECK_FALSE(same_bits(quiet.mixture, gmm::fit(em, set.densities, set.grid, given).mixture));
  }
}

TEST_CASE("G-19: k-means++ works in coordinates, inside the support, and by its key alone", "[gmm][em]") {
  // A grid whose spacing grows tenfold: clusters of equal counts of points would lie elsewhere.
  std::vector<double> points, f;
  for (int i = 0; i < 60; ++i) points.push_back(0.1 * i + 0.009 * i * i);
  for (double z : points) f.push_back(z > 3.0 && z < 30.0 ? 1.0 : 0.0);
  std::vector<double> masses;
  for (index_t i = 0; i < 60; ++i)
    masses.push_back(f[static_cast<std::size_t>(i)] * trapezoid_weight(std::as_const(points).data(), index_t(60), i));
  EmOptions em = from(EmStartKind::kmeans, 3);
  em.max_iterations = 0;
  std::vector<double> first;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    em.key = Key{seed};
    const auto fit = fit_em(Double::from(masses), Double::from(points), em);
    const auto m = fit.mixture.means.to_vector();
    for (double x : m) CHECK((x > 3.0 && x < 30.0));
    CHECK(same_bits(fit.mixture, fit_em(Double::from(masses), Double::from(points), em).mixture));
    // A uniform density on [3, 30] has its three centres at 7.5, 16.5 and 25.5.
    CHECK(largest_difference(fit.mixture.means, {7.5, 16.5, 25.5}) < 2.0);
    first.push_back(m[0]);
  }
  // The same in other units, to rounding.
  std::vector<double> scaled;
  for (double z : points) scaled.push_back(1e-6 * z);
  const auto a = fit_em(Double::from(masses), Double::from(points), em);
  const auto b = fit_em(Double::from(masses), Double::from(scaled), em);
  for (std::size_t k = 0; k < 3; ++k)
    CHECK(b.mixture.means.to_vector()[k] == Approx(1e-6 * a.mixture.means.to_vector()[k]).epsilon(1e-9));
}

TEST_CASE("G-20: the second parameter of the data is a variance unless deviations are asked for", "[gmm][em]") {
  // E[Z^2] of the parts against a Monte Carlo sample of max(X, Y) with X ~ N(0, 0.25), Y ~ N(0.5, 4), rho = 0.3.
  const auto parameters = Tensor<double, Cpu>::from({0.0, 0.25, 0.5, 4.0, 0.3}, Shape{1, 5});
  double sampled_x = 0.0, sampled_second = 0.0;
  const int count = 200000;
  for (int i = 0; i < count; ++i) {
    const auto n = static_cast<std::uint64_t>(2 * i);
    const double u = normal<double>(Key{1}, n), v = normal<double>(Key{1}, n + 1);
    const double x = 0.5 * u, y = 0.5 + 2.0 * (0.3 * u + std::sqrt(1.0 - 0.09) * v);
    sampled_x += x > y ? 1.0 : 0.0;
    sampled_second += std::max(x, y) * std::max(x, y);
  }
  const auto moments = [&](const WinnerParts<Double>& parts) {
    double mass = 0.0, second = 0.0;
    for (index_t i = 0; i < 96; ++i) {
      const double z = Grid{}[i];
      const double x = parts.x.to_vector()[static_cast<std::size_t>(i)];
      mass += x * Grid{}.spacing();
      second += (x + parts.y.to_vector()[static_cast<std::size_t>(i)]) * z * z * Grid{}.spacing();
    }
    return std::pair(mass, second);
  };
  const auto [mass, second] = moments(winner_parts<Double>(parameters, Grid{}));
  CHECK(mass == Approx(sampled_x / count).margin(0.01));
  CHECK(second == Approx(sampled_second / count).epsilon(0.02));
  // Read as deviations the answer is another one.
  const auto [other_mass, other_second] = moments(winner_parts<Double>(parameters, Grid{}, Double{}, true));
  CHECK(std::abs(other_second - sampled_second / count) > 1.0);
  CHECK(std::abs(other_mass - mass) > 0.01);
}

TEST_CASE("G-24: negative values are clipped before anything is normalised", "[gmm][em]") {
  std::vector<double> f = reference_density<Double>().to_vector();
  const auto clean = gmm::fit(EmOptions{}, Double::from(f, Shape{1, 96}), Grid{});
  // Rounding of a convolution: tiny negative values beside the mass.
  for (std::size_t i : {5u, 20u, 80u}) f[i] = -1e-9;
  const Double dirty = Double::from(f, Shape{1, 96});
  const auto input = preprocess(dirty, Grid{});
  double total = 0.0;
  for (double w : input.masses.to_vector()) {
    CHECK(w >= 0.0);
    total += w;
  }
  CHECK(total == Approx(1.0).epsilon(1e-12));
  const auto report = gmm::fit(EmOptions{}, dirty, Grid{});
  CHECK(report.statuses()[0] == clean.statuses()[0]);
  CHECK(largest_difference(report.mixture.means, clean.mixture.means) < 1e-4);
  // More than rounding is an error, unless it is allowed.
  f[20] = -0.01;
  CHECK(gmm::fit(EmOptions{}, Double::from(f, Shape{1, 96}), Grid{}).statuses()[0] == Status::negative_mass);
  FitOptions tolerant;
  tolerant.negative_tolerance = 0.1;
  CHECK(is_valid(gmm::fit(EmOptions{}, Double::from(f, Shape{1, 96}), Grid{}, tolerant).statuses()[0]));
}

TEST_CASE("G-25: a custom start that is NaN is a status of its row", "[gmm][em]") {
  const auto set = make_v5<Double>(Key{16}, 3);
  for (int starts : {1, 4}) {
    EmOptions em = from(EmStartKind::custom);
    em.starts = starts;
    const auto report = gmm::fit(em, set.densities, set.grid, EmGiven<Double>{broken_mixture(3)}, with_measures());
    CHECK(report.statuses()[0] == Status::non_finite);
    CHECK(is_valid(report.statuses()[1]));
    CHECK(is_valid(report.statuses()[2]));
    CHECK(row_of(report.mixture.means, 0).to_vector()[0] != row_of(report.mixture.means, 0).to_vector()[0]);
    CHECK(all_finite(row_of(report.mixture.means, 1)));
  }
}
