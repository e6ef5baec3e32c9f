// The finite-volume flow solver: its kernels take a cell, and the solver runs on a device.
#include <kolmo/ad/transforms.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/flow/coarse.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/finite_volume.hpp>
#include <kolmo/flow/initial_conditions.hpp>

using namespace kolmo;
using Device = Tensor<float, Cuda>;

template <class X>
auto run(const flow::FiniteVolume<float, Cuda>& solver, const X& x) {
  return solver.transition(x, 0.2);
}

Device finite_volume(const flow::KolmogorovOptions& options, const Device& dx) {
  const flow::FiniteVolume<float, Cuda> solver(options);
  const auto x = flow::filtered_velocities<Device>(options, Key{1}, 0, 4);
  const auto f = [&](const auto& y) { return run(solver, y); };
  auto pull = vjp(f, x);
  return flow::vorticity_sda(flow::coarsen(jvp(f, x, dx).tangent + pull.pull(dx), 4));
}
