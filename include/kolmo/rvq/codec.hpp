#pragma once
// A neural codec: encoder, residual quantizer and decoder (SoundStream, Zeghidour et al. 2021). Waves are [B, N], or
// [B, N, channels] when there is more than one channel. Any length goes: a wave is continued by zeros to whole frames
// of `hop` samples, one vector of codes each, and what is decoded is cut to the length that was given. The sampling
// rate only says how long a sample is.

#include <kolmo/rvq/codec_blocks.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/residual_quantizer.hpp>

namespace kolmo::rvq {

template <class V>
struct Codec {
  CodecOptions options;
  double sample_rate = 16000;  ///< Hz
  Encoder<V> encoder;
  ResidualQuantizer<V> quantizer;
  Decoder<V> decoder;

  Codec() = default;
  /// Kernels of zeros; call init. `codes` are the codes of every stage. Throws ArgumentError for options that make no
  /// codec.
  Codec(const CodecOptions& stacks, double rate, const std::vector<index_t>& codes, const CodebookOptions& book = {},
        const QuantizerOptions& settings = {})
      : options(stacks),
        sample_rate(rate),
        encoder(stacks),
        quantizer(stacks.latent, codes, book, settings),
        decoder(stacks) {
    validate();
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("options"), s.options...);
    f(option("sample_rate"), s.sample_rate...);
    f(submodule("encoder"), s.encoder...);
    f(submodule("quantizer"), s.quantizer...);
    f(submodule("decoder"), s.decoder...);
  }
  template <class U>
  using Rebind = Codec<U>;

  /// Samples of a frame.
  index_t hop() const { return options.hop(); }
  /// Frames of a wave of so many samples.
  index_t frames(index_t samples) const { return divide_up(samples, hop()); }
  double frame_rate() const { return sample_rate / static_cast<double>(hop()); }

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    options.validate();
    if (!(sample_rate > 0))
      throw ArgumentError("Codec: the sampling rate must be positive, given " + std::to_string(sample_rate));
    quantizer.validate();
    if (quantizer.dimension() != options.latent)
      throw ShapeError("Codec: the encoder gives vectors of " + std::to_string(options.latent) +
                       " numbers, the quantizer takes " + std::to_string(quantizer.dimension()));
    check_stack("encoder", encoder, Encoder<BaseOf<V>>(options));
    check_stack("decoder", decoder, Decoder<BaseOf<V>>(options));
    if (decoder.bounded != options.bounded)
      throw ArgumentError("Codec: the decoder's `bounded` is not that of the options");
  }

 private:
  /// Every field as the options make it.
  template <class S, class Expected>
  static void check_stack(const char* name, const S& stack, const Expected& expected) {
    try {
      visit(
          [&](const std::string& path, FieldKind, const auto& made, const auto& given) {
            if constexpr (TensorLike<std::remove_cvref_t<decltype(made)>>) {
              if (!(made.shape() == given.shape()))
                throw ShapeError(path + " has shape " + given.shape().to_string() + ", the options make " +
                                 made.shape().to_string());
            } else if (!(made == given)) {
              throw ArgumentError(path + " is not what the options make it");
            }
          },
          expected, stack);
    } catch (const Error& error) {
      throw ShapeError(std::string("Codec: the ") + name + " does not fit the options: " + error.what());
    }
  }
};

/// Draws the stacks and the quantizer's projections; codebooks start from data. Kernels with weight normalisation and
/// Snake start narrow, as DAC's, the others uniform.
template <PlainTensor V>
void init(Key key, Codec<V>& codec) {
  const bool narrow = codec.options.weight_norm && codec.options.activation == CodecActivationKind::snake;
  const nn::KernelStart start = narrow ? nn::KernelStart::narrow : nn::KernelStart::uniform;
  init(fold_in(key, 0), codec.encoder, start);
  init(fold_in(key, 1), codec.decoder, start);
  init(fold_in(key, 2), codec.quantizer);
}

namespace detail {

/// As the networks take it: [B, N, channels].
template <class V, TensorLike X>
auto codec_wave(const Codec<V>& codec, const X& wave, const char* name) {
  const index_t channels = codec.options.audio_channels;
  const bool flat = wave.rank() == 2 && channels == 1;
  if (!flat && !(wave.rank() == 3 && wave.shape()[2] == channels))
    throw ShapeError(std::string(name) + ": expected waves " +
                     (channels == 1 ? "[batch, samples]" : "[batch, samples, " + std::to_string(channels) + "]") +
                     ", given " + wave.shape().to_string());
  if (wave.shape()[0] < 1 || wave.shape()[1] < 1)
    throw ShapeError(std::string(name) + ": expected at least one sample, given waves " + wave.shape().to_string());
  return reshape(wave, Shape{wave.shape()[0], wave.shape()[1], channels});
}

/// Continued by zeros to whole frames.
template <class V, TensorLike X>
auto whole_frames(const Codec<V>& codec, const X& wave) {
  const index_t samples = wave.shape()[1], missing = codec.frames(samples) * codec.hop() - samples;
  using Y = decltype(pad(wave, 1, index_t{0}, missing));
  return missing == 0 ? Y(wave) : pad(wave, 1, 0, missing);
}

/// The first samples, as the caller's waves are shaped.
template <class V, TensorLike X>
auto codec_result(const Codec<V>& codec, const X& wave, index_t samples, bool flat) {
  const index_t batch = wave.shape()[0], channels = codec.options.audio_channels;
  return reshape(slice(wave, 1, 0, samples), flat ? Shape{batch, samples} : Shape{batch, samples, channels});
}

}  // namespace detail

