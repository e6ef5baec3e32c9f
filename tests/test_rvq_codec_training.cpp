// One adversarial step: its order, who changes what, how often, and that a run goes on with the same bits. The codec is
// the smallest that has an encoder, a quantizer and a decoder: linear maps of frames.

#include <algorithm>

#include <kolmo/io/tree.hpp>
#include <kolmo/rvq/codec_training.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using kolmo_test::contains;

namespace {

using Ten = Tensor<float, Cpu>;
constexpr index_t hop = 16, dimension = 4;

template <class V>
struct FrameEncoder {
  nn::Linear<V> map;
  static void fields(auto&& f, auto&... s) { f(submodule("map"), s.map...); }
  template <class U>
  using Rebind = FrameEncoder<U>;
  template <TensorLike X>
  auto operator()(const X& x) const {
    return map(reshape(x, Shape{x.shape()[0], x.shape()[1] / hop, hop}));
  }
};

template <class V>
struct FrameDecoder {
  nn::Linear<V> map;
  static void fields(auto&& f, auto&... s) { f(submodule("map"), s.map...); }
  template <class U>
  using Rebind = FrameDecoder<U>;
  template <TensorLike Z>
  auto operator()(const Z& z) const {
    return reshape(map(z), Shape{z.shape()[0], z.shape()[1] * hop, 1});
  }
};

template <class V>
struct FrameCodec {
  FrameEncoder<V> encoder;
  ResidualQuantizer<V> quantizer;
  FrameDecoder<V> decoder;
  static void fields(auto&& f, auto&... s) {
    f(submodule("encoder"), s.encoder...);
    f(submodule("quantizer"), s.quantizer...);
    f(submodule("decoder"), s.decoder...);
  }
  template <class U>
  using Rebind = FrameCodec<U>;
};

using Training = CodecTraining<FrameCodec<Ten>>;
using Trainer = CodecTrainer<FrameCodec<Ten>>;

CodecTrainingOptions small_options() {
  CodecTrainingOptions options;
  options.shortest_window = 32;
  options.longest_window = 64;
  options.adversarial_begin = 3;
  options.adversarial_ramp = 2;
  options.window = 4;
  options.learning_rate = 1e-3;
  return options;
}

/// Two stages, the second one from step 2 on.
Training start(const CodecTrainingOptions& options = small_options()) {
  FrameCodec<Ten> codec;
  codec.quantizer = ResidualQuantizer<Ten>(dimension, std::vector<index_t>{8, 8}, {}, {.progressive = 2});
  codec.encoder.map = {hop, dimension};
  codec.decoder.map = {dimension, hop};
  init(Key{1}, codec.encoder.map);
  init(Key{2}, codec.decoder.map);
  return start_training(std::move(codec), 16000, options,
                        {.windows = {64}, .filters = 2, .periods = {3}, .period_width = 1}, Key{3});
}

/// Waves of a step: hums of several pitches and some noise.
Ten waves(index_t step, index_t items = 4) {
  const Ten noise = nn::normal_values<Ten>(Key{static_cast<std::uint64_t>(100 + step)}, Shape{items, 256}, 0, 0.05);
  std::vector<float> hum;
  for (index_t i = 0; i < items; ++i)
    for (index_t t = 0; t < 256; ++t)
      hum.push_back(0.3f * std::sin(0.02f * static_cast<float>((1 + i + step % 3) * t)));
  return noise + Ten::from(std::span<const float>(hum), Shape{items, 256});
}

template <class M>
std::vector<std::vector<float>> tensors(const M& model, bool states) {
  std::vector<std::vector<float>> result;
  visit_tensors(
      [&](const std::string&, FieldKind kind, const auto& x) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(x)>, Ten>)
          if (states || kind == FieldKind::parameter) result.push_back(x.to_vector());
      },
      model);
  return result;
}

/// Everything, as a file would hold it.
bool same(const Training& a, const Training& b) {
  const auto x = io::to_arrays(a), y = io::to_arrays(b);
  if (x.metadata != y.metadata || x.arrays.size() != y.arrays.size()) return false;
  for (const auto& [name, array] : x.arrays)
    if (array.data != y.at(name).data) return false;
  return true;
}

}  // namespace

