// fit(): mixtures of sampled densities in the units of the input, by a learned model and by EM.

#include "catch.hpp"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <thread>

#include <unistd.h>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/gmm/em_fit.hpp>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using F = Tensor<float, Cpu>;
using D = Tensor<double, Cpu>;

namespace {

/// Without training: half an EM step at a time from the starting values of the networks.
template <class V>
Lamf<V> small_model(index_t components = 3, index_t points = 96, index_t iterations = 20) {
  LamfOptions options;
  options.points = points;
  options.components = components;
  options.iterations = iterations;
  options.init_width = 24;
  options.init_layers = options.refine_layers = 1;
  options.refine_width = 16;
  Lamf<V> model(options);
  init(Key{7}, model);
  return model;
}

/// Two normals, [rows, n]; row r is moved by r / 10.
template <class V>
V two_normals(const Grid& grid, index_t rows, double unit = 1.0) {
  using T = typename V::Scalar;
  std::vector<T> values;
  for (index_t r = 0; r < rows; ++r)
    for (index_t i = 0; i < grid.points; ++i) {
      const double z = grid[i] / unit - 0.1 * static_cast<double>(r);
      values.push_back(static_cast<T>((0.3 * normal_density(z, -1.0, 0.5) + 0.7 * normal_density(z, 1.5, 1.0)) / unit));
    }
  return V::from(values, Shape{rows, grid.points});
}

template <class V>
bool same_bits(const V& a, const V& b) {
  const auto x = a.to_vector(), y = b.to_vector();
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(x[0])) == 0;
}
template <class V>
bool same_bits(const FitReport<V>& a, const FitReport<V>& b) {
  return same_bits(a.mixture.weights, b.mixture.weights) && same_bits(a.mixture.means, b.mixture.means) &&
         same_bits(a.mixture.deviations, b.mixture.deviations) && same_bits(a.status, b.status) &&
         same_bits(a.warnings, b.warnings) && same_bits(a.mass_lost, b.mass_lost);
}

template <class V>
double largest_difference(const V& a, const V& b) {
  const auto x = a.to_vector(), y = b.to_vector();
  double largest = x.size() == y.size() ? 0.0 : 1e300;
  for (std::size_t i = 0; i < x.size() && i < y.size(); ++i) {
    const double d = std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i]));
    if (!(d <= largest)) largest = d;
  }
  return largest;
}

struct TemporaryFile {
  std::filesystem::path path;
  explicit TemporaryFile(const std::string& name)
      : path(std::filesystem::temp_directory_path() / ("kolmo_" + std::to_string(getpid()) + name)) {}
  ~TemporaryFile() { std::filesystem::remove(path); }
};

EmOptions em_with(int components) {
  EmOptions em;
  em.components = components;
  em.tolerance = 1e-12;
  em.max_iterations = 5000;
  return em;
}

}  // namespace

TEST_CASE("EM finds the mixture a density was made of, in the units of the input") {
  for (const double unit : {1.0, 1e-6, 4e5}) {
    const Grid grid{-6.0 * unit, 7.0 * unit, 301};
    FitOptions options;
    options.measures = true;
    const auto report = fit(em_with(2), two_normals<D>(grid, 1, unit), grid, options);
    CHECK(report.statuses() == std::vector{Status::ok});
    CHECK(report.mixture.weights.to_vector()[0] == Approx(0.3).epsilon(1e-3));
    CHECK(report.mixture.means.to_vector()[0] == Approx(-1.0 * unit).epsilon(1e-3));
    CHECK(report.mixture.means.to_vector()[1] == Approx(1.5 * unit).epsilon(1e-3));
    CHECK(report.mixture.deviations.to_vector()[0] == Approx(0.5 * unit).epsilon(1e-3));
    CHECK(report.iterations.item() > 5);
    CHECK(report.warnings.item() == 0);
    CHECK(report.measures->density_error.item() * unit < 1e-4);
  }
}

