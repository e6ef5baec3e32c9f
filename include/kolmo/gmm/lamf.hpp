#pragma once
// LAMF, the learned mixture fitter: an initial network proposes a mixture from the masses of a density, and a
// refinement block improves it a fixed number of times. One refinement is a damped EM step plus bounded
// corrections by a small network that sees, per component, the step EM would take and the shape of what
// remains:
//
//   (alpha, c, beta, gamma) = InitNet(w);   mixture_0 = project(alpha, c, beta, gamma)
//   mixture_(t+1) = update(statistics(w, z, mixture_t), UpdateNet(statistics), lambda_t)
//
// By default coordinates are standardised per density (preprocess.hpp, Scaling::deviation), so a fit commutes with
// shifts and changes of unit, deviations stay above half a grid spacing and means stay ordered. LamfOptions can undo
// each of these, down to the fitter of the published model card.

#include <cmath>
#include <vector>

#include <kolmo/gmm/lamf_input.hpp>
#include <kolmo/gmm/lamf_update.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/shape.hpp>

namespace kolmo::gmm {

namespace detail {

/// The constants of a batch that the kernels point to; handles, so copies are cheap.
template <PlainTensor V>
struct LamfConstants {
  using T = typename V::Scalar;
  V masses, points, log_floor;
  T log_largest = T(0), correction_scale = T(0);
  int components = 0;
  V deviation{};  // [batch], of the densities; without a value one
  T least_weight = T(0);
  bool ordered = true;
};

template <PlainTensor V>
struct ProjectSpec : LamfConstants<V> {
  auto kernel() const {
    return ProjectKernel<typename V::Scalar>{this->log_floor.data(), this->log_largest, this->components,
                                             this->least_weight};
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
    return UpdateKernel<typename V::Scalar>{this->log_floor.data(),
                                            this->log_largest,
                                            this->correction_scale,
                                            this->components,
                                            this->deviation.has_value() ? this->deviation.data() : nullptr,
                                            this->ordered};
  }
};
template <PlainTensor V>
struct LogDensitySpec {
  V points;
  int components;
  auto kernel() const { return LogDensityKernel<typename V::Scalar>{points.data(), points.shape()[1], components}; }
};

/// Turns the features of StatisticsKernel into those of LamfFeatures::card.
template <PlainTensor V>
struct CardComponentSpec {
  V mean, deviation;
  int components;
  auto kernel() const { return CardComponentKernel<typename V::Scalar>{mean.data(), deviation.data(), components}; }
};

template <class T>
struct LogFloorKernel {
  T cells;
  KOLMO_HD T operator()(T spacing) const { return log(spacing * cells); }
};

/// Makes and runs the initial network of a fitter. A specialisation for another type of network makes
/// Lamf<V, thatType> a fitter.
template <class Init>
struct InitialNetwork;

template <class V>
struct InitialNetwork<nn::Mlp<V>> {
  static index_t inputs(const LamfOptions& options) {
    return 3 * options.points + (options.features == LamfFeatures::extended ? 2 : 0);
  }
  static nn::Mlp<V> make(const LamfOptions& options) {
    nn::MlpOptions sizes;
    sizes.inputs = inputs(options);
    sizes.hidden.assign(static_cast<std::size_t>(options.init_layers), options.init_width);
    sizes.outputs = 3 * options.components;
    sizes.layer_norm = true;
    sizes.dropout = options.dropout;
    return nn::Mlp<V>(sizes);
  }
  static bool fits(const nn::Mlp<V>& network, const LamfOptions& options) {
    return network.layers.front().weight.extent(0) == inputs(options) &&
           network.layers.back().weight.extent(1) == 3 * options.components;
  }
  template <PlainTensor P>
  static auto run(const nn::Mlp<V>& network, const LamfOptions& options, const LamfInput<P>& input,
                  const nn::Pass& pass) {
    return network(options.features == LamfFeatures::card ? card_features(input) : input.features, pass);
  }
  static auto& output(nn::Mlp<V>& network) { return network.layers.back(); }
};

}  // namespace detail

/// The learned fitter. A mixture is carried as a row [log weights, means, log deviations] of 3K numbers in
/// the model's coordinates. `Init` is the type of the initial network: a multi-layer perceptron, or a PointNetwork
/// (lamf_point_network.hpp).
template <class V, class Init = nn::Mlp<V>>
struct Lamf {
  LamfOptions options;
  Init init_network;         ///< features of the density -> [3K]
  nn::Mlp<V> refine_network; ///< features of a component -> [3]; of all iterations, or of the first
  std::vector<nn::Mlp<V>> later_refine_networks;  ///< of the others, unless shared
  std::vector<V> temperature;  ///< raw, one per iteration or one for all: softplus(raw) + 0.1
  std::vector<V> blend;        ///< raw, alike: sigmoid(raw)

