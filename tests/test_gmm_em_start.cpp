#include "catch.hpp"
#include "device.hpp"
#include "gmm_reference.hpp"

#include <set>

#include <kolmo/gmm/em_fit.hpp>
#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

/// The start itself: no iteration is made.
EmOptions only_start(EmStartKind kind, int components = 5) {
  EmOptions options;
  options.start = kind;
  options.components = components;
  options.max_iterations = 0;
  return options;
}

WinnerParts<Double> reference_winners() {
  return winner_parts<Double>(Tensor<double, Cpu>::from({0.0, 1.0, 1.0, 0.8, 0.5}, Shape{1, 5}), Grid{});
}

/// Two narrow peaks with the masses 3/4 and 1/4.
Double two_peaks() {
  return sampled<Double>(
      [](double z) { return 0.75 * normal_density(z, -5.0, 0.5) + 0.25 * normal_density(z, 6.0, 0.8); });
}

constexpr EmStartKind all_kinds[] = {EmStartKind::quantile, EmStartKind::random, EmStartKind::qmi, EmStartKind::wqmi,
                                     EmStartKind::kmeans,   EmStartKind::custom, EmStartKind::mdn, EmStartKind::lamf};

}  // namespace

TEST_CASE("every start has a name, and the name gives it back", "[gmm][em]") {
  std::set<std::string> names;
  for (EmStartKind kind : all_kinds) {
    names.insert(name_of(kind));
    CHECK(em_start_of_name(name_of(kind)) == kind);
  }
  CHECK(names.size() == em_start_kinds);
  CHECK(acceleration_of_name("none") == Acceleration::none);
  CHECK(acceleration_of_name(name_of(Acceleration::anderson)) == Acceleration::anderson);
  CHECK_THROWS_WITH(em_start_of_name("quantiles"),
                    Catch::Contains("quantile, random, qmi, wqmi, kmeans") && Catch::Contains("\"quantiles\""));
  CHECK_THROWS_AS(acceleration_of_name(""), ArgumentError);
}

TEMPLATE_TEST_CASE("qmi gives the masses and moments between quantiles", "[gmm][em]", float, double) {
  using V = Tensor<TestType, Cpu>;
  const double digits = std::is_same_v<TestType, double> ? 1e-9 : 2e-6;
  EmOptions options = only_start(EmStartKind::qmi);
  options.deviation_floor = 1e-6;
  const auto fit = gmm::fit(options, reference_density<V>(), Grid{});
  CHECK(largest_difference(fit.mixture.weights, {0.196091657, 0.203423277, 0.201905889, 0.201581964, 0.196997211}) <
        digits);
  CHECK(largest_difference(fit.mixture.means, {-0.136863153, 0.603866028, 1.069497916, 1.534529878, 2.287524256}) <
        digits);
  CHECK(largest_difference(fit.mixture.deviations, {0.406356065, 0.184260181, 0.159137661, 0.181057360, 0.419743681}) <
        digits);
}

TEST_CASE("qmi on any grid keeps mass and mean, and empty bins do no harm", "[gmm][em]") {
  std::vector<double> points;
  for (int i = 0; i < 120; ++i) points.push_back(-6.0 + 0.05 * i + 0.0005 * i * i);
  std::vector<double> f;
  for (double z : points) f.push_back(normal_density(z, 0.0, 1.0));
  const auto report = gmm::fit(only_start(EmStartKind::qmi, 8), Double::from(f), points);
  double weight = 0.0;
  for (double w : report.mixture.weights.to_vector()) weight += w;
  CHECK(weight == Approx(1.0).epsilon(1e-12));
  CHECK(mean(report.mixture).item() == Approx(0.0).margin(2e-3));
  CHECK(variance(report.mixture).item() == Approx(1.0).epsilon(0.02));

  // All mass in one cell: most bins lie in it.
  std::vector<double> spike(96, 0.0);
  spike[40] = 1.0;
  const auto narrow = fit_em(Double::from(spike), grid_of<Double>(), only_start(EmStartKind::qmi));
  CHECK(all_finite(narrow.mixture.means));
  for (double m : narrow.mixture.means.to_vector()) CHECK(std::abs(m - Grid{}[40]) <= Grid{}.spacing());
}

