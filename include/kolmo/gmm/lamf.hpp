#pragma once
// LAMF, the learned mixture fitter: an initial network proposes a mixture from the masses of a density, and a
// refinement block improves it a fixed number of times. One refinement is a damped EM step plus bounded
// corrections by a small network that sees, per component, the step EM would take and the shape of what
// remains:
//
//   (alpha, c, beta, gamma) = InitNet(w);   mixture_0 = project(alpha, c, beta, gamma)
//   mixture_(t+1) = update(statistics(w, z, mixture_t), UpdateNet(statistics), lambda_t)
//
// Coordinates are standardised per density (preprocess.hpp, Scaling::deviation), so a fit commutes with
// shifts and changes of unit. Deviations stay above half a grid spacing and means stay ordered.

#include <cmath>
#include <vector>

#include <kolmo/ad/items.hpp>
#include <kolmo/gmm/lamf_update.hpp>
#include <kolmo/gmm/preprocess.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/shape.hpp>

namespace kolmo::gmm {

/// Largest number of grid points of a fitter.
inline constexpr index_t max_points = index_t{1} << 24;

/// Sizes and bounds of a fitter. The defaults are those of the model card.
struct LamfOptions {
  index_t points = 96;
  index_t components = 5;
  index_t iterations = 6;
  index_t init_width = 256;
  index_t init_layers = 3;
  index_t refine_width = 128;
  index_t refine_layers = 2;
  double dropout = 0.0;           ///< in the initial network, while training
  double deviation_floor = 0.5;   ///< in grid spacings
  double deviation_largest = 3.0; ///< in standard deviations of the density
  double correction_scale = 0.5;
};

namespace detail {

/// The constants of a batch that the kernels point to; handles, so copies are cheap.
template <PlainTensor V>
struct LamfConstants {
  using T = typename V::Scalar;
  V masses, points, log_floor;
  T log_largest = T(0), correction_scale = T(0);
  int components = 0;
};

template <PlainTensor V>
struct ProjectSpec : LamfConstants<V> {
  auto kernel() const {
    return ProjectKernel<typename V::Scalar>{this->log_floor.data(), this->log_largest, this->components};
  }
};
template <PlainTensor V>
struct StatisticsSpec : LamfConstants<V> {
  auto kernel() const {
    return StatisticsKernel<typename V::Scalar>{this->masses.data(), this->points.data(), this->log_floor.data(),
                                                this->points.shape()[1], this->components};
  }
};
template <PlainTensor V>
struct UpdateSpec : LamfConstants<V> {
  auto kernel() const {
    return UpdateKernel<typename V::Scalar>{this->log_floor.data(), this->log_largest, this->correction_scale,
                                            this->components};
  }
};
template <PlainTensor V>
struct LogDensitySpec {
  V points;
  int components;
  auto kernel() const { return LogDensityKernel<typename V::Scalar>{points.data(), points.shape()[1], components}; }
};

/// Inputs of the initial network: masses, their logarithms, their running sums, where the mean lies within its
/// cell, and the resolution.
template <class T>
struct InitFeatureKernel {
  const T* masses;
  const T* points;
  const T* spacing;
  T* features;
  index_t count;
  KOLMO_HD void operator()(index_t item) const {
    const T* w = masses + item * count;
    T* x = features + item * (3 * count + 2);
    for (index_t i = 0; i < count; ++i) {
      x[i] = w[i];
      x[count + i] = T(0.1) * log(w[i] + T(1e-12));
    }
    T sum = T(0);
    for (index_t i = 0; i < count; ++i) {
      sum += w[i];
      x[2 * count + i] = sum;
    }
    x[3 * count] = points[item * count + count / 2] / spacing[item];
    x[3 * count + 1] = log(spacing[item]);
  }
};

template <class T>
struct LogFloorKernel {
  T cells;
  KOLMO_HD T operator()(T spacing) const { return log(spacing * cells); }
};

}  // namespace detail

/// What the fitter reads of a batch of prepared densities.
template <PlainTensor V>
struct LamfInput {
  V masses;     ///< [batch, N], sum 1
  V points;     ///< [batch, N], standardised
  V spacing;    ///< [batch], of the points
  V features;   ///< [batch, 3N + 2], of the initial network

