#pragma once
// What evaluate_fitters.cpp measures: a set of densities with the truth between its points, and the errors of a fit
// against both.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <kolmo/gmm/fit_report.hpp>
#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/v5.hpp>

/// Densities and their closed forms.
struct TestSet {
  using Host = kolmo::Tensor<double, kolmo::Cpu>;

  std::string name;
  kolmo::gmm::DensitySet<Host> densities;
  /// Points per cell at which the truth is known; the last of a cell is the next grid point.
  static constexpr int fine = 16;
  std::vector<double> values, offsets;
  std::vector<double> truth;         // [batch, fine (points - 1) + 1], on the fine grid; scaled like the values
  std::vector<double> distribution;  // [batch, points], exact up to 1e-7
  std::vector<double> area;          // of the truth by the trapezoid rule on the grid: 1 where that resolves it
  std::vector<int> stratum;
  std::vector<char> gaussian;  // whether skewness and kurtosis are those of a normal

  kolmo::index_t size() const { return static_cast<kolmo::index_t>(offsets.size()); }
  std::size_t points() const { return static_cast<std::size_t>(densities.grid.points); }
  bool resolved(std::size_t b) const { return std::abs(area[b] - 1) <= 1e-3; }

  /// `density(b, z)` is the closed form of row b.
  template <class Density>
  TestSet(std::string title, kolmo::gmm::DensitySet<Host> set, const Density& density)
      : name(std::move(title)), densities(std::move(set)) {
    values = densities.densities.to_vector();
    offsets = densities.offsets.to_vector();
    for (const std::int32_t s : densities.stratum.to_vector()) stratum.push_back(s);
    const std::size_t n = points(), rows = offsets.size(), width = fine * (n - 1) + 1;
    truth.resize(rows * width);
    distribution.resize(rows * n);
    area.resize(rows);
    gaussian.resize(rows);
    const double h = densities.grid.spacing();
    kolmo::threads::parallel_for(static_cast<kolmo::index_t>(rows), [&](kolmo::index_t item) {
      const auto b = static_cast<std::size_t>(item);
      double* g = &truth[b * width];
      for (std::size_t i = 0; i < width; ++i)
        g[i] = density(b, offsets[b] + densities.grid.first + h / fine * static_cast<double>(i));
      double sum = 0, reached = 0;
      for (std::size_t i = 0; i < n; ++i) sum += (i == 0 || i == n - 1 ? 0.5 : 1.0) * h * g[i * fine];
      area[b] = sum;
      // Simpson's rule on the fine grid.
      for (std::size_t i = 0; i < n; ++i) {
        distribution[b * n + i] = reached;
        if (i + 1 == n) break;
        for (std::size_t j = i * fine; j < (i + 1) * fine; j += 2)
          reached += h / fine / 3 * (g[j] + 4 * g[j + 1] + g[j + 2]);
      }
      // What the fitter sees is normalised on the grid; so is the truth it is compared with between the points.
      for (std::size_t i = 0; i < width; ++i) g[i] /= sum;
      double moment[5] = {};
      for (std::size_t i = 0; i < n; ++i)
        for (int m = 0; m < 5; ++m)
          moment[m] += values[b * n + i] * std::pow(densities.grid[static_cast<kolmo::index_t>(i)], m) * h;
      const double m1 = moment[1], v = moment[2] - m1 * m1;
      const double c3 = moment[3] - 3 * m1 * moment[2] + 2 * m1 * m1 * m1;
      const double c4 = moment[4] - 4 * m1 * moment[3] + 6 * m1 * m1 * moment[2] - 3 * m1 * m1 * m1 * m1;
      gaussian[b] = std::abs(c3 / std::pow(v, 1.5)) < 0.02 && std::abs(c4 / (v * v) - 3) < 0.05;
    });
  }
};

inline TestSet v5_test_set(kolmo::Key key, kolmo::index_t count) {
  namespace gmm = kolmo::gmm;
  auto set = gmm::make_v5<TestSet::Host>(key, count);
  const auto p = set.parameters.to_vector();
  return {"V5", std::move(set), [p](std::size_t b, double z) {
            const double* q = &p[5 * b];
            return gmm::MaxOfNormals::unchecked(q[0], gmm::Variance(q[1]), q[2], gmm::Variance(q[3]), q[4]).density(z);
          }};
}

