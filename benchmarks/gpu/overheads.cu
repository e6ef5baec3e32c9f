// What an operation costs beside its work: the host's time to launch one, to take memory and give it back, to wait.

#include <kolmo/ad/replay.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/ops/elementwise.hpp>

#include "gpu_check.hpp"

using namespace kolmo;
using V = Tensor<float, Cuda>;

namespace {

/// Seconds of the host for one call, many of them in a row; the device works meanwhile.
template <class F>
gpu::Timing host_time(const gpu::Report& report, const F& call) {
  const int calls = report.tiny() ? 2 : 500, samples = report.tiny() ? 2 : 31;
  for (int i = 0; i < calls; ++i) call();
  Cuda::synchronize();
  std::vector<double> times;
  for (int s = 0; s < samples; ++s) {
    const double begin = gpu::host_seconds();
    for (int i = 0; i < calls; ++i) call();
    times.push_back((gpu::host_seconds() - begin) / calls);
    Cuda::synchronize();
  }
  return gpu::Report::summary(times);
}

}  // namespace

int main(int argc, char** argv) {
  return gpu::run("Overheads of operations, per call.", argc, argv, [](gpu::Report& report) {
    const gpu::Check none{0, 0, "nothing to compare"};
    report.part("overhead", [&] {
      const V x = V::arange(32), y = V::ones(Shape{32});
      const V sum = x + y;
      const gpu::Check right{gpu::relative_error(gpu::doubles(sum), gpu::doubles(V::arange(32) + 1.0f)), 0, "double"};
      report.add("overhead/an elementwise operation, host", {}, right,
                 host_time(report, [&] { static_cast<void>(x + y); }), "checks, memory, launch, memory back");
      report.row("overhead/an elementwise operation, host and device", {}, right,
                 [&](index_t) { static_cast<void>(x + y); });
      report.add("overhead/memory taken and given back", {}, none,
                 host_time(report, [] { Cuda::deallocate(Cuda::allocate(1 << 20), 1 << 20); }), "1 MB from the pool");
      const int chain = report.tiny() ? 4 : 200;
      const auto many = [&](const V& begin) {
        V z = begin;
        for (int i = 0; i < chain; ++i) z = z + y;
        return z;
      };
      for (const ReplayMode mode : {ReplayMode::updated, ReplayMode::fixed}) {
        auto replayed = replay<Cuda>(many, mode);
        for (int i = 0; i < 2; ++i) replayed(x);
        const gpu::Check same{gpu::relative_error(gpu::doubles(V(replayed(x))), gpu::doubles(many(x))), 0,
                              "the same without a graph"};
        const auto time = report.time([&](index_t) { replayed(x); });
        const double each = 1.0 / chain;
        report.add(std::string("overhead/an operation of a graph of ") + std::to_string(chain) +
                       (mode == ReplayMode::fixed ? ", fixed" : ", recorded anew"),
                   {}, same, {time.median * each, time.low * each, time.high * each, time.samples});
      }
      report.add("overhead/a number read", {}, none, host_time(report, [&] { static_cast<void>(sum.to_vector()); }),
                 "32 values to the host: waits for the device");
    });
  });
}
