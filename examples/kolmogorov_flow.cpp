// Both solvers of the Kolmogorov flow from a program of one's own, and the gradient through them: kolmogorov_flow SIZE
// test: 32

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/flow/coarse.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/finite_volume.hpp>
#include <kolmo/flow/lyapunov.hpp>
#include <kolmo/flow/spectral.hpp>
#include <kolmo/io/npy.hpp>
#include <kolmo/ops/reduce.hpp>

namespace flow = kolmo::flow;
using Field = kolmo::Tensor<double, kolmo::Cpu>;

flow::KolmogorovOptions of_size(kolmo::index_t n) {
  flow::KolmogorovOptions options;  // Re = 1000, drag 0.1, four waves of force, as in the data set
  options.size = n;
  return options;
}

/// Frames of a trajectory, as simulate_kolmogorov makes them.
Field trajectory(const flow::FiniteVolume<double>& solver, kolmo::index_t frames) {
  // Noise drawn from seed 0; from trajectory 0 on, one: [1, 2, n, n].
  Field x = flow::filtered_velocities<Field>(solver.flow(), kolmo::Key{0}, 0, 1);
  for (kolmo::index_t frame = 0; frame < frames; ++frame) {
    x = solver.transition(x, 0.2);
    std::printf("t = %.1f  energy %.4f\n", 0.2 * static_cast<double>(frame + 1), kolmo::mean(kolmo::square(x)).item());
  }
  return flow::coarsen(x, 4);
}

/// How the energy after two time units depends on the initial vorticity, everywhere at once.
Field sensitivity(const flow::Spectral<double, kolmo::Cpu>& solver, const Field& vorticity) {
  const auto energy_later = [&](const auto& omega) {
    auto state = solver.from_vorticity(omega);
    for (int k = 0; k < 10; ++k) {
      const auto transition = [&solver](const auto& s) { return solver.transition(s, 0.2); };
      state = kolmo::checkpoint(transition, state);  // keeps one state a transition, recomputes the steps
    }
    return kolmo::mean(kolmo::square(solver.velocity(state)));
  };
  return kolmo::grad(energy_later, vorticity);
}

int main(int argc, char** argv) {
  const kolmo::index_t n = argc == 2 ? std::atoi(argv[1]) : 64;
  if (n < 16 || n % 4 != 0) {
    std::fprintf(stderr, "usage: kolmogorov_flow SIZE, a multiple of 4 from 16 on\n");
    return argc == 2 && std::strcmp(argv[1], "--help") == 0 ? 0 : 2;
  }
  const flow::FiniteVolume<double> finite_volume(of_size(n));
  std::printf("%lld steps per frame\n", static_cast<long long>(finite_volume.inner_steps(0.2)));
  const Field frame = trajectory(finite_volume, 5);
  std::printf("a frame has shape %s\n", frame.shape().to_string().c_str());
  kolmo::io::save_npy("frame.npy", kolmo::io::HostArray(frame.to_vector(), {2, n / 4, n / 4}));

  const flow::Spectral<double, kolmo::Cpu> spectral(of_size(n));
  const Field start = flow::filtered_velocities<Field>(of_size(n), kolmo::Key{0}, 0, 1);
  const Field omega = spectral.to_vorticity(spectral.from_staggered(start));
  const Field gradient = sensitivity(spectral, omega);
  std::printf("largest slope of the energy in the vorticity: %.3g\n", kolmo::max(kolmo::abs(gradient)).item());
}
