#pragma once
// The loss balancer of EnCodec (Defossez et al. 2022): losses l_i that act on the generated waves y pull back, instead
// of sum_i w_i dl_i/dy,
//
//   sum_i R (w_i / sum_j w_j) g_i / (m_i + 1e-12),   g_i = dl_i/dy,   m_i = running mean of mean over items of |g_i|_2,
//
// so that the weights are shares of the gradient, whatever the scales of the losses. Losses that do not act on y, such
// as the commitment, stay outside.

#include <span>
#include <vector>

#include <kolmo/ad/module.hpp>
#include <kolmo/ops/reduce.hpp>

namespace kolmo::rvq {

struct LossBalancer {
  double decay = 0.999;        ///< of the running means, corrected for their start
  double norm = 1;             ///< R
  std::vector<double> sums;    ///< of every loss: decayed sum of gradient norms
  std::vector<double> counts;  ///< and of ones

  static void fields(auto&& f, auto&... s) {
    f(option("decay"), s.decay...);
    f(option("norm"), s.norm...);
    f(state("sums"), s.sums...);
    f(state("counts"), s.counts...);
  }
  template <class U>
  using Rebind = LossBalancer;

  /// Throws ArgumentError unless 0 <= decay < 1 and norm > 0.
  void validate() const {
    if (!(decay >= 0 && decay < 1) || !(norm > 0) || sums.size() != counts.size())
      throw ArgumentError("LossBalancer: expected 0 <= decay < 1, norm > 0 and as many sums as counts, given " +
                          std::to_string(decay) + ", " + std::to_string(norm) + ", " + std::to_string(sums.size()) +
                          " and " + std::to_string(counts.size()));
  }

  /// m_i; 0 for a loss that was never given.
  double mean_norm(std::size_t loss) const {
    return loss < sums.size() && counts[loss] > 0 ? sums[loss] / counts[loss] : 0;
  }
};

/// A loss's gradient with respect to the waves [B, ...], its number among all losses, and its weight.
template <PlainTensor V>
struct LossGradient {
  std::size_t loss = 0;
  double weight = 1;
  V gradient;
};

/// The Euclidean norm of each item [B, ...], averaged.
template <PlainTensor V>
double mean_item_norm(const V& gradient) {
  const index_t items = gradient.rank() == 0 ? 1 : gradient.shape()[0];
  if (gradient.size() == 0) return 0;
  return static_cast<double>(mean(norm(gradient.reshaped(Shape{items, gradient.size() / items}), {1})).item());
}

/// What to pull back into the waves; updates the running means of the losses given. Throws ArgumentError without
/// losses or for weights that are negative or all 0, ShapeError for gradients of several shapes.
template <PlainTensor V>
V balance(LossBalancer& balancer, std::span<const LossGradient<V>> losses) {
  double weights = 0;
  for (const auto& l : losses) {
    if (!(l.weight >= 0)) throw ArgumentError("balance: weights must be at least 0, given " + std::to_string(l.weight));
    weights += l.weight;
  }
  if (!(weights > 0)) throw ArgumentError("balance: expected at least one loss with a positive weight");
  V total;
  for (const auto& l : losses) {
    if (l.loss >= balancer.sums.size()) {
      balancer.sums.resize(l.loss + 1, 0.0);
      balancer.counts.resize(l.loss + 1, 0.0);
    }
    balancer.sums[l.loss] = balancer.decay * balancer.sums[l.loss] + mean_item_norm(l.gradient);
    balancer.counts[l.loss] = balancer.decay * balancer.counts[l.loss] + 1;
    if (total.has_value() && !(total.shape() == l.gradient.shape()))
      throw ShapeError("balance: gradients of shapes " + total.shape().to_string() + " and " +
                       l.gradient.shape().to_string());
    const V part = l.gradient * (balancer.norm * (l.weight / weights) / (balancer.mean_norm(l.loss) + 1e-12));
    total = total.has_value() ? V(total + part) : part;
  }
  return total;
}

}  // namespace kolmo::rvq