TEST_CASE("the deviation floor of EM is in units of the input") {
  const Grid grid{-6.0, 7.0, 301};
  EmOptions em = em_with(2);
  em.deviation_floor = 0.8;
  const auto deviations = fit(em, two_normals<D>(grid, 1), grid).mixture.deviations.to_vector();
  CHECK(deviations[0] == Approx(0.8));
  CHECK(deviations[1] > 0.8);
}

TEST_CASE("a learned model fits any grid and returns ordered mixtures with the mean of the density") {
  const auto model = small_model<F>();
  for (const index_t n : {8, 31, 96, 97, 2000}) {
    const Grid grid{-7.0, 8.0, n};
    FitOptions options;
    options.measures = true;
    const auto report = fit(model, two_normals<F>(grid, 1), grid, options);
    CAPTURE(n);
    REQUIRE(report.statuses() == std::vector{Status::ok});
    const auto w = report.mixture.weights.to_vector(), m = report.mixture.means.to_vector();
    CHECK(w[0] + w[1] + w[2] == Approx(1.0).epsilon(1e-5));
    CHECK(m[0] <= m[1]);
    CHECK(m[1] <= m[2]);
    CHECK(w[0] * m[0] + w[1] * m[1] + w[2] * m[2] == Approx(0.75).margin(n < 10 ? 0.3 : 0.05));
    CHECK(report.measures->distribution_error.item() < (n < 10 ? 0.3f : 0.06f));
    CHECK(report.iterations.item() > 20);
    options.polish = PolishOptions{.evaluations = 0};
    CHECK(fit(model, two_normals<F>(grid, 1), grid, options).iterations.item() == 20);
  }
}

TEST_CASE("a fit moves with the density and scales with its units") {
  const auto model = small_model<D>();
  const Grid grid{-7.0, 8.0, 150};
  const D densities = two_normals<D>(grid, 3);
  const auto plain = fit(model, densities, grid);
  const double unit = 250.0, shift = 1e4;
  const auto moved = fit(model, densities, Grid{grid.first * unit + shift, grid.last * unit + shift, 150});
  CHECK(largest_difference(moved.mixture.weights, plain.mixture.weights) < 1e-9);
  CHECK(largest_difference(moved.mixture.means, plain.mixture.means * unit + shift) < 1e-6);
  CHECK(largest_difference(moved.mixture.deviations, plain.mixture.deviations * unit) < 1e-6);

  const auto offset = fit(model, densities, grid, {}, D::from({0.0, 1.0, -2.0}, Shape{3}));
  CHECK(largest_difference(offset.mixture.means - D::from({0.0, 1.0, -2.0}, Shape{3, 1}), plain.mixture.means) < 1e-9);
  const auto em_offset = fit(em_with(2), densities, grid, {}, D::from({0.0, 1.0, -2.0}, Shape{3}));
  CHECK(largest_difference(em_offset.mixture.means - D::from({0.0, 1.0, -2.0}, Shape{3, 1}),
                           fit(em_with(2), densities, grid).mixture.means) < 1e-6);
}

TEST_CASE("a fit does not depend on the scale of the values, the chunks or the number of threads") {
  const auto model = small_model<F>();
  const Grid grid{-7.0, 8.0, 120};
  const F densities = two_normals<F>(grid, 37);
  const auto reference = fit(model, densities, grid);
  CHECK(same_bits(fit(model, densities * 4.0, grid), reference));
  const auto em_reference = fit(em_with(3), densities, grid);
  const int threads_before = threads::count();
  for (const int count : {1, 2, 4}) {
    threads::set_count(count);
    CHECK(same_bits(fit(model, densities, grid), reference));
    CHECK(same_bits(fit(em_with(3), densities, grid), em_reference));
  }
  threads::set_count(threads_before);
  FitOptions options;
  // Matrix products of another number of rows round differently.
  for (const index_t chunk : {1, 5, 100}) {
    options.chunk = chunk;
    const auto report = fit(model, densities, grid, options);
    CHECK(largest_difference(report.mixture.means, reference.mixture.means) < 1e-4);
    CHECK(largest_difference(report.mixture.weights, reference.mixture.weights) < 1e-4);
    CHECK(same_bits(fit(em_with(3), densities, grid, options), em_reference));
  }
}

