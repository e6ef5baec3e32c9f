// The Kolmogorov score network, U-Net (96, 192, 384) x (3, 3, 3) of 22,874,922 parameters, circular, on batches of 4
// windows of 5 frames at 64 x 64 with the forcing beside them, in float: network evaluation, training step with AdamW,
// and the gradient with respect to the input that guidance needs. GFLOP/s count the multiply-adds of the convolutions
// by their definition, twice: forward F, training 3 F less the first layer's input gradient, guidance 2 F.
//
// peak_MB is the resident memory of a process of its own that does nothing else. "gradient": weights, gradients,
// activations and workspace; the training step has the moments of AdamW besides. benchmarks/peers/unet_torch.py times
// the same network in PyTorch.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/score/score_unet.hpp>

#include "measure.hpp"

namespace {

using kolmo::index_t;
using kolmo::Key;
using kolmo::Shape;
using measure::Work;
using Host = kolmo::Tensor<float, kolmo::Cpu>;
using Net = kolmo::score::LocalScoreUNet<Host>;

constexpr index_t batch = 4, grid = 64;

struct Bench {
  Net net;
  Host x, noise, times;

  explicit Bench(bool checkpoint)
      : net({.channels = 10,
             .embedding = 64,
             .hidden_channels = {96, 192, 384},
             .hidden_blocks = {3, 3, 3},
             .padding = kolmo::Padding::circular,
             .activation = kolmo::nn::ActivationKind::silu,
             .checkpoint = checkpoint ? kolmo::nn::UNetCheckpoint::block : kolmo::nn::UNetCheckpoint::none},
            grid),
        x(kolmo::nn::normal_values<Host>(Key{1}, Shape{batch, 10, grid, grid})),
        noise(kolmo::nn::normal_values<Host>(Key{2}, x.shape())),
        times(kolmo::nn::uniform_values<Host>(Key{3}, Shape{batch}, 0, 1)) {
    init(Key{5}, net);
  }

  double forward_flops() const {
    return 2.0 * batch * static_cast<double>(net.score.network.multiply_adds({grid, grid}));
  }
  double training_flops() const {
    const Shape input{batch, grid, grid, 11};
    return 3 * forward_flops() - 2.0 * static_cast<double>(net.score.network.levels[0].head.multiply_adds(input));
  }

  void forward() const { benchmark::DoNotOptimize(net(x, times)); }
  auto gradient() const {
    return value_and_grad(net, [&](const auto& model) { return mean(square(model(x, times) - noise)); });
  }
  void guide() const {
    auto pullback = kolmo::vjp([&](const auto& s) { return net(s, times); }, x);
    benchmark::DoNotOptimize(pullback.pull(noise));
  }
};

/// Training: the state changes with every call.
struct Trainer {
  Bench bench;
  kolmo::optim::Adam optimiser = kolmo::optim::adamw({.learning_rate = 2e-4, .weight_decay = 1e-3});
  kolmo::optim::AdamState<Net> state;

  explicit Trainer(bool checkpoint) : bench(checkpoint), state(optimiser.init(bench.net)) {}
  void step() { optimiser.step(bench.net, bench.gradient().gradient, state); }
};

/// Largest resident memory in MB of a process that runs f alone; 0 where none can be started.
template <class F>
double peak_megabytes(const F& f) {
  const pid_t child = fork();
  if (child < 0) return 0;
  if (child == 0) {
    f();
    _exit(0);
  }
  int status = 0;
  rusage usage{};
  if (wait4(child, &status, 0, &usage) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return 0;
  return static_cast<double>(usage.ru_maxrss) * 1024e-6;
}

template <class F>
void add_timed(const std::string& name, double flops, double peak, const F& call) {
  measure::add(name, [=](benchmark::State& state) {
    measure::compare(state, Work{.flops = flops}, call);
    if (peak > 0) state.counters["peak_MB"] = peak;
  });
}

void add_all(bool memory) {
  // Processes first: they start with what this one holds.
  double gradient_peak[2] = {}, step_peak[2] = {};
  for (const int again : {0, 1}) {
    if (!memory) break;
    gradient_peak[again] = peak_megabytes([&] {
      const Bench bench(again == 1);
      for (int i = 0; i < 2; ++i) benchmark::DoNotOptimize(bench.gradient());
    });
    step_peak[again] = peak_megabytes([&] {
      Trainer trainer(again == 1);
      for (int i = 0; i < 2; ++i) trainer.step();
    });
  }
  for (const int again : {0, 1}) {
    const std::string suffix = again ? " checkpointed" : "";
    const auto trainer = std::make_shared<Trainer>(again == 1);
    const auto bench = std::shared_ptr<const Bench>(trainer, &trainer->bench);
    if (!again) add_timed("forward", bench->forward_flops(), 0, [=] { bench->forward(); });
    add_timed("gradient" + suffix, bench->training_flops(), gradient_peak[again],
              [=] { benchmark::DoNotOptimize(bench->gradient()); });
    add_timed("training step" + suffix, bench->training_flops(), step_peak[again], [=] { trainer->step(); });
    add_timed("input gradient" + suffix, 2 * bench->forward_flops(), 0, [=] { bench->guide(); });
  }
}

}  // namespace

/// --threads=N: with N threads, timed by the wall clock; --no-memory: without the processes that measure memory.
int main(int argc, char** argv) {
  int threads = 1;
  bool memory = true;
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--threads="))
      threads = std::stoi(argument.substr(10));
    else if (argument == "--no-memory")
      memory = false;
    else
      rest.push_back(argv[i]);
  }
  kolmo::threads::set_count(1);
  add_all(memory);
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data())) return 1;
  kolmo::threads::set_count(threads);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
