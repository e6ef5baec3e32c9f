// Whole algorithms of the parts on a device: what each computes there is what it computes on the host. Operations and
// the fitting of mixtures have such tests of their own.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/samples.hpp>
#include <kolmo/optim/schedules.hpp>
#include <kolmo/optim/train.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/residual_quantizer.hpp>
#include <kolmo/score/sampler.hpp>
#include <kolmo/score/score_net.hpp>
#include <kolmo/score/score_unet.hpp>

#include "catch.hpp"
#include "device.hpp"
#include "rvq_data.hpp"

using namespace kolmo;
using kolmo_test::as_on_host;
using kolmo_test::near_host;
using kolmo_test::TestDevice;

namespace {

template <class T>
using Host = Tensor<T, Cpu>;
template <class T>
using There = Tensor<T, TestDevice>;

/// All numbers of a model, one after the other.
template <class Model>
auto numbers_of(const Model& model) {
  std::vector<double> result;
  visit_parameters(
      [&](const std::string&, const auto& x) {
        for (const auto v : x.to_vector()) result.push_back(static_cast<double>(v));
      },
      model);
  return result;
}

/// Value, then the gradient of sum(value^2) by the input and by the weights.
template <class Model, class V>
std::vector<std::vector<double>> with_gradients(const Model& model, const V& x, double t) {
  auto of_input = vjp([&](const auto& s) { return model(s, t); }, x);
  const auto by_weights = value_and_grad(model, [&](const auto& m) { return sum(square(m(x, t))); });
  return {of_input.value().to_vector(), of_input.pull(of_input.value()).to_vector(), numbers_of(by_weights.gradient)};
}

template <class V>
std::vector<std::vector<double>> score_net() {
  score::ScoreNet<V> net({.features = 6, .embedding = 4, .hidden = {8, 8}, .activation = nn::ActivationKind::silu});
  init(Key{3}, net);
  return with_gradients(net, nn::uniform_values<V>(Key{1}, Shape{5, 6}, -1, 1), 0.3);
}

template <class V>
std::vector<std::vector<double>> score_unet() {
  score::LocalScoreUNet<V> net({.channels = 2,
                                .embedding = 4,
                                .hidden_channels = {4, 6},
                                .hidden_blocks = {1, 1},
                                .padding = Padding::circular,
                                .activation = nn::ActivationKind::silu},
                               score::kolmogorov_forcing<V>(6, 8));
  init(Key{3}, net);
  return with_gradients(net, nn::uniform_values<V>(Key{1}, Shape{2, 2, 6, 8}, -1, 1), 0.3);
}

template <class V>
std::vector<double> sampled() {
  const score::Schedule schedule;
  const auto estimate = [&](const V& x, double t) {
    const double mu = schedule.mu(t), s = schedule.sigma(t);
    return x * (s / (.5 * mu * mu + s * s)) + .1 * mu * sin(3 * x + t);
  };
  score::SamplerOptions options = score::SamplerOptions::predictor_corrector(8);
  options.corrections = 1;
  return score::sample(estimate, schedule, score::initial_noise<V>(Shape{2, 7}, Key{11}), options, Key{12}).to_vector();
}

struct SquaredError {
  auto operator()(const auto& model, const auto& batch, const nn::Pass& pass) const {
    const auto& [x, y] = batch;
    return mean(square(model(x, pass) - y));
  }
};

template <class V>
std::vector<double> trained() {
  nn::Mlp<V> net({.inputs = 3, .hidden = {8}, .outputs = 1, .layer_norm = true, .dropout = 0.1});
  nn::init(Key{12}, net);
  const V x = nn::normal_values<V>(Key{11}, Shape{20, 3});
  const optim::Samples<V, V> data(x, sum(sin(x), {-1}, true));
  optim::TrainOptions options;
  options.epochs = 2;
  options.batch = 8;
  options.shards = 2;
  options.clip_norm = 1;
  options.ema_decay = 0.9;
  options.key = Key{13};
  optim::train(net, optim::adamw({.learning_rate = 1e-2, .weight_decay = 1e-3}), data, SquaredError{}, options);
  return numbers_of(net);
}

/// Codes of a quantizer that was started on data and updated once, and its reconstructions.
template <class B>
std::pair<std::vector<rvq::Code>, std::vector<float>> quantized() {
  using V = Tensor<float, B>;
  rvq::ResidualQuantizer<V> q(8, {12, 6}, {.lloyd_iterations = 3}, {});
  rvq::start_stages(q, kolmo_test::gaussian(100, 8, Key{9}).template to<B>(), Key{7});
  const V x = kolmo_test::gaussian(60, 8, Key{1}).template to<B>();
  const auto pass = rvq::quantize(q, x, {.pass = {Key{1}, true}});
  rvq::apply_update(q, pass.statistics, Key{2});
  q.options.trained_updates = 0;
  const auto result = rvq::quantize(q, x);
  return {result.codes.to_vector(), result.output.to_vector()};
}

}  // namespace

TEST_CASE("score networks give their values and gradients on a device", "[device]") {
  // Sums of many products, several layers deep; convolutions of the host have an order of their own.
  const double slack = 1e3;
  const auto net = score_net<There<double>>(), expected_net = score_net<Host<double>>();
  const auto unet = score_unet<There<double>>(), expected_unet = score_unet<Host<double>>();
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(near_host(net[k], expected_net[k], slack));
    CHECK(near_host(unet[k], expected_unet[k], slack));
  }
}

TEST_CASE("a sampler takes the same steps on a device, noise included", "[device]") {
  CHECK(as_on_host(sampled<There<double>>(), sampled<Host<double>>(), 1e3));
}

TEST_CASE("training moves weights on a device as on the host", "[device]") {
  CHECK(as_on_host(trained<There<double>>(), trained<Host<double>>(), 1e4));
}

TEST_CASE("a residual quantizer learns and codes on a device as on the host", "[device]") {
  const auto device = quantized<TestDevice>(), host = quantized<Cpu>();
  CHECK(device.first == host.first);
  CHECK(as_on_host(device.second, host.second));
}
