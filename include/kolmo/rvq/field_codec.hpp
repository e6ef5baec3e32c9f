#pragma once
// A convolutional autoencoder of periodic plane fields around a residual quantizer: fields [B, H, W], or [B, H, W, C]
// of several channels, become one vector of codes for every square of 2^levels x 2^levels points. The networks see
// channels-last fields that were made free of mean and of variance one:
//
//   encoder   conv(C -> w);       per level: units, conv(w -> 2 w, 3 x 3, stride 2);      silu, conv(-> D)
//   decoder   conv(D -> 2^L w);   per level: silu, every point twice per axis, conv(w -> w / 2), units;   silu, conv(->
//   C) unit      x + conv(silu(conv(silu(x))))

#include <kolmo/nn/conv_layers.hpp>
#include <kolmo/ops/upsample.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/quantize.hpp>

namespace kolmo::rvq {

struct FieldCodecOptions {
  index_t channels = 1;  ///< of the field
  index_t width = 16;    ///< channels of the first convolution, doubled at each level
  index_t latent = 16;   ///< numbers of a vector
  index_t levels = 2;    ///< halvings of both axes
  index_t units = 1;     ///< residual units at each level, on either side
  Padding padding = Padding::circular;

  /// Points per axis behind one vector.
  index_t stride() const { return index_t{1} << levels; }

  friend bool operator==(const FieldCodecOptions&, const FieldCodecOptions&) = default;

  static void fields(auto&& f, auto&... s) {
    f(option("channels"), s.channels...);
    f(option("width"), s.width...);
    f(option("latent"), s.latent...);
    f(option("levels"), s.levels...);
    f(option("units"), s.units...);
    f(option("padding"), s.padding...);
  }

  /// Throws ArgumentError that names the option, its value and what it may be.
  void validate() const {
    const auto require = [](bool good, const char* name, index_t value, const char* expected) {
      if (!good)
        throw ArgumentError(std::string("FieldCodecOptions: ") + name + " must be " + expected + ", given " +
                            std::to_string(value));
    };
    require(channels >= 1, "channels", channels, "at least 1");
    require(width >= 1, "width", width, "at least 1");
    require(latent >= 1, "latent", latent, "at least 1");
    require(levels >= 1 && levels <= 6, "levels", levels, "1 to 6");
    require(units >= 0, "units", units, "at least 0");
    require(static_cast<int>(padding) >= 0 && static_cast<int>(padding) <= 3, "padding", static_cast<index_t>(padding),
            "a padding from 0 to 3");
  }
};

template <class V>
struct FieldUnit {
  nn::Conv<V> first, second;

  FieldUnit() = default;
  FieldUnit(index_t channels, Padding padding)
      : first(channels, channels, {3, 3}, 1, padding), second(channels, channels, {3, 3}, 1, padding) {}

  static void fields(auto&& f, auto&... s) {
    f(submodule("first"), s.first...);
    f(submodule("second"), s.second...);
  }
  template <class U>
  using Rebind = FieldUnit<U>;

  template <TensorLike X>
  auto operator()(const X& x) const {
    return x + second(first(silu(x), fn::Silu{}));
  }
};

/// Units and the convolution that changes the resolution.
template <class V>
struct FieldLevel {
  std::vector<FieldUnit<V>> units;
  nn::Conv<V> scale;

  static void fields(auto&& f, auto&... s) {
    f(submodule("units"), s.units...);
    f(submodule("scale"), s.scale...);
  }
  template <class U>
  using Rebind = FieldLevel<U>;
};

template <class V>
struct FieldEncoder {
  nn::Conv<V> first, last;
  std::vector<FieldLevel<V>> levels;

  FieldEncoder() = default;
  /// Zeros; call init. Throws ArgumentError for options out of range.
  explicit FieldEncoder(const FieldCodecOptions& o) {
    o.validate();
    first = nn::Conv<V>(o.channels, o.width, {3, 3}, 1, o.padding);
    index_t width = o.width;
    for (index_t l = 0; l < o.levels; ++l, width *= 2) {
      FieldLevel<V> level;
      for (index_t i = 0; i < o.units; ++i) level.units.emplace_back(width, o.padding);
      level.scale = nn::Conv<V>(width, 2 * width, {3, 3}, 2, o.padding);
      levels.push_back(std::move(level));
    }
    last = nn::Conv<V>(width, o.latent, {3, 3}, 1, o.padding);
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("first"), s.first...);
    f(submodule("levels"), s.levels...);
    f(submodule("last"), s.last...);
  }
  template <class U>
  using Rebind = FieldEncoder<U>;

  /// [B, H, W, C] to [B, H / stride, W / stride, D].
  template <TensorLike X>
  auto operator()(const X& x) const {
    auto y = first(x);
    for (const auto& level : levels) {
      for (const auto& unit : level.units) y = unit(y);
      y = level.scale(y);
    }
    return last(silu(y));
  }
};

