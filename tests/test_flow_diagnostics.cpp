// Diagnostics of periodic flows against single modes, exact solutions and sums by their definitions.

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/flow/budgets.hpp>
#include <kolmo/flow/field_comparison.hpp>
#include <kolmo/flow/spectra.hpp>
#include <kolmo/flow/structure_functions.hpp>
#include <kolmo/ops/join.hpp>

#include "device.hpp"
#include "expect_op_checks.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using namespace kolmo_test;

namespace {

using Plain = Tensor<double, Cpu>;
using Function = std::function<double(double, double)>;

/// Values of f at ((i + shift_x) h, (j + shift_y) h).
std::vector<double> sampled(const Function& f, index_t n, double shift_x = 0, double shift_y = 0) {
  std::vector<double> values;
  const double h = two_pi / static_cast<double>(n);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j)
      values.push_back(f((static_cast<double>(i) + shift_x) * h, (static_cast<double>(j) + shift_y) * h));
  return values;
}
Plain vorticity(const Function& f, index_t n) {
  const auto values = sampled(f, n);
  return Plain::from(std::span<const double>(values), {1, n, n});
}
Plain velocity(const Function& u, const Function& v, index_t n, VelocityGrid grid = VelocityGrid::collocated) {
  const bool staggered = grid == VelocityGrid::staggered;
  auto values = sampled(u, n, staggered ? 1 : 0, staggered ? 0.5 : 0);
  const auto second = sampled(v, n, staggered ? 0.5 : 0, staggered ? 1 : 0);
  values.insert(values.end(), second.begin(), second.end());
  return Plain::from(std::span<const double>(values), {1, 2, n, n});
}
Plain random_field(const Shape& shape, std::uint64_t seed) {
  const auto values = Numbers(seed).vector(static_cast<std::size_t>(shape.size()));
  return Plain::from(std::span<const double>(values), shape);
}
double sum_of(const std::vector<double>& x) { return std::accumulate(x.begin(), x.end(), 0.0); }
double mean_square(const Plain& x) {
  double sum = 0;
  for (const double v : x.to_vector()) sum += v * v;
  return sum / static_cast<double>(x.size());
}

}  // namespace

TEST_CASE("a single wave has its energy in its shell") {
  const Plain w = vorticity([](double x, double y) { return std::cos(3 * x + 4 * y); }, 32);
  const Spectrum energy = energy_spectrum(w), enstrophy = enstrophy_spectrum(w);
  for (std::size_t k = 0; k < energy.mean.size(); ++k) {
    CHECK(energy.mean[k] == Approx(k == 5 ? 0.25 / 25 : 0).margin(1e-15));
    CHECK(enstrophy.mean[k] == Approx(k == 5 ? 0.25 : 0).margin(1e-14));
  }
  // The same wave in a box of another size: lengths scale, waves do not.
  CHECK(energy_spectrum(w, {.length = 1}).mean[5] == Approx(0.25 / 25 / (two_pi * two_pi)));
}

TEST_CASE("spectra sum to the energy and the enstrophy, on even and odd grids") {
  for (const index_t n : {16, 15}) {
    const Plain u = random_field({3, 2, n, n}, 1), w = random_field({3, n, n}, 2);
    CHECK(sum_of(energy_spectrum(u).mean) == Approx(mean_square(u)).epsilon(1e-13));
    CHECK(sum_of(energy_spectrum(u, {.grid = VelocityGrid::staggered}).mean) == Approx(mean_square(u)).epsilon(1e-13));
    CHECK(sum_of(enstrophy_spectrum(w).mean) == Approx(mean_square(w) / 2).epsilon(1e-13));
    const auto spectrum = energy_spectrum(u);
    CHECK(spectrum.of_batch.size() == 3);
    CHECK(spectrum.mean[2] ==
          Approx((spectrum.of_batch[0][2] + spectrum.of_batch[1][2] + spectrum.of_batch[2][2]) / 3).epsilon(1e-14));
  }
}

