#include "catch.hpp"
#include "device.hpp"
#include "gmm_reference.hpp"

#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/preprocess.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;

namespace {

/// A normal density, and the same moved.
struct Bell {
  double mean, deviation;
  double operator()(double z) const { return normal_density(z, mean, deviation); }
};

struct MovedMaximum {
  MaxOfNormals maximum;
  double by;
  double operator()(double z) const { return maximum.density(z - by); }
};

double sum_of(const Double& x) {
  double total = 0.0;
  for (double v : x.to_vector()) total += v;
  return total;
}

/// First and second moment of masses about zero.
std::pair<double, double> moments(const Preprocessed<Double>& p) {
  const auto w = p.masses.to_vector(), z = p.points.to_vector();
  double m = 0.0, v = 0.0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    m += w[i] * z[i];
    v += w[i] * z[i] * z[i];
  }
  return {m, v};
}

PreprocessOptions scaled(Scaling scaling) {
  PreprocessOptions options;
  options.scaling = scaling;
  return options;
}

}  // namespace

TEST_CASE("a density on the model's grid is moved by whole cells and keeps its values", "[gmm][preprocess]") {
  const Grid grid;
  const Double f = reference_density<Double>();
  const auto p = preprocess(f, grid);
  CHECK(p.statuses()[0] == Status::ok);
  CHECK(p.mean.item() == Approx(1.071900520).margin(1e-9));
  CHECK(p.deviation.item() == Approx(std::sqrt(0.752262812)).margin(1e-9));
  CHECK(p.scale.item() == 1.0);
  CHECK(p.spacing.item() == Approx(grid.spacing()));
  CHECK(p.mass_lost.item() < 1e-12);
  const auto w = p.masses.to_vector(), z = p.points.to_vector(), values = f.to_vector();
  // 1.0719 is 3.39 cells.
  for (std::size_t j = 0; j + 3 < 96; ++j) {
    CHECK(w[j] == Approx(values[j + 3] * grid.spacing()).margin(1e-12));
    CHECK(z[j] == Approx(grid[static_cast<index_t>(j) + 3] - p.mean.item()).margin(1e-12));
  }
  CHECK(std::abs(z[0] - grid[0]) <= 0.5 * grid.spacing());
  CHECK(sum_of(p.masses) == Approx(1.0).margin(1e-14));
  CHECK(std::abs(moments(p).first) < 1e-13);
}

TEST_CASE("G-02: moving a density moves its fit and nothing else", "[gmm][preprocess]") {
  const Grid grid;
  const MaxOfNormals base(0.0, Variance(1.5), 1.0, Variance(0.5), -0.3);
  const auto reference = preprocess(sampled<Double>(MovedMaximum{base, 0.0}), grid);
  SECTION("by whole cells: the same masses at the same points") {
    for (int cells : {-9, 4, 10}) {
      const auto moved = preprocess(sampled<Double>(MovedMaximum{base, cells * grid.spacing()}), grid);
      CHECK(largest_difference(moved.masses, reference.masses) < 1e-12);
      CHECK(largest_difference(moved.points, reference.points) < 1e-12);
      CHECK(moved.mean.item() - reference.mean.item() == Approx(cells * grid.spacing()).margin(1e-12));
    }
  }
  SECTION("by a part of a cell: the same density to 1e-3") {
    const double by = 0.37 * grid.spacing();
    const auto moved = preprocess(sampled<Double>(MovedMaximum{base, by}), grid);
    EmOptions options;
    options.tolerance = 1e-9;
    options.max_iterations = 2000;
    const auto a = to_input_units(fit_em(reference.masses, reference.points, options).mixture, reference);
    const auto b = to_input_units(fit_em(moved.masses, moved.points, options).mixture, moved);
    std::vector<double> fine, fine_moved;
    for (int i = 0; i < 1500; ++i) {
      fine.push_back(-6.0 + 0.008 * i);
      fine_moved.push_back(fine.back() + by);
    }
    CHECK(largest_difference(density(a, Double::from(fine)), density(b, Double::from(fine_moved))) < 1e-3);
  }
}

