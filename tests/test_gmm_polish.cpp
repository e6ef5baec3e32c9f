// The second-order polish of mixtures: what it reaches, what it never does, and that it is the same everywhere.

#include "catch.hpp"
#include "device.hpp"
#include "gmm_polish_support.hpp"

#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo_test;

namespace {

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
  for (const index_t n : {64, 96, 129, 1000}) {
    const Grid grid{-9.0, 14.0, n};
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
  const auto there =
      polish(sample.set.densities * 0.25, moved,
             Mixture<Double>{sample.start.weights, sample.start.means * unit + shift, sample.start.deviations * unit});
  CHECK(largest_difference(there.mixture.weights, plain.mixture.weights) < 1e-10);
  CHECK(largest_difference((there.mixture.means - shift) / unit, plain.mixture.means) < 1e-10);
  CHECK(largest_difference(there.mixture.deviations / unit, plain.mixture.deviations) < 1e-10);
  CHECK(largest_difference(there.relative_error, plain.relative_error) < 1e-12);
  CHECK(largest_difference(there.largest_error * unit, plain.largest_error) < 1e-12);

  const Double offsets = Double::full(Shape{30}, 3.0);
  const auto offset =
      polish(sample.set.densities, grid,
             Mixture<Double>{sample.start.weights, sample.start.means + 3.0, sample.start.deviations}, {}, offsets);
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
  CHECK(largest_difference(b.largest_error, evaluate(sample.set.densities, sample.set.grid, b.mixture).density_error) <
        1e-7);
}

TEST_CASE("a row has the same bits alone, in a batch, for any number of threads and on a device", "[gmm][polish][device]") {
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
  const auto alone = polish(
      row_of(sample.set.densities, 20), grid,
      Mixture<Double>{row_of(sample.start.weights, 20).reshaped(one), row_of(sample.start.means, 20).reshaped(one),
                      row_of(sample.start.deviations, 20).reshaped(one)},
      options);
  CHECK(alone.mixture.means.to_vector() == row_of(report.mixture.means, 20).to_vector());

  using Device = Tensor<double, TestDevice>;
  const Mixture<Device> start{sample.start.weights.to<TestDevice>(), sample.start.means.to<TestDevice>(),
                              sample.start.deviations.to<TestDevice>()};
  const Device densities = sample.set.densities.to<TestDevice>();
  const auto device = polish(densities, grid, start, options);
  CHECK(as_on_host(device.mixture.means.to_vector(), report.mixture.means.to_vector(), 1e6));
  CHECK(device.status.to_vector() == report.status.to_vector());
  const auto moved = polish(densities, grid, start, options, Device::full(Shape{37}, 0.0));
  CHECK(as_on_host(moved.mixture.means.to_vector(), report.mixture.means.to_vector(), 1e6));
  CHECK(polish(densities, points_of(grid), start, options).statuses() ==
        polish(sample.set.densities, points_of(grid), sample.start, options).statuses());
}