  index_t batch() const { return masses.extent(0); }
};

/// Assembles the features of the initial network. Throws ShapeError when the parts do not fit.
template <PlainTensor V>
LamfInput<V> lamf_input(const V& masses, const V& points, const V& spacing) {
  using T = typename V::Scalar;
  if (masses.rank() != 2 || !(points.shape() == masses.shape()) || !(spacing.shape() == Shape{masses.shape()[0]}))
    throw ShapeError("lamf_input: expected masses and points [batch, N] and spacing [batch], given " +
                     masses.shape().to_string() + ", " + points.shape().to_string() + ", " + spacing.shape().to_string());
  const index_t batch = masses.shape()[0], count = masses.shape()[1];
  LamfInput<V> input{masses.contiguous(), points.contiguous(), spacing.contiguous(),
                     V::uninitialized(Shape{batch, 3 * count + 2})};
  kolmo::detail::for_each_item<typename V::Backend>(
      batch, detail::InitFeatureKernel<T>{input.masses.data(), input.points.data(), input.spacing.data(),
                                          input.features.mutable_data(), count});
  return input;
}

template <PlainTensor V>
LamfInput<V> lamf_input(const Preprocessed<V>& prepared) {
  return lamf_input(prepared.masses, prepared.points, prepared.spacing);
}

/// The learned fitter. A mixture is carried as a row [log weights, means, log deviations] of 3K numbers in
/// standardised coordinates.
template <class V>
struct Lamf {
  LamfOptions options;
  nn::Mlp<V> init_network;     ///< [3N + 2] -> [3K]
  nn::Mlp<V> refine_network;   ///< [feature_count] -> [3], shared by components and iterations
  std::vector<V> temperature;  ///< raw, one per iteration: softplus(raw) + 0.1
  std::vector<V> blend;        ///< raw, one per iteration: sigmoid(raw)

  Lamf() = default;
  /// Zero weights; call init or load. Throws ArgumentError for sizes that make no model.
  explicit Lamf(const LamfOptions& given) : options(given) {
    if (options.points < 3 || options.components < 1 || options.components > max_components || options.iterations < 0 ||
        options.init_layers < 1 || options.refine_layers < 1)
      throw ArgumentError("lamf: expected at least 3 points, 1 to " + std::to_string(max_components) +
                          " components, 0 or more iterations and at least one hidden layer, given " +
                          std::to_string(options.points) + " points, " + std::to_string(options.components) +
                          " components, " + std::to_string(options.iterations) + " iterations");
    if (!(options.deviation_floor > 0) || !(options.deviation_largest > 0) || !(options.correction_scale >= 0))
      throw ArgumentError("lamf: deviation_floor and deviation_largest must be positive, correction_scale not negative");
    nn::MlpOptions init, refine;
    init.inputs = 3 * options.points + 2;
    init.hidden.assign(static_cast<std::size_t>(options.init_layers), options.init_width);
    init.outputs = 3 * options.components;
    init.layer_norm = refine.layer_norm = true;
    init.dropout = options.dropout;
    refine.inputs = feature_count;
    refine.hidden.assign(static_cast<std::size_t>(options.refine_layers), options.refine_width);
    refine.outputs = 3;
    init_network = nn::Mlp<V>(init);
    refine_network = nn::Mlp<V>(refine);
    temperature.assign(static_cast<std::size_t>(options.iterations), V::zeros(Shape{}));
    blend = temperature;
  }

  static void fields(auto&& f, auto&... s) {
    f(option("points"), s.options.points...);
    f(option("components"), s.options.components...);
    f(option("iterations"), s.options.iterations...);
    f(option("init_width"), s.options.init_width...);
    f(option("init_layers"), s.options.init_layers...);
    f(option("refine_width"), s.options.refine_width...);
    f(option("refine_layers"), s.options.refine_layers...);
    f(option("dropout"), s.options.dropout...);
    f(option("deviation_floor"), s.options.deviation_floor...);
    f(option("deviation_largest"), s.options.deviation_largest...);
    f(option("correction_scale"), s.options.correction_scale...);
    f(submodule("init_network"), s.init_network...);
    f(submodule("refine_network"), s.refine_network...);
    f(param("temperature"), s.temperature...);
    f(param("blend"), s.blend...);
  }
  template <class U>
  using Rebind = Lamf<U>;

  /// Throws ShapeError or ArgumentError unless the sizes of the networks are those that the options ask for.
  void validate() const {
    init_network.validate();
    refine_network.validate();
    const auto takes = [](const nn::Mlp<V>& network) { return network.layers.front().weight.extent(0); };
    const auto gives = [](const nn::Mlp<V>& network) { return network.layers.back().weight.extent(1); };
    if (options.points < 3 || options.points > max_points || options.components < 1 ||
        options.components > max_components || takes(init_network) != 3 * options.points + 2 ||
        gives(init_network) != 3 * options.components || takes(refine_network) != feature_count ||
        gives(refine_network) != 3)
      throw ShapeError("lamf: a model of " + std::to_string(options.points) + " points and " +
                       std::to_string(options.components) +
                       " components needs networks from 3 * points + 2 to 3 * components and from " +
                       std::to_string(feature_count) + " to 3 numbers, given " + std::to_string(takes(init_network)) +
                       " to " + std::to_string(gives(init_network)) + " and " + std::to_string(takes(refine_network)) +
                       " to " + std::to_string(gives(refine_network)));
    bool scalars = true;
    for (const V& x : temperature) scalars = scalars && x.size() == 1;
    for (const V& x : blend) scalars = scalars && x.size() == 1;
    const auto iterations = static_cast<index_t>(temperature.size());
    if (!scalars || options.iterations != iterations || blend.size() != temperature.size())
      throw ShapeError("lamf: " + std::to_string(options.iterations) +
                       " iterations need as many temperatures and blends, given " + std::to_string(iterations) +
                       " and " + std::to_string(blend.size()));
    if (!(options.deviation_floor > 0) || !(options.deviation_largest > 0) || !(options.correction_scale >= 0))
      throw ArgumentError("lamf: deviation_floor and deviation_largest must be positive, correction_scale not negative");
  }