  Lamf() = default;
  /// Zero weights; call init or load. Throws ArgumentError for sizes that make no model.
  explicit Lamf(const LamfOptions& given) : options(given) {
    options.validate();
    init_network = detail::InitialNetwork<Init>::make(options);
    nn::MlpOptions refine;
    refine.inputs = refine_inputs();
    refine.hidden.assign(static_cast<std::size_t>(options.refine_layers), options.refine_width);
    refine.outputs = 3;
    refine.layer_norm = true;
    refine_network = nn::Mlp<V>(refine);
    for (index_t t = 1; t < options.update_networks(); ++t) later_refine_networks.emplace_back(refine);
    temperature.assign(static_cast<std::size_t>(options.blends()), V::zeros(Shape{}));
    blend = temperature;
  }

  static void fields(auto&& f, auto&... s) {
    LamfOptions::fields(f, s.options...);
    f(submodule("init_network"), s.init_network...);
    f(submodule("refine_network"), s.refine_network...);
    f(submodule("later_refine_networks", "0"), s.later_refine_networks...);
    f(param("temperature"), s.temperature...);
    f(param("blend"), s.blend...);
  }
  template <class U>
  using Rebind = Lamf<U, RebindTo<U, Init>>;

  /// Throws ShapeError or ArgumentError unless the sizes of the networks are those that the options ask for.
  void validate() const {
    options.validate();
    init_network.validate();
    if (!detail::InitialNetwork<Init>::fits(init_network, options))
      throw ShapeError("lamf: the initial network is not that of " + std::to_string(options.points) + " points and " +
                       std::to_string(options.components) + " components");
    const auto check_refinement = [&](const nn::Mlp<V>& network) {
      network.validate();
      const index_t takes = network.layers.front().weight.extent(0), gives = network.layers.back().weight.extent(1);
      if (takes != refine_inputs() || gives != 3)
        throw ShapeError("lamf: expected update networks from " + std::to_string(refine_inputs()) +
                         " to 3 numbers, given one from " + std::to_string(takes) + " to " + std::to_string(gives));
    };
    check_refinement(refine_network);
    for (const nn::Mlp<V>& network : later_refine_networks) check_refinement(network);
    bool scalars = true;
    for (const V& x : temperature) scalars = scalars && x.size() == 1;
    for (const V& x : blend) scalars = scalars && x.size() == 1;
    const auto given = static_cast<index_t>(temperature.size());
    if (!scalars || options.blends() != given || blend.size() != temperature.size())
      throw ShapeError("lamf: " + std::to_string(options.iterations) + " iterations need " +
                       std::to_string(options.blends()) + " temperatures and blends, given " + std::to_string(given) +
                       " and " + std::to_string(blend.size()));
    if (static_cast<index_t>(later_refine_networks.size()) != larger<index_t>(options.update_networks(), 1) - 1)
      throw ShapeError("lamf: " + std::to_string(options.iterations) + " iterations need " +
                       std::to_string(options.update_networks()) + " update networks, given " +
                       std::to_string(later_refine_networks.size() + 1));
  }

  /// The same weights with another number of refinements; this model is not changed. Throws ArgumentError for more
  /// than the model has weights for: any number with a shared network and blend, else at most those trained.
  Lamf with_iterations(index_t iterations) const {
    const index_t most = options.share_refine_weights && options.share_blend ? 65536 : options.iterations;
    if (iterations < 0 || iterations > most)
      throw ArgumentError("lamf: this model can make 0 to " + std::to_string(most) + " iterations, " +
                          std::to_string(iterations) + " were asked for");
    Lamf result = *this;
    result.options.iterations = iterations;
    if (!options.share_blend) {
      result.temperature.resize(static_cast<std::size_t>(iterations));
      result.blend.resize(static_cast<std::size_t>(iterations));
    }
    if (!options.share_refine_weights)
      result.later_refine_networks.resize(static_cast<std::size_t>(larger<index_t>(iterations, 1) - 1));
    return result;
  }

