#pragma once
// Energy, enstrophy and palinstrophy of periodic flows, what feeds and drains them, and whether the account closes:
//
//   dE/dt = A <u sin k_f y> - 2 nu Z - 2 mu E,     dZ/dt = -A k_f <omega cos k_f y> - 2 nu P - 2 mu Z
//
// with E = <u^2 + v^2>/2, Z = <omega^2>/2, P = <|grad omega|^2>/2 (Chandler and Kerswell 2013).

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <kolmo/flow/kolmogorov_options.hpp>
#include <kolmo/flow/periodic_modes.hpp>

namespace kolmo::flow {

/// The account of one flow at one time.
struct Budget {
  double energy = 0, enstrophy = 0, palinstrophy = 0;
  double energy_input = 0;    ///< by the forcing, per unit time, as all that follow
  double energy_viscous = 0;  ///< 2 nu Z
  double energy_drag = 0;     ///< 2 mu E
  double enstrophy_input = 0;
  double enstrophy_viscous = 0;  ///< 2 nu P
  double enstrophy_drag = 0;     ///< 2 mu Z

  double energy_rate() const { return energy_input - energy_viscous - energy_drag; }
  double enstrophy_rate() const { return enstrophy_input - enstrophy_viscous - enstrophy_drag; }
};

/// What of the change between successive accounts is not explained by them, per unit time.
struct BudgetClosure {
  std::vector<double> energy, enstrophy;
  /// The largest of them, relative to the largest term of the account.
  double relative_energy = 0, relative_enstrophy = 0;
};

/// Lengths and numbers by which flows are compared.
struct FlowScales {
  double rms_speed = 0;      ///< sqrt(2 E)
  double eddy_scale = 0;     ///< sqrt(E / Z)
  double reynolds = 0;       ///< sqrt(2 E) sqrt(E / Z) / nu
  double cascade_scale = 0;  ///< of the enstrophy cascade, nu^(1/2) / (2 nu P)^(1/6)
  double resolution = 0;     ///< k_c times the cascade scale, resolved from 1.5 on
};

/// The accounts of the flows of a batch, vorticity [batch, n, n] or velocity [batch, 2, n, n]; the size in the options
/// is not looked at, so that coarsened fields may be given. Throws ShapeError for other shapes, and as validate.
template <PlainTensor X>
std::vector<Budget> budgets(const X& x, const KolmogorovOptions& options,
                            VelocityGrid grid = VelocityGrid::collocated) {
  validate(options);
  std::vector<Budget> result;
  const double nu = options.viscosity(), mu = options.drag, kf = options.forcing_frequency();
  for (const detail::FlowModes& flow : detail::flow_modes(x, {options.length, grid}, "budgets")) {
    Budget b;
    flow.for_each([&](index_t r, index_t c) {
      b.energy += flow.weight(c) * flow.energy(r, c);
      b.enstrophy += flow.weight(c) * flow.enstrophy(r, c);
      b.palinstrophy += flow.weight(c) * flow.enstrophy(r, c) * flow.k_square(r, c);
    });
    if (options.forcing_amplitude != 0) {
      if (2 * options.forcing_wavenumber >= flow.n)
        throw ShapeError("budgets: fields of " + std::to_string(flow.n) + " points do not resolve a forcing of " +
                         std::to_string(options.forcing_wavenumber) + " waves");
      const std::size_t forced = flow.place(0, options.forcing_wavenumber);
      b.energy_input = -options.forcing_amplitude * flow.u[forced].im;
      b.enstrophy_input = -options.forcing_amplitude * kf * flow.vorticity[forced].re;
    }
    b.energy_viscous = 2 * nu * b.enstrophy;
    b.energy_drag = 2 * mu * b.energy;
    b.enstrophy_viscous = 2 * nu * b.palinstrophy;
    b.enstrophy_drag = 2 * mu * b.enstrophy;
    result.push_back(b);
  }
  return result;
}

/// Compares the change of successive accounts, `dt` apart, with the mean of their rates (trapezoidal, so of second
/// order in dt). Throws ArgumentError for fewer than two accounts or a dt that is not positive.
inline BudgetClosure budget_closure(std::span<const Budget> series, double dt) {
  if (series.size() < 2 || !(dt > 0))
    throw ArgumentError("budget_closure: at least two accounts, a positive time apart, are needed");
  BudgetClosure result;
  double energy_term = 0, enstrophy_term = 0;
  for (const Budget& b : series) {
    energy_term = std::max({energy_term, std::abs(b.energy_input), b.energy_viscous, b.energy_drag});
    enstrophy_term = std::max({enstrophy_term, std::abs(b.enstrophy_input), b.enstrophy_viscous, b.enstrophy_drag});
  }
  for (std::size_t i = 0; i + 1 < series.size(); ++i) {
    const Budget &a = series[i], &b = series[i + 1];
    result.energy.push_back((b.energy - a.energy) / dt - (a.energy_rate() + b.energy_rate()) / 2);
    result.enstrophy.push_back((b.enstrophy - a.enstrophy) / dt - (a.enstrophy_rate() + b.enstrophy_rate()) / 2);
    if (energy_term > 0)
      result.relative_energy = std::max(result.relative_energy, std::abs(result.energy.back()) / energy_term);
    if (enstrophy_term > 0)
      result.relative_enstrophy =
          std::max(result.relative_enstrophy, std::abs(result.enstrophy.back()) / enstrophy_term);
  }
  return result;
}

/// The scales of a flow from its account; `largest_wavenumber` is the highest |k| along an axis that the grid or the
/// truncation keeps (in waves along the box). A flow at rest has none: zeros.
inline FlowScales flow_scales(const Budget& budget, const KolmogorovOptions& options, index_t largest_wavenumber) {
  FlowScales scales;
  const double nu = options.viscosity();
  scales.rms_speed = std::sqrt(2 * budget.energy);
  if (budget.enstrophy > 0) scales.eddy_scale = std::sqrt(budget.energy / budget.enstrophy);
  if (nu > 0) scales.reynolds = scales.rms_speed * scales.eddy_scale / nu;
  if (nu > 0 && budget.palinstrophy > 0)
    scales.cascade_scale = std::sqrt(nu) / std::pow(2 * nu * budget.palinstrophy, 1.0 / 6);
  scales.resolution = options.fundamental() * static_cast<double>(largest_wavenumber) * scales.cascade_scale;
  return scales;
}

}  // namespace kolmo::flow
