// A batch of wakes on the device, advanced at once, against the CPU, where each is a run of its own.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/flow/immersed_transition.hpp>
#include <kolmo/ops/views.hpp>

#include "compare.hpp"

using namespace kolmo;

namespace {

constexpr index_t batch = 3;

template <class T, class B>
void wakes(check::Results<T>& results, index_t levels, flow::ImmersedScheme scheme) {
  flow::ImmersedOptions options;
  options.grid = {16, 12, levels, 2, -0.8, -0.75, 0, 0};
  options.reynolds = 60;
  options.time_step = 0.02;
  options.scheme = scheme;
  const flow::Immersed<T, B> solver(options, {flow::circle(0, 0, 0.3, 10)});
  const index_t nodes = options.grid.node_shape().size(), size = packed_size(solver);
  std::vector<T> states(static_cast<std::size_t>(batch * size));
  for (index_t one_case = 0; one_case < batch; ++one_case)
    for (index_t k = 0; k < nodes; ++k)
      states[static_cast<std::size_t>(one_case * size + k)] =
          static_cast<T>(0.05 * static_cast<double>((k * 7 + one_case * 3) % 11) - 0.25);
  const auto x = Tensor<T, B>::from(states, Shape{batch, size});
  const std::string name = std::to_string(levels) + " levels";
  results.add(name, transition(solver, x, 2));
  const auto first = at(x, 0, 0);
  auto back = vjp([&](const auto& state) { return transition(solver, state, 1); }, first);
  results.add("gradient of " + name, back.pull(Tensor<T, B>::ones(first.shape())));
}

template <class T, class B>
check::Results<T> all() {
  check::Results<T> results;
  wakes<T, B>(results, 1, flow::ImmersedScheme::ab2);
  wakes<T, B>(results, 2, flow::ImmersedScheme::rk3);
  return results;
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  check::compare(all<double, Cuda>(), all<double, Cuda>(), all<double, Cpu>(), 1e3);
  check::compare(all<float, Cuda>(), all<float, Cuda>(), all<float, Cpu>(), 1e3);
  return check::result();
}
