#pragma once
// Quantiles of mixtures: the q with G(q) = p. Newton's iteration on the logarithm of the nearer tail, kept within a
// bracket and replaced by bisection where it does not gain, so that far tails and wide gaps between components cost
// no more than the middle. Derivatives are those of the implicit function, dq = (dp - dG(q)) / g(q).

#include <kolmo/ad/items.hpp>
#include <kolmo/gmm/mixture.hpp>

namespace kolmo::gmm {

namespace detail {

/// Mass below (or above) z, and density, in double.
struct TailAndDensity {
  double tail, density;
};
template <class S>
KOLMO_HD TailAndDensity tail_and_density(const S* weights, const S* means, const S* deviations, int components,
                                         double z, bool upper) {
  TailAndDensity sum{0.0, 0.0};
  for (int k = 0; k < components; ++k) {
    const double weight = static_cast<double>(value_of(weights[k]));
    const double scale = 1.0 / static_cast<double>(value_of(deviations[k]));
    const double u = (z - static_cast<double>(value_of(means[k]))) * scale;
    sum.tail += weight * normal_cdf(upper ? -u : u);
    sum.density += weight * scale * 0.39894228040143267794 * exp(-0.5 * u * u);
  }
  return sum;
}

/// The value of a quantile, whatever the scalar, in double.
template <class S>
KOLMO_HD double solve_quantile(const S* weights, const S* means, const S* deviations, int components, double p) {
  if (!(p >= 0.0 && p <= 1.0)) return kolmo::detail::not_a_number<double>();
  const bool upper = p > 0.5;
  const double tail = upper ? 1.0 - p : p;
  const double infinity = kolmo::detail::infinity<double>();
  // A normal variable exceeds x deviations with probability at most exp(-x^2 / 2) / 2, so the quantile of every
  // component, hence that of the mixture, lies within `reach` deviations of its mean.
  const double reach = tail > 0.0 ? sqrt(-2.0 * log(2.0 * tail)) : infinity;
  double total = 0.0, low = infinity, high = -infinity;
  for (int k = 0; k < components; ++k) {
    const double weight = static_cast<double>(value_of(weights[k]));
    const double mean = static_cast<double>(value_of(means[k]));
    const double deviation = static_cast<double>(value_of(deviations[k]));
    if (!(weight >= 0.0) || !is_finite(mean) || !(deviation > 0.0) || !is_finite(deviation))
      return kolmo::detail::not_a_number<double>();
    total += weight;
    if (weight == 0.0) continue;
    low = smaller(low, upper ? mean : mean - reach * deviation);
    high = larger(high, upper ? mean + reach * deviation : mean);
  }
  if (!(total > 0.0) || !is_finite(total)) return kolmo::detail::not_a_number<double>();
  if (tail == 0.0) return upper ? infinity : -infinity;
  const double target = tail * total;
  double z = 0.5 * (low + high), last_gap = infinity;
  for (int iteration = 0; iteration < 200 && low < high; ++iteration) {
    const TailAndDensity at = tail_and_density(weights, means, deviations, components, z, upper);
    const double gap = log(at.tail / target);
    if (gap == 0.0) break;
    if ((gap > 0.0) != upper)
      high = z;
    else
      low = z;
    const double step = (upper ? gap : -gap) * at.tail / at.density;
    const double next = z + step;
    const bool inside = next >= low && next <= high;
    // The relative error of the tail squares with each step: this one arrives.
    if (inside && abs(gap) < 1e-7) return next;
    const double middle = 0.5 * (low + high);
    const bool gains = inside && abs(gap) < 0.5 * last_gap;
    last_gap = gains ? abs(gap) : infinity;
    // A bracket of neighbouring numbers has nothing between.
    if (!gains && !(middle > low && middle < high)) break;
    z = gains ? next : middle;
  }
  return z;
}

/// The quantile with derivatives, if S carries any.
template <class S>
KOLMO_HD S mixture_quantile_of(const S* weights, const S* means, const S* deviations, int components, const S& p) {
  const double q = solve_quantile(weights, means, deviations, components, static_cast<double>(value_of(p)));
  using T = decltype(value_of(p));
  if constexpr (std::is_same_v<S, T>) {
    return static_cast<T>(q);
  } else {
    S total = S(T(0)), below = S(T(0)), density = S(T(0));
    const S z = S(static_cast<T>(q));
    for (int k = 0; k < components; ++k) {
      const S u = (z - means[k]) / deviations[k];
      total = total + weights[k];
      below = below + weights[k] * normal_cdf(u);
      density = density + weights[k] * normal_density(z, means[k], deviations[k]);
    }
    const S residual = p * total - below;
    return z + (residual - S(value_of(residual))) / S(value_of(density));
  }
}

/// Rows of quantiles for item_map; the weights need not sum to one.
struct QuantileKernel {
  int components;
  index_t count;

