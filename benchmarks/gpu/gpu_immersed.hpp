#pragma once
// The case that immersed.cu and immersed_cpu.cpp time: a cylinder of 157 points on 400 x 200 cells, four levels.

#include <cmath>

#include <kolmo/flow/immersed.hpp>

#include "gpu_measure.hpp"

namespace gpu {

inline kolmo::flow::ImmersedOptions immersed_options(bool tiny) {
  kolmo::flow::ImmersedOptions o;
  o.grid = tiny ? kolmo::flow::ImmersedGrid{20, 20, 2, 4, -2, -2, 0, 0}
                : kolmo::flow::ImmersedGrid{400, 200, 4, 8, -2, -2, 0, 0};
  o.time_step = tiny ? 0.02 : 0.005;
  o.scheme = kolmo::flow::ImmersedScheme::ab2;
  return o;
}

inline std::vector<kolmo::flow::Body> immersed_bodies(bool tiny) {
  return {kolmo::flow::circle(0, 0, 0.5, tiny ? 12 : 157)};
}

/// Five sine transforms of 2.5 n log2 n a level and step, and 40 operations and 20 numbers a node beside them.
inline Work immersed_work(const kolmo::flow::ImmersedOptions& o, double cases, double bytes_of_scalar) {
  const double nodes = static_cast<double>(o.grid.nodes()), levels = static_cast<double>(o.grid.levels);
  return {.bytes = cases * levels * nodes * 20 * bytes_of_scalar,
          .flops = cases * levels * (5 * 2.5 * nodes * std::log2(nodes) + 40 * nodes),
          .unit = bytes_of_scalar == 4 ? "float" : "double",
          .items = cases};
}

}  // namespace gpu
