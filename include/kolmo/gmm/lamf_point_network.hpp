#pragma once
// The second initial network of the learned fitter: every grid point is embedded on its own, a transformer lets the
// points see each other, and their mean and maximum decide.
//
//   x_i = dropout(relu(norm(Linear(w_i, log w_i, W_i)))) + position_i,   W the running sum of the masses w
//   x   = encoder blocks (pre-norm, 4 heads, feed-forward 4 times as wide)
//   y   = blocks of Linear, norm, ReLU, dropout over [mean_i x_i, max_i x_i], then a linear output
//
// Lamf<V, PointNetwork<V>> is the fitter that uses it; at equal width it is some 200 times the work of the perceptron.

#include <kolmo/gmm/lamf.hpp>
#include <kolmo/nn/transformer.hpp>
#include <kolmo/ops/join.hpp>

namespace kolmo::gmm {

template <class V>
struct PointNetwork {
  nn::Mlp<V> embedding;  ///< [3] -> [width]
  V position_table;      ///< [N, width]: a parameter when positions are learned, else [0, width]
  std::vector<nn::TransformerBlock<V>> encoder;
  nn::Mlp<V> head;  ///< [2 width] -> [3K]
  nn::Positions positions = nn::Positions::sinusoidal;

  PointNetwork() = default;
  /// Zero weights; call init. Throws ArgumentError for sizes that make no network.
  explicit PointNetwork(const LamfOptions& options) : positions(options.positions) {
    const index_t width = options.init_width;
    embedding = nn::Mlp<V>({.inputs = 3, .hidden = {width}, .layer_norm = true, .dropout = options.dropout});
    position_table = V::zeros(Shape{positions == nn::Positions::learned ? options.points : 0, width});
    for (index_t i = 0; i < options.encoder_layers; ++i)
      encoder.emplace_back(width, options.heads, 4 * width, options.dropout);
    head = nn::Mlp<V>({.inputs = 2 * width,
                       .hidden = std::vector<index_t>(static_cast<std::size_t>(options.init_layers), width),
                       .outputs = 3 * options.components,
                       .layer_norm = true,
                       .dropout = options.dropout});
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("embedding"), s.embedding...);
    f(param("position_table"), s.position_table...);
    f(submodule("encoder"), s.encoder...);
    f(submodule("head"), s.head...);
    f(option("positions"), s.positions...);
  }
  template <class U>
  using Rebind = PointNetwork<U>;

  index_t width() const { return embedding.layers.back().weight.extent(1); }

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    embedding.validate();
    head.validate();
    bool fits = embedding.layers.front().weight.extent(0) == 3 && head.layers.front().weight.extent(0) == 2 * width() &&
                position_table.rank() == 2 && position_table.extent(1) == width();
    for (const auto& block : encoder) {
      block.validate();
      fits = fits && block.down.weight.extent(1) == width();
    }
    if (!fits) throw ShapeError("PointNetwork: the parts do not fit a width of " + std::to_string(width()));
  }

  /// x [batch, N, 3] to [batch, 3K].
  template <TensorLike X>
  auto operator()(const X& x, const nn::Pass& pass = {}) const {
    using P = BaseOf<X>;
    auto y = embedding(x, pass.part(0));
    if (positions == nn::Positions::learned) y = y + position_table;
    if (positions == nn::Positions::sinusoidal) y = y + nn::sinusoidal_positions<P>(x.shape()[1], width());
    for (std::size_t i = 0; i < encoder.size(); ++i) y = encoder[i](y, pass.part(static_cast<index_t>(i) + 1));
    return head(concat(1, mean(y, {1}), max(y, 1)), pass.part(1000));
  }
};

template <PlainTensor V>
void init(Key key, PointNetwork<V>& network) {
  const auto [embedding_key, position_key, encoder_key, head_key] = split<4>(key).elements;
  nn::init(embedding_key, network.embedding);
  network.position_table = nn::normal_values<V>(position_key, network.position_table.shape(), 0, 0.02);
  for (std::size_t i = 0; i < network.encoder.size(); ++i) nn::init(fold_in(encoder_key, i), network.encoder[i]);
  nn::init(head_key, network.head);
}

namespace detail {

template <class V>
struct InitialNetwork<PointNetwork<V>> {
  static PointNetwork<V> make(const LamfOptions& options) { return PointNetwork<V>(options); }
  static bool fits(const PointNetwork<V>& network, const LamfOptions& options) {
    return network.head.layers.back().weight.extent(1) == 3 * options.components &&
           network.positions == options.positions &&
           network.position_table.extent(0) == (options.positions == nn::Positions::learned ? options.points : 0);
  }
  template <PlainTensor P>
  static auto run(const PointNetwork<V>& network, const LamfOptions&, const LamfInput<P>& input, const nn::Pass& pass) {
    return network(point_features(input), pass);
  }
  static auto& output(PointNetwork<V>& network) { return network.head.layers.back(); }
};

}  // namespace detail
}  // namespace kolmo::gmm
