// The Kolmogorov score network, U-Net (96, 192, 384) x (3, 3, 3) of 22,874,922 parameters on 64 x 64 points, in the
// arithmetic that the program is compiled for: forward pass, loss and gradient, training step with AdamW at batch 32.

#include <kolmo/ad/replay.hpp>
#include <kolmo/ad/transforms.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/mixed_precision.hpp>
#include <kolmo/optim/tree.hpp>
#include <kolmo/score/denoising_loss.hpp>

#include "gpu_check.hpp"
#include "gpu_precision.hpp"
#include "gpu_unet.hpp"

using namespace kolmo;
using gpu::V;

namespace {

/// The loss of training, in the arithmetic of the program.
struct Loss {
  score::DenoisingLoss loss{};
  auto operator()(const auto& model, const V& x, const nn::Pass& pass) const {
    if constexpr (gpu::precision_number == 1)
      return optim::mixed_precision(loss)(model, x, pass);
    else
      return loss(model, x, pass);
  }
};

struct Training {
  gpu::Net net;
  V x;
  optim::Adam optimiser = optim::adamw({.learning_rate = 2e-4, .weight_decay = 1e-3});
  optim::AdamState<gpu::Net> state;

  Training(bool tiny, index_t batch)
      : net(gpu::score_network(tiny)), x(gpu::windows(net, batch)), state(optimiser.init(net)) {}

  auto gradient(const V& batch, std::uint64_t number) const {
    const nn::Pass pass{Key{number}, true};
    return value_and_grad(net, [&](const auto& model) { return Loss{}(model, batch, pass); });
  }
  V step(const V& batch, std::uint64_t number) {
    const auto result = gradient(batch, number);
    optimiser.step(net, result.gradient, state);
    return result.value;
  }
};

/// Loss and gradient as a function of tensors alone, which can be a fixed graph.
struct GradientOf {
  auto operator()(const gpu::Net& net, const V& x, const V& times, const V& noise) const {
    const auto loss = [&](const auto& model) {
      return score::denoising_loss(model, score::Schedule{}, x, times, noise);
    };
    auto result = value_and_grad(net, [&](const auto& model) {
      if constexpr (gpu::precision_number == 1)
        return optim::mixed_precision(loss)(model);
      else
        return loss(model);
    });
    return std::make_pair(result.value, result.gradient);
  }
};

/// |a - b| / |b| over all parameters.
double model_error(const gpu::Net& a, const gpu::Net& b) {
  double difference = 0, norm = 0;
  std::vector<V> left, right;
  visit_parameters([&](const std::string&, const V& x) { left.push_back(x); }, a);
  visit_parameters([&](const std::string&, const V& x) { right.push_back(x); }, b);
  for (std::size_t i = 0; i < left.size(); ++i) {
    const std::vector<double> x = gpu::doubles(left[i]), y = gpu::doubles(right[i]);
    for (std::size_t j = 0; j < x.size(); ++j) {
      difference += (x[j] - y[j]) * (x[j] - y[j]);
      norm += y[j] * y[j];
    }
  }
  return std::sqrt(difference / norm);
}

/// The gradient in exact float, whose own test is against double (tests/cuda).
gpu::Check against_float(const Training& training) {
  const nn::Pass pass{Key{7}, true};
  const auto exact =
      value_and_grad(training.net, [&](const auto& model) { return score::DenoisingLoss{}(model, training.x, pass); });
  const gpu::Precision mode;
  const double tolerance = gpu::precision_number == 1 ? 0.05 : gpu::precision_number == 2 ? 0.01 : 1e-5;
  return {model_error(training.gradient(training.x, 7).gradient, exact.gradient), tolerance,
          "the gradient in exact float"};
}

}  // namespace

int main(int argc, char** argv) {
  return gpu::run("The score U-Net: forward pass and training step.", argc, argv, [](gpu::Report& report) {
    const std::string name = "U-Net/" + std::string(gpu::precision) + "/";
    report.part(name, [&] {
      const index_t batch = report.tiny() ? 2 : 32;
      Training training(report.tiny(), batch);
      const gpu::Check check = against_float(training);
      const gpu::Precision mode;
      const double forward = 2.0 * static_cast<double>(batch) * gpu::multiply_adds(training.net);
      const double whole = 3 * forward - 2.0 * gpu::first_layer_multiply_adds(training.net, batch);
      const V times = nn::uniform_values<V>(Key{3}, Shape{batch}, 0, 1);
      const auto evaluated = gpu::in_scalar<gpu::Scalar>(training.net);
      report.row(name + "forward, batch " + std::to_string(batch), {.flops = forward, .unit = gpu::unit}, check,
                 [&](index_t) { evaluated(training.x, times); });
      report.row(name + "loss and gradient, batch " + std::to_string(batch), {.flops = whole, .unit = gpu::unit}, check,
                 [&](index_t i) { training.gradient(training.x, static_cast<std::uint64_t>(i)); });
      const std::string step = name + "training step, batch " + std::to_string(batch);
      report.row(
          step, {.flops = whole, .unit = gpu::unit}, check,
          [&](index_t i) { training.step(training.x, static_cast<std::uint64_t>(i)); },
          "every kernel launched by the host");

      std::uint64_t number = 0;
      auto replayed = replay<Cuda>([&](const V& x) { return training.step(x, ++number); });
      for (int i = 0; i < 2; ++i) replayed(training.x);
      const gpu::Check finite{static_cast<double>(replayed(training.x).item()), 10, "a loss that training can have"};
      report.row(
          step + ", replayed", {.flops = whole, .unit = gpu::unit}, finite, [&](index_t) { replayed(training.x); },
          "recorded at every step and launched as a graph");

      auto fixed = replay<Cuda>(GradientOf{}, ReplayMode::fixed);
      const V noise = nn::normal_values<V>(Key{4}, training.x.shape());
      const auto graph_step = [&](index_t i) {
        const Key key{static_cast<std::uint64_t>(i)};
        const auto result = fixed(training.net, training.x, nn::uniform_values<V>(key, Shape{batch}, 0, 1),
                                  nn::normal_values<V>(fold_in(key, 1), training.x.shape()));
        training.optimiser.step(training.net, result.second, training.state);
      };
      for (int i = 0; i < 2; ++i) fixed(training.net, training.x, times, noise);
      const auto from_graph = fixed(training.net, training.x, times, noise);
      const auto plain = GradientOf{}(training.net, training.x, times, noise);
      report.row(step + ", its gradient a fixed graph", {.flops = whole, .unit = gpu::unit},
                 {model_error(from_graph.second, plain.second), 0, "the same gradient without a graph"}, graph_step);
    });
  });
}
