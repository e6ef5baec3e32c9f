// The spectral solver inside a file of nvcc: transitions, tangents and gradients on the device.
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/flow/spectral.hpp>

using Device = kolmo::Tensor<float, kolmo::Cuda>;
using Solver = kolmo::flow::Spectral<float, kolmo::Cuda>;

Device transition(const Solver& solver, const Device& staggered) {
  return solver.to_staggered(solver.transition(solver.from_staggered(staggered), 0.2));
}
kolmo::Jet<Device> tangent(const Solver& solver, const kolmo::Jet<Device>& x) { return solver.step(x, 0.004); }
kolmo::Var<Device> recorded(const Solver& solver, const kolmo::Var<Device>& x) {
  return solver.to_vorticity(solver.tendency(solver.transition(x, 0.2)));
}