TEST_CASE("R19: a step with discriminators updates every active stage exactly once") {
  Training training = start();
  const Trainer trainer(training);
  for (index_t step = 0; step < 8; ++step) {
    const auto before = training.codec.quantizer;
    const CodecStepReport report = trainer.step(training, waves(step), waves(step, 16));
    CHECK(report.step == step + 1);
    CHECK(training.steps_completed() == step + 1);
    CHECK(report.active == (step < 2 ? 1 : 2));
    CHECK(training.codec.quantizer.active_trained == report.active);
    CHECK(report.started.size() == (step == 0 || step == 2 ? 1 : 0));
    for (std::size_t q = 0; q < 2; ++q) {
      const index_t once = static_cast<index_t>(q) < report.active ? 1 : 0;
      CHECK(training.codec.quantizer.stages[q].book.updates == before.stages[q].book.updates + once);
    }
    CHECK(report.update.stages.size() == static_cast<std::size_t>(report.active));
    CHECK(report.ramp == (step <= 3 ? 0 : step == 4 ? 0.5 : 1));
    CHECK((report.discriminator > 0) == (step >= 3));
    CHECK((report.feature > 0) == (step >= 4));
    CHECK(report.window.size() == static_cast<std::size_t>((step + 1) % 4 == 0 ? report.active : 0));
    CHECK_FALSE(report.skipped);
  }
}

TEST_CASE("R19: discriminators change from their begin on and only by their own loss") {
  Training training = start();
  const Trainer trainer(training);
  const auto drawn = tensors(*training.discriminators, true);
  for (index_t step = 0; step < 3; ++step) trainer.step(training, waves(step));
  CHECK(tensors(*training.discriminators, true) == drawn);
  trainer.step(training, waves(3));
  CHECK(tensors(*training.discriminators, true) != drawn);
  CHECK(training.discriminator_optimiser->updates == 1);

  // Weights of the generator's losses decide nothing in the discriminators' step, nor theirs in the codec's before
  // the ramp: the same discriminators after a step with other weights, another codec.
  CodecTrainingOptions other = small_options();
  other.adversarial_weight = 7;
  other.feature_weight = 0;
  Training a = training, b = training;
  b.options = other;
  Trainer(a).step(a, waves(4));
  Trainer(b).step(b, waves(4));
  CHECK(tensors(*a.discriminators, true) == tensors(*b.discriminators, true));
  CHECK(tensors(a.codec, false) != tensors(b.codec, false));
  // And the codec's step does not move the discriminators: one update of AdamW each.
  CHECK(a.discriminator_optimiser->updates == 2);
  // At the begin of the ramp, weight 0, the codec does not see them.
  Training c = start(), d = start();
  for (index_t step = 0; step < 3; ++step) {
    trainer.step(c, waves(step));
    trainer.step(d, waves(step));
  }
  d.options.adversarial_weight = 50;
  Trainer(c).step(c, waves(3));
  Trainer(d).step(d, waves(3));
  CHECK(tensors(c.codec, true) == tensors(d.codec, true));
}

TEST_CASE("The codec goes down the gradient of its losses through the updated discriminators") {
  Training training = start();
  const Trainer trainer(training);
  for (index_t step = 0; step < 5; ++step) trainer.step(training, waves(step));
  Training next = training;
  const Ten x = waves(5);
  const CodecStepReport report = trainer.step(next, x);
  // The gradient from scratch: all losses on one tape, discriminators as they are after the step.
  const auto whole = value_and_grad(training.codec, [&](const auto& codec) {
    const auto quantized = quantize(codec.quantizer, codec.encoder(reshape(x, Shape{4, 256, 1})),
                                    {.active = 0, .mask = {}, .pass = {Key{}, true}});
    const auto y = reshape(codec.decoder(quantized.output), x.shape());
    const auto judged = (*next.discriminators)(y);
    return MelLoss<Ten>(dac_mel_options(16000, 32, 64))(x, y) * 15.0 + quantizer_loss(codec.quantizer, quantized) +
           generator_loss(judged) + feature_loss((*next.discriminators)(x), judged) * 2.0;
  });
  CHECK(report.ramp == 1);
  CHECK(report.loss == Approx(whole.value.item()).epsilon(1e-5));
  CHECK(report.gradient_norm == Approx(optim::global_norm(whole.gradient)).epsilon(1e-4));
  // AdamW's first moment moves by (1 - beta1) times that gradient.
  const auto expected = tensors(whole.gradient, false), before = tensors(training.optimiser.first_moment, true),
             after = tensors(next.optimiser.first_moment, true);
  const auto &e = expected[0], &m = before[0], &n = after[0];
  for (std::size_t i = 0; i < e.size(); i += 7)
    CHECK((n[i] - 0.8f * m[i]) / 0.2f == Approx(e[i]).epsilon(2e-3).margin(2e-4 * report.gradient_norm));
}

