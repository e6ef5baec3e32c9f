#pragma once
// Training of a field codec by the mean squared error of standardised fields and the losses of its quantizer. All that
// a run remembers is one model-like struct, saved and loaded like a model; it goes on with the same bits.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/rvq/field_codec.hpp>
#include <kolmo/rvq/residual_quantizer.hpp>

namespace kolmo::rvq {

struct FieldTrainingOptions {
  double learning_rate = 1e-3;  ///< of Adam, at the start
  index_t steps = 1000;         ///< over which the rate falls to 0 as a half cosine
  double clip = 1;              ///< largest norm of the gradient; 0: no limit

  static void fields(auto&& f, auto&... s) {
    f(option("learning_rate"), s.learning_rate...);
    f(option("steps"), s.steps...);
    f(option("clip"), s.clip...);
  }

  /// Throws ArgumentError for a value out of range.
  void validate() const {
    if (!(learning_rate > 0) || steps < 1 || !(clip >= 0))
      throw ArgumentError(
          "FieldTrainingOptions: expected a positive learning_rate, at least one step and clip >= 0, "
          "given " +
          std::to_string(learning_rate) + ", " + std::to_string(steps) + " and " + std::to_string(clip));
  }
};

/// Everything a run remembers.
template <class V>
struct FieldTraining {
  FieldCodec<V> codec;
  optim::AdamState<FieldCodec<V>> optimiser;
  FieldTrainingOptions options;
  std::uint64_t key = 0;
  index_t skipped = 0;  ///< steps whose loss or gradient was not finite

  static void fields(auto&& f, auto&... s) {
    f(submodule("codec"), s.codec...);
    f(submodule("optimiser"), s.optimiser...);
    f(submodule("options"), s.options...);
    f(state("key"), s.key...);
    f(state("skipped"), s.skipped...);
  }
  template <class U>
  using Rebind = FieldTraining<U>;

  index_t steps_completed() const { return codec.quantizer.steps_completed; }
};

/// The state before the first step of a codec that was drawn and standardised. Throws ArgumentError for options out of
/// range.
template <PlainTensor V>
FieldTraining<V> start_training(FieldCodec<V> codec, const FieldTrainingOptions& options, Key key) {
  options.validate();
  codec.validate();
  auto moments = optim::adam().init(codec);
  return {std::move(codec), std::move(moments), options, key.value, 0};
}

struct FieldStepReport {
  index_t step = 0;    ///< completed steps, this one included
  index_t active = 0;  ///< stages it used
  double error = 0;    ///< mean squared error over the variance of the fields
  double commitment = 0;
  double gradient_norm = 0;
  std::vector<double> perplexity;  ///< of every active stage in this batch
  bool skipped = false;
};

/// One step on fields [B, H, W] or [B, H, W, C]: stages that became active start from the vectors of `start_from` (the
/// batch itself unless given), forward, backward, Adam, codebooks. A loss or gradient that is not finite changes
/// neither networks nor codebooks and is counted. Throws as pass_through.
template <PlainTensor V>
FieldStepReport training_step(FieldTraining<V>& training, const V& fields,
                              const std::type_identity_t<V>& start_from = {}) {
  FieldTraining<V> next = training;  // handles
  FieldCodec<V>& codec = next.codec;
  const auto key = [&](std::uint64_t purpose) {
    return fold_in(fold_in(Key{training.key}, purpose), static_cast<std::uint64_t>(training.steps_completed()));
  };
  FieldStepReport report;
  report.active = codec.quantizer.active();
  if (needs_start(codec.quantizer)) {
    const V& source = start_from.has_value() ? start_from : fields;
    const V x = (detail::field_planes(codec, source, "training_step") - codec.mean) / codec.deviation;
    const index_t square = codec.options.stride() * codec.options.stride();
    start_stages(codec.quantizer, codec.encoder(x), key(1),
                 {.vectors_per_update = fields.size() / codec.options.channels / square, .mask = {}});
  }
  std::vector<UpdateStatistics<V>> statistics;
  const auto [loss, gradient] = value_and_grad(codec, [&](const auto& c) {
    const auto pass = pass_through(c, fields, {.active = 0, .mask = {}, .pass = {key(2), true}});
    const auto error = mean(square(pass.reconstruction - pass.fields));
    report.error = static_cast<double>(detach(error).item());
    report.commitment = static_cast<double>(detach(pass.quantized.commitment_loss).item());
    statistics = pass.quantized.statistics;
    return error + quantizer_loss(c.quantizer, pass.quantized);
  });
  report.gradient_norm = optim::global_norm(gradient);
  report.skipped = !is_finite(static_cast<double>(loss.item())) || !is_finite(report.gradient_norm);
  if (report.skipped) {
    ++next.skipped;
    codec.quantizer.active_trained = report.active;
    ++codec.quantizer.steps_completed;
  } else {
    const double done = static_cast<double>(smaller(next.steps_completed(), next.options.steps)) /
                        static_cast<double>(next.options.steps);
    const double limit = next.options.clip;
    optim::adam().step(codec, gradient, next.optimiser,
                       next.options.learning_rate * 0.5 * (1 + std::cos(3.14159265358979323846 * done)),
                       limit > 0 && report.gradient_norm > limit ? limit / report.gradient_norm : 1.0);
    const auto update = apply_update(codec.quantizer, statistics, key(3));
    for (const auto& stage : update.stages) report.perplexity.push_back(stage.perplexity);
  }
  report.step = next.steps_completed();
  training = std::move(next);
  return report;
}

}  // namespace kolmo::rvq
