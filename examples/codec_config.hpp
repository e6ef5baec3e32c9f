#pragma once
// The configuration of a codec of sound and its training, one JSON object. Missing names have the defaults below, which
// are a small streaming codec that two processors train in about half an hour; the configuration in use is written
// beside the model.

#include <string>
#include <vector>

#include <kolmo/io/number_text.hpp>
#include <kolmo/rvq/codec_options.hpp>

#include "config_file.hpp"

namespace codec_program {

using namespace kolmo;

struct Config {
  index_t sample_rate = 16000;
  std::string style = "seanet";  ///< seanet: ELU, units of kernel 3; dac: Snake, three dilated units, tanh
  bool causal = true;            ///< streams; otherwise a frame sees as much of what comes as of what was
  index_t channels = 8;          ///< of the encoder's first layer; they double with each stride
  index_t decoder_channels = 0;  ///< of the decoder's first layer; 0: as many as the encoder ends with
  index_t latent = 64;           ///< dimension of the vectors that are quantized
  std::vector<index_t> strides = {2, 4, 5, 8};  ///< their product is the hop, the samples of a frame
  bool weight_norm = true;

  index_t stages = 8;                         ///< of the quantizer
  index_t codes = 256;                        ///< of a stage
  double decay = 0.99;                        ///< of the codebooks' moving averages
  index_t progressive = 300;                  ///< steps after which one more stage joins; 0: all from the start
  double dropout = 0.25;                      ///< share of the items that are quantized with fewer stages
  double commitment = 0.25;                   ///< weight of the commitment loss
  std::string gradient = "straight_through";  ///< or rotation

  index_t steps = 5500;
  index_t batch = 8;
  double seconds = 0.64;  ///< of an item of a batch
  double learning_rate = 1e-3;
  double weight_decay = 0;
  std::vector<double> betas = {0.8, 0.99};
  double grad_clip = 1000;      ///< largest norm of the codec's gradient; 0: none
  double learning_decay = 0.2;  ///< what is left of the learning rate at the end

  double mel_weight = 2;
  index_t shortest_window = 64;   ///< of the mel loss, in samples
  index_t longest_window = 1024;  ///< every power of two between
  double mel_floor = 1e-3;        ///< smallest mel value that counts: what is quieter is silence
  double wave_weight = 200;   ///< of the mean absolute difference of waves; without it a short training stays silent
  double level_weight = 0.1;  ///< of |ln(rms of the output / rms of the input)|

  bool adversarial = true;
  std::string adversary = "stft";  ///< stft: short-time spectra; period: periods; both
  index_t filters = 8;             ///< of the adversary's layers
  std::string gan_loss = "hinge";  ///< or least_squares
  double adversarial_weight = 1;
  double feature_weight = 2;
  index_t adversarial_from = 3950;  ///< first step of the adversary
  index_t adversarial_ramp = 500;   ///< steps until its weight is whole; neither end may meet a stage that joins

  friend bool operator==(const Config&, const Config&) = default;

  /// Calls f(name, member) for everything.
  template <class C, class F>
  static void visit(C& c, const F& f) {
    f("sample_rate", c.sample_rate);
    f("style", c.style);
    f("causal", c.causal);
    f("channels", c.channels);
    f("decoder_channels", c.decoder_channels);
    f("latent", c.latent);
    f("strides", c.strides);
    f("weight_norm", c.weight_norm);
    f("stages", c.stages);
    f("codes", c.codes);
    f("decay", c.decay);
    f("progressive", c.progressive);
    f("dropout", c.dropout);
    f("commitment", c.commitment);
    f("gradient", c.gradient);
    f("steps", c.steps);
    f("batch", c.batch);
    f("seconds", c.seconds);
    f("learning_rate", c.learning_rate);
    f("weight_decay", c.weight_decay);
    f("betas", c.betas);
    f("grad_clip", c.grad_clip);
    f("learning_decay", c.learning_decay);
    f("mel_weight", c.mel_weight);
    f("shortest_window", c.shortest_window);
    f("longest_window", c.longest_window);
    f("mel_floor", c.mel_floor);
    f("wave_weight", c.wave_weight);
    f("level_weight", c.level_weight);
    f("adversarial", c.adversarial);
    f("adversary", c.adversary);
    f("filters", c.filters);
    f("gan_loss", c.gan_loss);
    f("adversarial_weight", c.adversarial_weight);
    f("feature_weight", c.feature_weight);
    f("adversarial_from", c.adversarial_from);
    f("adversarial_ramp", c.adversarial_ramp);
  }

