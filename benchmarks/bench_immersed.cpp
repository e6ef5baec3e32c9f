// The immersed-boundary solver on one thread: a step of the flow past a cylinder of 157 points on 400 x 200 cells, one
// and four levels, and the building of its force matrices. GFLOP/s counts the arithmetic that no implementation of the
// method can avoid: five sine transforms of 2.5 n log2 n each per substep and level (one transform less where a level
// has no body), and 40 operations per node beside them.

#include <cmath>

#include <kolmo/flow/immersed.hpp>
#include <kolmo/flow/immersed_transition.hpp>

#include "measure.hpp"

namespace {

using kolmo::index_t;
using kolmo::flow::Body;
using kolmo::flow::Immersed;
using kolmo::flow::ImmersedOptions;
using kolmo::flow::ImmersedScheme;
using measure::compare;
using measure::Work;

ImmersedOptions options_of(index_t levels, ImmersedScheme scheme) {
  ImmersedOptions o;
  o.grid = {400, 200, levels, 8, -2, -2, 0, 0};
  o.time_step = scheme == ImmersedScheme::ab2 ? 0.005 : 0.02;
  o.scheme = scheme;
  return o;
}

std::vector<Body> cylinder() { return {kolmo::flow::circle(0, 0, 0.5, 157)}; }

Work work_of(const ImmersedOptions& o) {
  const double nodes = static_cast<double>(o.grid.nodes());
  const double substeps = o.scheme == ImmersedScheme::ab2 ? 1 : 3;
  const double per_level = 5 * 2.5 * nodes * std::log2(nodes) + 40 * nodes;
  return Work{.flops = substeps * static_cast<double>(o.grid.levels) * per_level};
}

template <class T>
void add_steps(const std::string& scalar, index_t levels, const std::string& name, ImmersedScheme scheme) {
  const std::string prefix = "immersed/" + scalar + "/levels_" + std::to_string(levels) + "/" + name + "/";
  measure::add(prefix + "step", [=](benchmark::State& state) {
    const ImmersedOptions o = options_of(levels, scheme);
    const Immersed<T> flow(o, cylinder());
    auto s = flow.start();
    flow.run(s, 3);
    compare(state, work_of(o), [&] { flow.step(s); });
  });
  measure::add(prefix + "build", [=](benchmark::State& state) {
    compare(state, Work{}, [&] {
      const Immersed<T> flow(options_of(levels, scheme), cylinder());
      benchmark::DoNotOptimize(flow.points());
    });
  });
}

void add_gradient() {
  measure::add("immersed/double/levels_1/ab2/transition_10_and_pull", [](benchmark::State& state) {
    using V = kolmo::Tensor<double, kolmo::Cpu>;
    const Immersed<double> flow(options_of(1, ImmersedScheme::ab2), cylinder());
    auto s = flow.start();
    flow.run(s, 3);
    const V x = pack(flow, s), gy = V::ones(x.shape());
    compare(state, Work{.items = 10}, [&] {
      auto back = kolmo::vjp([&](const auto& z) { return transition(flow, z, 10); }, x);
      benchmark::DoNotOptimize(back.pull(gy).data());
    });
  });
}

}  // namespace

int main(int argc, char** argv) {
  for (const index_t levels : {1, 4}) {
    add_steps<double>("double", levels, "ab2", ImmersedScheme::ab2);
    add_steps<double>("double", levels, "rk3", ImmersedScheme::rk3);
    add_steps<float>("float", levels, "ab2", ImmersedScheme::ab2);
  }
  add_gradient();
  return measure::run(argc, argv);
}
