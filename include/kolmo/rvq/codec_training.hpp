#pragma once
// Training of a codec against discriminators. All that a run remembers is one model-like struct, saved and loaded like
// a model; it goes on with the same bits. One step is, in this order,
//
//   (1) stages of the quantizer that became active start from data;
//   (2) the codec runs forward, once;
//   (3) the discriminators see the real waves and the generated ones as constants, and are updated;
//   (4) the losses of the generated waves, those through the updated discriminators, whose parameters are constants,
//       pull back into the codec, which is updated;
//   (5) averages, counts and codes out of use of the active codebooks, once; one completed step more.
//
// The codec is any model with `encoder`, [B, N, 1] to [B, frames, d], `quantizer`, a ResidualQuantizer, and `decoder`,
// back to [B, N, 1].

#include <kolmo/ad/transforms.hpp>
#include <kolmo/rvq/codec_training_state.hpp>
#include <kolmo/rvq/losses/wave_losses.hpp>

namespace kolmo::rvq::detail {

enum class CodecDraw : std::uint64_t { start = 1, quantize = 2, update = 3, share = 4 };

template <class G, class D>
Key codec_key(const CodecTraining<G, D>& training, CodecDraw purpose) {
  return fold_in(fold_in(Key{training.key}, static_cast<std::uint64_t>(purpose)),
                 static_cast<std::uint64_t>(training.steps_completed()));
}

/// Waves as networks take them.
template <TensorLike X>
auto as_sequence(const X& waves) {
  return reshape(waves, Shape{waves.shape()[0], waves.shape()[1], 1});
}

inline double clip_factor(double norm, double limit) { return limit > 0 && norm > limit ? limit / norm : 1.0; }

inline optim::Adam codec_optimiser(const CodecTrainingOptions& o, double rate) {
  return optim::adamw(
      {.learning_rate = rate, .beta1 = o.beta1, .beta2 = o.beta2, .epsilon = 1e-8, .weight_decay = o.weight_decay});
}

template <class X>
double mean_score(const std::vector<Judgement<X>>& judgements) {
  double total = 0;
  for (const auto& j : judgements) total += static_cast<double>(mean(detach(j.score)).item());
  return total / static_cast<double>(judgements.size());
}

template <PlainTensor V>
double rms_of(const V& x) {
  return std::sqrt(static_cast<double>(mean(square(x)).item()));
}

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// Takes the steps of a training; holds the tables of its losses and nothing that a run remembers.
template <class G, class D = Discriminators<KindOf<G>>>
class CodecTrainer {
  using V = KindOf<G>;
  using State = CodecTraining<G, D>;

 public:
  /// Throws ArgumentError for options out of range.
  explicit CodecTrainer(const State& training) : mel_(training.options.mel(training.sample_rate)) {
    training.options.validate();
  }

  /// One step on waves [B, N] of whole frames. `start_from`, the waves themselves unless given, are those whose vectors
  /// start a stage in its first step: k-means wants more of them than a small batch has (see needs_start). A loss or
  /// gradient that is not finite leaves what it would have changed as it was, and is counted. Throws ShapeError or
  /// ArgumentError for other waves; the state is then unchanged.
  CodecStepReport step(State& training, const V& waves, const V& start_from = {}) const {
    State next = training;  // handles
    CodecStepReport report = step_in_place(next, waves, start_from.has_value() ? start_from : waves);
    training = std::move(next);
    return report;
  }