TEST_CASE("G-01: bad rows get a status and no NaN comes out", "[gmm][preprocess]") {
  const Double good = reference_density<Double>();
  std::vector<double> rows;
  const auto add = [&](int point, double value, double factor) {
    auto row = good.to_vector();
    for (double& x : row) x *= factor;
    if (point >= 0) row[static_cast<std::size_t>(point)] = value;
    rows.insert(rows.end(), row.begin(), row.end());
  };
  add(-1, 0.0, 1.0);
  add(40, -0.1, 1.0);
  add(40, -1e-9, 1.0);
  add(-1, 0.0, 0.0);
  add(40, std::nan(""), 1.0);
  add(40, -INFINITY, 1.0);
  add(-1, 0.0, 1e-30);
  add(-1, 0.0, 1e300);
  add(-1, 0.0, -1.0);
  const Double batch = Double::from(rows, Shape{9, 96});
  for (Scaling scaling : {Scaling::none, Scaling::cells, Scaling::deviation}) {
    const auto p = preprocess(batch, Grid{}, scaled(scaling));
    const std::vector<Status> expected{
        Status::ok,         Status::negative_mass, Status::ok, Status::zero_mass,    Status::non_finite,
        Status::non_finite, Status::zero_mass,     Status::ok, Status::negative_mass};
    CHECK(p.statuses() == expected);
    for (const Double* x : {&p.masses, &p.points, &p.mean, &p.scale, &p.deviation, &p.spacing, &p.mass_lost})
      CHECK(all_finite(*x));
    CHECK(sum_of(row_of(p.masses, 1)) == 0.0);
    CHECK(largest_difference(row_of(p.masses, 7), row_of(p.masses, 0)) < 1e-14);
  }
  const Double two = Double::from({1.0, 1.0}, Shape{1, 2});
  CHECK(preprocess(two, Grid{0.0, 1.0, 2}).statuses()[0] == Status::too_short);
}

TEST_CASE("G-24: masses are non-negative and sum to one whatever rounding left in the input", "[gmm][preprocess]") {
  auto values = reference_density<Double>().to_vector();
  for (std::size_t i = 0; i < values.size(); i += 7) values[i] -= 1e-8;
  for (Resampling resampling : {Resampling::monotone_cubic, Resampling::cell_average}) {
    for (const Grid& model : {Grid{}, Grid{-15.0, 15.0, 128}}) {
      PreprocessOptions options;
      options.grid = model;
      options.resampling = resampling;
      options.negative_tolerance = 1e-6;
      const auto p = preprocess(Double::from(values), Grid{}, options);
      CHECK(p.statuses()[0] == Status::ok);
      CHECK(sum_of(p.masses) == Approx(1.0).margin(1e-14));
      for (double w : p.masses.to_vector()) CHECK(w >= 0.0);
      CHECK(std::abs(moments(p).first) < 1e-13);
    }
  }
}

