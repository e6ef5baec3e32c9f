#pragma once
// Score networks of fields (Rozet and Louppe 2023): a U-Net behind a border that takes channels-first fields
// [batch..., C, H, W] (1-D: [batch..., C, N]), sets context channels behind the state's, and embeds the time.
//
// LocalScoreUNet always has the same context, its condition: the forcing of the Kolmogorov flow, or the mask and the
// inflow profile of a wake. It is saved with the weights.

#include <cmath>

#include <kolmo/nn/time_embedding.hpp>
#include <kolmo/nn/unet.hpp>

namespace kolmo::score {

struct ScoreUNetOptions {
  index_t channels = 0;  ///< of the state
  index_t context = 0;   ///< channels of the context; 0: none
  index_t embedding = 64;
  std::vector<index_t> hidden_channels = {32, 64, 128};
  std::vector<index_t> hidden_blocks = {2, 3, 5};
  index_t kernel = 3;
  index_t stride = 2;
  Padding padding = Padding::zeros;
  nn::ActivationKind activation = nn::ActivationKind::relu;
  int spatial = 2;
  nn::UNetCheckpoint checkpoint = nn::UNetCheckpoint::none;
};

template <class V>
struct ScoreUNet {
  nn::TimeEmbedding<V> embedding;
  nn::UNet<V> network;

  ScoreUNet() = default;
  /// Zero weights; call init. Throws ArgumentError for options that make no network.
  explicit ScoreUNet(const ScoreUNetOptions& o)
      : embedding(o.embedding),
        network({o.channels + o.context, o.channels, o.embedding, o.hidden_channels, o.hidden_blocks, o.kernel,
                 o.stride, o.padding, o.activation, o.spatial, o.checkpoint}) {
    if (o.context < 0)
      throw ArgumentError("ScoreUNet: the context cannot have " + std::to_string(o.context) + " channels");
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("embedding"), s.embedding...);
    f(submodule("network"), s.network...);
  }
  template <class U>
  using Rebind = ScoreUNet<U>;

  index_t channels() const { return network.out(); }
  index_t context_channels() const { return network.in() - network.out(); }
  int spatial() const { return network.spatial(); }

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    embedding.validate();
    network.validate();
    bool fits = context_channels() >= 0;
    for (const auto& level : network.levels)
      for (const auto* side : {&level.descent, &level.ascent})
        for (const auto& block : *side) fits = fits && block.projection.weight.shape()[0] == embedding.features();
    if (!fits)
      throw ShapeError("ScoreUNet: a time embedding of " + std::to_string(embedding.features()) +
                       " features and a U-Net from " + std::to_string(network.in()) + " to " +
                       std::to_string(network.out()) + " channels do not fit each other");
  }

  /// The noise in x [batch..., channels, H, W] at time t: of shape [] (shared), of the leading axes of x, or [batch]
  /// for the first of them. The scalar of x may differ from that of the weights, in which the network computes; the
  /// result has that of x. Throws ShapeError when the shapes do not fit.
  template <TensorLike X, TensorLike S>
  auto operator()(const X& x, const S& t) const {
    const Shape batch = batch_axes(x.shape(), 0);
    return restored<ScalarOf<X>>(network(channels_last(x, batch), embedded(t, batch)), x.shape());
  }
  template <TensorLike X>
  auto operator()(const X& x, double t) const {
    return (*this)(x, BaseOf<X>::scalar(static_cast<ScalarOf<X>>(t)));
  }

  /// With context channels [c, H, W] for all fields, or [batch..., c, H, W].
  template <TensorLike X, TensorLike S, TensorLike C>
  auto operator()(const X& x, const S& t, const C& context) const {
    const Shape& s = context.shape();
    const Shape batch = batch_axes(x.shape(), s.rank() > spatial() ? s[-spatial() - 1] : 0);
    Shape field;
    for (int i = -spatial(); i < 0; ++i) field.push_back(x.shape()[i]);
    Shape wanted = s.rank() == spatial() + 1 ? Shape{} : batch;
    wanted.push_back(context_channels());
    for (const index_t extent : field) wanted.push_back(extent);
    if (!(s == wanted))
      throw ShapeError("ScoreUNet: a state of shape " + x.shape().to_string() + " takes a context of shape " +
                       wanted.to_string() + ", with or without the leading axes of the state, given " + s.to_string());
    const auto beside = channels_last(context, s.rank() == spatial() + 1 ? Shape{} : batch);
    Shape repeated = beside.shape();
    repeated[0] = batch.size();
    return restored<ScalarOf<X>>(
        network(concat(-1, channels_last(x, batch), broadcast_to(beside, repeated)), embedded(t, batch)), x.shape());
  }
  template <TensorLike X, TensorLike C>
  auto operator()(const X& x, double t, const C& context) const {
    return (*this)(x, BaseOf<X>::scalar(static_cast<ScalarOf<X>>(t)), context);
  }

 private:
  /// The leading axes of a state. Throws ShapeError unless its channels and those of the context fit.
  Shape batch_axes(const Shape& x, index_t context) const {
    const int event = spatial() + 1;
    if (x.rank() < event || x[-event] != channels() || context != context_channels())
      throw ShapeError("ScoreUNet: expected a state [batch..., " + std::to_string(channels()) +
                       (spatial() == 1 ? ", points] and " : ", height, width] and ") +
                       std::to_string(context_channels()) + " context channels, given " + x.to_string() + " and " +
                       std::to_string(context));
    return Shape(x.begin(), x.end() - event);
  }

  /// [batch..., C, H, W] to [B, H, W, C], in the scalar of the weights.
  template <TensorLike X>
  auto channels_last(const X& given, const Shape& batch) const {
    const auto x = cast<ScalarOf<V>>(given);
    const Shape& s = x.shape();
    if (spatial() == 1) return permute(reshape(x, Shape{batch.size(), s[-2], s[-1]}), {0, 2, 1});
    return permute(reshape(x, Shape{batch.size(), s[-3], s[-2], s[-1]}), {0, 2, 3, 1});
  }
  /// Back, in the scalar T of the state.
  template <class T, TensorLike Y>
  auto restored(const Y& y, const Shape& shape) const {
    return cast<T>(reshape(spatial() == 1 ? permute(y, {0, 2, 1}) : permute(y, {0, 3, 1, 2}), shape));
  }

  /// The embedding [1, E] or [B, E].
  template <TensorLike S>
  auto embedded(const S& t, const Shape& batch) const {
    const Shape& s = t.shape();
    const index_t count = batch.size();
    if (s.rank() == 0 || s == batch) return embedding(reshape(t, Shape{t.size()}));
    if (s.rank() != 1 || batch.rank() < 1 || s[0] != batch[0])
      throw ShapeError("ScoreUNet: a state with leading axes " + batch.to_string() +
                       " takes one time, or times of these axes or of the first of them, given " + s.to_string());
    const Shape spread{s[0], s[0] == 0 ? 0 : count / s[0]};
    return embedding(reshape(broadcast_to(unsqueeze(t, -1), spread), Shape{count}));
  }
};

