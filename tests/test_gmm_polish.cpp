// The second-order polish of mixtures: what it reaches, what it never does, and that it is the same everywhere.

#include "catch.hpp"
#include "gmm_reference.hpp"

#include <cstring>

#include <kolmo/backend/fake_device.hpp>
#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/metrics.hpp>
#include <kolmo/gmm/polish.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

const PolishOptions thorough{.evaluations = 60, .tolerance = 0.0, .gain = 0.0};

template <class V>
using Integers = typename PolishReport<V>::Integers;

template <class V>
Mixture<V> mixture_of(const std::vector<typename V::Scalar>& weights, const std::vector<typename V::Scalar>& means,
                      const std::vector<typename V::Scalar>& deviations, index_t batch = 1) {
  const Shape shape{batch, static_cast<index_t>(weights.size()) / batch};
  return {V::from(weights, shape), V::from(means, shape), V::from(deviations, shape)};
}

/// Three normals and a start beside them.
template <class V>
const Mixture<V> truth = mixture_of<V>({0.3, 0.5, 0.2}, {-2.0, 0.5, 3.0}, {0.7, 1.0, 1.3});
template <class V>
const Mixture<V> beside = mixture_of<V>({0.4, 0.3, 0.3}, {-2.4, 0.2, 2.5}, {0.9, 0.8, 1.1});

/// Values of the first mixture of a batch at points.
template <class V>
V density_at(const Mixture<V>& mixture, const std::vector<double>& points) {
  std::vector<typename V::Scalar> values;
  const auto w = mixture.weights.to_vector(), m = mixture.means.to_vector(), s = mixture.deviations.to_vector();
  for (const double z : points) {
    double sum = 0;
    for (std::size_t k = 0; k < w.size(); ++k)
      sum += static_cast<double>(w[k]) * normal_density(z, static_cast<double>(m[k]), static_cast<double>(s[k]));
    values.push_back(static_cast<typename V::Scalar>(sum));
  }
  return V::from(values);
}

std::vector<double> points_of(const Grid& grid) {
  std::vector<double> points;
  for (index_t i = 0; i < grid.points; ++i) points.push_back(grid[i]);
  return points;
}

template <class V>
double difference(const Mixture<V>& a, const Mixture<V>& b) {
  return std::max({largest_difference(a.weights, b.weights), largest_difference(a.means, b.means),
                   largest_difference(a.deviations, b.deviations)});
}

/// Densities of the V5 law and foreign ones, with starts by six steps of EM.
template <class V>
struct Sample {
  DensitySet<V> set;
  Mixture<V> start;

  explicit Sample(DensitySet<V> densities, int components = 5) : set(std::move(densities)) {
    EmOptions em;
    em.components = components;
    em.max_iterations = 6;
    start = fit_em(set.densities, grid_of<V>(set.grid), em).mixture;
  }
};

template <class V>
bool same_reports(const PolishReport<V>& a, const PolishReport<V>& b) {
  return same_bits(a.mixture, b.mixture) && same_bits(a.largest_error, b.largest_error) &&
         same_bits(a.evaluations, b.evaluations) && same_bits(a.status, b.status);
}

}  // namespace

TEMPLATE_TEST_CASE("a mixture that made the density is recovered to rounding", "[gmm][polish]", float, double) {
  using V = Tensor<TestType, Cpu>;
  const double digits = std::is_same_v<TestType, double> ? 1e-11 : 2e-4;
  // Points in one chunk of the item, and in several.
  for (const index_t n : {40, 96, 129, 1000}) {
    const Grid grid{-8.0, 11.0, n};
    const auto report = polish(density_at(truth<V>, points_of(grid)), grid, beside<V>, thorough);
    CAPTURE(n);
    CHECK(is_valid(static_cast<Status>(report.status.item())));
    CHECK(difference(report.mixture, truth<V>) < digits);
    CHECK(static_cast<double>(report.relative_error.item()) < digits);
  }
}

TEST_CASE("a handful of evaluations suffices, and a small gain ends the polish", "[gmm][polish]") {
  const Grid grid{-8.0, 11.0, 96};
  const Double f = density_at(truth<Double>, points_of(grid));
  const auto usual = polish(f, grid, beside<Double>, {.evaluations = 20});
  CHECK(static_cast<Status>(usual.status.item()) == Status::ok);
  CHECK(usual.evaluations.item() < 15);
  CHECK(usual.relative_error.item() <= 1e-5);
  const auto cut = polish(f, grid, beside<Double>, {.evaluations = 3});
  CHECK(static_cast<Status>(cut.status.item()) == Status::iteration_limit);
  CHECK(cut.evaluations.item() == 3);
  // What is there already needs one.
  const auto there = polish(f, grid, truth<Double>, {.evaluations = 1});
  CHECK(static_cast<Status>(there.status.item()) == Status::ok);
  CHECK(there.evaluations.item() == 1);
}