template <class V>
struct FieldDecoder {
  nn::Conv<V> first, last;
  std::vector<FieldLevel<V>> levels;

  FieldDecoder() = default;
  /// Zeros; call init. Throws ArgumentError for options out of range.
  explicit FieldDecoder(const FieldCodecOptions& o) {
    o.validate();
    index_t width = o.width << o.levels;
    first = nn::Conv<V>(o.latent, width, {3, 3}, 1, o.padding);
    for (index_t l = 0; l < o.levels; ++l) {
      FieldLevel<V> level;
      level.scale = nn::Conv<V>(width, width / 2, {3, 3}, 1, o.padding);
      width /= 2;
      for (index_t i = 0; i < o.units; ++i) level.units.emplace_back(width, o.padding);
      levels.push_back(std::move(level));
    }
    last = nn::Conv<V>(width, o.channels, {3, 3}, 1, o.padding);
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("first"), s.first...);
    f(submodule("levels"), s.levels...);
    f(submodule("last"), s.last...);
  }
  template <class U>
  using Rebind = FieldDecoder<U>;

  template <TensorLike Z>
  auto operator()(const Z& z) const {
    auto y = first(z);
    for (const auto& level : levels) {
      y = level.scale(upsample_nearest(silu(y), {{2, 2}}));
      for (const auto& unit : level.units) y = unit(y);
    }
    return last(silu(y));
  }
};

template <class V>
struct FieldCodec {
  FieldCodecOptions options;
  V mean, deviation;  ///< [C] of the fields it is made for
  FieldEncoder<V> encoder;
  ResidualQuantizer<V> quantizer;
  FieldDecoder<V> decoder;

  FieldCodec() = default;
  /// Kernels of zeros; call init. `codes` are the codes of every stage. Fields have mean 0 and deviation 1 until
  /// standardise is called. Throws ArgumentError for options out of range.
  FieldCodec(const FieldCodecOptions& o, const std::vector<index_t>& codes, const CodebookOptions& book = {},
             const QuantizerOptions& settings = {})
      : options(o),
        mean(V::zeros(Shape{o.channels})),
        deviation(V::ones(Shape{o.channels})),
        encoder(o),
        quantizer(o.latent, codes, book, settings),
        decoder(o) {}

  static void fields(auto&& f, auto&... s) {
    f(submodule("options"), s.options...);
    f(state("mean"), s.mean...);
    f(state("deviation"), s.deviation...);
    f(submodule("encoder"), s.encoder...);
    f(submodule("quantizer"), s.quantizer...);
    f(submodule("decoder"), s.decoder...);
  }
  template <class U>
  using Rebind = FieldCodec<U>;

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    options.validate();
    quantizer.validate();
    const Shape row{options.channels};
    const bool stacks = static_cast<index_t>(encoder.levels.size()) == options.levels &&
                        static_cast<index_t>(decoder.levels.size()) == options.levels &&
                        encoder.first.in() == options.channels && encoder.first.out() == options.width &&
                        encoder.last.out() == options.latent && decoder.first.in() == options.latent &&
                        decoder.last.out() == options.channels;
    if (!stacks || quantizer.dimension() != options.latent || !(mean.shape() == row) || !(deviation.shape() == row))
      throw ShapeError(
          "FieldCodec: the networks, the quantizer, the mean or the deviation are not those that the "
          "options make");
  }
};

namespace detail {
template <PlainTensor V>
void init_level(Key key, FieldLevel<V>& level) {
  init(fold_in(key, 0), level.scale);
  for (std::size_t i = 0; i < level.units.size(); ++i) {
    init(fold_in(key, 1 + 2 * i), level.units[i].first);
    init(fold_in(key, 2 + 2 * i), level.units[i].second);
  }
}
}  // namespace detail

/// Draws the kernels; codebooks start from data.
template <PlainTensor V>
void init(Key key, FieldCodec<V>& codec) {
  const auto stack = [](Key own, auto& network) {
    init(fold_in(own, 0), network.first);
    init(fold_in(own, 1), network.last);
    for (std::size_t i = 0; i < network.levels.size(); ++i) detail::init_level(fold_in(own, 2 + i), network.levels[i]);
  };
  stack(fold_in(key, 0), codec.encoder);
  stack(fold_in(key, 1), codec.decoder);
  init(fold_in(key, 2), codec.quantizer);
}