template <PlainTensor V>
void init(Key key, ScoreUNet<V>& net) {
  nn::init(fold_in(key, 0), net.embedding);
  nn::init(fold_in(key, 1), net.network);
}

/// The forcing of the Kolmogorov flow as a condition [1, rows, columns]: sin(4 X), X_j = 2 pi (j + 1/2) / columns along
/// the last axis.
template <PlainTensor V>
V kolmogorov_forcing(index_t rows, index_t columns) {
  std::vector<typename V::Scalar> values;
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < columns; ++j)
      values.push_back(static_cast<typename V::Scalar>(
          std::sin(8 * 3.14159265358979323846 * (static_cast<double>(j) + 0.5) / static_cast<double>(columns))));
  return V::from(std::span<const typename V::Scalar>(values), Shape{1, rows, columns});
}

template <class V>
struct LocalScoreUNet {
  ScoreUNet<V> score;
  V condition;  ///< [c, H, W]

  LocalScoreUNet() = default;
  /// With fixed condition fields [c, H, W]; options.context is set to c. Throws ShapeError for another rank.
  LocalScoreUNet(ScoreUNetOptions options, V fields_of_condition) : condition(std::move(fields_of_condition)) {
    if (condition.rank() != options.spatial + 1)
      throw ShapeError("LocalScoreUNet: expected condition fields [channels, extents...] of " +
                       std::to_string(options.spatial + 1) + " axes, given " + condition.shape().to_string());
    options.context = condition.shape()[0];
    score = ScoreUNet<V>(options);
  }
  /// With the forcing of the Kolmogorov flow on a grid of size x size points.
  LocalScoreUNet(const ScoreUNetOptions& options, index_t size) requires PlainTensor<V>
      : LocalScoreUNet(options, kolmogorov_forcing<V>(size, size)) {}

  static void fields(auto&& f, auto&... s) {
    f(submodule("score"), s.score...);
    f(state("condition"), s.condition...);
  }
  template <class U>
  using Rebind = LocalScoreUNet<U>;

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    score.validate();
    if (condition.rank() != score.spatial() + 1 || condition.shape()[0] != score.context_channels())
      throw ShapeError("LocalScoreUNet: the condition " + condition.shape().to_string() +
                       " does not fit a network of " + std::to_string(score.context_channels()) + " context channels");
  }

  /// As ScoreUNet without context.
  template <TensorLike X, TensorLike S>
  auto operator()(const X& x, const S& t) const {
    return score(x, t, condition);
  }
  template <TensorLike X>
  auto operator()(const X& x, double t) const {
    return score(x, t, condition);
  }
};

template <PlainTensor V>
void init(Key key, LocalScoreUNet<V>& net) {
  init(key, net.score);
}

}  // namespace kolmo::score