TEST_CASE("without evaluations the start is measured and comes back as it was", "[gmm][polish]") {
  const Grid grid{-8.0, 11.0, 96};
  const Double f = density_at(truth<Double>, points_of(grid));
  const auto start = mixture_of<Double>({0.0, 1.0}, {2.0, -1.0}, {0.01, 1.0});
  const auto report = polish(f, grid, start, {.evaluations = 0, .minimax = 5});
  CHECK(same_bits(report.mixture, start));
  CHECK(report.largest_error.item() == Approx(evaluate(f, grid, start).density_error.item()).epsilon(1e-12));
}

TEMPLATE_TEST_CASE("the squares never grow, and the reported error is that of the metrics", "[gmm][polish]", float,
                   double) {
  using V = Tensor<TestType, Cpu>;
  for (const bool usual : {true, false}) {
    const Sample<V> sample(usual ? make_v5<V>(Key{3}, 200) : make_foreign<V>(Key{4}, 100));
    const Grid& grid = sample.set.grid;
    const auto report = polish(sample.set.densities, grid, sample.start);
    const auto sum_of_squares = [&](const Mixture<V>& m) {
      const V r = density(m, grid_of<V>(grid)) - sample.set.densities;
      return sum(r * r, {1}).to_vector();
    };
    const auto before = sum_of_squares(sample.start), after = sum_of_squares(report.mixture);
    const auto error = report.largest_error.to_vector();
    const auto measured = evaluate(sample.set.densities, grid, report.mixture).density_error.to_vector();
    const double rounding = std::is_same_v<TestType, double> ? 1e-12 : 1e-6;
    double mean_before = 0, mean_after = 0;
    for (std::size_t b = 0; b < after.size(); ++b) {
      CAPTURE(b);
      CHECK(static_cast<double>(after[b]) <= static_cast<double>(before[b]) * (1 + 1e-3) + rounding);
      // Points beyond those that matter have less than 1e-7 of the largest value.
      CHECK(static_cast<double>(error[b]) == Approx(measured[b]).margin(std::max(rounding, 1e-7)).epsilon(2e-4));
      mean_before += static_cast<double>(before[b]);
      mean_after += static_cast<double>(after[b]);
    }
    CHECK(mean_after < 0.5 * mean_before);
  }
}

TEST_CASE("the fit moves with the density and scales with its unit", "[gmm][polish]") {
  const Sample<Double> sample(make_foreign<Double>(Key{9}, 30));
  const Grid& grid = sample.set.grid;
  const auto plain = polish(sample.set.densities, grid, sample.start);
  const double unit = 64.0, shift = 512.0;  // exact in binary: only the arithmetic within differs
  const Grid moved{grid.first * unit + shift, grid.last * unit + shift, grid.points};
  const auto there = polish(sample.set.densities * 0.25, moved,
                            Mixture<Double>{sample.start.weights, sample.start.means * unit + shift,
                                            sample.start.deviations * unit});
  CHECK(largest_difference(there.mixture.weights, plain.mixture.weights) < 1e-10);
  CHECK(largest_difference((there.mixture.means - shift) / unit, plain.mixture.means) < 1e-10);
  CHECK(largest_difference(there.mixture.deviations / unit, plain.mixture.deviations) < 1e-10);
  CHECK(largest_difference(there.relative_error, plain.relative_error) < 1e-12);
  CHECK(largest_difference(there.largest_error * unit, plain.largest_error) < 1e-12);

  const Double offsets = Double::full(Shape{30}, 3.0);
  const auto offset = polish(sample.set.densities, grid,
                             Mixture<Double>{sample.start.weights, sample.start.means + 3.0, sample.start.deviations},
                             {}, offsets);
  CHECK(largest_difference(offset.mixture.means - 3.0, plain.mixture.means) < 1e-10);
}

TEST_CASE("the order of the components of the start does not matter", "[gmm][polish]") {
  const Grid grid{-8.0, 11.0, 96};
  const Double f = density_at(truth<Double>, points_of(grid));
  const auto permuted = mixture_of<Double>({0.3, 0.4, 0.3}, {2.5, -2.4, 0.2}, {1.1, 0.9, 0.8});
  const auto a = polish(f, grid, beside<Double>, {.evaluations = 5});
  const auto b = polish(f, grid, permuted, {.evaluations = 5});
  CHECK(difference(a.mixture, b.mixture) < 1e-11);
  const auto means = b.mixture.means.to_vector();
  CHECK(std::is_sorted(means.begin(), means.end()));
}