namespace detail {

/// [B, H, W, C].
template <class V, TensorLike X>
auto field_planes(const FieldCodec<V>& codec, const X& x, const char* name) {
  const index_t channels = codec.options.channels, stride = codec.options.stride();
  const bool flat = x.rank() == 3 && channels == 1;
  if (!flat && !(x.rank() == 4 && x.shape()[3] == channels))
    throw ShapeError(
        std::string(name) + ": expected fields " +
        (channels == 1 ? "[batch, height, width]" : "[batch, height, width, " + std::to_string(channels) + "]") +
        ", given " + x.shape().to_string());
  if (x.size() == 0 || x.shape()[1] % stride != 0 || x.shape()[2] % stride != 0)
    throw ShapeError(std::string(name) + ": expected a height and a width that are multiples of " +
                     std::to_string(stride) + ", given fields " + x.shape().to_string());
  return reshape(x, Shape{x.shape()[0], x.shape()[1], x.shape()[2], channels});
}

}  // namespace detail

/// Takes mean and deviation over all points of `fields`. Throws ShapeError for other fields.
template <PlainTensor V>
void standardise(FieldCodec<V>& codec, const V& fields) {
  const V x = detail::field_planes(codec, fields, "standardise");
  codec.mean = mean(x, {0, 1, 2});
  codec.deviation = sqrt(mean(square(x - codec.mean), {0, 1, 2}) + 1e-30);
}

/// What a pass through the codec gives in units of the deviation: the standardised fields and their reconstruction,
/// [B, H, W, C], and the quantizer's result.
template <class V, class X, class Q>
struct FieldPass {
  V fields;
  X reconstruction;
  Q quantized;
};

/// Encodes, quantizes and decodes, for training or its evaluation. Throws as quantize, and ShapeError for other fields.
template <TensorLike C, PlainTensor V>
auto pass_through(const FieldCodec<C>& codec, const V& fields, const QuantizeOptions<BaseOf<C>>& options = {}) {
  const V x = (detail::field_planes(codec, fields, "pass_through") - detach(codec.mean)) / detach(codec.deviation);
  auto quantized = quantize(codec.quantizer, codec.encoder(x), options);
  auto y = codec.decoder(quantized.output);
  return FieldPass<V, decltype(y), decltype(quantized)>{x, std::move(y), std::move(quantized)};
}

template <PlainTensor V>
struct EncodedField {
  CodesOf<V> codes;  ///< [B, H / stride, W / stride, stages.used]
  StageUse stages;
};

/// Codes of fields. Throws as `encode` of a quantizer, and ShapeError for other fields.
template <PlainTensor V>
EncodedField<V> encode(const FieldCodec<V>& codec, const V& fields, const EncodeOptions& options = {}) {
  const V x = (detail::field_planes(codec, fields, "encode") - codec.mean) / codec.deviation;
  const V latent = codec.encoder(x);
  auto encoded = encode(codec.quantizer, latent, options);
  const Shape shape = latent.shape();
  return {encoded.codes.reshaped(Shape{shape[0], shape[1], shape[2], encoded.stages.used}), std::move(encoded.stages)};
}

/// Fields of codes [B, h, w, A] by their first `stages` stages (0: all). Throws ShapeError for other codes,
/// ArgumentError for a code that does not exist.
template <PlainTensor V>
V decode(const FieldCodec<V>& codec, const CodesOf<V>& codes, index_t stages = 0) {
  if (codes.rank() != 4 || codes.size() == 0)
    throw ShapeError("decode: expected codes [batch, height, width, stages] of a field, given " +
                     codes.shape().to_string());
  if (stages < 0 || stages > codes.shape()[3])
    throw ArgumentError("decode: expected 1 to " + std::to_string(codes.shape()[3]) +
                        " stages, as many as the codes have, or 0 for all of them, given " + std::to_string(stages));
  const index_t used = stages == 0 ? codes.shape()[3] : stages, batch = codes.shape()[0];
  const index_t rows = codes.shape()[1], columns = codes.shape()[2];
  const V latent =
      decode(codec.quantizer, slice(codes, 3, 0, used).contiguous().reshaped(Shape{batch * rows * columns, used}));
  const V y = codec.decoder(latent.reshaped(Shape{batch, rows, columns, codec.options.latent}));
  const V fields = y * codec.deviation + codec.mean;
  if (codec.options.channels > 1) return fields;
  return fields.reshaped(Shape{batch, fields.shape()[1], fields.shape()[2]});
}

/// Bits for a point (of all channels) of the first `stages` stages (0: all). Throws ArgumentError for more stages than
/// there are.
template <class V>
double bits_per_point(const FieldCodec<V>& codec, index_t stages = 0) {
  const std::vector<index_t> codes = codec.quantizer.code_counts();
  const auto all = static_cast<index_t>(codes.size());
  if (stages < 0 || stages > all)
    throw ArgumentError("bits_per_point: expected 1 to " + std::to_string(all) + " stages, or 0 for all, given " +
                        std::to_string(stages));
  const auto square = static_cast<double>(codec.options.stride() * codec.options.stride());
  return bits_per_frame(codes, stages == 0 ? all : stages) / square;
}

}  // namespace kolmo::rvq