TEST_CASE("Taylor-Green vortices have the exact energy, enstrophy and palinstrophy, however they are given") {
  const double k = 3;
  const auto u = [k](double x, double y) { return std::cos(k * x) * std::sin(k * y); };
  const auto v = [k](double x, double y) { return -std::sin(k * x) * std::cos(k * y); };
  KolmogorovOptions options = decaying_turbulence();
  options.reynolds = 50;
  options.drag = 0.2;
  const auto check_budget = [&](const Plain& field, VelocityGrid grid) {
    const Budget b = budgets(field, options, grid).at(0);
    CHECK(b.energy == Approx(0.25).epsilon(1e-13));
    CHECK(b.enstrophy == Approx(k * k / 2).epsilon(1e-13));
    CHECK(b.palinstrophy == Approx(k * k * k * k).epsilon(1e-13));
    // dE/dt = -(4 nu k^2 + 2 mu) E.
    CHECK(b.energy_rate() == Approx(-(4 * k * k / 50 + 0.4) * 0.25).epsilon(1e-13));
    CHECK(b.enstrophy_rate() == Approx(-(4 * k * k / 50 + 0.4) * k * k / 2).epsilon(1e-13));
  };
  check_budget(velocity(u, v, 20), VelocityGrid::collocated);
  check_budget(velocity(u, v, 20, VelocityGrid::staggered), VelocityGrid::staggered);
  check_budget(vorticity([k](double x, double y) { return -2 * k * std::cos(k * x) * std::cos(k * y); }, 20),
               VelocityGrid::collocated);
}

TEST_CASE("the account of a flow that approaches the laminar one closes, to second order in the step") {
  // u = a(t) sin(k_f y) with a' = A - (nu k_f^2 + mu) a solves the equations.
  KolmogorovOptions options;
  options.reynolds = 100;
  const double kf = options.forcing_frequency(), rate = options.viscosity() * kf * kf + options.drag;
  const auto closure = [&](double dt) {
    std::vector<Budget> series;
    for (int step = 0; step < 6; ++step) {
      const double a = 1 / rate * (1 - std::exp(-rate * (1 + step * dt)));
      const Plain field = velocity([&](double, double y) { return a * std::sin(kf * y); },
                                   [](double, double) { return 0.0; }, 16, VelocityGrid::staggered);
      series.push_back(budgets(field, options, VelocityGrid::staggered).at(0));
      CHECK(series.back().energy_input == Approx(a / 2).epsilon(1e-13));
      CHECK(series.back().enstrophy_input == Approx(a / 2 * kf * kf).epsilon(1e-13));
    }
    return budget_closure(series, dt);
  };
  const BudgetClosure coarse = closure(0.1), fine = closure(0.05);
  CHECK(coarse.energy.size() == 5);
  CHECK(fine.relative_energy < 1e-4);
  CHECK(std::log2(coarse.energy[0] / fine.energy[0]) == Approx(2).margin(0.1));
  CHECK(std::log2(coarse.enstrophy[0] / fine.enstrophy[0]) == Approx(2).margin(0.1));
}

TEST_CASE("fluxes are those of the filtered equations, and advection makes nothing") {
  // A field of four waves, whose advection is summed in space.
  struct Wave {
    double kx, ky, amplitude, phase;
  };
  const std::vector<Wave> waves{{1, 0, 1, 0.3}, {2, 1, 0.7, 1}, {-1, 2, 0.5, 2}, {3, 3, 0.4, 0.1}, {1, 4, 0.6, 0.7}};
  const index_t n = 16, fine = 48;
  const auto part = [&](double below, const std::function<double(const Wave&, double)>& term) {
    return [&waves, below, term](double x, double y) {
      double sum = 0;
      for (const Wave& w : waves)
        if (std::hypot(w.kx, w.ky) < below) sum += term(w, w.kx * x + w.ky * y + w.phase);
      return sum;
    };
  };
  const auto omega = [](const Wave& w, double a) { return w.amplitude * std::cos(a); };
  const auto psi = [](const Wave& w, double a) { return -w.amplitude * std::cos(a) / (w.kx * w.kx + w.ky * w.ky); };
  const auto u =
      part(99, [](const Wave& w, double a) { return w.amplitude * w.ky * std::sin(a) / (w.kx * w.kx + w.ky * w.ky); });
  const auto v =
      part(99, [](const Wave& w, double a) { return -w.amplitude * w.kx * std::sin(a) / (w.kx * w.kx + w.ky * w.ky); });
  const auto wx = part(99, [](const Wave& w, double a) { return -w.amplitude * w.kx * std::sin(a); });
  const auto wy = part(99, [](const Wave& w, double a) { return -w.amplitude * w.ky * std::sin(a); });
  const auto advection = [&](double x, double y) { return -(u(x, y) * wx(x, y) + v(x, y) * wy(x, y)); };

  const auto fluxes = spectral_fluxes(vorticity(part(99, omega), n));
  for (std::size_t k = 1; k < fluxes.energy.mean.size(); ++k) {
    const auto low_omega = part(static_cast<double>(k) + 0.5, omega), low_psi = part(static_cast<double>(k) + 0.5, psi);
    const auto z = sampled([&](double x, double y) { return -low_omega(x, y) * advection(x, y); }, fine);
    const auto e = sampled([&](double x, double y) { return low_psi(x, y) * advection(x, y); }, fine);
    CHECK(fluxes.enstrophy.mean[k] == Approx(sum_of(z) / (fine * fine)).margin(1e-13));
    CHECK(fluxes.energy.mean[k] == Approx(sum_of(e) / (fine * fine)).margin(1e-13));
  }
  // An even grid's highest waves have no derivative; a field without them is advected without loss.
  for (const index_t size : {15, 17}) {
    const auto random = spectral_fluxes(random_field({1, size, size}, 7));
    CHECK(std::abs(random.enstrophy.mean.back()) < 1e-13);
    CHECK(std::abs(random.energy.mean.back()) < 1e-13);
    CHECK(std::abs(random.enstrophy.mean[5]) > 1e-4);
  }
}

