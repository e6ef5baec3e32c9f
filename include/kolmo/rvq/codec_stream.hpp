#pragma once
// A causal codec on a live signal: samples in pieces of any size to codes, as soon as a frame is complete, and codes to
// samples. The algorithmic delay is one frame. All pieces together are what `encode` and `decode` of the whole wave
// are.

#include <kolmo/rvq/codec.hpp>
#include <kolmo/rvq/stack_stream.hpp>

namespace kolmo::rvq {

/// Encodes `batch` waves at once.
template <PlainTensor V>
class CodecEncoderStream {
 public:
  /// Throws ArgumentError for a codec that is not causal, and as stage_use.
  explicit CodecEncoderStream(const Codec<V>& codec, const EncodeOptions& options = {}, index_t batch = 1)
      : codec_(codec),
        options_(options),
        stream_(codec.encoder, batch),
        used_(stage_use(codec.quantizer, options.stages).used) {}

  /// The next samples, [batch, n] or [batch, n, channels], to the codes of the frames that they complete,
  /// [batch, frames, stages]. Throws ShapeError for another shape.
  CodesOf<V> push(const V& wave) {
    samples_ += wave.rank() < 2 ? 0 : wave.shape()[1];
    return codes_of(stream_.push(wave.rank() == 2 && codec_.options.audio_channels == 1
                                     ? wave.reshaped(Shape{wave.shape()[0], wave.shape()[1], 1})
                                     : wave));
  }
  /// The codes of the last frame, with zeros behind the wave; none when it was complete.
  CodesOf<V> flush() { return codes_of(stream_.flush()); }

  /// Samples pushed so far: to how many the decoded wave is cut.
  index_t samples() const { return samples_; }
  index_t stages() const { return used_; }

 private:
  CodesOf<V> codes_of(const V& latent) const {
    const index_t batch = latent.shape()[0], frames = latent.shape()[1];
    if (frames == 0) return CodesOf<V>::zeros(Shape{batch, 0, used_});
    return encode(codec_.quantizer, latent, options_).codes.reshaped(Shape{batch, frames, used_});
  }

  Codec<V> codec_;
  EncodeOptions options_;
  EncoderStream<V> stream_;
  index_t used_, samples_ = 0;
};

/// Decodes `batch` streams of codes at once.
template <PlainTensor V>
class CodecDecoderStream {
 public:
  /// Throws ArgumentError for a codec that is not causal.
  explicit CodecDecoderStream(const Codec<V>& codec, index_t batch = 1)
      : codec_(codec), stream_(codec.decoder, batch), batch_(batch) {}

  /// The next codes, [batch, frames, stages], to their samples, [batch, frames hop] or [batch, frames hop, channels].
  /// The frames of a stream may have different numbers of stages. Throws as decode.
  V push(const CodesOf<V>& codes) {
    const index_t channels = codec_.options.audio_channels;
    if (codes.rank() != 3 || codes.shape()[0] != batch_)
      throw ShapeError("CodecDecoderStream: expected codes [" + std::to_string(batch_) + ", frames, stages], given " +
                       codes.shape().to_string());
    const index_t frames = codes.shape()[1];
    const V latent = frames == 0 ? V::zeros(Shape{batch_, 0, codec_.options.latent})
                                 : decode(codec_.quantizer, detail::codec_codes<V>(codes, 0))
                                       .reshaped(Shape{batch_, frames, codec_.options.latent});
    const V wave = stream_.push(latent);
    return channels == 1 ? wave.reshaped(Shape{batch_, wave.shape()[1]}) : wave;
  }

 private:
  Codec<V> codec_;
  DecoderStream<V> stream_;
  index_t batch_;
};

}  // namespace kolmo::rvq
