#pragma once
// Adam (Kingma and Ba 2014) and AdamW (Loshchilov and Hutter 2017), one fused pass over each parameter:
//
//   m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,
//   p <- p (1 - rate w) - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)
//
// with decoupled weight decay w. Adam adds w p to g instead.

#include <kolmo/core/math.hpp>
#include <kolmo/optim/tree.hpp>

namespace kolmo::optim {

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
};

/// What Adam remembers: moments with the structure of the model, and the number of updates made.
template <class M>
struct AdamState {
  M first_moment, second_moment;
  index_t updates = 0;

  static void fields(auto&& f, auto&... s) {
    f(state("first_moment"), s.first_moment...);
    f(state("second_moment"), s.second_moment...);
    f(state("updates"), s.updates...);
  }
  template <class U>
  using Rebind = AdamState<RebindTo<U, M>>;
};

}  // namespace kolmo::optim

namespace kolmo::detail {

template <class T>
struct AdamUpdate {
  T gradient_scale, beta1, beta2, epsilon, coupled_decay, keep, step, root_correction;

  template <class S>
  KOLMO_HD Array<S, 3> operator()(S p, S m, S v, S g) const {
    g = gradient_scale * g + coupled_decay * p;
    m = beta1 * m + (T(1) - beta1) * g;
    v = beta2 * v + (T(1) - beta2) * g * g;
    return {{keep * p - step * m / (sqrt(v) * root_correction + epsilon), m, v}};
  }
};

}  // namespace kolmo::detail

namespace kolmo::optim {

/// An optimiser is a value; its state is an object of its own.
class Adam {
 public:
  /// Throws ArgumentError unless learning_rate > 0, 0 <= beta < 1, epsilon > 0 and weight_decay >= 0.
  Adam(const AdamOptions& options, bool decoupled) : options_(options), decoupled_(decoupled) {
    const auto in_unit = [](double beta) { return beta >= 0 && beta < 1; };
    if (!(options.learning_rate > 0) || !in_unit(options.beta1) || !in_unit(options.beta2) || !(options.epsilon > 0) ||
        !(options.weight_decay >= 0))
      throw ArgumentError(
          "adam: expected learning_rate > 0, 0 <= beta1, beta2 < 1, epsilon > 0, weight_decay >= 0, given "
          "learning_rate " +
          std::to_string(options.learning_rate) + ", beta1 " + std::to_string(options.beta1) + ", beta2 " +
          std::to_string(options.beta2) + ", epsilon " + std::to_string(options.epsilon) + ", weight_decay " +
          std::to_string(options.weight_decay));
  }

  double learning_rate() const { return options_.learning_rate; }

  template <class M>
  AdamState<M> init(const M& model) const {
    return {zeros_like(model), zeros_like(model), 0};
  }

  /// Updates the parameters in place with gradient_scale * gradient. Throws ShapeError when the structures differ.
  template <class M>
  void step(M& model, const M& gradient, AdamState<M>& state, double learning_rate, double gradient_scale = 1) const {
    ++state.updates;
    const double t = static_cast<double>(state.updates);
    const double correction1 = 1 - std::pow(options_.beta1, t), correction2 = 1 - std::pow(options_.beta2, t);
    using V = KindOf<M>;
    using T = ComputeOf<typename V::Scalar>;
    using Update = kolmo::detail::AdamUpdate<T>;
    const double decay = learning_rate * options_.weight_decay;
    kolmo::detail::LeafUpdates<3, V, Update, 1> updates(Update{static_cast<T>(gradient_scale),
                                                               static_cast<T>(options_.beta1),
                                                               static_cast<T>(options_.beta2),
                                                               static_cast<T>(options_.epsilon),
                                                               static_cast<T>(decoupled_ ? 0 : options_.weight_decay),
                                                               static_cast<T>(decoupled_ ? 1 - decay : 1),
                                                               static_cast<T>(learning_rate / correction1),
                                                               static_cast<T>(1 / std::sqrt(correction2))});
    kolmo::detail::visit_leaves(
        [&](const std::string& path, auto& p, const auto& g, auto& m, auto& v) {
          kolmo::detail::check_leaf(path, p, g, "adam");
          kolmo::detail::check_leaf(path, p, m, "adam");
          updates.add({{&p, &m, &v}}, g.contiguous());
        },
        model, gradient, state.first_moment, state.second_moment);
    updates.run();
  }
  template <class M>
  void step(M& model, const M& gradient, AdamState<M>& state) const {
    step(model, gradient, state, options_.learning_rate);
  }

 private:
  AdamOptions options_;
  bool decoupled_;
};

/// Adam; weight decay is added to the gradient.
inline Adam adam(const AdamOptions& options = {}) { return Adam(options, false); }
/// Adam with decoupled weight decay of all parameters.
inline Adam adamw(const AdamOptions& options = {}) { return Adam(options, true); }

}  // namespace kolmo::optim
