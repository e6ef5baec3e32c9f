#pragma once
// What a codec's convolution stacks look like. Two families differ in a few numbers only: SEANet (Tagliasacchi et al.
// 2020; SoundStream and EnCodec without their LSTM) and DAC (Kumar et al. 2023).
//
//   encoder   conv(audio -> C, k);  per stride s: units, act, conv(C -> 2 C, 2 s, stride s);  act, conv(-> D)
//   decoder   conv(D -> C_d, k);    per stride, last first: act, transposed conv(C_d -> C_d / 2, 2 s), units;
//             act, conv(-> audio, k) [, tanh]
//   unit      x + conv(act(conv(act(x), C -> C / narrowing, k_u, dilation)), C / narrowing -> C, 1)

#include <string>
#include <vector>

#include <kolmo/ad/module.hpp>
#include <kolmo/error.hpp>

namespace kolmo::rvq {

enum class CodecActivationKind { elu, snake };

/// Numbers of a pair of stacks; the defaults are the causal SEANet for small machines.
struct CodecOptions {
  index_t audio_channels = 1;
  index_t channels = 16;         ///< C of the first convolution
  index_t decoder_channels = 0;  ///< C_d of the decoder's first convolution; 0: as many as the encoder ends with
  index_t latent = 64;           ///< D
  std::vector<index_t> strides = {2, 4, 5, 8};
  index_t kernel = 7;                    ///< of the outermost convolutions and the decoder's first
  index_t latent_kernel = 7;             ///< of the encoder's last convolution
  index_t unit_kernel = 3;               ///< of the residual units
  std::vector<index_t> dilations = {1};  ///< one residual unit for each
  index_t narrowing = 2;                 ///< channels of a unit over those inside it
  bool shortcut_convolution = false;     ///< a 1 x 1 convolution beside every unit instead of the identity
  CodecActivationKind activation = CodecActivationKind::elu;
  bool bounded = false;  ///< tanh behind the decoder
  bool causal = true;
  bool weight_norm = false;

  /// The family of EnCodec: ELU, one unit of kernel 3 at half the channels.
  static CodecOptions seanet(index_t channels = 16, index_t latent = 64) {
    CodecOptions o;
    o.channels = channels;
    o.latent = latent;
    return o;
  }
  /// The family of DAC: Snake, three units of kernel 7 with dilations 1, 3 and 9, tanh at the end, not causal.
  static CodecOptions dac(index_t channels = 8, index_t decoder_channels = 128, index_t latent = 64) {
    CodecOptions o;
    o.channels = channels;
    o.decoder_channels = decoder_channels;
    o.latent = latent;
    o.latent_kernel = 3;
    o.unit_kernel = 7;
    o.dilations = {1, 3, 9};
    o.narrowing = 1;
    o.activation = CodecActivationKind::snake;
    o.bounded = true;
    o.causal = false;
    return o;
  }

  /// Samples of a frame.
  index_t hop() const {
    index_t product = 1;
    for (const index_t s : strides) product *= s;
    return product;
  }
  /// Channels where the encoder ends and where the decoder begins.
  index_t widest() const { return channels << strides.size(); }
  index_t decoder_start() const { return decoder_channels > 0 ? decoder_channels : widest(); }

  friend bool operator==(const CodecOptions&, const CodecOptions&) = default;

  static void fields(auto&& f, auto&... s) {
    f(option("audio_channels"), s.audio_channels...);
    f(option("channels"), s.channels...);
    f(option("decoder_channels"), s.decoder_channels...);
    f(option("latent"), s.latent...);
    f(option("strides"), s.strides...);
    f(option("kernel"), s.kernel...);
    f(option("latent_kernel"), s.latent_kernel...);
    f(option("unit_kernel"), s.unit_kernel...);
    f(option("dilations"), s.dilations...);
    f(option("narrowing"), s.narrowing...);
    f(option("shortcut_convolution"), s.shortcut_convolution...);
    f(option("activation"), s.activation...);
    f(option("bounded"), s.bounded...);
    f(option("causal"), s.causal...);
    f(option("weight_norm"), s.weight_norm...);
  }

