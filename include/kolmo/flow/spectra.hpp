#pragma once
// Shell spectra of periodic flows, and the fluxes of energy and enstrophy from scale to scale.
//
// Fields are vorticity [batch, n, n] or velocity [batch, 2, n, n]; everything is computed in double on the host.

#include <cstddef>
#include <vector>

#include <kolmo/flow/periodic_modes.hpp>

namespace kolmo::flow {

/// A quantity by shell: entry k holds the modes whose number of waves along the box rounds to k.
struct Spectrum {
  std::vector<double> mean;                   ///< over the batch
  std::vector<std::vector<double>> of_batch;  ///< each flow's own
};

/// Which nonlinear fluxes there are.
struct SpectralFluxes {
  Spectrum energy;     ///< Pi_E(k): energy that leaves the modes of at most k waves per unit time
  Spectrum enstrophy;  ///< Pi_Z(k), likewise
};

namespace detail {

inline Spectrum with_mean(std::vector<std::vector<double>> of_batch) {
  Spectrum result;
  result.mean.assign(of_batch.empty() ? 0 : of_batch[0].size(), 0);
  for (const auto& one : of_batch)
    for (std::size_t k = 0; k < one.size(); ++k) result.mean[k] += one[k] / static_cast<double>(of_batch.size());
  result.of_batch = std::move(of_batch);
  return result;
}

template <class Density>
Spectrum shell_spectrum(const std::vector<FlowModes>& flows, const Density& density) {
  std::vector<std::vector<double>> shells;
  for (const FlowModes& flow : flows) {
    std::vector<double> sums(static_cast<std::size_t>(flow.shells()), 0);
    flow.for_each([&](index_t r, index_t c) {
      sums[static_cast<std::size_t>(flow.shell(r, c))] += flow.weight(c) * density(flow, r, c);
    });
    shells.push_back(std::move(sums));
  }
  return with_mean(std::move(shells));
}

/// The modes of -u . grad omega, the products formed on a grid fine enough to be exact.
inline std::vector<Mode> advection_modes(const FlowModes& flow) {
  const index_t points = (3 * flow.n / 2 + 2) / 2 * 2;
  auto gradient_x = flow.vorticity, gradient_y = flow.vorticity;
  flow.for_each([&](index_t r, index_t c) {
    const std::size_t m = flow.place(r, c);
    gradient_x[m] = Mode{0, flow.kx(r)} * gradient_x[m];
    gradient_y[m] = Mode{0, flow.ky(c)} * gradient_y[m];
  });
  const auto u = field_of(flow, flow.u, points), v = field_of(flow, flow.v, points);
  const auto x = field_of(flow, gradient_x, points), y = field_of(flow, gradient_y, points);
  std::vector<double> product(u.size());
  for (std::size_t i = 0; i < product.size(); ++i) product[i] = -(u[i] * x[i] + v[i] * y[i]);
  const auto fine = modes_of(product.data(), 1, points);
  std::vector<Mode> result(flow.vorticity.size());
  flow.for_each([&](index_t r, index_t c) {
    if (2 * r == flow.n || 2 * c == flow.n) return;
    const index_t row = flow.waves(r) < 0 ? flow.waves(r) + points : flow.waves(r);
    result[flow.place(r, c)] = fine[static_cast<std::size_t>(row * (points / 2 + 1) + c)];
  });
  return result;
}

}  // namespace detail

/// E(k), whose sum over k is the energy <u^2 + v^2> / 2 (of the vortical motion, for a vorticity). Throws ShapeError
/// for other shapes.
template <PlainTensor X>
Spectrum energy_spectrum(const X& x, const FieldGeometry& geometry = {}) {
  return detail::shell_spectrum(detail::flow_modes(x, geometry, "energy_spectrum"),
                                [](const auto& flow, index_t r, index_t c) { return flow.energy(r, c); });
}

/// Z(k), whose sum over k is the enstrophy <omega^2> / 2. Throws ShapeError for other shapes.
template <PlainTensor X>
Spectrum enstrophy_spectrum(const X& x, const FieldGeometry& geometry = {}) {
  return detail::shell_spectrum(detail::flow_modes(x, geometry, "enstrophy_spectrum"),
                                [](const auto& flow, index_t r, index_t c) { return flow.enstrophy(r, c); });
}

/// The fluxes through every shell; positive to smaller scales. The last entries are zero to round-off, as advection
/// only moves energy and enstrophy. Throws ShapeError for other shapes.
template <PlainTensor X>
SpectralFluxes spectral_fluxes(const X& x, const FieldGeometry& geometry = {}) {
  std::vector<std::vector<double>> energy, enstrophy;
  for (const detail::FlowModes& flow : detail::flow_modes(x, geometry, "spectral_fluxes")) {
    const auto advection = detail::advection_modes(flow);
    std::vector<double> e(static_cast<std::size_t>(flow.shells()), 0), z = e;
    flow.for_each([&](index_t r, index_t c) {
      if (r == 0 && c == 0) return;
      const auto shell = static_cast<std::size_t>(flow.shell(r, c));
      const double rate = flow.weight(c) * detail::inner(flow.vorticity[flow.place(r, c)], advection[flow.place(r, c)]);
      z[shell] -= rate;
      e[shell] -= rate / flow.k_square(r, c);
    });
    for (std::size_t k = 1; k < e.size(); ++k) {
      e[k] += e[k - 1];
      z[k] += z[k - 1];
    }
    energy.push_back(std::move(e));
    enstrophy.push_back(std::move(z));
  }
  return {detail::with_mean(std::move(energy)), detail::with_mean(std::move(enstrophy))};
}

}  // namespace kolmo::flow