  /// The mixtures after the initial network (index 0) and after every refinement: [batch, 3K] each.
  template <PlainTensor P>
  auto trajectory(const LamfInput<P>& input, const nn::Pass& pass = {}) const {
    check(input);
    using T = typename P::Scalar;
    detail::LamfConstants<P> constants{input.masses,
                                       input.points,
                                       apply(detail::LogFloorKernel<T>{static_cast<T>(options.deviation_floor)}, input.spacing),
                                       static_cast<T>(std::log(options.deviation_largest)),
                                       static_cast<T>(options.correction_scale),
                                       static_cast<int>(options.components)};
    const index_t batch = input.batch(), k = options.components;
    const Shape mixture_shape{batch, 3 * k};
    auto mixture =
        item_map(detail::ProjectSpec<P>{constants}, mixture_shape, init_network(input.features, pass));
    std::vector<decltype(mixture)> result{mixture};
    for (std::size_t t = 0; t < temperature.size(); ++t) {
      const auto inverse_temperature = 1 / (softplus(temperature[t]) + 0.1);
      const auto features = item_map(detail::StatisticsSpec<P>{constants}, Shape{batch, k * feature_count}, mixture,
                                     inverse_temperature);
      const auto raw =
          reshape(refine_network(reshape(features, Shape{batch * k, feature_count})), Shape{batch, 3 * k});
      mixture = item_map(detail::UpdateSpec<P>{constants}, mixture_shape, features, raw, sigmoid(blend[t]));
      result.push_back(mixture);
    }
    return result;
  }

  /// The fitted mixtures in standardised coordinates, as rows of 3K numbers.
  template <PlainTensor P>
  auto operator()(const LamfInput<P>& input, const nn::Pass& pass = {}) const {
    return trajectory(input, pass).back();
  }

 private:
  template <PlainTensor P>
  void check(const LamfInput<P>& input) const {
    if (init_network.layers.empty())
      throw ArgumentError("lamf: the model has no layers; construct it from options, or load it");
    if (input.masses.shape()[1] != options.points)
      throw ShapeError("lamf: the model reads " + std::to_string(options.points) + " points but the densities have " +
                       std::to_string(input.masses.shape()[1]) + "; prepare them with preprocess for this model's grid");
  }
};

/// Starting values: He for hidden layers, Xavier for the initial heads, means spread about zero; the refinement
/// starts as half an EM step at temperature one, with corrections of zero.
template <PlainTensor V>
void init(Key key, Lamf<V>& model) {
  using T = typename V::Scalar;
  const auto [init_key, refine_key] = split(key);
  nn::init(init_key, model.init_network);
  nn::init(refine_key, model.refine_network, nn::Start::he_uniform, nn::Start::zeros);
  std::vector<T> bias(static_cast<std::size_t>(3 * model.options.components), T(0));
  // Gaps start at softplus(0) = log 2; the first mean is half of their sum to the left.
  bias[static_cast<std::size_t>(model.options.components)] =
      static_cast<T>(-0.34657359 * static_cast<double>(model.options.components - 1));
  model.init_network.layers.back().bias = V::from(bias);
  for (auto& raw : model.temperature) raw = V::scalar(static_cast<T>(std::log(std::expm1(0.9))));
  for (auto& raw : model.blend) raw = V::scalar(T(0));
}

/// Log density [batch, N] of mixture rows [batch, 3K] at standardised points [batch, N].
template <PlainTensor P, TensorLike M>
auto row_log_density(const P& points, const M& mixture) {
  return item_map(detail::LogDensitySpec<P>{points, static_cast<int>(mixture.shape()[1] / 3)}, points.shape(), mixture);
}

/// Mixture rows as weights, means and deviations.
template <PlainTensor M>
Mixture<M> to_mixture(const M& rows) {
  const index_t k = rows.shape()[1] / 3;
  return {exp(slice(rows, 1, 0, k)), slice(rows, 1, k, 2 * k).contiguous(), exp(slice(rows, 1, 2 * k, 3 * k))};
}

}  // namespace kolmo::gmm