  /// Throws ArgumentError that names the option, its value and what it may be.
  void validate() const {
    const auto require = [](bool good, const char* name, index_t value, const std::string& expected) {
      if (!good)
        throw ArgumentError(std::string("CodecOptions: ") + name + " must be " + expected + ", given " +
                            std::to_string(value));
    };
    require(audio_channels >= 1, "audio_channels", audio_channels, "at least 1");
    require(channels >= 1, "channels", channels, "at least 1");
    require(latent >= 1, "latent", latent, "at least 1");
    require(kernel >= 1, "kernel", kernel, "at least 1");
    require(latent_kernel >= 1, "latent_kernel", latent_kernel, "at least 1");
    require(unit_kernel >= 1, "unit_kernel", unit_kernel, "at least 1");
    require(narrowing >= 1 && channels % larger<index_t>(1, narrowing) == 0, "narrowing", narrowing,
            "a divisor of the " + std::to_string(channels) + " channels");
    require(!strides.empty() && strides.size() <= 12, "the number of strides", static_cast<index_t>(strides.size()),
            "1 to 12");
    for (const index_t s : strides) require(s >= 1 && s <= 1024, "a stride", s, "1 to 1024");
    for (const index_t d : dilations) require(d >= 1, "a dilation", d, "at least 1");
    const index_t halvings = index_t{1} << strides.size();
    require(decoder_channels >= 0 && decoder_channels % (halvings * narrowing) == 0, "decoder_channels",
            decoder_channels,
            "0 or a multiple of " + std::to_string(halvings * narrowing) + ", to be halved by each of " +
                std::to_string(strides.size()) + " stages");
    require(activation == CodecActivationKind::elu || activation == CodecActivationKind::snake, "activation",
            static_cast<index_t>(activation), "elu (0) or snake (1)");
  }
};

/// Parameters of the two stacks, and their multiply-adds for one frame.
struct CodecSize {
  index_t encoder = 0, decoder = 0;
  index_t encoder_products = 0, decoder_products = 0;
};

namespace detail {

/// Adds up layers without making them.
struct CodecCounter {
  const CodecOptions& options;
  index_t parameters = 0, products = 0;

  /// `points` results in a frame, each of in x taps products for every output channel.
  void convolution(index_t in, index_t out, index_t kernel, index_t taps, index_t points) {
    parameters += in * out * kernel + out + (options.weight_norm ? out : 0);
    products += in * out * taps * points;
  }
  void convolution(index_t in, index_t out, index_t kernel, index_t points) {
    convolution(in, out, kernel, kernel, points);
  }
  void activation(index_t channels) {
    if (options.activation == CodecActivationKind::snake) parameters += channels;
  }
  void units(index_t channels, index_t points) {
    const index_t inner = channels / options.narrowing;
    for (std::size_t i = 0; i < options.dilations.size(); ++i) {
      activation(channels);
      convolution(channels, inner, options.unit_kernel, points);
      activation(inner);
      convolution(inner, channels, 1, points);
      if (options.shortcut_convolution) convolution(channels, channels, 1, points);
    }
  }
};

}  // namespace detail

/// The size of a codec from its options alone. Throws ArgumentError for options that make none.
inline CodecSize codec_size(const CodecOptions& options) {
  options.validate();
  detail::CodecCounter encoder{options}, decoder{options};
  index_t points = options.hop(), channels = options.channels;
  encoder.convolution(options.audio_channels, channels, options.kernel, points);
  for (const index_t s : options.strides) {
    encoder.units(channels, points);
    encoder.activation(channels);
    points /= s;
    encoder.convolution(channels, 2 * channels, 2 * s, points);
    channels *= 2;
  }
  encoder.activation(channels);
  encoder.convolution(channels, options.latent, options.latent_kernel, 1);

  channels = options.decoder_start();
  decoder.convolution(options.latent, channels, options.kernel, 1);
  for (std::size_t i = options.strides.size(); i-- > 0;) {
    const index_t s = options.strides[i];
    decoder.activation(channels);
    points *= s;
    decoder.convolution(channels, channels / 2, 2 * s, 2, points);
    channels /= 2;
    decoder.units(channels, points);
  }
  decoder.activation(channels);
  decoder.convolution(channels, options.audio_channels, options.kernel, points);
  return {encoder.parameters, decoder.parameters, encoder.products, decoder.products};
}

}  // namespace kolmo::rvq