TEST_CASE("wqmi describes the two parts of a maximum by themselves", "[gmm][em]") {
  const Double f = reference_density<Double>();
  EmOptions options = only_start(EmStartKind::wqmi);
  options.deviation_floor = 1e-6;
  const auto report = gmm::fit(options, f, Grid{}, EmGiven<Double>{std::nullopt, reference_winners()});
  // P(X is the larger) is 0.1467: one component of five. Its mean is that of the part, by the trapezoid rule.
  const auto maximum = reference_maximum();
  double mass = 0.0, first = 0.0;
  for (index_t i = 0; i < 96; ++i) {
    const double z = Grid{}[i], g = maximum.winner_densities(z).x;
    mass += g;
    first += g * z;
  }
  const auto weights = report.mixture.weights.to_vector(), means = report.mixture.means.to_vector();
  const std::size_t k = static_cast<std::size_t>(std::min_element(weights.begin(), weights.end()) - weights.begin());
  CHECK(weights[k] == Approx(0.146665086).epsilon(1e-6));
  CHECK(means[k] == Approx(first / mass).epsilon(1e-9));
  CHECK(mean(report.mixture).item() == Approx(1.071900520).margin(5e-3));
}

TEST_CASE("a part of a maximum without mass gets one component of next to no weight", "[gmm][em]") {
  // X is 30 deviations below Y and never wins.
  const auto parameters = Tensor<double, Cpu>::from({-9.0, 0.1, 3.0, 0.5, 0.0}, Shape{1, 5});
  const MaxOfNormals maximum(-9.0, Variance(0.1), 3.0, Variance(0.5), 0.0);
  const Double f = sampled<Double>([&](double z) { return maximum.density(z); });
  const auto report = gmm::fit(only_start(EmStartKind::wqmi, 3), f, Grid{},
                               EmGiven<Double>{std::nullopt, winner_parts<Double>(parameters, Grid{})});
  auto weights = report.mixture.weights.to_vector();
  std::sort(weights.begin(), weights.end());
  CHECK(weights[0] < 1e-14);
  CHECK(weights[0] > 0.0);
  CHECK(weights[1] == Approx(0.5).margin(0.03));
  CHECK(all_finite(report.mixture.deviations));
}

TEST_CASE("the parts of a maximum sum to its density, on grids, offsets and points", "[gmm][em]") {
  const auto set = make_v5<Double>(Key{17}, 20, V5Options::training());
  const auto parts = winner_parts<Double>(set.parameters, set.grid, set.offsets);
  const auto x = parts.x.to_vector(), y = parts.y.to_vector(), f = set.densities.to_vector();
  for (std::size_t i = 0; i < f.size(); ++i) CHECK(x[i] + y[i] == Approx(f[i]).epsilon(2e-3).margin(1e-12));
  std::vector<double> points;
  for (index_t i = 0; i < 96; ++i) points.push_back(set.grid[i] + set.offsets.to_vector()[0]);
  const auto row = winner_parts<Double>(Tensor<double, Cpu>::from(
                                            [&] {
                                              const auto all = set.parameters.to_vector();
                                              return std::vector<double>(all.begin(), all.begin() + 5);
                                            }(),
                                            Shape{1, 5}),
                                        points);
  CHECK(largest_difference(row.x, row_of(parts.x, 0).reshaped(Shape{1, 96})) < 1e-12);
  CHECK_THROWS_AS(winner_parts<Double>(Tensor<double, Cpu>::zeros(Shape{2, 4}), Grid{}), ShapeError);
}

