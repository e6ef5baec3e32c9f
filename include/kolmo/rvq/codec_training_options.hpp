#pragma once
// How a codec is trained: weights of the losses, optimisers, schedules. The defaults are a small recipe for one
// processor: 16 kHz, 8 waves of 0.64 s, a few thousand steps.

#include <kolmo/rvq/adversarial_schedule.hpp>
#include <kolmo/rvq/discriminators/discriminators.hpp>
#include <kolmo/rvq/losses/adversarial.hpp>
#include <kolmo/rvq/losses/mel_losses.hpp>
#include <kolmo/rvq/residual_quantizer.hpp>

namespace kolmo::rvq {

struct CodecTrainingOptions {
  double learning_rate = 3e-4;  ///< of AdamW, for the codec
  double discriminator_rate = 3e-4;
  double beta1 = 0.8, beta2 = 0.99;
  double weight_decay = 0;
  index_t warm_up = 0;    ///< steps over which the rate of the codec grows from 0
  double rate_decay = 1;  ///< factor of both rates per step
  double clip = 1000;     ///< largest norm of the codec's gradient; 0: no limit
  double discriminator_clip = 10;

  double mel_weight = 15;  ///< of the loss over mel spectra
  MelLossKind mel_kind = MelLossKind::dac;
  index_t shortest_window = 64, longest_window = 1024;  ///< of the mel spectra
  /// Smallest mel value that counts. White noise of deviation s has mel values of about s, so that 1e-5 asks for
  /// silence of -100 dB: right for recordings, whose own noise lies above, but out of reach where silence is synthetic.
  double mel_floor = 1e-5;
  double level_weight = 0;
  double wave_weight = 0;  ///< of the mean absolute difference of waves
  double adversarial_weight = 1, feature_weight = 2;
  AdversarialKind adversarial = AdversarialKind::hinge;
  bool bounded_generator = false, relative_features = false, average_discriminators = false;
  index_t adversarial_begin = 1650, adversarial_ramp = 500;  ///< see AdversarialSchedule
  /// Probability that the discriminators are updated in a step.
  double discriminator_share = 1;
  /// The weights above are shares of the gradient of the waves; see rvq/loss_balancer.hpp.
  bool balanced = false;
  QuantizerGradient gradient = QuantizerGradient::straight_through;
  index_t window = 50;  ///< steps that the reports of the stages are about

  static void fields(auto&& f, auto&... s) {
    f(option("learning_rate"), s.learning_rate...);
    f(option("discriminator_rate"), s.discriminator_rate...);
    f(option("beta1"), s.beta1...);
    f(option("beta2"), s.beta2...);
    f(option("weight_decay"), s.weight_decay...);
    f(option("warm_up"), s.warm_up...);
    f(option("rate_decay"), s.rate_decay...);
    f(option("clip"), s.clip...);
    f(option("discriminator_clip"), s.discriminator_clip...);
    f(option("mel_weight"), s.mel_weight...);
    f(option("mel_kind"), s.mel_kind...);
    f(option("shortest_window"), s.shortest_window...);
    f(option("longest_window"), s.longest_window...);
    f(option("mel_floor"), s.mel_floor...);
    f(option("level_weight"), s.level_weight...);
    f(option("wave_weight"), s.wave_weight...);
    f(option("adversarial_weight"), s.adversarial_weight...);
    f(option("feature_weight"), s.feature_weight...);
    f(option("adversarial"), s.adversarial...);
    f(option("bounded_generator"), s.bounded_generator...);
    f(option("relative_features"), s.relative_features...);
    f(option("average_discriminators"), s.average_discriminators...);
    f(option("adversarial_begin"), s.adversarial_begin...);
    f(option("adversarial_ramp"), s.adversarial_ramp...);
    f(option("discriminator_share"), s.discriminator_share...);
    f(option("balanced"), s.balanced...);
    f(option("gradient"), s.gradient...);
    f(option("window"), s.window...);
  }
  template <class U>
  using Rebind = CodecTrainingOptions;

  AdversarialSchedule schedule() const { return {adversarial_begin, adversarial_ramp}; }
  AdversarialOptions adversaries() const {
    return {adversarial, bounded_generator, relative_features, average_discriminators};
  }
  MelLossOptions mel(double sample_rate) const {
    MelLossOptions result =
        mel_kind == MelLossKind::encodec       ? encodec_mel_options(sample_rate, shortest_window, longest_window)
        : mel_kind == MelLossKind::soundstream ? soundstream_mel_options(sample_rate, shortest_window, longest_window)
                                               : dac_mel_options(sample_rate, shortest_window, longest_window);
    result.floor = mel_floor;
    return result;
  }
  /// The factor of the learning rates after so many steps.
  double rate_factor(index_t steps_completed) const {
    const double s = static_cast<double>(steps_completed);
    const double rising = warm_up > 0 && steps_completed < warm_up ? (s + 1) / static_cast<double>(warm_up) : 1.0;
    return rising * std::pow(rate_decay, s);
  }

  /// Throws ArgumentError for a value out of range.
  void validate() const {
    const auto require = [](bool good, const char* what) {
      if (!good) throw ArgumentError(std::string("CodecTrainingOptions: expected ") + what);
    };
    require(learning_rate > 0 && discriminator_rate > 0, "positive learning rates");
    require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, "0 <= beta1, beta2 < 1");
    require(weight_decay >= 0 && clip >= 0 && discriminator_clip >= 0 && warm_up >= 0,
            "weight_decay, clip, discriminator_clip and warm_up of at least 0");
    require(rate_decay > 0 && rate_decay <= 1, "0 < rate_decay <= 1");
    require(mel_weight >= 0 && level_weight >= 0 && wave_weight >= 0 && adversarial_weight >= 0 && feature_weight >= 0,
            "weights of at least 0");
    require(mel_weight + level_weight + wave_weight > 0, "a reconstruction loss with a positive weight");
    require(discriminator_share > 0 && discriminator_share <= 1, "0 < discriminator_share <= 1");
    require(mel_floor > 0, "a positive mel_floor");
    require(window >= 1, "a window of at least one step");
    schedule().check(0, 1);
  }
};

}  // namespace kolmo::rvq
