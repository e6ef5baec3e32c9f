// The data set of the Kolmogorov flow: 1024 trajectories of 128 transitions of 0.2 on 256 x 256 cells, finite volumes
// in float, frames from 64 on as means of 4 x 4 cells to the host. A share is measured and extrapolated, and with
// --whole the whole of it. The initial velocities are part of both.

#include <kolmo/cuda/cuda.cuh>
#include <kolmo/flow/coarse.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/finite_volume.hpp>

#include "gpu_check.hpp"

using namespace kolmo;

namespace {

struct Set {
  index_t size = 256, trajectories = 1024, transitions = 128, discard = 64, at_once = 256;
  flow::KolmogorovOptions options() const {
    flow::KolmogorovOptions result;
    result.size = size;
    return result;
  }
};

struct Seconds {
  double start = 0, transitions = 0, frames = 0;
};

/// A part of the trajectories; returns the time of its pieces on the host's clock.
template <class T>
Seconds simulate(const Set& set, const flow::FiniteVolume<T, Cuda>& solver, index_t first, index_t count,
                 index_t transitions, std::vector<T>* frames) {
  using V = Tensor<T, Cuda>;
  Seconds seconds;
  const auto since = [](double& total, double& begin) {
    Cuda::synchronize();
    const double now = gpu::host_seconds();
    total += now - begin;
    begin = now;
  };
  double begin = gpu::host_seconds();
  V x = flow::filtered_velocities<V>(set.options(), Key{1}, first, count);
  since(seconds.start, begin);
  for (index_t step = 1; step <= transitions; ++step) {
    x = solver.transition(x, 0.2);
    since(seconds.transitions, begin);
    if (step <= set.discard && step != transitions) continue;
    const std::vector<T> kept = flow::coarsen(x, 4).to_vector();
    if (frames) frames->insert(frames->end(), kept.begin(), kept.end());
    since(seconds.frames, begin);
  }
  return seconds;
}

/// Work of one inner step of one cell, as benchmarks/bench_kolmogorov.cpp counts it: the explicit part reads and writes
/// 2 + 2 + 1 numbers, the projection 11 in passes of their own; an implementation that keeps a field on the chip moves
/// less.
gpu::Work work(const Set& set, double inner_steps) {
  const double cells = static_cast<double>(set.size * set.size * set.trajectories) * inner_steps;
  const double transforms = 2 * 2.5 * std::log2(static_cast<double>(set.size * set.size));
  return {.bytes = 16 * 4 * cells,
          .flops = (4 * 19 + 38 + 3 + 2 + 9 + transforms) * cells,
          .unit = "float",
          .items = static_cast<double>(set.trajectories)};
}

/// The transition in float against the same in double, from the same state.
double error_of(const Set& set, index_t steps) {
  using Single = Tensor<float, Cuda>;
  using Double = Tensor<double, Cuda>;
  const flow::FiniteVolume<float, Cuda> single(set.options());
  const flow::FiniteVolume<double, Cuda> wide(set.options());
  const Single x = flow::filtered_velocities<Single>(set.options(), Key{1}, 0, 2);
  const std::vector<float> values = x.to_vector();
  const Double y = Double::from(std::vector<double>(values.begin(), values.end()), x.shape());
  const double dt = single.stable_step() * static_cast<double>(steps);
  return gpu::relative_error(gpu::doubles(Single(single.transition(x, dt, steps))),
                             gpu::doubles(Double(wide.transition(y, dt, steps))));
}

}  // namespace

int main(int argc, char** argv) {
  bool whole = false;
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    if (std::string(argv[i]) == "--whole")
      whole = true;
    else
      rest.push_back(argv[i]);
  }
  return gpu::run(
      "The data set of 1024 trajectories. --whole: all of it.", static_cast<int>(rest.size()), rest.data(),
      [&](gpu::Report& report) {
        report.part("data set", [&] {
          Set set;
          if (report.tiny()) set = {16, 4, 3, 2, 2};
          const gpu::Check check{error_of(set, report.tiny() ? 2 : 20), 1e-4, "the same steps in double"};
          const flow::FiniteVolume<float, Cuda> solver(set.options());
          const double inner = static_cast<double>(solver.inner_steps(0.2));
          report.row(
              "data set/transition of " + std::to_string(set.at_once) + " trajectories",
              [&] {
                Set part = set;
                part.trajectories = set.at_once;
                return work(part, inner);
              }(),
              check,
              [&, x = flow::filtered_velocities<Tensor<float, Cuda>>(set.options(), Key{2}, 0, set.at_once)](index_t) {
                solver.transition(x, 0.2);
              },
              std::to_string(static_cast<int>(inner)) + " inner steps");

          // One group of trajectories and some transitions of it, with a kept frame.
          const index_t share = report.tiny() ? 2 : 8;
          simulate(set, solver, 0, set.at_once, 1, static_cast<std::vector<float>*>(nullptr));
          const Seconds some = simulate(set, solver, 0, set.at_once, share, static_cast<std::vector<float>*>(nullptr));
          const double groups = static_cast<double>(set.trajectories) / static_cast<double>(set.at_once);
          const double each = some.transitions / static_cast<double>(share);
          const double all = groups * (some.start + each * static_cast<double>(set.transitions) +
                                       some.frames * static_cast<double>(set.transitions - set.discard));
          const gpu::Work total = work(set, inner * static_cast<double>(set.transitions));
          report.add("data set/1024 trajectories of 128 transitions, extrapolated", total, check, {all, all, all, 1},
                     "from " + std::to_string(share) + " of 128 transitions of " + std::to_string(set.at_once) +
                         " trajectories, their start and one frame");
          if (!whole) return;

          std::vector<float> frames;
          const double begin = gpu::host_seconds();
          for (index_t first = 0; first < set.trajectories; first += set.at_once)
            simulate(set, solver, first, set.at_once, set.transitions, &frames);
          const double seconds = gpu::host_seconds() - begin;
          double largest = 0;
          for (const float v : frames) largest = std::fabs(v) <= largest ? largest : std::fabs(v);
          report.add("data set/1024 trajectories of 128 transitions", total,
                     {largest, 100, "velocities that the flow can have"}, {seconds, seconds, seconds, 1},
                     std::to_string(frames.size() * sizeof(float) >> 20) + " MiB of frames on the host");
        });
      });
}
