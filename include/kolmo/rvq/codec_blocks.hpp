#pragma once
// The convolution stacks of a codec (rvq/codec_options.hpp): an encoder of waves [B, N, audio channels] to latent
// vectors [B, frames, D] and a decoder back. A sequence of N samples has ceil(N / hop) frames, which decode to
// frames x hop samples.

#include <kolmo/nn/sequence_conv.hpp>
#include <kolmo/nn/snake.hpp>
#include <kolmo/rvq/codec_options.hpp>

namespace kolmo::rvq {

/// Snake where it has frequencies, ELU else.
template <class V>
struct CodecActivation {
  std::optional<nn::Snake<V>> snake;

  CodecActivation() = default;
  CodecActivation(CodecActivationKind kind, index_t channels) {
    if (kind == CodecActivationKind::snake) snake.emplace(channels);
  }

  static void fields(auto&& f, auto&... s) { f(submodule("snake"), s.snake...); }
  template <class U>
  using Rebind = CodecActivation<U>;

  template <TensorLike X>
  auto operator()(const X& x) const {
    using Y = decltype((*snake)(x));
    return snake ? Y((*snake)(x)) : Y(map(fn::Elu{}, x));
  }
  /// Of a layer's result, in one pass with it where that is possible.
  template <class Layer, TensorLike X>
  auto after(const Layer& layer, const X& x) const {
    using Y = decltype(layer(x, fn::Elu{}));
    return snake ? Y((*snake)(layer(x))) : layer(x, fn::Elu{});
  }
};

/// x + second(act(first(act(x)))).
template <class V>
struct ResidualUnit {
  CodecActivation<V> first_activation, second_activation;
  nn::SequenceConv<V> first, second;
  std::optional<nn::SequenceConv<V>> shortcut;

  ResidualUnit() = default;
  ResidualUnit(const CodecOptions& o, index_t channels, index_t dilation)
      : first_activation(o.activation, channels),
        second_activation(o.activation, channels / o.narrowing),
        first({.in = channels,
               .out = channels / o.narrowing,
               .kernel = o.unit_kernel,
               .dilation = dilation,
               .causal = o.causal,
               .weight_norm = o.weight_norm}),
        second({.in = channels / o.narrowing, .out = channels, .causal = o.causal, .weight_norm = o.weight_norm}) {
    if (o.shortcut_convolution)
      shortcut.emplace(
          nn::SequenceConvOptions{.in = channels, .out = channels, .causal = o.causal, .weight_norm = o.weight_norm});
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("first_activation"), s.first_activation...);
    f(submodule("first"), s.first...);
    f(submodule("second_activation"), s.second_activation...);
    f(submodule("second"), s.second...);
    f(submodule("shortcut"), s.shortcut...);
  }
  template <class U>
  using Rebind = ResidualUnit<U>;

  template <TensorLike X>
  auto operator()(const X& x) const {
    const auto y = second(second_activation.after(first, first_activation(x)));
    using Y = decltype(x + y);
    return shortcut ? Y((*shortcut)(x) + y) : Y(x + y);
  }
};

template <class V>
struct EncoderStage {
  std::vector<ResidualUnit<V>> units;
  CodecActivation<V> activation;
  nn::SequenceConv<V> down;

  static void fields(auto&& f, auto&... s) {
    f(submodule("units"), s.units...);
    f(submodule("activation"), s.activation...);
    f(submodule("down"), s.down...);
  }
  template <class U>
  using Rebind = EncoderStage<U>;
};

template <class V>
struct Encoder {
  nn::SequenceConv<V> first;
  std::vector<EncoderStage<V>> stages;
  CodecActivation<V> activation;
  nn::SequenceConv<V> last;

  Encoder() = default;
  /// Zeros; call init. Throws ArgumentError for options that make no codec.
  explicit Encoder(const CodecOptions& o) {
    o.validate();
    index_t channels = o.channels;
    first = nn::SequenceConv<V>({.in = o.audio_channels,
                                 .out = channels,
                                 .kernel = o.kernel,
                                 .causal = o.causal,
                                 .weight_norm = o.weight_norm});
    for (const index_t s : o.strides) {
      EncoderStage<V> stage;
      for (const index_t d : o.dilations) stage.units.emplace_back(o, channels, d);
      stage.activation = CodecActivation<V>(o.activation, channels);
      stage.down = nn::SequenceConv<V>({.in = channels,
                                        .out = 2 * channels,
                                        .kernel = 2 * s,
                                        .stride = s,
                                        .causal = o.causal,
                                        .weight_norm = o.weight_norm});
      stages.push_back(std::move(stage));
      channels *= 2;
    }
    activation = CodecActivation<V>(o.activation, channels);
    last = nn::SequenceConv<V>(
        {.in = channels, .out = o.latent, .kernel = o.latent_kernel, .causal = o.causal, .weight_norm = o.weight_norm});
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("first"), s.first...);
    f(submodule("stages"), s.stages...);
    f(submodule("activation"), s.activation...);
    f(submodule("last"), s.last...);
  }
  template <class U>
  using Rebind = Encoder<U>;

  /// x [B, N, audio channels] to [B, ceil(N / hop), D]. Throws ShapeError for another x.
  template <TensorLike X>
  auto operator()(const X& x) const {
    auto y = first(x);
    for (const auto& stage : stages) {
      for (const auto& unit : stage.units) y = unit(y);
      y = stage.down(stage.activation(y));
    }
    return last(activation(y));
  }
};