TEST_CASE("a grid given as points, and points of any spacing", "[gmm][polish]") {
  const Sample<Double> sample(make_v5<Double>(Key{5}, 20));
  const Grid& grid = sample.set.grid;
  const auto points = points_of(grid);
  const auto a = polish(sample.set.densities, grid, sample.start, {.evaluations = 5});
  const auto b = polish(sample.set.densities, points, sample.start, {.evaluations = 5});
  CHECK(difference(a.mixture, b.mixture) < 1e-9);
  CHECK(largest_difference(a.largest_error, b.largest_error) < 1e-11);

  std::vector<double> stretched;
  for (int i = 0; i < 150; ++i) stretched.push_back(-9.0 + 20.0 * std::pow(i / 149.0, 1.7));
  const auto report = polish(density_at(truth<Double>, stretched), stretched, beside<Double>, thorough);
  // The density is normalised on the points, by the trapezoid rule.
  CHECK(difference(report.mixture, truth<Double>) < 2e-3);
}

TEMPLATE_TEST_CASE("weights sum to one, means lie among the points, deviations above the floor", "[gmm][polish]",
                   float, double) {
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
  const auto far = mixture_of<V>({0.0, 0.6, 0.4}, {-1e6f, 0.5, 1e6f}, {1e-6f, 1.0, 1e6f});
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

TEST_CASE("steps toward the minimax fit lower the largest error", "[gmm][polish]") {
  const Sample<Double> sample(make_foreign<Double>(Key{7}, 60));
  const PolishOptions squares{.evaluations = 40};
  PolishOptions minimax = squares;
  minimax.minimax = 10;
  const auto a = polish(sample.set.densities, sample.set.grid, sample.start, squares);
  const auto b = polish(sample.set.densities, sample.set.grid, sample.start, minimax);
  const auto before = a.largest_error.to_vector(), after = b.largest_error.to_vector();
  double total_before = 0, total_after = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    CHECK(after[i] <= before[i]);
    total_before += before[i];
    total_after += after[i];
  }
  CHECK(total_after < 0.8 * total_before);
  CHECK(largest_difference(b.largest_error,
                           evaluate(sample.set.densities, sample.set.grid, b.mixture).density_error) < 1e-7);
}

TEST_CASE("a row has the same bits alone, in a batch, for any number of threads and on a device", "[gmm][polish]") {
  const Sample<Double> sample(make_v5<Double>(Key{8}, 37));
  const Grid& grid = sample.set.grid;
  const PolishOptions options{.minimax = 2};
  const auto report = polish(sample.set.densities, grid, sample.start, options);
  const int before = threads::count();
  for (const int count : {1, 2, 4}) {
    threads::set_count(count);
    CHECK(same_reports(polish(sample.set.densities, grid, sample.start, options), report));
  }
  threads::set_count(before);
  const Shape one{1, 5};
  const auto alone = polish(row_of(sample.set.densities, 20), grid,
                            Mixture<Double>{row_of(sample.start.weights, 20).reshaped(one),
                                            row_of(sample.start.means, 20).reshaped(one),
                                            row_of(sample.start.deviations, 20).reshaped(one)},
                            options);
  CHECK(alone.mixture.means.to_vector() == row_of(report.mixture.means, 20).to_vector());

  using Device = Tensor<double, FakeDevice>;
  const Mixture<Device> start{sample.start.weights.to<FakeDevice>(), sample.start.means.to<FakeDevice>(),
                              sample.start.deviations.to<FakeDevice>()};
  const Device densities = sample.set.densities.to<FakeDevice>();
  const auto device = polish(densities, grid, start, options);
  CHECK(device.mixture.means.to_vector() == report.mixture.means.to_vector());
  CHECK(device.status.to_vector() == report.status.to_vector());
  const auto moved = polish(densities, grid, start, options, Device::full(Shape{37}, 0.0));
  CHECK(moved.mixture.means.to_vector() == report.mixture.means.to_vector());
  CHECK(polish(densities, points_of(grid), start, options).statuses() ==
        polish(sample.set.densities, points_of(grid), sample.start, options).statuses());
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
  const auto alone = polish(Double::from(good), grid, mixture_of<Double>({0.5, 0.5}, {-1, 1}, {1, 1}),
                            {.evaluations = 30});
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
  const auto many = [](index_t k) { return Mixture<Double>{Double::ones({1, k}), Double::ones({1, k}), Double::ones({1, k})}; };
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