TEST_CASE("With the balancer the waves receive a gradient of the norm that the weights share out") {
  CodecTrainingOptions options = small_options();
  options.balanced = true;
  options.wave_weight = 5;
  Training training = start(options);
  const Trainer trainer(training);
  for (index_t step = 0; step < 6; ++step) CHECK_FALSE(trainer.step(training, waves(step)).skipped);
  // Mel and wave from the first step, the adversarial two since the ramp.
  REQUIRE(training.balancer.counts.size() == 5);
  CHECK(training.balancer.counts[0] > 5.9);
  CHECK(training.balancer.counts[1] == 0);
  CHECK(training.balancer.counts[2] > 5.9);
  CHECK(training.balancer.counts[3] == Approx(1.999));
  CHECK(training.balancer.counts[4] == Approx(1.999));
}

TEST_CASE("R2: a training saved in the middle and loaded goes on with the same bits") {
  CodecTrainingOptions options = small_options();
  options.balanced = true;
  options.discriminator_share = 0.6;
  Training straight = start(options);
  const Trainer trainer(straight);
  for (index_t step = 0; step < 5; ++step) trainer.step(straight, waves(step), waves(step, 16));
  Training loaded = io::model_from_arrays<Training>(io::to_arrays(straight));
  CHECK(same(loaded, straight));
  const Trainer again(loaded);
  for (index_t step = 5; step < 9; ++step) {
    trainer.step(straight, waves(step), waves(step, 16));
    again.step(loaded, waves(step), waves(step, 16));
  }
  CHECK(same(loaded, straight));
}

TEST_CASE("A loss or gradient that is not finite changes nothing but the counters") {
  Training training = start();
  const Trainer trainer(training);
  for (index_t step = 0; step < 5; ++step) trainer.step(training, waves(step));
  const Training before = training;
  Ten bad = waves(5);
  bad.mutable_data()[17] = std::numeric_limits<float>::quiet_NaN();
  const CodecStepReport report = trainer.step(training, bad);
  CHECK(report.skipped);
  CHECK(training.skipped == 1);
  CHECK(training.steps_completed() == 6);
  CHECK(tensors(training.codec, true) == tensors(before.codec, true));
  CHECK(tensors(*training.discriminators, true) == tensors(*before.discriminators, true));
  CHECK(training.optimiser.updates == before.optimiser.updates);
  CHECK_FALSE(trainer.step(training, waves(6)).skipped);
}

TEST_CASE("A training refuses schedules that collide, options out of range and waves that do not fit") {
  CodecTrainingOptions options = small_options();
  options.adversarial_begin = 2;  // where the second stage joins
  CHECK_THROWS_WITH(start(options), contains("step 2"));
  options = small_options();
  options.mel_weight = 0;
  CHECK_THROWS_AS(start(options), ArgumentError);
  options = small_options();
  options.adversarial_begin = -1;
  const Training plain = start(options);
  CHECK_FALSE(plain.discriminators.has_value());
  Training training = start();
  const Trainer trainer(training);
  const Training before = training;
  CHECK_THROWS_AS(trainer.step(training, Ten::zeros(Shape{256})), ShapeError);
  CHECK_THROWS_AS(trainer.step(training, Ten::zeros(Shape{2, 250})), ShapeError);
  CHECK(same(training, before));
}
