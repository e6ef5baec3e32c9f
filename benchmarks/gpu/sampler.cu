// A step of the posterior sampler: 16 trajectories of 29 frames of 64 x 64 points, 400 windows of five frames, guided
// by every fourth point (the Gaussian score of Rozet and Louppe 2023, whose gradient goes through the network). In the
// arithmetic that the program is compiled for.

#include <kolmo/ad/replay.hpp>
#include <kolmo/ad/transforms.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/score/guidance/sda.hpp>
#include <kolmo/score/markov.hpp>
#include <kolmo/score/observations/sampling.hpp>
#include <kolmo/score/sampler.hpp>

#include "gpu_check.hpp"
#include "gpu_precision.hpp"
#include "gpu_unet.hpp"

using namespace kolmo;
using gpu::V;

namespace {

/// One guided estimate and the step of the predictor, as `sample` takes it.
template <class Network>
V sampled(const Network& net, const V& start, const V& measured, index_t steps, index_t chunk) {
  const score::Schedule schedule;
  const score::MarkovScore<Network> prior(net, 2, 1, score::FoldRule::symmetrical, chunk);
  const auto posterior = score::guided(prior, schedule, score::observe(score::SubsampleSpace{4}, measured, 0.1),
                                       score::SdaGuidance<double>{});
  auto options = score::SamplerOptions::predictor_corrector(steps, 0);
  return score::sample(posterior, schedule, start, options, Key{7});
}

}  // namespace

int main(int argc, char** argv) {
  return gpu::run("A guided step of the posterior sampler.", argc, argv, [](gpu::Report& report) {
    const std::string name = "sampler/" + std::string(gpu::precision) + "/";
    report.part(name, [&] {
      const index_t batch = report.tiny() ? 1 : 16, frames = report.tiny() ? 6 : 29, steps = report.tiny() ? 1 : 4;
      const gpu::Net net = gpu::score_network(report.tiny());
      const index_t n = gpu::points_of(net), windows = batch * (frames - 4);
      const auto evaluated = gpu::in_scalar<gpu::Scalar>(net);
      const V start = nn::normal_values<V>(Key{1}, Shape{batch, frames, 2, n, n});
      const V measured = nn::normal_values<V>(Key{2}, Shape{batch, frames, 2, n / 4, n / 4});
      // A few windows, also in exact float.
      const V part = slice(start, 0, 0, 1), of_part = slice(measured, 0, 0, 1);
      const V exact = sampled(net, part, of_part, 1, 0);
      const gpu::Precision mode;
      const double error =
          gpu::relative_error(gpu::doubles(sampled(evaluated, part, of_part, 1, 0)), gpu::doubles(exact));
      const double tolerance = gpu::precision_number == 1 ? 0.05 : gpu::precision_number == 2 ? 0.01 : 1e-5;
      // Forward and the gradient towards the state.
      const double flops = 4.0 * static_cast<double>(windows) * gpu::multiply_adds(net);
      for (const index_t chunk : {index_t{0}, index_t{100}}) {
        if (report.tiny() && chunk > 0) continue;
        const auto time = report.time([&](index_t) { sampled(evaluated, start, measured, steps, chunk); });
        const double each = 1 / static_cast<double>(steps);
        report.add(name + "guided step, 16 x 29 frames" + (chunk > 0 ? ", 100 windows at once" : ""),
                   {.flops = flops, .unit = gpu::unit}, {error, tolerance, "a step in exact float"},
                   {time.median * each, time.low * each, time.high * each, time.samples},
                   chunk > 0 ? "recomputes what the way back needs" : "all 400 windows at once");
        if (chunk > 0) continue;
        auto replayed = replay<Cuda>([&](const V& begin) { return sampled(evaluated, begin, measured, steps, chunk); });
        for (int i = 0; i < 2; ++i) replayed(start);
        const double apart = gpu::relative_error(gpu::sampled(replayed(start)),
                                                 gpu::sampled(sampled(evaluated, start, measured, steps, chunk)));
        const auto graph_time = report.time([&](index_t) { replayed(start); });
        report.add(name + "guided step, 16 x 29 frames, replayed", {.flops = flops, .unit = gpu::unit},
                   {apart, 0, "the same steps without a graph"},
                   {graph_time.median * each, graph_time.low * each, graph_time.high * each, graph_time.samples},
                   "recorded at every call and launched as a graph");
      }
    });
  });
}
