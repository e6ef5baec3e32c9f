// The flow past a cylinder from a program of one's own, and how its drag depends on the flow before: cylinder_wake
// STEPS
// test: 5

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/flow/body_diagnostics.hpp>
#include <kolmo/flow/immersed_transition.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/views.hpp>

namespace flow = kolmo::flow;
using Wake = flow::Immersed<double>;
using Vector = kolmo::Tensor<double, kolmo::Cpu>;

Wake cylinder() {
  flow::ImmersedOptions options;
  options.grid = {.nx = 80, .ny = 40, .levels = 3, .length = 8, .corner_x = -2, .corner_y = -2};
  options.reynolds = 100;
  options.time_step = 0.04;
  options.pulse = {.amplitude = 0.3, .begin = 0, .duration = 2};  // a push from the side, or the wake stays symmetric
  return Wake(options, {flow::circle_with_spacing(0, 0, 0.5, options.grid.spacing())});
}

/// Drag and lift of a run; the state is left where the run ends.
flow::ForceHistory run(const Wake& wake, Wake::State& state, kolmo::index_t steps) {
  flow::ForceHistory history;
  for (kolmo::index_t k = 0; k < steps; ++k) {
    wake.step(state);
    const flow::ForceCoefficients force = wake.forces(state)[0];
    history.append(state.time, force.drag, force.lift);
  }
  return history;
}

/// A cylinder at rest below one that moves up and down, y = 0.25 sin(2 pi 0.2 t).
Wake two_cylinders() {
  flow::ImmersedOptions options;
  options.grid = {.nx = 80, .ny = 60, .levels = 2, .length = 8, .corner_x = -2, .corner_y = -3};
  options.time_step = 0.04;
  flow::Body still = flow::circle_with_spacing(0, -1, 0.5, options.grid.spacing());
  flow::Body moving = flow::circle_with_spacing(0, 1, 0.5, options.grid.spacing());
  moving.motion = flow::PitchPlunge{.plunge_amplitude = 0.25, .plunge_frequency = 0.2};
  return Wake(options, {still, moving});
}

/// The gradient of the drag force `steps` steps later in everything that the state holds.
Vector drag_gradient(const Wake& wake, const Wake::State& state, kolmo::index_t steps) {
  const kolmo::index_t end = flow::packed_size(wake), points = wake.points();
  const auto later = [&](const auto& packed) {
    const auto x = flow::transition(wake, packed, steps, state.time);
    return kolmo::sum(kolmo::slice(x, 0, end - 2 * points, end - points));  // the points' forces along x
  };
  return kolmo::grad(later, flow::pack(wake, state));
}

int main(int argc, char** argv) {
  const kolmo::index_t steps = argc == 2 ? std::atoi(argv[1]) : 50;
  if (steps < 1) {
    std::fprintf(stderr, "usage: cylinder_wake STEPS\n");
    return argc == 2 && std::strcmp(argv[1], "--help") == 0 ? 0 : 2;
  }
  const Wake wake = cylinder();
  for (const std::string& warning : wake.warnings()) std::printf("note: %s\n", warning.c_str());
  Wake::State state = wake.start();
  const flow::ForceHistory history = run(wake, state, steps);
  std::printf("t = %.2f  drag %.3f  lift %.3f\n", state.time, history.drag.back(), history.lift.back());
  const flow::SheddingStatistics shed = flow::shedding_statistics(history, 0.5 * state.time);
  if (shed.cycles > 0) std::printf("Strouhal number %.4f\n", shed.strouhal);
  const Wake two = two_cylinders();
  Wake::State both = two.start();
  two.run(both, 5);
  std::printf("drag of the cylinder at rest %.3f, of the moving one %.3f\n", two.forces(both)[0].drag,
              two.forces(both)[1].drag);

  const Vector gradient = drag_gradient(wake, state, 5);
  std::printf("largest slope of the drag: %.3g\n", kolmo::max(kolmo::abs(gradient)).item());
}
