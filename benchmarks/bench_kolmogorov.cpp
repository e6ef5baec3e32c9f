// The finite-volume Kolmogorov flow at the size of the data set, 256 x 256: one inner step and its parts, a transition
// of 0.2 (82 inner steps), the reverse sweep of ten steps, and two trajectories on two threads against one on one.
//
// Work of an inner step per cell: four fluxes of 19 operations (one of them a division), 38 for the rest of the
// explicit part, 3 for the divergence, 9 for the correction, and two transforms of 2.5 N^2 log2 N^2 over the field;
// bytes are those of the fields a pass reads and writes once.

#include <cmath>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/finite_volume.hpp>

#include "measure.hpp"

namespace {

namespace flow = kolmo::flow;
using kolmo::Cpu;
using kolmo::index_t;
using kolmo::Shape;
using kolmo::Tensor;
using measure::Work;

constexpr index_t size = 256;

double cells() { return static_cast<double>(size * size); }
double fft_flops() { return 2.5 * cells() * std::log2(cells()); }

template <class T>
Work explicit_part() {
  return {5 * cells() * sizeof(T), (4 * 19 + 38 + 3) * cells()};
}
template <class T>
Work projection() {
  return {11 * cells() * sizeof(T), 2 * fft_flops() + (2 + 9) * cells()};
}
template <class T>
Work inner_steps(double count) {
  const Work a = explicit_part<T>(), b = projection<T>();
  return {count * (a.bytes + b.bytes), count * (a.flops + b.flops)};
}

template <class T>
struct Bench {
  using V = Tensor<T, Cpu>;
  flow::KolmogorovOptions options;
  flow::FiniteVolume<T> solver{options};
  double step = 0.2 / 82;
  V x;

  explicit Bench(index_t batch = 1) {
    options.size = size;
    solver = flow::FiniteVolume<T>(options);
    x = solver.transition(flow::filtered_velocities<V>(options, kolmo::Key{1}, 0, batch), 10 * step, 10);
  }
};

/// Scratch to run the passes of a step one by one.
template <class T>
struct Passes {
  using Run = flow::detail::FiniteVolumeRun<T, Cpu, T>;
  Bench<T> bench;
  flow::detail::FiniteVolumeCore<T, Cpu> core{bench.options, {}};
  Run run{core, 1, bench.step};
  Tensor<T, Cpu> now = run.state(), next = run.state();
  Tensor<T, Cpu> divergence = Tensor<T, Cpu>::zeros(kolmo::Shape{size, size});
  Tensor<T, Cpu> work = Tensor<T, Cpu>::zeros(kolmo::Shape{flow::detail::advection_work_rows, run.grid.row});

  Passes() { run.load(bench.x.data(), now.mutable_data()); }
  void advect() {
    flow::detail::advect<Cpu>(core.options.advection, run.grid, 1, run.constants(), now.data(), next.mutable_data(),
                              divergence.mutable_data(), work.mutable_data());
  }
  void project() { run.project(next.mutable_data(), 0, T(1e30)); }
};

template <class T>
void add_all(const std::string& type) {
  measure::add("FiniteVolume/inner_step/" + type, [](benchmark::State& state) {
    const Bench<T> b;
    // Twenty at a time, as in a transition; the figure is that of one.
    const auto run = [&] { benchmark::DoNotOptimize(b.solver.transition(b.x, 20 * b.step, 20).data()); };
    Work work = inner_steps<T>(20);
    work.items = 20;
    measure::compare(state, work, run);
  });
  measure::add("FiniteVolume/explicit_part/" + type, [](benchmark::State& state) {
    Passes<T> p;
    measure::compare(state, explicit_part<T>(), [&] { p.advect(); });
  });
  measure::add("FiniteVolume/projection/" + type, [](benchmark::State& state) {
    Passes<T> p;
    p.advect();
    measure::compare(state, projection<T>(), [&] { p.project(); });
  });
  measure::add("FiniteVolume/transition/" + type, [](benchmark::State& state) {
    const Bench<T> b;
    measure::compare(state, inner_steps<T>(82),
                     [&] { benchmark::DoNotOptimize(b.solver.transition(b.x, 0.2).data()); });
  });
  measure::add("FiniteVolume/reverse_sweep_10/" + type, [](benchmark::State& state) {
    const Bench<T> b;
    const auto forward = [&] { benchmark::DoNotOptimize(b.solver.transition(b.x, 10 * b.step, 10).data()); };
    const auto gradient = [&] {
      auto pull = kolmo::vjp([&](const auto& y) { return b.solver.transition(y, 10 * b.step, 10); }, b.x);
      benchmark::DoNotOptimize(pull.pull(b.x).data());
    };
    // Value, the same steps again to have their states, and the sweep: the ratio to a forward run.
    measure::compare(state, {}, gradient, measure::Peer{std::string("forward"), forward});
  });
  measure::add("FiniteVolume/two_trajectories_on_two_threads/" + type, [](benchmark::State& state) {
    const Bench<T> one, two(2);
    kolmo::threads::set_count(2);
    const auto both = [&] { benchmark::DoNotOptimize(two.solver.transition(two.x, 20 * two.step, 20).data()); };
    const auto single = [&] { benchmark::DoNotOptimize(one.solver.transition(one.x, 20 * one.step, 20).data()); };
    // A ratio of 1 is perfect scaling: twice the work in the time of one.
    measure::compare(state, inner_steps<T>(40), both, measure::Peer{std::string("one_trajectory"), single});
    kolmo::threads::set_count(1);
  });
}

}  // namespace

int main(int argc, char** argv) {
  add_all<double>("double");
  add_all<float>("float");
  return measure::run(argc, argv);
}