TEST_CASE("resampling keeps a narrow peak far better than linear interpolation would", "[gmm][preprocess]") {
  // The narrowest density of the data set, one cell wide, from a grid of other spacing.
  const Grid input{-8.0, 8.0, 64};
  const Bell bell{0.1, 1.25 * input.spacing()};
  const Double f = sampled<Double>(bell, input);
  const auto p = preprocess(f, input);
  CHECK(p.statuses()[0] == Status::ok);
  const auto w = p.masses.to_vector(), z = p.points.to_vector(), values = f.to_vector();
  double cubic = 0.0, straight = 0.0;
  for (std::size_t j = 0; j < w.size(); ++j) {
    const double at = z[j] + p.mean.item();
    cubic = std::max(cubic, std::abs(w[j] / p.spacing.item() - bell(at)));
    const double t = (at - input.first) / input.spacing();
    const auto i = static_cast<std::size_t>(std::max(t, 0.0));
    if (t >= 0.0 && i + 1 < values.size())
      straight = std::max(straight,
                          std::abs(values[i] + (t - static_cast<double>(i)) * (values[i + 1] - values[i]) - bell(at)));
  }
  CHECK(straight > 0.05);
  CHECK(cubic < 0.4 * straight);

  // Averages over cells keep total and mean, and add the variance of a cell.
  PreprocessOptions options;
  options.resampling = Resampling::cell_average;
  options.grid = Grid{-15.0, 15.0, 48};
  const Bell wide{0.3, 1.5};
  const auto averaged = preprocess(sampled<Double>(wide, input), input, options);
  const double cell = options.grid.spacing();
  CHECK(averaged.mean.item() == Approx(0.3).margin(1e-3));
  CHECK(averaged.deviation.item() == Approx(std::sqrt(2.25 + cell * cell / 12.0)).epsilon(2e-3));
}

TEST_CASE("with cells or deviations as units the result does not depend on the units of the input",
          "[gmm][preprocess]") {
  const Double f = reference_density<Double>();
  const Grid small, large{-15000.0 + 7.0, 15000.0 + 7.0, 96};
  for (Scaling scaling : {Scaling::cells, Scaling::deviation}) {
    const auto a = preprocess(f, small, scaled(scaling)), b = preprocess(f, large, scaled(scaling));
    CHECK(largest_difference(a.masses, b.masses) < 1e-13);
    CHECK(largest_difference(a.points, b.points) < 1e-9);
    CHECK(a.deviation.item() == Approx(b.deviation.item()).epsilon(1e-10));
    CHECK(b.scale.item() == Approx(1000.0 * a.scale.item()).epsilon(1e-10));
    CHECK(b.mean.item() == Approx(1000.0 * a.mean.item() + 7.0).epsilon(1e-10));
  }
  CHECK(preprocess(f, large, scaled(Scaling::deviation)).deviation.item() == Approx(1.0));
  CHECK(preprocess(f, large, scaled(Scaling::cells)).spacing.item() == Approx(small.spacing()));
}

TEST_CASE("a density that is too wide in cells is resampled to fit", "[gmm][preprocess]") {
  const Grid fine{-6.0, 8.0, 2500};
  const Bell bell{1.0, 0.9};
  const auto p = preprocess(sampled<Double>(bell, fine), fine, scaled(Scaling::deviation));
  CHECK(p.statuses()[0] == Status::ok);
  CHECK(p.deviation.item() == Approx(1.0));
  CHECK(p.spacing.item() == Approx(1.0 / 7.0).epsilon(1e-6));
  CHECK(p.mass_lost.item() < 1e-9);
  const auto w = p.masses.to_vector(), z = p.points.to_vector();
  for (std::size_t j = 0; j < w.size(); ++j)
    CHECK(w[j] / p.spacing.item() == Approx(normal_density(z[j], 0.0, 1.0)).margin(2e-5));

  // In units of the input it falls off a model grid that is too small for it, and says so.
  PreprocessOptions options;
  options.grid = Grid{-0.5, 0.5, 96};
  CHECK(preprocess(sampled<Double>(bell, fine), fine, options).statuses()[0] == Status::outside_grid);
}

TEST_CASE("points need not be equally spaced", "[gmm][preprocess]") {
  std::vector<double> points, values;
  for (int i = 0; i < 200; ++i) points.push_back(std::sinh(4.0 * (i - 99.5) / 100.0) / std::sinh(4.0) * 12.0);
  const Bell bell{-1.0, 0.8};
  for (double z : points) values.push_back(bell(z));
  const auto p = preprocess(Double::from(values), points);
  CHECK(p.statuses()[0] == Status::ok);
  CHECK(p.mean.item() == Approx(-1.0).margin(2e-3));
  CHECK(p.deviation.item() == Approx(0.8).margin(5e-3));
  std::swap(points[3], points[4]);
  CHECK_THROWS_WITH(preprocess(Double::from(values), points), contains("strictly increasing"));
  CHECK_THROWS_AS(preprocess(Double::from(values), Grid{}), ShapeError);
  CHECK_THROWS_AS(preprocess(Double::zeros(Shape{1, 96}), Grid{1.0, 1.0, 96}), ArgumentError);
}