  rvq::CodecOptions stacks() const {
    rvq::CodecOptions options = style == "dac" ? rvq::CodecOptions::dac(channels, decoder_channels, latent)
                                               : rvq::CodecOptions::seanet(channels, latent);
    options.decoder_channels = decoder_channels;
    options.strides = strides;
    options.causal = causal;
    options.weight_norm = weight_norm;
    return options;
  }
  /// Samples of an item of a batch, whole frames.
  index_t crop() const {
    const index_t hop = stacks().hop();
    return larger<index_t>(1, static_cast<index_t>(seconds * static_cast<double>(sample_rate) + 0.5) / hop) * hop;
  }

  /// Throws ArgumentError that names the entry.
  void check() const {
    const auto at_least = [&](const char* name, index_t value, index_t least) {
      if (value < least)
        config_file::refuse(std::string(name) + " must be at least " + std::to_string(least) + ", given " +
                            std::to_string(value));
    };
    const auto not_negative = [&](const char* name, double value) {
      if (!(value >= 0)) config_file::refuse(std::string(name) + " must not be negative, given " + io::to_text(value));
    };
    config_file::require_one_of("style", style, {"seanet", "dac"});
    config_file::require_one_of("gradient", gradient, {"straight_through", "rotation"});
    config_file::require_one_of("adversary", adversary, {"stft", "period", "both"});
    config_file::require_one_of("gan_loss", gan_loss, {"hinge", "least_squares"});
    at_least("sample_rate", sample_rate, 1000);
    at_least("stages", stages, 1);
    at_least("codes", codes, 2);
    at_least("progressive", progressive, 0);
    at_least("steps", steps, 0);
    at_least("batch", batch, 1);
    at_least("filters", filters, 1);
    at_least("adversarial_from", adversarial_from, 0);
    at_least("adversarial_ramp", adversarial_ramp, 0);
    not_negative("mel_weight", mel_weight);
    not_negative("wave_weight", wave_weight);
    not_negative("level_weight", level_weight);
    not_negative("adversarial_weight", adversarial_weight);
    not_negative("feature_weight", feature_weight);
    not_negative("commitment", commitment);
    not_negative("weight_decay", weight_decay);
    not_negative("grad_clip", grad_clip);
    if (!(learning_rate > 0))
      config_file::refuse("learning_rate must be positive, given " + io::to_text(learning_rate));
    if (!(learning_decay > 0 && learning_decay <= 1))
      config_file::refuse("learning_decay must be in (0, 1], given " + io::to_text(learning_decay));
    if (!(mel_floor > 0)) config_file::refuse("mel_floor must be positive, given " + io::to_text(mel_floor));
    if (!(decay > 0 && decay < 1)) config_file::refuse("decay must be in (0, 1), given " + io::to_text(decay));
    if (!(dropout >= 0 && dropout <= 1))
      config_file::refuse("dropout must be a probability, given " + io::to_text(dropout));
    if (betas.size() != 2 || !(betas[0] >= 0 && betas[0] < 1 && betas[1] >= 0 && betas[1] < 1))
      config_file::refuse("betas must be two numbers in [0, 1)");
    if (shortest_window < 32 || longest_window < shortest_window)
      config_file::refuse(
          "windows of the mel loss are powers of two from shortest_window >= 32 to longest_window, given " +
          std::to_string(shortest_window) + " and " + std::to_string(longest_window));
    try {
      stacks().validate();
    } catch (const ArgumentError& error) {
      config_file::refuse(error.what());
    }
    if (!(seconds > 0) || crop() <= longest_window)
      config_file::refuse("an item of " + io::to_text(seconds) + " s has no more samples than the longest window, " +
                          std::to_string(longest_window) + "; make seconds larger");
  }
};

}  // namespace codec_program