TEST_CASE("scales of Taylor-Green vortices") {
  KolmogorovOptions options;
  options.reynolds = 100;
  Budget b;
  b.energy = 0.25;
  b.enstrophy = 2;
  b.palinstrophy = 16;
  const FlowScales scales = flow_scales(b, options, 85);
  CHECK(scales.rms_speed == Approx(std::sqrt(0.5)));
  CHECK(scales.eddy_scale == Approx(std::sqrt(0.125)));
  CHECK(scales.reynolds == Approx(25));
  CHECK(scales.cascade_scale == Approx(0.1 / std::pow(0.32, 1.0 / 6)));
  CHECK(scales.resolution == Approx(85 * scales.cascade_scale));
  CHECK(flow_scales(Budget{}, options, 85).eddy_scale == 0);
}

TEST_CASE("the second structure function of a sine is 1 - cos(k r), the third vanishes") {
  const index_t n = 24;
  const Plain field = velocity([](double x, double y) { return std::sin(2 * x) + 0.5 * std::sin(3 * y); },
                               [](double x, double y) { return std::cos(x) + 0.25 * std::cos(4 * y); }, n);
  const std::vector<index_t> cells{0, 1, 2, 5, 12, -1};
  const StructureFunctions second = structure_functions(field, 2, cells);
  const StructureFunctions third = structure_functions(field, 3, cells);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const double r = two_pi * static_cast<double>(cells[i]) / static_cast<double>(n);
    CHECK(second.separations[i] == Approx(r));
    CHECK(second.longitudinal_x[i] == Approx(1 - std::cos(2 * r)).margin(1e-14));
    CHECK(second.transverse_y[i] == Approx(0.25 * (1 - std::cos(3 * r))).margin(1e-14));
    CHECK(second.transverse_x[i] == Approx(1 - std::cos(r)).margin(1e-14));
    CHECK(second.longitudinal_y[i] == Approx(0.0625 * (1 - std::cos(4 * r))).margin(1e-14));
    CHECK(std::abs(third.longitudinal_x[i]) < 1e-14);
  }
}

TEST_CASE("moments and correlations of samples") {
  CHECK(kurtosis(vorticity([](double x, double) { return std::sin(x) + 2; }, 16)) == Approx(1.5));
  // Series cos(0.3 t + phase) over all phases.
  std::vector<double> series;
  for (int b = 0; b < 12; ++b)
    for (int t = 0; t < 9; ++t) series.push_back(5 + std::cos(0.3 * t + two_pi * b / 12));
  const auto correlation = autocorrelation(Plain::from(std::span<const double>(series), {12, 9}), 8);
  for (std::size_t lag = 0; lag < 9; ++lag)
    CHECK(correlation[lag] == Approx(std::cos(0.3 * static_cast<double>(lag))).margin(1e-13));
  CHECK_THROWS_AS(autocorrelation(Plain::zeros({2, 3}), 3), ShapeError);
  CHECK_THROWS_AS(autocorrelation(Plain::zeros({2, 3}), 1), ArgumentError);
  CHECK_THROWS_AS(kurtosis(Plain::ones({4})), ArgumentError);
}