TEST_CASE("a density that its own points resolve is seen wherever these are dense", "[gmm][preprocess]") {
  std::vector<double> points;
  for (int i = 0; i < 96; ++i) points.push_back(std::pow(10.0, -2.0 + 4.0 * i / 95.0));
  for (std::size_t at : {10u, 30u, 50u, 70u, 85u})
    for (double cells : {1.0, 2.0, 4.0}) {
      const Bell bell{points[at], cells * 0.5 * (points[at + 1] - points[at - 1])};
      std::vector<double> values;
      for (double z : points) values.push_back(bell(z));
      const auto p = preprocess(Double::from(values), points, scaled(Scaling::deviation));
      CAPTURE(at, cells);
      REQUIRE(p.statuses()[0] == Status::ok);
      CHECK(p.mean.item() == Approx(bell.mean).epsilon(0.05));
      CHECK(p.scale.item() == Approx(bell.deviation).epsilon(0.2));
      CHECK(moments(p).second == Approx(1.0).epsilon(0.1));
    }
}

TEST_CASE("peaks between the cells of a resampled density are not taken for no mass", "[gmm][preprocess]") {
  std::vector<double> values(96, 0.0);
  values[0] = values[95] = 1.0;
  const auto p = preprocess(Double::from(values), Grid{}, scaled(Scaling::deviation));
  REQUIRE(p.statuses()[0] == Status::ok);
  CHECK(p.mean.item() == Approx(0.0).margin(1e-9));
  CHECK(p.scale.item() == Approx(15.0).epsilon(0.1));
  CHECK(sum_of(p.masses) == Approx(1.0));
}

TEST_CASE("training data generated about the mean comes out as inference prepares it", "[gmm][preprocess]") {
  V5Options options;
  options.centred = true;
  const auto set = make_v5<Double>(Key{9}, 30, options);
  const auto p = preprocess(set.densities, set.grid, {}, set.offsets);
  const double cell = set.grid.spacing();
  for (index_t b = 0; b < 30; ++b) {
    const auto i = static_cast<std::size_t>(b);
    CHECK(p.statuses()[i] == Status::ok);
    const double first = row_of(p.points, b).to_vector()[0];
    CHECK(std::abs(first - set.grid.first) < 0.51 * cell);
    CHECK(p.mean.to_vector()[i] == Approx(set.offsets.to_vector()[i] + set.grid.first - first).margin(cell * 1.01));
  }
}

TEST_CASE("preparation gives the same bits on a device and about the same in float", "[gmm][preprocess][device]") {
  const auto set = make_v5<Double>(Key{12}, 20);
  const auto host = preprocess(set.densities, Grid{});
  const auto device = preprocess(set.densities.to<TestDevice>(), Grid{});
  CHECK(as_on_host(device.masses.to_vector(), host.masses.to_vector()));
  CHECK(as_on_host(device.points.to_vector(), host.points.to_vector()));
  using Float = Tensor<float, Cpu>;
  std::vector<float> values;
  for (double x : set.densities.to_vector()) values.push_back(static_cast<float>(x));
  const auto single = preprocess(Float::from(values, set.densities.shape()), Grid{});
  for (index_t b = 0; b < 20; ++b)
    CHECK(static_cast<double>(single.mean.to_vector()[static_cast<std::size_t>(b)]) ==
          Approx(host.mean.to_vector()[static_cast<std::size_t>(b)]).margin(1e-5));
}
