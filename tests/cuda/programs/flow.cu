// The periodic flow on the device, by kernels that take a cell, against the CPU, where they take whole fields.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/flow/coarse.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/finite_volume.hpp>
#include <kolmo/flow/passive_tracer.hpp>
#include <kolmo/flow/spectral.hpp>

#include "compare.hpp"

using namespace kolmo;

namespace {

/// A solver as a function of the velocity, for derivatives; lambdas that capture cannot be generic on a device's side.
template <class B>
struct Loss {
  flow::FiniteVolume<double, B> solver;
  template <class X>
  auto operator()(const X& x) const {
    const auto y = solver.transition(x, 0.06, 2);
    return sum(y * y * y);
  }
};

template <class B>
check::Results<double> all() {
  using V = Tensor<double, B>;
  check::Results<double> results;
  flow::KolmogorovOptions options;
  options.size = 12;
  options.reynolds = 100;
  const auto x = flow::filtered_velocities<V>(options, Key{1}, 0, 3);
  results.add("initial velocity", x);
  for (const auto scheme : {flow::RungeKutta::euler, flow::RungeKutta::heun}) {
    flow::FiniteVolumeOptions of_scheme;
    of_scheme.scheme = scheme;
    of_scheme.implicit_diffusion = scheme == flow::RungeKutta::heun;
    const Loss<B> loss{flow::FiniteVolume<double, B>(options, of_scheme)};
    const auto y = loss.solver.transition(x, 0.2);
    results.add("velocity", y);
    results.add("vorticity", flow::vorticity_sda(flow::coarsen(y, 2)));
    check::derivatives(results, "loss", loss, x);
  }
  // Groups of four columns that end beyond the row, and a length whose transforms convolve.
  options.size = 13;
  const auto odd = flow::filtered_velocities<V>(options, Key{1}, 0, 2);
  results.add("velocity of 13 x 13", flow::FiniteVolume<double, B>(options).transition(odd, 0.2));
  options.size = 16;
  const flow::Spectral<double, B> spectral(options);
  const auto w = spectral.from_velocity(flow::filtered_velocities<V>(options, Key{2}, 0, 2));
  results.add("spectral", spectral.transition(w, 0.1, {.steps = 3}));
  options.size = 12;
  bool refused = false;
  try {
    flow::FiniteVolume<double, B>(options).step(x * 1e3, 0.1);
  } catch (const flow::UnstableStep& e) {
    refused = e.step() == 0;
  }
  check::that(refused, "a step above the Courant limit is an error");
  const flow::PassiveTracer<double, B> tracer(options);
  results.add("tracer", tracer.step(at(x, 1, 0), x, 0.02));
  return results;
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  check::compare(all<Cuda>(), all<Cuda>(), all<Cpu>(), 1e3);
  return check::result();
}