TEST_CASE("random starts are different points of the grid, reproduced by their key", "[gmm][em]") {
  const Double f = repeated(reference_density<Double>(), 40);
  EmOptions options = only_start(EmStartKind::random, 8);
  options.key = Key{3};
  const auto fit = fit_em(f, grid_of<Double>(), options);
  const auto means = fit.mixture.means.to_vector();
  const auto grid = grid_of<Double>().to_vector();
  std::set<double> used;
  for (std::size_t b = 0; b < 40; ++b)
    for (std::size_t k = 0; k < 8; ++k) {
      const double m = means[8 * b + k];
      CHECK(std::count(grid.begin(), grid.end(), m) == 1);
      if (k > 0) CHECK(m > means[8 * b + k - 1]);
      used.insert(m);
    }
  // 320 draws of 96 points leave few untouched: they are not drawn by mass.
  CHECK(used.size() > 85);
  CHECK(same_bits(fit.mixture, fit_em(f, grid_of<Double>(), options).mixture));
  options.key = Key{4};
  CHECK_FALSE(same_bits(fit.mixture, fit_em(f, grid_of<Double>(), options).mixture));
  // As many components as points: all of them.
  const Double five = Double::from({0.1, 0.2, 0.4, 0.2, 0.1}), five_points = Double::from({0.0, 1.0, 2.0, 3.0, 4.0});
  const auto everything = fit_em(five, five_points, only_start(EmStartKind::random, 5));
  CHECK(everything.mixture.means.to_vector() == five_points.to_vector());
}

TEST_CASE("k-means++ finds separated peaks with their masses", "[gmm][em]") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    EmOptions options = only_start(EmStartKind::kmeans, 2);
    options.key = Key{seed};
    const auto fit = fit_em(two_peaks(), grid_of<Double>(), options);
    CHECK(largest_difference(fit.mixture.weights, {0.75, 0.25}) < 1e-6);
    CHECK(largest_difference(fit.mixture.means, {-5.0, 6.0}) < 1e-6);
    // The variance of the cluster and the floor.
    const double floor = 0.25 * Grid{}.spacing() * Grid{}.spacing();
    CHECK(fit.mixture.deviations.to_vector()[0] == Approx(std::sqrt(0.25 + floor)).epsilon(1e-3));
    CHECK(fit.mixture.deviations.to_vector()[1] == Approx(std::sqrt(0.64 + floor)).epsilon(1e-3));
  }
}

TEST_CASE("a given start is taken as it is, and further ones are near it", "[gmm][em]") {
  const Double f = reference_density<Double>(), z = grid_of<Double>();
  const Mixture<Double> start{Double::from({2.0, 6.0}, Shape{1, 2}), Double::from({0.0, 1.5}, Shape{1, 2}),
                              Double::from({0.01, 0.9}, Shape{1, 2})};
  EmOptions options;
  options.max_iterations = 0;
  const auto first = fit_em(f, z, start, options);
  CHECK(first.starts()[0] == EmStartKind::custom);
  CHECK(first.mixture.weights.to_vector() == std::vector<double>{0.25, 0.75});
  CHECK(first.mixture.means.to_vector() == std::vector<double>{0.0, 1.5});
  CHECK(first.mixture.deviations.to_vector()[0] == Approx(0.5 * Grid{}.spacing()));
  // The best of 30 is another one, a hundredth of a deviation away.
  options.starts = 30;
  const auto best = fit_em(f, z, start, options);
  CHECK(best.log_likelihood.item() > first.log_likelihood.item());
  const double sd = std::sqrt(0.752262812);
  CHECK(best.mixture.means.to_vector()[0] != 0.0);
  CHECK(std::abs(best.mixture.means.to_vector()[0]) < 0.05 * sd);
  CHECK(best.mixture.deviations.to_vector()[1] == Approx(0.9).epsilon(0.06));
}

TEST_CASE("the mixtures of a report are starts in units of the input", "[gmm][em]") {
  // In units far from those EM works in.
  const Grid grid{1000.0, 1600.0, 120};
  std::vector<double> f;
  for (index_t i = 0; i < 120; ++i)
    f.push_back(0.6 * normal_density(grid[i], 1200.0, 25.0) + 0.4 * normal_density(grid[i], 1350.0, 60.0));
  const Double densities = Double::from(f, Shape{1, 120});
  EmOptions em;
  em.components = 2;
  const auto learned = gmm::fit(em, densities, grid);
  em.start = EmStartKind::lamf;
  em.max_iterations = 0;
  const auto back = gmm::fit(em, densities, grid, EmGiven<Double>{learned.mixture});
  CHECK(largest_difference(back.mixture.means, learned.mixture.means) < 1e-9);
  CHECK(largest_difference(back.mixture.deviations, learned.mixture.deviations) < 1e-9);
  CHECK(largest_difference(back.mixture.weights, learned.mixture.weights) < 1e-12);
  CHECK(back.warnings.item() == 0);
  em.max_iterations = 300;
  CHECK(gmm::fit(em, densities, grid, EmGiven<Double>{learned.mixture}).iterations.item() <= 3);
  CHECK(back.mixture.means.to_vector()[0] == Approx(1200.0).epsilon(1e-3));
}