TEST_CASE("threads may share one model") {
  const auto model = small_model<F>();
  const Grid grid{-7.0, 8.0, 120};
  const F densities = two_normals<F>(grid, 20);
  const auto reference = fit(model, densities, grid);
  std::vector<FitReport<F>> reports(4);
  std::vector<std::thread> workers;
  for (auto& report : reports) workers.emplace_back([&] { report = fit(model, densities, grid); });
  for (auto& worker : workers) worker.join();
  for (const auto& report : reports) CHECK(same_bits(report, reference));
}

TEST_CASE("rows that are no densities have a status and NaN, and leave the others alone") {
  const Grid grid{-7.0, 8.0, 64};
  const F good = two_normals<F>(grid, 7);
  std::vector<float> values = good.to_vector();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  values[64 * 1 + 20] = nan;
  values[64 * 2 + 30] = -1.0f;
  for (int i = 0; i < 64; ++i) values[static_cast<std::size_t>(64 * 4 + i)] = 0.0f;
  values[64 * 5 + 3] = std::numeric_limits<float>::infinity();
  const F mixed = F::from(values, Shape{7, 64});
  FitOptions options;
  options.measures = true;
  options.chunk = 3;

  const auto check = [&](const FitReport<F>& report, const FitReport<F>& reference) {
    CHECK(report.statuses() == std::vector{Status::ok, Status::non_finite, Status::negative_mass, Status::ok,
                                           Status::zero_mass, Status::non_finite, Status::ok});
    const auto means = report.mixture.means.to_vector(), expected = reference.mixture.means.to_vector();
    const auto error = report.measures->density_error.to_vector();
    for (std::size_t row = 0; row < 7; ++row) {
      const bool valid = row == 0 || row == 3 || row == 6;
      CAPTURE(row);
      CHECK((error[row] == error[row]) == valid);
      for (std::size_t k = 0; k < 3; ++k) {
        if (valid)
          CHECK(means[3 * row + k] == expected[3 * row + k]);
        else
          CHECK(means[3 * row + k] != means[3 * row + k]);
      }
    }
  };
  const auto model = small_model<F>();
  check(fit(model, mixed, grid, options), fit(model, good, grid, options));
  EmOptions em;
  em.components = 3;
  check(fit(em, mixed, grid, options), fit(em, good, grid, options));
}

TEST_CASE("a density wider than the model's grid is refused, not cut") {
  // 10 points, but the mass lies at both ends of a grid that is much longer than the model's.
  const auto model = small_model<F>(3, 16);
  const Grid grid{0.0, 1.0, 1001};
  std::vector<float> values(1001, 0.0f);
  values[0] = 100.0f;
  for (int i = 1; i < 120; ++i) values[static_cast<std::size_t>(1000 - i)] = 1.0f;
  const auto report = fit(model, F::from(values), grid);
  CHECK(report.statuses() == std::vector{Status::outside_grid});
  FitOptions lenient;
  lenient.most_mass_lost = 0.9;
  CHECK(fit(model, F::from(values), grid, lenient).mass_lost.item() > 0.1f);
}

TEST_CASE("warnings tell of densities unlike the training set and of poor fits") {
  FitOptions options;
  options.measures = true;
  const Grid grid{0.0, 1.0, 400};
  std::vector<float> values;
  for (index_t i = 0; i < 400; ++i) {
    const double z = grid[i];
    values.push_back(static_cast<float>(normal_density(z, 0.5, 0.1)));
  }
  for (index_t i = 0; i < 400; ++i) {
    const double z = grid[i];
    values.push_back(static_cast<float>(normal_density(z, 0.1, 0.01) + normal_density(z, 0.9, 0.01)));
  }
  const auto model = small_model<F>(1);
  options.refit_above = 0;
  const auto report = fit(model, F::from(values, Shape{2, 400}), grid, options);
  CHECK(report.warnings.to_vector() == std::vector<std::int32_t>{0, 7});
  CHECK(describe_warnings(7) == "mass between or beyond the grid points, poor fit, unusual density");
  CHECK(describe_warnings(0).empty());
}

