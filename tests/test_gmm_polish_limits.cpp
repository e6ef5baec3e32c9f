// The second-order polish at its limits: bounds of the parameters, densities and starts that are none, bad options.

#include "catch.hpp"
#include "gmm_polish_support.hpp"

#include <cstring>

#include <kolmo/gmm/foreign.hpp>

using namespace kolmo_test;

TEMPLATE_TEST_CASE("weights sum to one, means lie among the points, deviations above the floor", "[gmm][polish]", float,
                   double) {
  using V = Tensor<TestType, Cpu>;
  const double digits = std::is_same_v<TestType, double> ? 1e-12 : 1e-5;
  const auto within = [&](const PolishReport<V>& report, const Grid& grid) {
    const auto w = report.mixture.weights.to_vector(), m = report.mixture.means.to_vector(),
               s = report.mixture.deviations.to_vector();
    const std::size_t components = static_cast<std::size_t>(report.mixture.components());
    for (std::size_t i = 0; i < w.size(); i += components) {
      double total = 0;
      for (std::size_t k = i; k < i + components; ++k) {
        total += static_cast<double>(w[k]);
        CHECK(static_cast<double>(s[k]) >= 0.4 * grid.spacing() * (1 - digits));
        CHECK(static_cast<double>(m[k]) >= grid.first - digits * 20);
        CHECK(static_cast<double>(m[k]) <= grid.last + digits * 20);
      }
      CHECK(total == Approx(1.0).margin(digits));
    }
    CHECK(all_finite(report.relative_error));
  };
  for (const int components : {1, 2, 6, 32}) {
    const Sample<V> sample(make_foreign<V>(Key{6}, 8), components);
    within(polish(sample.set.densities, sample.set.grid, sample.start, {.evaluations = 12, .minimax = 3}),
           sample.set.grid);
  }
  // One point with mass, at the border too; three points; starts that are far off, narrow or without weight.
  const auto far = mixture_of<V>({0.0, 0.6, 0.4}, {-1e6, 0.5, 1e6}, {1e-6, 1.0, 1e6});
  for (const index_t n : {3, 96, 400})
    for (const index_t peak : {index_t{0}, n / 2, n - 1}) {
      const Grid grid{-1.0, 2.0, n};
      std::vector<TestType> values(static_cast<std::size_t>(n), TestType(0));
      values[static_cast<std::size_t>(peak)] = TestType(7);
      const auto report = polish(V::from(values), grid, far);
      CAPTURE(n, peak);
      CHECK(is_valid(static_cast<Status>(report.status.item())));
      within(report, grid);
    }
}