/// What a pass through the whole codec gives: the decoded wave, of the shape of the input, and the quantizer's result.
template <class X, class Q>
struct CodecPass {
  X wave;
  Q quantized;
};

/// Encodes, quantizes and decodes, for training or its evaluation. Throws as `quantize`, and ShapeError for another
/// wave.
template <TensorLike C, TensorLike X>
auto pass_through(const Codec<C>& codec, const X& wave, const QuantizeOptions<BaseOf<C>>& options = {}) {
  const auto x = detail::whole_frames(codec, detail::codec_wave(codec, wave, "pass_through"));
  auto quantized = quantize(codec.quantizer, codec.encoder(x), options);
  auto y = detail::codec_result(codec, codec.decoder(quantized.output), wave.shape()[1], wave.rank() == 2);
  return CodecPass<decltype(y), decltype(quantized)>{std::move(y), std::move(quantized)};
}

template <PlainTensor V>
struct EncodedWave {
  CodesOf<V> codes;     ///< [B, frames, stages.used]
  index_t samples = 0;  ///< of the wave
  StageUse stages;
};

/// Codes of waves. Throws as `encode` of a quantizer, and ShapeError for another wave.
template <PlainTensor V>
EncodedWave<V> encode(const Codec<V>& codec, const V& wave, const EncodeOptions& options = {}) {
  const V x = detail::whole_frames(codec, detail::codec_wave(codec, wave, "encode"));
  auto encoded = encode(codec.quantizer, codec.encoder(x), options);
  const index_t batch = wave.shape()[0], used = encoded.stages.used;
  return {encoded.codes.reshaped(Shape{batch, encoded.codes.shape()[0] / batch, used}), wave.shape()[1],
          std::move(encoded.stages)};
}

namespace detail {

/// Codes [B, frames, A] by their first `stages` stages (0: all), as [B frames, stages].
template <PlainTensor V>
CodesOf<V> codec_codes(const CodesOf<V>& codes, index_t stages) {
  if (codes.rank() != 3 || codes.shape()[2] < 1)
    throw ShapeError("decode: expected codes [batch, frames, stages], given " + codes.shape().to_string());
  if (stages < 0 || stages > codes.shape()[2])
    throw ArgumentError("decode: expected 1 to " + std::to_string(codes.shape()[2]) +
                        " stages, as many as the codes have, or 0 for all of them, given " + std::to_string(stages));
  const index_t used = stages == 0 ? codes.shape()[2] : stages;
  return slice(codes, 2, 0, used).contiguous().reshaped(Shape{codes.shape()[0] * codes.shape()[1], used});
}

}  // namespace detail

/// Waves of codes [B, frames, A], cut to `samples` (-1: whole frames), by the first `stages` of them (0: all): [B, N],
/// or [B, N, channels] of several channels. Throws ShapeError for other codes, ArgumentError for a code that does not
/// exist and for more samples than the frames have.
template <PlainTensor V>
V decode(const Codec<V>& codec, const CodesOf<V>& codes, index_t samples = -1, index_t stages = 0) {
  const auto rows = detail::codec_codes<V>(codes, stages);
  const index_t batch = codes.shape()[0], frames = codes.shape()[1], most = frames * codec.hop();
  if (samples < -1 || samples > most)
    throw ArgumentError("decode: " + std::to_string(frames) + " frames hold up to " + std::to_string(most) +
                        " samples, given " + std::to_string(samples));
  const index_t wanted = samples == -1 ? most : samples;
  const bool flat = codec.options.audio_channels == 1;
  if (rows.size() == 0) return V::zeros(flat ? Shape{batch, 0} : Shape{batch, 0, codec.options.audio_channels});
  const V latent = decode(codec.quantizer, rows).reshaped(Shape{batch, frames, codec.options.latent});
  return detail::codec_result(codec, codec.decoder(latent), wanted, flat).contiguous();
}

/// Bits a second of the first `stages` stages (0: all). Throws ArgumentError for more stages than there are.
template <class V>
double bit_rate(const Codec<V>& codec, index_t stages = 0) {
  const std::vector<index_t> codes = codec.quantizer.code_counts();
  if (stages < 0 || stages > static_cast<index_t>(codes.size()))
    throw ArgumentError("bit_rate: expected 1 to " + std::to_string(codes.size()) + " stages, or 0 for all, given " +
                        std::to_string(stages));
  return codec.frame_rate() * bits_per_frame(codes, stages == 0 ? static_cast<index_t>(codes.size()) : stages);
}

}  // namespace kolmo::rvq