TEST_CASE("damaged weights give a status, not numbers, where no refit is allowed") {
  auto model = small_model<F>();
  model.init_network.layers.back().bias.mutable_data()[0] = std::numeric_limits<float>::quiet_NaN();
  const Grid grid{-7.0, 8.0, 96};
  FitOptions options;
  options.refit_above = 0;
  const auto report = fit(model, two_normals<F>(grid, 2), grid, options);
  CHECK(report.statuses() == std::vector{Status::broken_fit, Status::broken_fit});
  CHECK(report.mixture.weights.to_vector()[0] != report.mixture.weights.to_vector()[0]);
}

TEST_CASE("a model comes back from its file bit by bit, in either precision") {
  const TemporaryFile file("_model.safetensors");
  const auto model = small_model<F>();
  io::save_model(file.path, model);
  const Grid grid{-7.0, 8.0, 96};
  const F densities = two_normals<F>(grid, 5);
  const auto loaded = load_lamf<F>(file.path);
  CHECK(loaded.options.components == 3);
  CHECK(same_bits(fit(loaded, densities, grid), fit(model, densities, grid)));
  const auto in_double = fit(load_lamf<D>(file.path), two_normals<D>(grid, 5), grid).mixture.means.to_vector();
  const auto in_float = fit(loaded, densities, grid).mixture.means.to_vector();
  for (std::size_t i = 0; i < in_float.size(); ++i)
    CHECK(static_cast<double>(in_float[i]) == Approx(in_double[i]).margin(1e-4));

  CHECK(load_lamf<F>(file.path, 3).options.components == 3);
  CHECK_THROWS_WITH(load_lamf<F>(file.path, 5), Catch::Contains("fits 3 components, but 5 were asked for"));
}

TEST_CASE("a file that is no model of this kind is refused") {
  const TemporaryFile file("_bad.safetensors");
  CHECK_THROWS_AS(load_lamf<F>(file.path), IoError);
  const auto model = small_model<F>();
  io::NamedArrays arrays = io::to_arrays(model);
  const auto refused = [&](const std::string& option, const std::string& value) {
    io::NamedArrays changed = arrays;
    REQUIRE(changed.metadata.count("option:" + option) == 1);
    changed.metadata["option:" + option] = value;
    io::save_safetensors(file.path, changed);
    CAPTURE(option, value);
    CHECK_THROWS_AS(load_lamf<F>(file.path), IoError);
  };
  refused("components", "5");
  refused("components", "1000000");
  refused("points", "64");
  refused("points", "9223372036854775807");
  refused("iterations", "3");
  refused("deviation_floor", "0");
  io::save_safetensors(file.path, io::NamedArrays{});
  CHECK_THROWS_AS(load_lamf<F>(file.path), IoError);
}

TEST_CASE("arguments that do not fit are refused") {
  const auto model = small_model<F>();
  const Grid grid{-7.0, 8.0, 96};
  CHECK_THROWS_AS(fit(model, F::ones(Shape{2, 95}), grid), ShapeError);
  CHECK_THROWS_AS(fit(model, F::ones(Shape{2, 96}), grid, {}, F::ones(Shape{3})), ShapeError);
  CHECK_THROWS_AS(fit(model, F::ones(Shape{2, 96}), Grid{1.0, 1.0, 96}), ArgumentError);
  CHECK_THROWS_AS(fit(EmOptions{.components = 0}, F::ones(Shape{2, 96}), grid), ArgumentError);
  FitOptions options;
  options.chunk = 0;
  CHECK_THROWS_AS(fit(model, F::ones(Shape{2, 96}), grid, options), ArgumentError);
  CHECK(fit(model, F::ones(Shape{0, 96}), grid).batch() == 0);
}