  /// The mixtures after the initial network (index 0) and after every refinement: [batch, 3K] each.
  template <PlainTensor P>
  auto trajectory(const LamfInput<P>& input, const nn::Pass& pass = {}) const {
    check(input);
    using T = typename P::Scalar;
    const index_t batch = input.batch(), k = options.components;
    detail::LamfConstants<P> constants;
    constants.masses = input.masses;
    constants.points = input.points;
    constants.log_floor = options.standardised()
                              ? apply(detail::LogFloorKernel<T>{static_cast<T>(options.deviation_floor)}, input.spacing)
                              : P::full(Shape{batch}, static_cast<T>(std::log(options.deviation_floor)));
    constants.log_largest = static_cast<T>(std::log(options.deviation_largest));
    constants.correction_scale = static_cast<T>(options.correction_scale);
    constants.components = static_cast<int>(k);
    constants.least_weight = static_cast<T>(options.least_weight);
    const bool card = options.features == LamfFeatures::card;
    P mean, deviation;
    if (card || !options.standardised()) {
      mean = P::uninitialized(Shape{batch});
      deviation = P::uninitialized(Shape{batch});
      kolmo::detail::for_each_item<typename P::Backend>(
          batch, detail::DensityMomentsKernel<T>{input.masses.data(), input.points.data(), mean.mutable_data(),
                                                 deviation.mutable_data(), options.points});
      if (!options.standardised()) constants.deviation = deviation;
    }
    const Shape mixture_shape{batch, 3 * k};
    auto mixture = item_map(detail::ProjectSpec<P>{constants}, mixture_shape,
                            detail::InitialNetwork<Init>::run(init_network, options, input, pass));
    std::vector<decltype(mixture)> result{mixture};
    for (index_t t = 0; t < options.iterations; ++t) {
      const std::size_t own = options.share_blend ? 0 : static_cast<std::size_t>(t);
      constants.ordered = options.ordered || t + 1 == options.iterations;
      const auto inverse_temperature = 1 / (softplus(temperature[own]) + 0.1);
      const auto features = item_map(detail::StatisticsSpec<P>{constants}, Shape{batch, k * feature_count}, mixture,
                                     inverse_temperature);
      auto seen = features;
      if (card)
        seen = item_map(detail::CardComponentSpec<P>{mean, deviation, constants.components},
                        Shape{batch, k * refine_inputs()}, features);
      const auto& network = options.share_refine_weights || t == 0
                                ? refine_network
                                : later_refine_networks[static_cast<std::size_t>(t - 1)];
      const auto raw = reshape(network(reshape(seen, Shape{batch * k, refine_inputs()})), Shape{batch, 3 * k});
      mixture = item_map(detail::UpdateSpec<P>{constants}, mixture_shape, features, raw, sigmoid(blend[own]));
      result.push_back(mixture);
    }
    return result;
  }

  /// The fitted mixtures in the model's coordinates, as rows of 3K numbers.
  template <PlainTensor P>
  auto operator()(const LamfInput<P>& input, const nn::Pass& pass = {}) const {
    return trajectory(input, pass).back();
  }

 private:
  index_t refine_inputs() const {
    return options.features == LamfFeatures::card ? detail::CardComponentKernel<float>::width : feature_count;
  }

  template <PlainTensor P>
  void check(const LamfInput<P>& input) const {
    if (refine_network.layers.empty())
      throw ArgumentError("lamf: the model has no layers; construct it from options, or load it");
    if (input.masses.shape()[1] != options.points)
      throw ShapeError("lamf: the model reads " + std::to_string(options.points) + " points but the densities have " +
                       std::to_string(input.masses.shape()[1]) + "; prepare them with preprocess for this model's grid");
  }
};

/// Starting values: He for hidden layers, Xavier for the initial heads, means spread about zero; the refinement
/// starts as half an EM step at temperature one, with corrections of zero.
template <PlainTensor V, class Init>
void init(Key key, Lamf<V, Init>& model) {
  using T = typename V::Scalar;
  const auto [init_key, refine_key] = split(key);
  init(init_key, model.init_network);
  nn::init(refine_key, model.refine_network, nn::Start::he_uniform, nn::Start::zeros);
  for (std::size_t t = 0; t < model.later_refine_networks.size(); ++t)
    nn::init(fold_in(refine_key, t), model.later_refine_networks[t], nn::Start::he_uniform, nn::Start::zeros);
  if (model.options.features == LamfFeatures::extended) {
    std::vector<T> bias(static_cast<std::size_t>(3 * model.options.components), T(0));
    // Gaps start at softplus(0) = log 2; the first mean is half of their sum to the left.
    bias[static_cast<std::size_t>(model.options.components)] =
        static_cast<T>(-0.34657359 * static_cast<double>(model.options.components - 1));
    detail::InitialNetwork<Init>::output(model.init_network).bias = V::from(bias);
  }
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
