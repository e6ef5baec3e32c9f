#include "catch.hpp"
#include "gmm_reference.hpp"

#include <limits>

#include <kolmo/gmm/em_fit.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

FitOptions measured() {
  FitOptions options;
  options.measures = true;
  return options;
}

EmOptions components(int count) {
  EmOptions options;
  options.components = count;
  return options;
}

}  // namespace

TEST_CASE("points that do not increase are refused, by an error or by the status of their row", "[gmm][em]") {
  const std::vector<double> f{0.1, 0.3, 0.4, 0.3, 0.1}, good{0.0, 1.0, 2.0, 3.0, 4.0};
  const EmOptions em = components(2);
  for (const std::vector<double>& points :
       {std::vector<double>{0.0, 1.0, 1.0, 2.0, 3.0}, std::vector<double>{0.0, 2.0, 1.0, 3.0, 4.0},
        std::vector<double>{0.0, 1.0, no_number, 3.0, 4.0}, std::vector<double>{4.0, 3.0, 2.0, 1.0, 0.0}}) {
    CHECK_THROWS_AS(gmm::fit(em, Double::from(f), points), ArgumentError);
    CHECK_THROWS_AS(evaluate(Double::from(f), points, Mixture<Double>{}), ArgumentError);
    std::vector<double> both = points;
    both.insert(both.end(), good.begin(), good.end());
    const auto fit = fit_em(repeated(Double::from(f), 2), Double::from(both, Shape{2, 5}), em);
    CHECK(fit.statuses()[0] == (points[2] != points[2] ? Status::non_finite : Status::unsorted_points));
    CHECK(is_valid(fit.statuses()[1]));
    CHECK(all_finite(fit.mixture.means));
  }
  CHECK(std::string(describe(Status::unsorted_points)) == "the points are not strictly increasing");
  CHECK_THROWS_AS(gmm::fit(em, Double::from(f), std::vector<double>{0.0, 1.0, 2.0}), ShapeError);
}

TEST_CASE("all mass at a border, or in one point, is fitted there at the floor", "[gmm][em]") {
  std::vector<double> rows;
  const std::size_t places[] = {0, 95, 47};
  for (std::size_t place : places) {
    std::vector<double> f(96, 0.0);
    f[place] = 3.0;
    rows.insert(rows.end(), f.begin(), f.end());
  }
  for (EmStartKind kind : {EmStartKind::quantile, EmStartKind::qmi, EmStartKind::kmeans, EmStartKind::random}) {
    INFO(name_of(kind));
    EmOptions em;
    em.start = kind;
    const auto report = gmm::fit(em, Double::from(rows, Shape{3, 96}), Grid{});
    for (std::size_t b = 0; b < 3; ++b) {
      CHECK(is_valid(report.statuses()[b]));
      const double at = Grid{}[static_cast<index_t>(places[b])];
      CHECK(mean(report.mixture).to_vector()[b] == Approx(at).margin(1e-6));
      const auto w = row_of(report.mixture.weights, static_cast<index_t>(b)).to_vector();
      const auto s = row_of(report.mixture.deviations, static_cast<index_t>(b)).to_vector();
      for (std::size_t k = 0; k < 5; ++k)
        if (w[k] > 1e-3) CHECK(s[k] == Approx(0.5 * Grid{}.spacing()).epsilon(0.05));
    }
  }
}

TEST_CASE("EM on a stretched grid fits as well as on an even one", "[gmm][em]") {
  // Fine in the middle, coarse in the tails; in units far from one.
  const auto truth = [](double z) {
    return 0.5 * normal_density(z, 400.0, 30.0) + 0.3 * normal_density(z, 460.0, 50.0) +
           0.2 * normal_density(z, 620.0, 40.0);
  };
  std::vector<double> points, f;
  for (int i = 0; i < 140; ++i) {
    const double u = (i - 69.5) / 69.5;
    points.push_back(500.0 + 280.0 * u + 220.0 * u * u * u);
    f.push_back(truth(points.back()));
  }
  EmOptions em = components(3);
  em.tolerance = 1e-12;
  em.max_iterations = 3000;
  const auto report = gmm::fit(em, Double::from(f), points, measured());
  CHECK(report.statuses()[0] == Status::ok);
  CHECK(report.measures->density_error.item() < 3e-6);
  CHECK(report.measures->distribution_error.item() < 1e-3);
  CHECK(largest_difference(report.mixture.means, {400.0, 460.0, 620.0}) < 0.5);
  CHECK(report.measures->narrowest.item() > 2.0);
  CHECK(report.warnings.item() == 0);
  // Measures at equally spaced points are those of the grid.
  const auto grid = grid_of<Double>().to_vector();
  const auto even = gmm::fit(EmOptions{}, reference_density<Double>(), Grid{}, measured());
  const auto m = evaluate(reference_density<Double>(), grid, even.mixture);
  CHECK(m.density_error.item() == Approx(even.measures->density_error.item()).epsilon(1e-9));
  CHECK(m.divergence.item() == Approx(even.measures->divergence.item()).margin(1e-12));
  CHECK(m.narrowest.item() == Approx(even.measures->narrowest.item()).epsilon(1e-9));
  CHECK(entropy(reference_density<Double>(), grid).item() == Approx(1.276546047).margin(1e-8));
}
