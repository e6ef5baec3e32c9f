#pragma once
// Losses of the learned fitter, per density and then averaged over the batch. With e_i = f_i - g(z_i) in the
// input's units:
//
//   KL        sum w (log f - log g) + A - 1 with A = sum t g, the divergence of unnormalised masses
//   L2, L1    (1/N) sum e_i^2, (1/N) sum |e_i|; or, as the model card writes L2, sum e_i^2 dz
//   soft max  (1/alpha) log((1/N) sum exp(alpha |e_i|)), a smooth maximum
//   top k     mean of the k largest |e_i|
//   moments   sum over n = 1 ... 4 of the squared errors of the standardised moments
//
// A is what the model's density sums to on the grid. Cross entropy alone may fall below the entropy of the density
// by spikes between grid points, which make A > 1; with A - 1 the divergence is never negative and spikes do not pay.
// The additive form KL + sum lambda term keeps every weight interpretable; the convex form
// (1 - lambda) CE + lambda L2 of the model card is an option.

#include <kolmo/gmm/lamf.hpp>
#include <kolmo/ops/indexing.hpp>

namespace kolmo::gmm {

struct LamfLossOptions {
  double l2 = 0.0;
  double l1 = 0.0;
  double soft_max = 0.0;
  double alpha = 20.0;
  double moments = 0.0;
  double top = 0.0;
  index_t top_count = 10;
  bool convex = false;       ///< (1 - l2) cross entropy + l2 L2 instead of KL + l2 L2
  bool l2_integral = false;  ///< sum e_i^2 dz, in the input's units N dz times the mean
};

/// What the losses compare with, for a batch of prepared densities.
template <PlainTensor V>
struct LamfTarget {
  V density;        ///< [batch, N], per unit of standardised z
  V weight;         ///< [batch, N], of the trapezoid rule
  V inverse_scale;  ///< [batch, 1], turns it into the input's units
  V entropy;        ///< [batch], -sum w log f in standardised units
};

namespace detail {

struct DensityOfMass {
  KOLMO_HD auto operator()(auto mass, auto weight) const { return mass / weight; }
};
struct EntropyTerm {
  template <class S>
  KOLMO_HD S operator()(S w, S f) const {
    return select(w > 0, -w * log(maximum(f, S(1e-30f))), S(0));
  }
};
struct CrossEntropyTerm {
  KOLMO_HD auto operator()(auto w, auto log_density) const { return -w * log_density; }
};
struct GridMass {
  KOLMO_HD auto operator()(auto log_density, auto weight) const { return exp(log_density) * weight; }
};
/// (exp(log g) - f) / scale
struct DensityError {
  KOLMO_HD auto operator()(auto log_density, auto f, auto inverse_scale) const {
    return (exp(log_density) - f) * inverse_scale;
  }
};
template <class T>
struct ScaledMagnitude {
  T alpha;
  KOLMO_HD auto operator()(auto e) const { return abs(e) * alpha; }
};
template <class T>
struct TrapezoidWeight {
  const T* spacing;
  T* weight;
  index_t count;
  KOLMO_HD void operator()(index_t i) const {
    const index_t item = i / count, point = i % count;
    weight[i] = point == 0 || point == count - 1 ? spacing[item] / 2 : spacing[item];
  }
};

/// pi E[z^order] of one component, order = 1 ... 4.
struct ComponentMoment {
  int order;
  template <class S>
  KOLMO_HD S operator()(S log_weight, S mean, S log_deviation) const {
    const S weight = exp(log_weight), v = exp(2 * log_deviation), square = mean * mean;
    const S even = select(order == 2, square + v, square * square + 6 * square * v + 3 * v * v);
    const S odd = mean * select(order == 1, S(1), square + 3 * v);
    return weight * select(order % 2 == 0, even, odd);
  }
};
struct PointMoment {
  int order;
  template <class S>
  KOLMO_HD S operator()(S w, S z) const {
    const S square = z * z;
    return w * select(order % 2 == 0, select(order == 2, square, square * square), z * select(order == 1, S(1), square));
  }
};

}  // namespace detail

/// Squared errors of the moments of order 1 to 4 in standardised coordinates, averaged over the batch.
template <PlainTensor V, TensorLike M>
auto moment_loss(const LamfInput<V>& input, const M& mixture) {
  const index_t k = mixture.shape()[1] / 3;
  const auto log_weight = slice(mixture, 1, 0, k), mean = slice(mixture, 1, k, 2 * k),
             log_deviation = slice(mixture, 1, 2 * k, 3 * k);
  const auto error = [&](int order) {
    const auto target = sum(apply(detail::PointMoment{order}, input.masses, input.points), {1});
    return square(sum(map(detail::ComponentMoment{order}, log_weight, mean, log_deviation), {1}) - target);
  };
  return kolmo::mean(error(1) + error(2) + error(3) + error(4));
}

/// The targets of a batch; `scale` [batch] is the standard deviation of each density in the input's units.
template <PlainTensor V>
LamfTarget<V> lamf_target(const LamfInput<V>& input, const V& scale) {
  using T = typename V::Scalar;
  V weight = V::uninitialized(input.masses.shape());
  V::Backend::for_each(weight.size(), detail::TrapezoidWeight<T>{input.spacing.data(), weight.mutable_data(),
                                                                 input.masses.shape()[1]});
  const V density = apply(detail::DensityOfMass{}, input.masses, weight);
  return {density, weight, apply(fn::Reciprocal{}, scale.reshaped(Shape{input.batch(), 1})),
          sum(apply(detail::EntropyTerm{}, input.masses, density), {1})};
}

/// The terms of one output of the fitter, averaged over the batch; `total` is what is minimised. `cross_entropy` is
/// -sum w log g, `divergence` the KL of the unnormalised masses.
template <class L>
struct LamfLoss {
  L total, cross_entropy, divergence, l2;
};

/// Loss of mixture rows [batch, 3K] against the targets.
template <PlainTensor V, TensorLike M>
auto lamf_loss(const LamfInput<V>& input, const LamfTarget<V>& target, const M& mixture, const LamfLossOptions& options) {
  using T = typename V::Scalar;
  const auto log_density = row_log_density(input.points, mixture);
  const auto cross_entropy = mean(sum(map(detail::CrossEntropyTerm{}, input.masses, log_density), {1}));
  const auto grid_mass = mean(sum(map(detail::GridMass{}, log_density, target.weight), {1}));
  const auto divergence = cross_entropy + grid_mass - (mean(target.entropy) + 1.0);
  const auto error = map(detail::DensityError{}, log_density, target.density, target.inverse_scale);
  const auto mean_square = [&] {
    if (!options.l2_integral) return mean(square(error));
    const index_t batch = input.batch();
    // dz in the input's units
    const V cell = apply(fn::Divide{}, input.spacing.reshaped(Shape{batch, 1}), target.inverse_scale);
    return sum(map(fn::Multiply{}, square(error), cell)) * (1.0 / static_cast<double>(batch));
  };
  const auto l2 = mean_square();
  auto total = options.convex ? (1.0 - options.l2) * cross_entropy + options.l2 * l2 : divergence + options.l2 * l2;
  if (options.l1 > 0.0) total = total + mean(abs(error)) * options.l1;
  if (options.soft_max > 0.0) {
    const T alpha = static_cast<T>(options.alpha);
    const auto largest = logsumexp(map(detail::ScaledMagnitude<T>{alpha}, error), 1) -
                         std::log(static_cast<double>(input.masses.shape()[1]));
    total = total + mean(largest) * (options.soft_max / options.alpha);
  }
  if (options.top > 0.0) total = total + mean(top_k(abs(error), options.top_count).values) * options.top;
  if (options.moments > 0.0) total = total + moment_loss(input, mixture) * options.moments;
  return LamfLoss<decltype(total)>{total, cross_entropy, divergence, l2};
}

}  // namespace kolmo::gmm