  template <class S>
  KOLMO_HD void forward(index_t, const S* weights, const S* means, const S* deviations, const S* p, S* q) const {
    for (index_t i = 0; i < count; ++i) q[i] = mixture_quantile_of(weights, means, deviations, components, p[i]);
  }

  template <class S>
  KOLMO_HD void pull(index_t, const S* weights, const S* means, const S* deviations, const S* p, const S* gq,
                     S* g_weights, S* g_means, S* g_deviations, S* gp) const {
    using T = decltype(value_of(*p));
    S total = S(T(0));
    for (int k = 0; k < components; ++k) {
      g_weights[k] = g_means[k] = g_deviations[k] = S(T(0));
      total = total + weights[k];
    }
    for (index_t i = 0; i < count; ++i) {
      const S q = mixture_quantile_of(weights, means, deviations, components, p[i]);
      const S density = mixture_density(weights, means, deviations, components, q);
      const S per_mass = gq[i] / density;
      gp[i] = per_mass * total;
      for (int k = 0; k < components; ++k) {
        const S u = (q - means[k]) / deviations[k];
        const S share = weights[k] * normal_density(q, means[k], deviations[k]) * per_mass;
        g_weights[k] = g_weights[k] + (p[i] - normal_cdf(u)) * per_mass;
        g_means[k] = g_means[k] + share;
        g_deviations[k] = g_deviations[k] + share * u;
      }
    }
  }
};
struct QuantileSpec {
  int components;
  index_t count;
  QuantileKernel kernel() const { return {components, count}; }
};

/// One quantile of one row.
template <class T>
struct QuantileItem {
  const T* weights;
  const T* means;
  const T* deviations;
  const T* p;
  index_t p_stride;  // 0 when the batch shares the probabilities
  index_t count;
  int components;
  T* quantiles;

  KOLMO_HD void operator()(index_t i) const {
    const index_t item = i / count, offset = item * components;
    quantiles[i] = mixture_quantile_of(weights + offset, means + offset, deviations + offset, components,
                                       p[item * p_stride + i % count]);
  }
};

}  // namespace detail

/// Quantile of one mixture; see `quantile`.
template <class T>
KOLMO_HD T mixture_quantile(const T* weights, const T* means, const T* deviations, int components, T probability) {
  return detail::mixture_quantile_of(weights, means, deviations, components, probability);
}

/// Quantiles [batch, P] at probabilities [P] or [batch, P], to the rounding of the scalar: 0 gives -inf, 1 gives inf,
/// anything outside [0, 1] and a row that is no mixture NaN. Weights are taken relative to their sum. Differentiable in
/// the mixture and in the probabilities; where the density underflows, between components far apart, a quantile has no
/// finite derivative. Throws ShapeError.
template <class V, TensorLike P>
auto quantile(const Mixture<V>& mixture, const P& probabilities) {
  const index_t batch = mixture.batch();
  const bool shared = probabilities.rank() == 1;
  if (probabilities.rank() < 1 || probabilities.rank() > 2 || (!shared && probabilities.extent(0) != batch))
    throw ShapeError("quantile: expected probabilities of shape [P] or [" + std::to_string(batch) + ", P], given " +
                     probabilities.shape().to_string());
  const index_t count = probabilities.extent(-1);
  const int components = static_cast<int>(mixture.components());
  const Shape shape{batch, count};
  if constexpr (PlainTensor<V> && PlainTensor<P>) {
    const Mixture<V> m{mixture.weights.contiguous(), mixture.means.contiguous(), mixture.deviations.contiguous()};
    const P p = probabilities.contiguous();
    V result = V::uninitialized(shape);
    kolmo::detail::for_each_item<typename V::Backend>(
        batch * count,
        detail::QuantileItem<typename V::Scalar>{m.weights.data(), m.means.data(), m.deviations.data(), p.data(),
                                                 shared ? 0 : count, count, components, result.mutable_data()});
    return result;
  } else {
    return item_map(detail::QuantileSpec{components, count}, shape, mixture.weights, mixture.means, mixture.deviations,
                    broadcast_to(probabilities, shape));
  }
}

}  // namespace kolmo::gmm
