// Norms, score networks and their training on the device, against the CPU.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/nn/channel_norm.hpp>
#include <kolmo/nn/layer_norm.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/mixed_precision.hpp>
#include <kolmo/optim/samples.hpp>
#include <kolmo/optim/sgd.hpp>
#include <kolmo/optim/train.hpp>
#include <kolmo/score/denoising_loss.hpp>
#include <kolmo/score/score_unet.hpp>

#include "compare.hpp"

using namespace kolmo;

namespace {

/// Rows of every length that a team holds in another way: packs of a few members, of a whole warp, in turn.
template <class T, class S, class B>
void norms(check::Results<S>& results) {
  using V = Tensor<T, B>;
  for (const index_t channels : {5, 72, 264}) {
    const std::string name = " of " + std::to_string(channels) + " channels";
    const V x = cast<T>(check::ramp<Tensor<double, B>>(Shape{2, 3, channels}, -2, 2));
    const V shift = cast<T>(check::ramp<Tensor<double, B>>(Shape{2, channels}, -1, 1));
    const V row = cast<T>(check::ramp<Tensor<double, B>>(Shape{channels}, 0, 1));
    const V weight = cast<T>(check::ramp<Tensor<double, B>>(x.shape(), -1, 1));
    const auto modulated = [&](const auto& v, const auto& m) {
      return sum(nn::channel_norm(v, m, 1e-5, fn::Silu{}) * weight);
    };
    const auto layer = [&](const auto& v, const auto& gamma, const auto& beta) {
      return sum(nn::layer_norm(v, gamma, beta, 1e-5, fn::Silu{}) * weight);
    };
    results.add("modulated norm" + name, nn::channel_norm(x, shift, 1e-5, fn::Silu{}));
    results.add("norm" + name, nn::channel_norm(x));
    results.add("modulation's gradient" + name, grad([&](const auto& v) { return modulated(x, v); }, shift));
    results.add("shared modulation's gradient" + name, grad([&](const auto& v) { return modulated(x, v); }, row));
    results.add("field's gradient" + name, grad([&](const auto& v) { return modulated(v, shift); }, x));
    results.add("layer norm" + name, nn::layer_norm(x, row, row, 1e-5, fn::Silu{}));
    results.add("layer norm's gradient" + name, grad([&](const auto& v) { return layer(v, row, row); }, x));
    results.add("scale's gradient" + name, grad([&](const auto& v) { return layer(x, v, row); }, row));
    results.add("shift's gradient" + name, grad([&](const auto& v) { return layer(x, row, v); }, row));
  }
}

template <class T, class B>
using Network = score::LocalScoreUNet<Tensor<T, B>>;

template <class T, class B>
Network<T, B> network() {
  score::ScoreUNetOptions options;
  options.channels = 2;
  options.embedding = 8;
  options.hidden_channels = {8, 16};
  options.hidden_blocks = {1, 0};
  options.padding = Padding::circular;
  options.activation = nn::ActivationKind::silu;
  Network<T, B> net(options, 4);
  init(Key{1}, net);
  return net;
}

/// Two steps of score matching with clipping, averaged weights, gradients of two micro-batches, and AdamW; a gradient
/// through the network as guidance takes it.
template <class T, class B>
void steps(check::Results<T>& results) {
  using V = Tensor<T, B>;
  const V fields = check::ramp<V>(Shape{2, 2, 4, 4}, -1, 1);
  optim::TrainOptions options;
  options.epochs = 2;
  options.batch = 2;
  options.accumulate = 2;
  options.clip_norm = 0.5;
  options.ema_decay = 0.9;
  options.key = Key{3};
  const auto optimiser = optim::adamw({.learning_rate = 1e-2, .weight_decay = 1e-3});
  auto state = optim::start_training(network<T, B>(), optimiser, options);
  optim::train(state, optimiser, optim::Samples<V>(fields), score::DenoisingLoss{}, options);
  results.add_model("weights after two steps", state.model);
  results.add_model("averaged weights", state.average->sum);
  results.add("loss and norm",
              V::from(std::vector<T>{static_cast<T>(state.last_loss), static_cast<T>(state.last_gradient_norm)}));
  results.add("guidance gradient",
              grad([&](const auto& x) { return sum(square(state.model(x, 0.4) - fields)); }, fields));
}

/// The loss in bfloat16 of weights in float, with its gradient; and steps of plain descent, which stay close where the
/// signs that Adam follows do not.
template <class B>
void mixed_steps(check::Results<float>& results) {
  using V = Tensor<float, B>;
  const V fields = check::ramp<V>(Shape{2, 2, 4, 4}, -1, 1);
  const auto net = network<float, B>();
  const auto loss = optim::mixed_precision(score::DenoisingLoss{});
  const auto first = value_and_grad(net, [&](const auto& m) { return loss(m, fields, nn::Pass{Key{5}, true}); });
  results.add("loss in bfloat16", first.value);
  results.add_model("gradient in bfloat16", first.gradient);
  optim::TrainOptions options;
  options.batch = 2;
  options.key = Key{3};
  const auto optimiser = optim::sgd({.learning_rate = 1e-2});
  auto state = optim::start_training(net, optimiser, options);
  optim::train(state, optimiser, optim::Samples<V>(fields), loss, options);
  results.add_model("weights after steps in bfloat16", state.model);
}

template <class V>
struct Leaves {
  std::vector<V> list;
  static void fields(auto&& f, auto&... s) { f(param("list"), s.list...); }
  template <class U>
  using Rebind = Leaves<U>;
};

/// More leaves than one table holds, of sizes around those of packs and tiles.
template <class T, class B>
void many_leaves(check::Results<T>& results) {
  using V = Tensor<T, B>;
  Leaves<V> model, gradient;
  for (index_t i = 0; i < 96; ++i) {
    const index_t size = i == 7 ? 5001 : i == 8 ? 2048 : i % 11;
    model.list.push_back(check::ramp<V>(Shape{size}, -1, 1));
    gradient.list.push_back(check::ramp<V>(Shape{size}, 1, -2));
  }
  const auto optimiser = optim::adam({.learning_rate = 1e-2});
  auto moments = optimiser.init(model);
  optimiser.step(model, gradient, moments);
  optim::add_scaled(gradient, 0.5, model);
  results.add_model("many leaves after a step of Adam", model);
  results.add_model("a sum of many leaves", gradient);
  results.add_model("many leaves in double", cast<double>(cast<BFloat16>(model)));
  results.list.emplace_back("their norm", std::vector<T>{static_cast<T>(optim::global_norm(model))});
}

/// The device against the host, and against itself. Bounds of bfloat16 are its own.
template <class T>
void compare(void (*device)(check::Results<T>&), void (*host)(check::Results<T>&), double slack) {
  check::Results<T> first, again, expected;
  device(first);
  device(again);
  host(expected);
  check::compare(first, again, expected, slack);
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  compare<float>(norms<float, float, Cuda>, norms<float, float, Cpu>, 10);
  compare<double>(norms<double, double, Cuda>, norms<double, double, Cpu>, 10);
  // A unit in the last place of bfloat16 is 2^-8; sums over a batch are rounded once.
  compare<float>(norms<BFloat16, float, Cuda>, norms<BFloat16, float, Cpu>, 1500);
  compare<float>(many_leaves<float, Cuda>, many_leaves<float, Cpu>, 10);
  compare<float>(steps<float, Cuda>, steps<float, Cpu>, 1000);
  compare<float>(mixed_steps<Cuda>, mixed_steps<Cpu>, 5000);
  return check::result();
}
