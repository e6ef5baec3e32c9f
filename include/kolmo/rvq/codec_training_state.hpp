#pragma once
// What a training of a codec against discriminators remembers, as one model-like struct, and what a step of it reports.
// See rvq/codec_training.hpp for the steps.

#include <optional>

#include <kolmo/optim/adam.hpp>
#include <kolmo/rvq/codec_training_options.hpp>
#include <kolmo/rvq/loss_balancer.hpp>
#include <kolmo/rvq/monitoring.hpp>
#include <kolmo/rvq/residual_quantizer.hpp>

namespace kolmo::rvq {

/// Everything a run remembers. The number of completed steps is that of the quantizer.
template <class G, class D = Discriminators<KindOf<G>>>
struct CodecTraining {
  G codec;
  optim::AdamState<G> optimiser;
  std::optional<D> discriminators;  ///< none without adversarial losses
  std::optional<optim::AdamState<D>> discriminator_optimiser;
  CodecTrainingOptions options;
  double sample_rate = 16000;  ///< in Hz, of the waves
  LossBalancer balancer;
  std::vector<StageMonitor> monitors;  ///< of every stage, the window so far
  std::uint64_t key = 0;               ///< of all random numbers
  index_t skipped = 0;                 ///< steps of the codec whose loss or gradient was not finite
  index_t discriminator_skipped = 0;

  static void fields(auto&& f, auto&... s) {
    f(submodule("codec"), s.codec...);
    f(submodule("optimiser"), s.optimiser...);
    f(state("discriminators"), s.discriminators...);
    f(state("discriminator_optimiser"), s.discriminator_optimiser...);
    f(submodule("options"), s.options...);
    f(option("sample_rate"), s.sample_rate...);
    f(submodule("balancer"), s.balancer...);
    f(state("monitors"), s.monitors...);
    f(state("key"), s.key...);
    f(state("skipped"), s.skipped...);
    f(state("discriminator_skipped"), s.discriminator_skipped...);
  }
  template <class U>
  using Rebind = CodecTraining<RebindTo<U, G>, RebindTo<U, D>>;

  index_t steps_completed() const { return codec.quantizer.steps_completed; }
};

/// What a step did. Losses are without their weights; those that took no part are 0.
struct CodecStepReport {
  index_t step = 0;    ///< completed steps, this one included
  index_t active = 0;  ///< stages it used
  double loss = 0;     ///< with weights, of the codec
  double mel = 0, level = 0, wave = 0, commitment = 0, codebook = 0;
  double ramp = 0;  ///< factor of the weights of the next two
  double adversarial = 0, feature = 0;
  double discriminator = 0;                          ///< loss of the discriminators before their update
  double real_score = 0, generated_score = 0;        ///< means over the discriminators, before their update
  double gradient_norm = 0, discriminator_norm = 0;  ///< before clipping
  double learning_rate = 0;
  double rms = 0, reference_rms = 0;  ///< of the generated and the real waves of the batch
  std::vector<double> stage_errors;   ///< mean squared error after every stage
  std::vector<StageStart> started;
  QuantizerUpdate update;           ///< of every active stage, with its perplexity
  std::vector<StageReport> window;  ///< of every active stage, when this step ends a window
  bool skipped = false, discriminator_skipped = false;
};

/// The state before the first step of a codec whose kernels are drawn; discriminators are drawn here. Codebooks start
/// from data in the step that first uses them. Throws ArgumentError for options out of range, and when adversarial
/// losses begin or reach their weight where a stage joins.
template <class G>
CodecTraining<G> start_training(G codec, double sample_rate, const CodecTrainingOptions& options,
                                const DiscriminatorOptions& adversaries, Key key) {
  static_assert(PlainTensor<KindOf<G>>, "a training starts from a codec of values");
  options.validate();
  options.schedule().check(codec.quantizer.options.progressive, codec.quantizer.stage_count());
  CodecTraining<G> training;
  training.optimiser = optim::adam().init(codec);
  training.codec = std::move(codec);
  if (options.adversarial_begin >= 0) {
    training.discriminators.emplace(adversaries);
    init(fold_in(key, 0), *training.discriminators);
    training.discriminator_optimiser = optim::adam().init(*training.discriminators);
  }
  training.options = options;
  training.sample_rate = sample_rate;
  training.monitors.resize(training.codec.quantizer.stages.size());
  for (StageMonitor& monitor : training.monitors) monitor.window = options.window;
  training.key = key.value;
  return training;
}

}  // namespace kolmo::rvq
