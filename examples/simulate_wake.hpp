#pragma once
// What simulate_wake.cpp computes, keeps and draws.

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <kolmo/flow/body_diagnostics.hpp>
#include <kolmo/flow/immersed.hpp>
#include <kolmo/io/apng.hpp>
#include <kolmo/io/field_image.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/host_array.hpp>

namespace wake {

using kolmo::index_t;
namespace flow = kolmo::flow;
namespace io = kolmo::io;

/// Velocities [2, ny-1, nx-1] at the interior nodes of the finest level, rows of constant y.
template <class T>
std::vector<float> node_velocity(const flow::ImmersedGrid& grid, const flow::ImmersedState<kolmo::Tensor<T, kolmo::Cpu>>& state) {
  const std::vector<T> q = state.flux.to_vector();
  const index_t nx = grid.nx, ny = grid.ny, offset = grid.fluxes_x();
  const double half = 0.5 / grid.spacing();
  const auto at = [&](index_t i) { return static_cast<double>(q[static_cast<std::size_t>(i)]); };
  std::vector<float> result(static_cast<std::size_t>(2 * (nx - 1) * (ny - 1)));
  for (index_t j = 1; j < ny; ++j)
    for (index_t i = 1; i < nx; ++i) {
      const auto node = static_cast<std::size_t>((j - 1) * (nx - 1) + i - 1);
      result[node] = static_cast<float>(half * (at(i * ny + j) + at(i * ny + j - 1)));
      result[node + static_cast<std::size_t>((nx - 1) * (ny - 1))] =
          static_cast<float>(half * (at(offset + (i - 1) * (ny + 1) + j) + at(offset + i * (ny + 1) + j)));
    }
  return result;
}

/// Vorticity [nx-2, ny-2] of velocities at the interior nodes, by differences over two cells; x first, for pictures.
inline std::vector<double> vorticity_of(const io::HostArray& frame, double spacing) {
  const index_t rows = frame.shape[1], columns = frame.shape[2];
  const auto values = frame.as<float>();
  const auto u = [&](index_t i, index_t j) { return static_cast<double>(values[static_cast<std::size_t>(j * columns + i)]); };
  const auto v = [&](index_t i, index_t j) {
    return static_cast<double>(values[static_cast<std::size_t>((rows + j) * columns + i)]);
  };
  std::vector<double> result;
  for (index_t i = 1; i + 1 < columns; ++i)
    for (index_t j = 1; j + 1 < rows; ++j)
      result.push_back((v(i + 1, j) - v(i - 1, j) - u(i, j + 1) + u(i, j - 1)) / (2 * spacing));
  return result;
}

/// Forces on all bodies together, step by step.
struct ForceHistory {
  std::vector<double> time, drag, lift;
};

}  // namespace wake
