#pragma once
// A multi-layer perceptron whose widths are chosen at run time: hidden blocks of Linear, optional LayerNorm,
// activation and dropout, then an optional linear output.

#include <vector>

#include <kolmo/nn/layers.hpp>

namespace kolmo::nn {

/// Widths and options of an Mlp.
struct MlpOptions {
  index_t inputs = 0;
  std::vector<index_t> hidden = {};  ///< width of every hidden block
  index_t outputs = 0;               ///< 0: the last hidden block is the output
  bool layer_norm = false;           ///< between each hidden Linear and its activation
  double dropout = 0;                ///< after each activation, while training
};

/// The activation is a type; any elementwise functor serves.
template <class V, class F = fn::Relu>
struct Mlp {
  std::vector<Linear<V>> layers;
  std::vector<LayerNorm<V>> norms;  ///< one for every hidden block, or none
  index_t hidden_blocks = 0;        ///< blocks before the linear output
  double dropout = 0;

  Mlp() = default;
  /// Zero weights; call init. Throws ArgumentError for a width below 1 or no layer at all.
  explicit Mlp(const MlpOptions& options) : dropout(options.dropout) {
    if (options.inputs < 1 || options.outputs < 0 || (options.hidden.empty() && options.outputs == 0))
      throw ArgumentError("Mlp: expected inputs >= 1 and at least one layer, given " + std::to_string(options.inputs) +
                          " inputs, " + std::to_string(options.hidden.size()) + " hidden blocks and " +
                          std::to_string(options.outputs) + " outputs");
    check_dropout(dropout, "Mlp");
    index_t width = options.inputs;
    for (const index_t next : options.hidden) {
      if (next < 1) throw ArgumentError("Mlp: a hidden width must be at least 1, given " + std::to_string(next));
      layers.emplace_back(width, next);
      if (options.layer_norm) norms.emplace_back(next);
      width = next;
    }
    hidden_blocks = static_cast<index_t>(options.hidden.size());
    if (options.outputs > 0) layers.emplace_back(width, options.outputs);
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("layers"), s.layers...);
    f(submodule("norms"), s.norms...);
    f(option("hidden_blocks"), s.hidden_blocks...);
    f(option("dropout"), s.dropout...);
  }
  template <class U>
  using Rebind = Mlp<U, F>;

  /// Throws ShapeError or ArgumentError unless the parts fit each other.
  void validate() const {
    check_dropout(dropout, "Mlp");
    const auto blocks = static_cast<std::size_t>(hidden_blocks);
    if (layers.empty() || hidden_blocks < 0 || layers.size() < blocks || layers.size() > blocks + 1 ||
        (!norms.empty() && norms.size() != blocks))
      throw ArgumentError("Mlp: " + std::to_string(layers.size()) + " layers and " + std::to_string(norms.size()) +
                          " norms do not make " + std::to_string(hidden_blocks) + " hidden blocks");
    for (std::size_t i = 0; i < layers.size(); ++i) {
      layers[i].validate();
      const index_t width = layers[i].weight.shape()[1];
      if (i < norms.size() && !(norms[i].weight.shape() == Shape{width}))
        throw ShapeError("Mlp: norm " + std::to_string(i) + " has shape " + norms[i].weight.shape().to_string() +
                         ", expected [" + std::to_string(width) + "]");
      if (i + 1 < layers.size() && layers[i + 1].weight.rank() == 2 && layers[i + 1].weight.shape()[0] != width)
        throw ShapeError("Mlp: layer " + std::to_string(i + 1) + " takes " +
                         std::to_string(layers[i + 1].weight.shape()[0]) + " inputs, the one before gives " +
                         std::to_string(width));
    }
  }

  /// x [..., inputs] to [..., outputs]. Throws ShapeError unless the last axis fits.
  template <TensorLike X>
  auto operator()(const X& x, const Pass& pass = {}) const {
    using Y = decltype(layers[0](x));
    Y y = block(0, x, pass);
    for (std::size_t i = 1; i < layers.size(); ++i) y = block(i, y, pass);
    return y;
  }

 private:
  template <TensorLike X>
  auto block(std::size_t i, const X& x, const Pass& pass) const {
    auto y = layers[i](x);
    if (static_cast<index_t>(i) >= hidden_blocks) return y;
    y = norms.empty() ? map(F{}, y) : norms[i].activated(y, F{});
    if (pass.training && dropout > 0) y = nn::dropout(pass.part(static_cast<index_t>(i)).key, y, dropout);
    return y;
  }
};

/// Hidden layers start as `hidden`, the linear output as `output`.
template <PlainTensor V, class F>
void init(Key key, Mlp<V, F>& mlp, Start hidden = Start::he_uniform, Start output = Start::xavier_uniform) {
  for (std::size_t i = 0; i < mlp.layers.size(); ++i)
    init(fold_in(key, i), mlp.layers[i], static_cast<index_t>(i) < mlp.hidden_blocks ? hidden : output);
  for (auto& norm : mlp.norms) init(key, norm);
}

}  // namespace kolmo::nn