TEST_CASE("distances between flows") {
  const Plain a = random_field({2, 12, 12}, 3);
  const Plain b = Plain::from(a.to_vector()).reshaped(a.shape());
  CHECK(relative_error(a, b) == std::vector<double>{0, 0});
  const Plain twice = vorticity([](double x, double) { return 2 * std::sin(x); }, 8);
  const Plain once = vorticity([](double x, double) { return std::sin(x); }, 8);
  const Plain other = vorticity([](double, double y) { return std::sin(y); }, 8);
  CHECK(relative_error(twice, once)[0] == Approx(1));
  CHECK(vorticity_correlation(twice, once)[0] == Approx(1));
  CHECK(vorticity_correlation(once, other)[0] == Approx(0).margin(1e-15));
  CHECK(vorticity_correlation(once, Plain::zeros({1, 8, 8}))[0] == 0);
  CHECK_THROWS_AS(relative_error(once, Plain::zeros({1, 8, 8})), ArgumentError);
  CHECK_THROWS_AS(relative_error(once, a), ShapeError);

  // A potential flow is all divergence, a sum of it and a flow free of divergence half of the squares.
  const auto velocity = [](const Plain& u, const Plain& v) { return stack(1, u, v); };
  const Plain wave_x = vorticity([](double x, double) { return std::sin(2 * x); }, 8);
  const Plain wave_y = vorticity([](double, double y) { return std::sin(2 * y); }, 8);
  CHECK(relative_divergence(velocity(wave_y, wave_x))[0] == Approx(0).margin(1e-14));
  CHECK(relative_divergence(velocity(wave_x, wave_y))[0] == Approx(1));
  CHECK(relative_divergence(velocity(wave_x, wave_x))[0] == Approx(std::sqrt(0.5)));
  CHECK_THROWS_AS(relative_divergence(wave_x), ShapeError);

  CHECK(valid_time(std::vector<double>{1, 0.97, 0.93, 0.99}, 0.2) == Approx(0.3));
  CHECK(valid_time(std::vector<double>{1, 0.97}, 0.2) == Approx(0.2));
  CHECK(valid_time(std::vector<double>{0.5}, 0.2) == 0);
  CHECK_THROWS_AS(valid_time({}, 0.2), ArgumentError);

  const std::vector<double> reference{5, 1, 0.1, 1e-12}, spectrum{9, 2, 0.05, 7};
  CHECK(spectrum_distance(spectrum, reference) == Approx(2 * std::log(2.0)));
  CHECK_THROWS_AS(spectrum_distance(spectrum, std::vector<double>{1}), ShapeError);

  CHECK(wasserstein_distance({3, 1, 2}, {4, 5, 6}) == Approx(3));
  CHECK(wasserstein_distance({0, 1}, {0.5}) == Approx(0.5));
  CHECK(wasserstein_distance({0, 0, 1}, {0, 1}) == Approx(1.0 / 6));
  CHECK_THROWS_AS(wasserstein_distance({}, {1}), ArgumentError);
  CHECK_THROWS_AS(wasserstein_distance({std::numeric_limits<double>::quiet_NaN()}, {1}), ArgumentError);
}

TEST_CASE("diagnostics take fields of every backend and scalar, and refuse other shapes by name", "[device]") {
  const auto values = random_field({1, 2, 8, 8}, 4).to_vector();
  const std::vector<float> single(values.begin(), values.end());
  using Device = Tensor<float, TestDevice>;
  const Device field = Device::from(std::span<const float>(single), {1, 2, 8, 8});
  CHECK(sum_of(energy_spectrum(field).mean) ==
        Approx(mean_square(Plain::from(std::span<const double>(values), {1, 2, 8, 8}))).epsilon(1e-6));
  CHECK_THROWS_WITH(energy_spectrum(Plain::zeros({8, 8})), contains("given [8, 8]"));
  CHECK_THROWS_AS(energy_spectrum(Plain::zeros({1, 3, 8, 8})), ShapeError);
  CHECK_THROWS_AS(spectral_fluxes(Plain::zeros({1, 8, 9})), ShapeError);
  CHECK_THROWS_AS(energy_spectrum(Plain::zeros({1, 8, 8}), {.length = 0}), ArgumentError);
  CHECK_THROWS_AS(structure_functions(Plain::zeros({1, 8, 8}), 2, {1}), ShapeError);
  CHECK_THROWS_AS(structure_functions(Plain::zeros({1, 2, 8, 8}), 0, {1}), ArgumentError);
  CHECK_THROWS_AS(budgets(Plain::zeros({1, 8, 8}), KolmogorovOptions{}), ShapeError);
  CHECK_THROWS_AS(budget_closure({}, 0.1), ArgumentError);
}