TEST_CASE("every start leads to a fit, and no chunk or batch changes it", "[gmm][em]") {
  const auto set = make_v5<Double>(Key{9}, 30);
  EmOptions em;
  const auto learned = gmm::fit(em, set.densities, set.grid);
  const EmGiven<Double> given{learned.mixture, winner_parts<Double>(set.parameters, set.grid)};
  FitOptions options, small;
  options.measures = true;
  small.chunk = 7;
  for (EmStartKind kind : all_kinds) {
    INFO(name_of(kind));
    em.start = kind;
    em.starts = kind == EmStartKind::random ? 3 : 1;
    const auto report = gmm::fit(em, set.densities, set.grid, given, options);
    for (Status s : report.statuses()) CHECK(is_valid(s));
    for (std::int32_t w : report.warnings.to_vector())
      CHECK((w & static_cast<std::int32_t>(Warning::fallback_start)) == 0);
    CHECK(summarize(report.measures->density_error).mean < 0.008);
    CHECK(same_bits(report.mixture, gmm::fit(em, set.densities, set.grid, given, small).mixture));
  }
}

TEST_CASE("starts are kernels: the same on a device as on the host", "[gmm][em][device]") {
  const auto set = make_v5<Double>(Key{10}, 6);
  const auto winners = winner_parts<Double>(set.parameters, set.grid);
  using Device = Tensor<double, TestDevice>;
  for (EmStartKind kind : {EmStartKind::random, EmStartKind::qmi, EmStartKind::wqmi, EmStartKind::kmeans}) {
    EmOptions em;
    em.start = kind;
    em.starts = 2;
    const auto host = gmm::fit(em, set.densities, set.grid, EmGiven<Double>{std::nullopt, winners});
    const auto device = gmm::fit(
        em, set.densities.to<TestDevice>(), set.grid,
        EmGiven<Device>{std::nullopt, WinnerParts<Device>{winners.x.to<TestDevice>(), winners.y.to<TestDevice>()}});
    CHECK(as_on_host(device.mixture.means.to_vector(), host.mixture.means.to_vector(), 1e6));
  }
}

TEST_CASE("a start that is impossible for every row is an error", "[gmm][em]") {
  const Double f = reference_density<Double>(), z = grid_of<Double>();
  CHECK_THROWS_WITH(fit_em(f, z, only_start(EmStartKind::wqmi)), Catch::Contains("EmGiven::winners"));
  CHECK_THROWS_WITH(fit_em(f, z, only_start(EmStartKind::lamf)), Catch::Contains("EmGiven::mixture"));
  CHECK_THROWS_AS(fit_em(f, z, EmGiven<Double>{std::nullopt, reference_winners()}, only_start(EmStartKind::wqmi, 1)),
                  ArgumentError);
  const Double few = Double::from({0.1, 0.3, 0.4, 0.2}), points = Double::from({0.0, 1.0, 2.0, 3.0});
  CHECK_THROWS_WITH(fit_em(few, points, only_start(EmStartKind::qmi, 3)), Catch::Contains("two points per component"));
  CHECK_THROWS_WITH(fit_em(few, points), Catch::Contains("5 components to 4 points"));
  EmOptions noisy;
  noisy.density_noise = -1.0;
  CHECK_THROWS_AS(fit_em(f, z, noisy), ArgumentError);
  const WinnerParts<Double> other{Double::zeros(Shape{1, 95}), Double::zeros(Shape{1, 95})};
  CHECK_THROWS_AS(fit_em(f, z, EmGiven<Double>{std::nullopt, other}, only_start(EmStartKind::wqmi)), ShapeError);
}