 private:
  CodecStepReport step_in_place(State& training, const V& waves, const V& start_from) const {
    if (waves.rank() != 2 || waves.size() == 0 || start_from.rank() != 2)
      throw ShapeError("CodecTrainer: expected waves [batch, samples], given " + waves.shape().to_string() + " and " +
                       start_from.shape().to_string());
    auto& quantizer = training.codec.quantizer;
    CodecStepReport report;
    report.active = quantizer.active();
    start_new_stages(training, start_from, waves, report);

    Tape<V> tape;
    const auto codec = rebind<Var<V>>(training.codec, kolmo::detail::MakeLeaf<V>{tape});
    const auto latent = codec.encoder(detail::as_sequence(waves));
    if (!is_finite(detail::rms_of(latent.value))) return skip(training, report);
    const auto quantized = quantize(codec.quantizer, latent,
                                    {.active = 0,
                                     .mask = {},
                                     .pass = {detail::codec_key(training, detail::CodecDraw::quantize), true},
                                     .gradient = training.options.gradient});
    const auto decoded = codec.decoder(quantized.output);
    if (decoded.size() != waves.size())
      throw ShapeError("CodecTrainer: waves " + waves.shape().to_string() + " are decoded as " +
                       decoded.shape().to_string() + "; give waves of whole frames");
    const Var<V> generated = reshape(decoded, waves.shape());
    const Var<V> losses = quantizer_loss(codec.quantizer, quantized);
    report.commitment = static_cast<double>(detach(quantized.commitment_loss).item());
    report.codebook = static_cast<double>(detach(quantized.codebook_loss).item());
    report.stage_errors = quantized.stage_errors;
    report.rms = detail::rms_of(generated.value);
    report.reference_rms = detail::rms_of(waves);

    const AdversarialSchedule schedule = training.options.schedule();
    const bool adversarial = training.discriminators && schedule.active(training.steps_completed());
    report.ramp = adversarial ? schedule.weight(training.steps_completed()) : 0;
    if (adversarial) update_discriminators(training, waves, generated.value, report);

    const V seed = wave_gradient(training, waves, generated.value, adversarial, report);
    report.loss += static_cast<double>(losses.value.item());
    tape.accumulate(losses.slot, V::ones(Shape{}));
    tape.backward(generated, seed);
    const G gradient = rebind<V>(codec, kolmo::detail::TakeGradient<V>{tape});
    report.gradient_norm = optim::global_norm(gradient);
    if (!is_finite(report.loss) || !is_finite(report.gradient_norm)) return skip(training, report);

    const CodecTrainingOptions& o = training.options;
    report.learning_rate = o.learning_rate * o.rate_factor(training.steps_completed());
    detail::codec_optimiser(o, o.learning_rate)
        .step(training.codec, gradient, training.optimiser, report.learning_rate,
              detail::clip_factor(report.gradient_norm, o.clip));
    report.update =
        apply_update(quantizer, quantized.statistics, detail::codec_key(training, detail::CodecDraw::update));
    report.step = training.steps_completed();
    monitor(training, quantized.statistics, report);
    return report;
  }

  /// The step counts, but neither the codec nor its codebooks change.
  static CodecStepReport skip(State& training, CodecStepReport& report) {
    auto& quantizer = training.codec.quantizer;
    quantizer.active_trained = report.active;
    ++quantizer.steps_completed;
    ++training.skipped;
    report.skipped = true;
    report.step = training.steps_completed();
    return report;
  }

  static void start_new_stages(State& training, const V& start_from, const V& waves, CodecStepReport& report) {
    auto& quantizer = training.codec.quantizer;
    if (!needs_start(quantizer)) return;
    // A batch of the step's size at a time: the encoder keeps no more than in the step itself.
    std::vector<V> parts;
    const index_t items = start_from.shape()[0], size = waves.shape()[0];
    for (index_t first = 0; first < items; first += size) {
      const V part =
          training.codec.encoder(detail::as_sequence(slice(start_from, 0, first, smaller(first + size, items))));
      parts.push_back(part.reshaped(Shape{part.size() / part.shape()[-1], part.shape()[-1]}));
    }
    const index_t per_step = parts[0].shape()[0] * size / smaller(size, items);
    report.started = start_stages(quantizer, concat(0, parts), detail::codec_key(training, detail::CodecDraw::start),
                                  {.vectors_per_update = per_step, .mask = {}});
  }