template <class V>
struct DecoderStage {
  CodecActivation<V> activation;
  nn::SequenceConvTranspose<V> up;
  std::vector<ResidualUnit<V>> units;

  static void fields(auto&& f, auto&... s) {
    f(submodule("activation"), s.activation...);
    f(submodule("up"), s.up...);
    f(submodule("units"), s.units...);
  }
  template <class U>
  using Rebind = DecoderStage<U>;
};

template <class V>
struct Decoder {
  nn::SequenceConv<V> first;
  std::vector<DecoderStage<V>> stages;
  CodecActivation<V> activation;
  nn::SequenceConv<V> last;
  bool bounded = false;

  Decoder() = default;
  /// Zeros; call init. Throws ArgumentError for options that make no codec.
  explicit Decoder(const CodecOptions& o) : bounded(o.bounded) {
    o.validate();
    index_t channels = o.decoder_start();
    first = nn::SequenceConv<V>(
        {.in = o.latent, .out = channels, .kernel = o.kernel, .causal = o.causal, .weight_norm = o.weight_norm});
    for (std::size_t i = o.strides.size(); i-- > 0;) {
      const index_t s = o.strides[i];
      DecoderStage<V> stage;
      stage.activation = CodecActivation<V>(o.activation, channels);
      stage.up = nn::SequenceConvTranspose<V>({.in = channels,
                                               .out = channels / 2,
                                               .kernel = 2 * s,
                                               .stride = s,
                                               .causal = o.causal,
                                               .weight_norm = o.weight_norm});
      channels /= 2;
      for (const index_t d : o.dilations) stage.units.emplace_back(o, channels, d);
      stages.push_back(std::move(stage));
    }
    activation = CodecActivation<V>(o.activation, channels);
    last = nn::SequenceConv<V>({.in = channels,
                                .out = o.audio_channels,
                                .kernel = o.kernel,
                                .causal = o.causal,
                                .weight_norm = o.weight_norm});
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("first"), s.first...);
    f(submodule("stages"), s.stages...);
    f(submodule("activation"), s.activation...);
    f(submodule("last"), s.last...);
    f(option("bounded"), s.bounded...);
  }
  template <class U>
  using Rebind = Decoder<U>;

  /// z [B, frames, D] to [B, frames hop, audio channels]. Throws ShapeError for another z.
  template <TensorLike Z>
  auto operator()(const Z& z) const {
    auto y = first(z);
    for (const auto& stage : stages) {
      y = stage.up(stage.activation(y));
      for (const auto& unit : stage.units) y = unit(y);
    }
    return bounded ? last(activation(y), fn::Tanh{}) : last(activation(y));
  }
};

namespace detail {

template <PlainTensor V>
void init_units(Key key, std::vector<ResidualUnit<V>>& units, nn::KernelStart start) {
  for (std::size_t i = 0; i < units.size(); ++i) {
    const Key own = fold_in(key, i);
    init(fold_in(own, 0), units[i].first, start);
    init(fold_in(own, 1), units[i].second, start);
    if (units[i].shortcut) init(fold_in(own, 2), *units[i].shortcut, start);
  }
}

}  // namespace detail

/// Draws the kernels of every layer; frequencies stay at one.
template <PlainTensor V>
void init(Key key, Encoder<V>& encoder, nn::KernelStart start = nn::KernelStart::uniform) {
  init(fold_in(key, 0), encoder.first, start);
  for (std::size_t i = 0; i < encoder.stages.size(); ++i) {
    const Key own = fold_in(key, 2 + i);
    detail::init_units(fold_in(own, 0), encoder.stages[i].units, start);
    init(fold_in(own, 1), encoder.stages[i].down, start);
  }
  init(fold_in(key, 1), encoder.last, start);
}
template <PlainTensor V>
void init(Key key, Decoder<V>& decoder, nn::KernelStart start = nn::KernelStart::uniform) {
  init(fold_in(key, 0), decoder.first, start);
  for (std::size_t i = 0; i < decoder.stages.size(); ++i) {
    const Key own = fold_in(key, 2 + i);
    detail::init_units(fold_in(own, 0), decoder.stages[i].units, start);
    init(fold_in(own, 1), decoder.stages[i].up, start);
  }
  init(fold_in(key, 1), decoder.last, start);
}

}  // namespace kolmo::rvq
