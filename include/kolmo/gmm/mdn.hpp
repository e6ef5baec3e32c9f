#pragma once
// The mixture density network (Bishop 1994): one plain network from a sampled density to the parameters of a mixture,
// without refinement. It is less exact than the learned fitter of lamf.hpp and serves as a start for EM.
//
//   x = [f_1 ... f_N, M_3, M_4, position of the mean in its cell, log spacing]     densities, not masses
//   (alpha, mu, beta) = network(x),   pi = softmax(alpha),  sigma = softplus(beta) + floor
//
// Coordinates are standardised per density, as for LAMF, so a fit commutes with shifts and changes of unit. The first two
// moments are then 0 and 1 and left out.

#include <vector>

#include <kolmo/gmm/lamf.hpp>
#include <kolmo/ops/join.hpp>

namespace kolmo::gmm {

/// Sizes of a network. The defaults are those of the second published version but for the width, 512 there.
struct MdnOptions {
  index_t points = 96;
  index_t components = 5;
  index_t width = 256;
  index_t layers = 2;
  bool layer_norm = true;
  bool residual = false;
  bool moments = true;           ///< whether the network also reads the third and fourth moment
  double dropout = 0.0;          ///< while training
  double deviation_floor = 0.5;  ///< in grid spacings

  /// 2 layers of 256 without normalisation, the first published version.
  static MdnOptions v1() {
    MdnOptions options;
    options.layer_norm = false;
    return options;
  }
  /// 2 layers of 512 with normalisation, the second.
  static MdnOptions v5() {
    MdnOptions options;
    options.width = 512;
    return options;
  }

  static void fields(auto&& f, auto&... s) {
    f(option("points"), s.points...);
    f(option("components"), s.components...);
    f(option("width"), s.width...);
    f(option("layers"), s.layers...);
    f(option("layer_norm"), s.layer_norm...);
    f(option("residual"), s.residual...);
    f(option("moments"), s.moments...);
    f(option("dropout"), s.dropout...);
    f(option("deviation_floor"), s.deviation_floor...);
  }

  index_t inputs() const { return points + 2 + (moments ? 2 : 0); }
  double floor(double spacing) const { return deviation_floor * spacing; }

  /// Throws ArgumentError for sizes that make no network.
  void validate() const {
    if (points < 3 || points > max_points || components < 1 || components > max_components || width < 1 || layers < 1)
      throw ArgumentError("mdn: expected at least 3 points, 1 to " + std::to_string(max_components) +
                          " components and at least one layer of positive width, given " + std::to_string(points) +
                          " points, " + std::to_string(components) + " components, " + std::to_string(layers) +
                          " layers of " + std::to_string(width));
    if (!(deviation_floor > 0)) throw ArgumentError("mdn: deviation_floor must be positive");
    nn::check_dropout(dropout, "mdn");
  }
};

/// How densities are prepared for a network, in training and in fitting.
inline PreprocessOptions model_preparation(const MdnOptions& model) {
  PreprocessOptions preparation;
  preparation.grid = {-15.0, 15.0, model.points};
  preparation.scaling = Scaling::deviation;
  return preparation;
}

namespace detail {

/// Densities and moments, each kept in the range of a network by a signed logarithm where it can be large.
template <class T>
struct MdnFeatureKernel {
  const T* masses;
  const T* points;
  const T* spacing;
  T* features;
  index_t count, width;
  bool moments;
  KOLMO_HD void operator()(index_t item) const {
    const T* w = masses + item * count;
    const T* z = points + item * count;
    T* x = features + item * width;
    T third = T(0), fourth = T(0);
    for (index_t i = 0; i < count; ++i) {
      const T t = i == 0 || i == count - 1 ? spacing[item] / 2 : spacing[item];
      x[i] = w[i] / t;
      const T cube = z[i] * z[i] * z[i];
      third += w[i] * cube;
      fourth += w[i] * cube * z[i];
    }
    x[count] = z[count / 2] / spacing[item];
    x[count + 1] = log(spacing[item]);
    if (!moments) return;
    x[count + 2] = signed_log(third);
    x[count + 3] = signed_log(fourth - 3);
  }
};

template <class T>
struct MdnDeviation {
  template <class S>
  KOLMO_HD S operator()(S beta, S log_floor) const {
    return log(softplus(beta) + exp(log_floor));
  }
};

}  // namespace detail

/// What the network reads of prepared densities: [batch, options.inputs()].
template <PlainTensor V>
V mdn_features(const LamfInput<V>& input, const MdnOptions& options) {
  V features = V::uninitialized(Shape{input.batch(), options.inputs()});
  kolmo::detail::for_each_item<typename V::Backend>(
      input.batch(), detail::MdnFeatureKernel<typename V::Scalar>{input.masses.data(), input.points.data(),
                                                                  input.spacing.data(), features.mutable_data(),
                                                                  options.points, options.inputs(), options.moments});
  return features;
}

/// Hidden layers are relu(Linear(x)), of a normalised x from the second on when `layer_norm`; a residual network has one
/// layer more and adds the later ones to what they read. A last normalisation precedes the linear output.
template <class V>
struct Mdn {
  MdnOptions options;
  nn::Linear<V> input;
  std::vector<nn::Linear<V>> hidden;
  std::vector<nn::LayerNorm<V>> norms;  ///< before every hidden layer and before the output, or none
  nn::Linear<V> output;                 ///< [width] -> [3K]