  static void update_discriminators(State& training, const V& waves, const V& generated, CodecStepReport& report) {
    const CodecTrainingOptions& o = training.options;
    if (o.discriminator_share < 1 &&
        uniform<double>(detail::codec_key(training, detail::CodecDraw::share), 0) >= o.discriminator_share)
      return;
    const auto result = value_and_grad(*training.discriminators, [&](const auto& d) {
      const auto real = d(waves), fake = d(generated);
      report.real_score = detail::mean_score(real);
      report.generated_score = detail::mean_score(fake);
      return discriminator_loss(real, fake, o.adversaries());
    });
    report.discriminator = static_cast<double>(result.value.item());
    report.discriminator_norm = optim::global_norm(result.gradient);
    if (!is_finite(report.discriminator) || !is_finite(report.discriminator_norm)) {
      ++training.discriminator_skipped;
      report.discriminator_skipped = true;
      return;
    }
    detail::codec_optimiser(o, o.discriminator_rate)
        .step(*training.discriminators, result.gradient, *training.discriminator_optimiser,
              o.discriminator_rate * o.rate_factor(training.steps_completed()),
              detail::clip_factor(report.discriminator_norm, o.discriminator_clip));
  }

  /// What the losses pull back into the generated waves.
  V wave_gradient(State& training, const V& waves, const V& generated, bool adversarial,
                  CodecStepReport& report) const {
    const CodecTrainingOptions& o = training.options;
    std::vector<LossGradient<V>> gradients;
    const auto add = [&](std::size_t number, double weight, double& value, const auto& loss) {
      if (weight == 0) return;
      auto result = value_and_grad(generated, loss);
      value = static_cast<double>(result.value.item());
      report.loss += weight * value;
      gradients.push_back({number, weight, std::move(result.gradient)});
    };
    add(0, o.mel_weight, report.mel, [&](const auto& y) { return mel_(waves, y); });
    add(1, o.level_weight, report.level, [&](const auto& y) { return level_loss(waves, y); });
    add(2, o.wave_weight, report.wave, [&](const auto& y) { return wave_loss(waves, y); });
    if (adversarial && report.ramp > 0) add_adversarial(training, waves, generated, gradients, report);
    if (o.balanced) return balance<V>(training.balancer, gradients);
    V total = gradients[0].gradient * gradients[0].weight;
    for (std::size_t i = 1; i < gradients.size(); ++i) total = total + gradients[i].gradient * gradients[i].weight;
    return total;
  }

  /// Through the discriminators as they are now, whose parameters receive no gradient: they are no variables here. One
  /// recording serves both losses.
  static void add_adversarial(const State& training, const V& waves, const V& generated,
                              std::vector<LossGradient<V>>& gradients, CodecStepReport& report) {
    const CodecTrainingOptions& o = training.options;
    const D& discriminators = *training.discriminators;
    const double weights[2] = {o.adversarial_weight * report.ramp, o.feature_weight * report.ramp};
    if (weights[0] + weights[1] == 0) return;
    Tape<V> tape;
    const Var<V> y = tape.leaf(generated);
    const auto judged = discriminators(y);
    const auto real = discriminators(waves);
    const Var<V> deception = generator_loss(judged, o.adversaries());
    const Var<V> features = feature_loss(real, judged, o.adversaries());
    report.adversarial = static_cast<double>(deception.value.item());
    report.feature = static_cast<double>(features.value.item());
    report.loss += weights[0] * report.adversarial + weights[1] * report.feature;
    if (!o.balanced) {
      tape.backward(deception * weights[0] + features * weights[1]);
      gradients.push_back({3, 1, tape.gradient(y)});
      return;
    }
    const Var<V>* const losses[2] = {&deception, &features};
    for (std::size_t i = 0; i < 2; ++i) {
      if (weights[i] == 0) continue;
      tape.backward_and_keep(*losses[i], V::ones(Shape{}));
      gradients.push_back({3 + i, weights[i], tape.gradient(y)});
    }
  }

  static void monitor(State& training, const std::vector<UpdateStatistics<V>>& statistics, CodecStepReport& report) {
    const bool ends_window = report.step % training.options.window == 0;
    for (std::size_t q = 0; q < statistics.size(); ++q) {
      StageMonitor& monitor = training.monitors.at(q);
      monitor.add(statistics[q], q < report.update.stages.size() ? report.update.stages[q] : UpdateReport{});
      if (!ends_window || monitor.vectors == 0) continue;
      report.window.push_back(rvq::report(monitor, training.codec.quantizer.stages[q].book));
      monitor.next_window(report.window.back());
    }
  }

  MelLoss<V> mel_;
};

}  // namespace kolmo::rvq
