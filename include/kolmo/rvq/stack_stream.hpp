#pragma once
// The causal stacks of a codec fed in pieces: samples of any number in, frames out as soon as they are complete, and
// frames in, samples out. The pieces together give what the stacks give for the whole wave padded to whole frames. Each
// stream holds its own copies of the kernels, normalised once.

#include <kolmo/nn/sequence_stream.hpp>
#include <kolmo/rvq/codec_blocks.hpp>

namespace kolmo::rvq {

namespace detail {

template <PlainTensor V>
class UnitStream {
 public:
  UnitStream(const ResidualUnit<V>& unit, index_t batch)
      : first_activation_(unit.first_activation),
        second_activation_(unit.second_activation),
        first_(unit.first, batch),
        second_(unit.second, batch) {
    if (unit.shortcut) shortcut_.emplace(*unit.shortcut, batch);
  }
  V operator()(const V& x) {
    const V y = second_(second_activation_(first_(first_activation_(x))));
    return shortcut_ ? (*shortcut_)(x) + y : x + y;
  }

 private:
  CodecActivation<V> first_activation_, second_activation_;
  nn::SequenceConvStream<V> first_, second_;
  std::optional<nn::SequenceConvStream<V>> shortcut_;
};

template <PlainTensor V>
std::vector<UnitStream<V>> unit_streams(const std::vector<ResidualUnit<V>>& units, index_t batch) {
  std::vector<UnitStream<V>> streams;
  for (const auto& unit : units) streams.emplace_back(unit, batch);
  return streams;
}

}  // namespace detail

/// An encoder of `batch` waves at once.
template <PlainTensor V>
class EncoderStream {
 public:
  /// Throws ArgumentError for an encoder that is not causal or a batch below 1.
  explicit EncoderStream(const Encoder<V>& encoder, index_t batch = 1)
      : first_(encoder.first, batch), activation_(encoder.activation), last_(encoder.last, batch) {
    for (const auto& stage : encoder.stages) {
      stages_.push_back(
          {detail::unit_streams(stage.units, batch), stage.activation, nn::SequenceConvStream<V>(stage.down, batch)});
      hop_ *= stage.down.stride;
    }
    latent_ = encoder.last.out();
    pending_ = V::zeros(Shape{batch, 0, encoder.first.in()});
  }

  /// The next samples, [batch, n, audio channels] with any n, to the frames that they complete, [batch, frames, D].
  /// Throws ShapeError for another shape.
  V push(const V& wave) {
    nn::detail::check_piece("EncoderStream", wave.shape(), pending_.shape()[0], pending_.shape()[2]);
    const V all = pending_.size() == 0 ? wave.contiguous() : concat(1, pending_, wave);
    const index_t points = all.shape()[1], used = points / hop_ * hop_;
    pending_ = slice(all, 1, used, points).contiguous();
    if (used == 0) return V::zeros(Shape{all.shape()[0], 0, latent_});
    V y = first_(slice(all, 1, 0, used));
    for (auto& stage : stages_) {
      for (auto& unit : stage.units) y = unit(y);
      y = stage.down(stage.activation(y));
    }
    return last_(activation_(y));
  }

  /// Samples that wait for the rest of their frame.
  index_t pending() const { return pending_.shape()[1]; }

  /// The frame of the waiting samples, with zeros behind them; no frame when none waits.
  V flush() {
    const index_t missing = pending() == 0 ? 0 : hop_ - pending();
    return push(V::zeros(Shape{pending_.shape()[0], missing, pending_.shape()[2]}));
  }

 private:
  struct Stage {
    std::vector<detail::UnitStream<V>> units;
    CodecActivation<V> activation;
    nn::SequenceConvStream<V> down;
  };
  nn::SequenceConvStream<V> first_;
  std::vector<Stage> stages_;
  CodecActivation<V> activation_;
  nn::SequenceConvStream<V> last_;
  V pending_;
  index_t hop_ = 1, latent_ = 0;
};

/// A decoder of `batch` sequences of frames at once. Nothing is left behind the last frame.
template <PlainTensor V>
class DecoderStream {
 public:
  /// Throws ArgumentError for a decoder that is not causal or a batch below 1.
  explicit DecoderStream(const Decoder<V>& decoder, index_t batch = 1)
      : batch_(batch),
        first_(decoder.first, batch),
        activation_(decoder.activation),
        last_(decoder.last, batch),
        audio_channels_(decoder.last.out()),
        bounded_(decoder.bounded) {
    for (const auto& stage : decoder.stages)
      stages_.push_back({stage.activation, nn::SequenceConvTransposeStream<V>(stage.up, batch),
                         detail::unit_streams(stage.units, batch)});
  }

  /// The next frames, [batch, n, D], to their samples, [batch, n hop, audio channels]. Throws ShapeError for another
  /// shape.
  V push(const V& frames) {
    if (frames.rank() == 3 && frames.shape()[1] == 0) return V::zeros(Shape{batch_, 0, audio_channels_});
    V y = first_(frames);
    for (auto& stage : stages_) {
      y = stage.up(stage.activation(y));
      for (auto& unit : stage.units) y = unit(y);
    }
    y = activation_(y);
    return bounded_ ? last_(y, fn::Tanh{}) : last_(y);
  }

 private:
  struct Stage {
    CodecActivation<V> activation;
    nn::SequenceConvTransposeStream<V> up;
    std::vector<detail::UnitStream<V>> units;
  };
  index_t batch_;
  nn::SequenceConvStream<V> first_;
  std::vector<Stage> stages_;
  CodecActivation<V> activation_;
  nn::SequenceConvStream<V> last_;
  index_t audio_channels_;
  bool bounded_;
};

}  // namespace kolmo::rvq