  Mdn() = default;
  /// Zero weights; call init or load. Throws ArgumentError for sizes that make no network.
  explicit Mdn(const MdnOptions& given) : options(given) {
    options.validate();
    input = nn::Linear<V>(options.inputs(), options.width);
    for (index_t i = 0; i < hidden_layers(); ++i) hidden.emplace_back(options.width, options.width);
    if (options.layer_norm || options.residual)
      for (index_t i = 0; i <= hidden_layers(); ++i) norms.emplace_back(options.width);
    output = nn::Linear<V>(options.width, 3 * options.components);
  }

  static void fields(auto&& f, auto&... s) {
    MdnOptions::fields(f, s.options...);
    f(submodule("input"), s.input...);
    f(submodule("hidden"), s.hidden...);
    f(submodule("norms"), s.norms...);
    f(submodule("output"), s.output...);
  }
  template <class U>
  using Rebind = Mdn<U>;

  /// Throws ShapeError or ArgumentError unless the parts are those that the options ask for.
  void validate() const {
    options.validate();
    const Shape square{options.width, options.width};
    const bool normalised = options.layer_norm || options.residual;
    bool fits = input.weight.shape() == Shape{options.inputs(), options.width} &&
                output.weight.shape() == Shape{options.width, 3 * options.components} &&
                static_cast<index_t>(hidden.size()) == hidden_layers() &&
                static_cast<index_t>(norms.size()) == (normalised ? hidden_layers() + 1 : 0);
    input.validate();
    output.validate();
    for (const auto& layer : hidden) {
      layer.validate();
      fits = fits && layer.weight.shape() == square;
    }
    for (const auto& norm : norms) {
      norm.validate();
      fits = fits && norm.weight.shape() == Shape{options.width};
    }
    if (!fits)
      throw ShapeError("mdn: the layers are not those of " + std::to_string(options.layers) + " layers of " +
                       std::to_string(options.width) + " for " + std::to_string(options.points) + " points and " +
                       std::to_string(options.components) + " components");
  }

  /// Mixture rows [batch, 3K] in standardised coordinates, in no order. Throws ShapeError when the densities have another
  /// number of points.
  template <PlainTensor P>
  auto operator()(const LamfInput<P>& densities, const nn::Pass& pass = {}) const {
    using T = typename P::Scalar;
    if (input.weight.size() == 0)
      throw ArgumentError("mdn: the model has no layers; construct it from options, or load it");
    if (densities.masses.shape()[1] != options.points)
      throw ShapeError("mdn: the model reads " + std::to_string(options.points) + " points but the densities have " +
                       std::to_string(densities.masses.shape()[1]) +
                       "; prepare them with preprocess for this model's grid");
    auto x = dropped(map(fn::Relu{}, input(mdn_features(densities, options))), pass.part(0));
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      const auto y = dropped(map(fn::Relu{}, hidden[i](normalised(x, i))), pass.part(static_cast<index_t>(i) + 1));
      if (options.residual)
        x = x + y;
      else
        x = y;
    }
    const auto raw = output(normalised(x, hidden.size()));
    const index_t k = options.components;
    const P log_floor = apply(detail::LogFloorKernel<T>{static_cast<T>(options.deviation_floor)}, densities.spacing)
                            .reshaped(Shape{densities.batch(), 1});
    return concat(1, log_softmax(slice(raw, 1, 0, k), 1), slice(raw, 1, k, 2 * k),
                  map(detail::MdnDeviation<T>{}, slice(raw, 1, 2 * k, 3 * k), log_floor));
  }

  /// The only output as a list, for losses with deep supervision.
  template <PlainTensor P>
  auto trajectory(const LamfInput<P>& densities, const nn::Pass& pass = {}) const {
    return std::vector{(*this)(densities, pass)};
  }

 private:
  index_t hidden_layers() const { return options.residual ? options.layers : options.layers - 1; }

  template <TensorLike X>
  auto normalised(const X& x, std::size_t i) const {
    using Y = decltype(norms[0](x));
    if constexpr (std::is_same_v<X, Y>)
      return norms.empty() ? x : norms[i](x);
    else
      return norms.empty() ? Y(x) : norms[i](x);
  }
  template <TensorLike X>
  X dropped(const X& x, const nn::Pass& pass) const {
    return pass.training && options.dropout > 0 ? nn::dropout(pass.key, x, options.dropout) : x;
  }
};

/// He for hidden layers, Xavier for the output, biases of zero but for the means, which start spread about zero.
template <PlainTensor V>
void init(Key key, Mdn<V>& model) {
  using T = typename V::Scalar;
  const auto [input_key, hidden_key, output_key] = split<3>(key).elements;
  nn::init(input_key, model.input);
  for (std::size_t i = 0; i < model.hidden.size(); ++i) nn::init(fold_in(hidden_key, i), model.hidden[i]);
  for (auto& norm : model.norms) nn::init(key, norm);
  nn::init(output_key, model.output, nn::Start::xavier_uniform);
  const index_t k = model.options.components;
  std::vector<T> bias(static_cast<std::size_t>(3 * k), T(0));
  for (index_t i = 0; i < k; ++i)
    bias[static_cast<std::size_t>(k + i)] =
        static_cast<T>(0.7 * (static_cast<double>(i) - 0.5 * static_cast<double>(k - 1)));
  model.output.bias = V::from(bias);
}

}  // namespace kolmo::gmm