TEST_CASE("G-01, G-25: bad rows get a status and keep their start; their neighbours do not notice", "[gmm][polish]") {
  const Grid grid{-8.0, 11.0, 96};
  const double nan = std::nan("");
  const auto good = density_at(truth<Double>, points_of(grid)).to_vector();
  std::vector<double> values, weights, means, deviations;
  const auto add = [&](double factor, double at_40, double weight, double mean, double deviation) {
    for (std::size_t i = 0; i < 96; ++i) values.push_back(i == 40 && at_40 != 0 ? at_40 : factor * good[i]);
    for (const double x : {weight, 0.5}) weights.push_back(x);
    for (const double x : {mean, 1.0}) means.push_back(x);
    for (const double x : {deviation, 1.0}) deviations.push_back(x);
  };
  add(1, 0, 0.5, -1, 1);
  add(1, nan, 0.5, -1, 1);
  add(1, INFINITY, 0.5, -1, 1);
  add(0, 0, 0.5, -1, 1);
  add(1, -0.3, 0.5, -1, 1);
  add(1, 0, nan, -1, 1);
  add(1, 0, -0.1, -1, 1);
  add(1, 0, 0.5, nan, 1);
  add(1, 0, 0.5, -1, nan);
  add(1, 0, 0.5, -1, 0);
  add(1, 0, 0.5, -1, -1);
  add(1, 0, 0.5, -1, 1);  // said to have no fit
  add(1, 0, 0.5, -1, 1);
  const Double f = Double::from(values, Shape{13, 96});
  const auto start = mixture_of<Double>(weights, means, deviations, 13);
  std::vector<std::int32_t> given(13, 0);
  given[11] = static_cast<std::int32_t>(Status::outside_grid);
  const auto report = polish(f, grid, start, {.evaluations = 30}, std::nullopt, Integers<Double>::from(given));
  const auto broken = Status::broken_fit;
  CHECK(report.statuses() == std::vector{Status::ok, Status::non_finite, Status::non_finite, Status::zero_mass,
                                         Status::negative_mass, broken, broken, broken, broken, broken, broken,
                                         Status::outside_grid, Status::ok});
  const auto alone =
      polish(Double::from(good), grid, mixture_of<Double>({0.5, 0.5}, {-1, 1}, {1, 1}), {.evaluations = 30});
  for (index_t b = 0; b < 13; ++b) {
    CAPTURE(b);
    const bool fitted = b == 0 || b == 12;
    const auto m = row_of(report.mixture.means, b).to_vector(), s = row_of(report.mixture.deviations, b).to_vector();
    if (fitted) {
      CHECK(m == alone.mixture.means.to_vector());
    } else {
      CHECK(std::memcmp(m.data(), &means[static_cast<std::size_t>(2 * b)], 16) == 0);
      CHECK(std::memcmp(s.data(), &deviations[static_cast<std::size_t>(2 * b)], 16) == 0);
    }
    CHECK((report.relative_error.to_vector()[static_cast<std::size_t>(b)] >= 0) == fitted);
    CHECK((report.evaluations.to_vector()[static_cast<std::size_t>(b)] > 0) == fitted);
  }
  CHECK(polish(Double::from({1.0, 1.0}), std::vector<double>{0.0, 1.0}, mixture_of<Double>({1.0}, {0.5}, {1.0}))
            .statuses()[0] == Status::too_short);
  // Rounding below zero is clipped, as much as the caller says.
  CHECK(polish(f, grid, start, {.negative_tolerance = 0.1}).statuses()[4] != Status::negative_mass);
}

TEST_CASE("the polish says what it cannot do", "[gmm][polish]") {
  const Grid grid{-8.0, 11.0, 96};
  const Double f = density_at(truth<Double>, points_of(grid));
  const double nan = std::nan("");
  const auto refused = [&](const PolishOptions& options) {
    CHECK_THROWS_AS(polish(f, grid, beside<Double>, options), ArgumentError);
  };
  refused({.evaluations = -1});
  refused({.minimax = -1});
  refused({.tolerance = nan});
  refused({.gain = -1.0});
  refused({.damping = 0.0});
  refused({.damping = INFINITY});
  refused({.floor_in_spacings = 0.0});
  refused({.floor_in_spacings = INFINITY});
  refused({.negative_tolerance = nan});
  const auto many = [](index_t k) {
    return Mixture<Double>{Double::ones({1, k}), Double::ones({1, k}), Double::ones({1, k})};
  };
  CHECK_THROWS_WITH(polish(f, grid, many(33)), contains("1 to 32, given 33"));
  CHECK_THROWS_AS(polish(f, grid, many(0)), ArgumentError);
  CHECK_THROWS_AS(polish(repeated(f, 2), grid, beside<Double>), ShapeError);
  CHECK_THROWS_AS(polish(f, Grid{-8.0, 11.0, 95}, beside<Double>), ShapeError);
  CHECK_THROWS_AS(polish(f, grid, beside<Double>, {}, Double::ones({2})), ShapeError);
  CHECK_THROWS_WITH(polish(f, grid, beside<Double>, {}, std::nullopt, Integers<Double>::zeros({2})),
                    contains("one status per density"));
  CHECK_THROWS_AS(polish(f, Grid{1.0, 1.0, 96}, beside<Double>), ArgumentError);
  auto points = points_of(grid);
  std::swap(points[3], points[4]);
  CHECK_THROWS_AS(polish(f, points, beside<Double>), ArgumentError);
  const Mixture<Double> none{Double::zeros({0, 3}), Double::zeros({0, 3}), Double::zeros({0, 3})};
  CHECK(polish(Double::zeros({0, 96}), grid, none).statuses().empty());
}