inline TestSet foreign_test_set(kolmo::Key key, kolmo::index_t count) {
  namespace gmm = kolmo::gmm;
  gmm::ForeignOptions options;
  options.centred = true;
  auto set = gmm::make_foreign<TestSet::Host>(key, count, options);
  const auto p = set.parameters.to_vector();
  const auto families = set.stratum.to_vector();
  std::vector<gmm::ForeignDensity> densities(families.size());
  for (std::size_t b = 0; b < densities.size(); ++b) {
    densities[b].family = static_cast<gmm::Family>(families[b]);
    for (int i = 0; i < gmm::ForeignDensity::parameter_count; ++i)
      densities[b].parameters[i] = p[b * gmm::ForeignDensity::parameter_count + static_cast<std::size_t>(i)];
    densities[b].set_constant();
  }
  return {"foreign", std::move(set), [densities](std::size_t b, double z) { return densities[b].density(z); }};
}

/// Errors of the fits of some rows of a set.
struct Errors {
  std::vector<std::size_t> rows;
  std::vector<double> density, distribution, between;  // NaN where there is no fit
  std::vector<char> spike;
  double microseconds = 0;      // a fit, 256 at a time
  double one_by_one = 0;        // a fit, one at a time
  std::size_t without_fit = 0;  // rows
};

/// Measures mixtures [rows, K] against the set.
inline void measure(const TestSet& set, const std::vector<double>& weights, const std::vector<double>& means,
                    const std::vector<double>& deviations, Errors& e) {
  const std::size_t n = set.points(), width = TestSet::fine * (n - 1) + 1, count = e.rows.size();
  const std::size_t components = count > 0 ? weights.size() / count : 0;
  const double h = set.densities.grid.spacing();
  e.density.assign(count, NAN);
  e.distribution = e.between = e.density;
  e.spike.assign(count, 0);
  kolmo::threads::parallel_for(static_cast<kolmo::index_t>(count), [&](kolmo::index_t item) {
    const auto r = static_cast<std::size_t>(item), b = e.rows[r], k0 = r * components;
    if (!(weights[k0] >= 0)) return;
    double worst = 0, between = 0, cdf = 0, area = 0, cross = 0;
    for (std::size_t i = 0; i < width; ++i) {
      const double z = set.offsets[b] + set.densities.grid.first + h / TestSet::fine * static_cast<double>(i);
      double g = 0;
      for (std::size_t k = k0; k < k0 + components; ++k)
        if (weights[k] > 0) g += weights[k] * kolmo::gmm::normal_density(z, means[k], deviations[k]);
      between = std::max(between, std::abs(g - set.truth[b * width + i]));
      if (i % TestSet::fine != 0) continue;
      const std::size_t at = i / TestSet::fine;
      const double f = set.values[b * n + at], t = (at == 0 || at == n - 1 ? 0.5 : 1.0) * h;
      worst = std::max(worst, std::abs(g - f));
      area += t * g;
      if (f > 0) cross += t * f * std::log(f / std::max(g, 1e-12));
      double c = 0;
      for (std::size_t k = k0; k < k0 + components; ++k)
        if (weights[k] > 0) c += weights[k] * kolmo::normal_cdf((z - means[k]) / deviations[k]);
      cdf = std::max(cdf, std::abs(c - set.distribution[b * n + at]));
    }
    e.density[r] = worst;
    e.between[r] = between;
    e.distribution[r] = cdf;
    e.spike[r] = kolmo::gmm::is_spike(area, cross);
  });
  for (const double x : e.density) e.without_fit += !(x == x);
}

/// The values of the rows that `chosen(row)` picks; a missing fit counts as infinite.
template <class Chosen>
std::vector<double> pick(const Errors& e, const std::vector<double>& values, const Chosen& chosen) {
  std::vector<double> result;
  for (std::size_t r = 0; r < e.rows.size(); ++r)
    if (chosen(e.rows[r])) result.push_back(values[r]);
  return result;
}
