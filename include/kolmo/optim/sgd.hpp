#pragma once
// Gradient descent with optional momentum (Sutskever et al. 2013) and weight decay:
//
//   g <- g + w p,   m <- b m + g,   p <- p - rate (g + b m with Nesterov, else m)

#include <kolmo/optim/tree.hpp>

namespace kolmo::optim {

struct SgdOptions {
  double learning_rate = 1e-2;
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
};

template <class M>
struct SgdState {
  M momentum;
  index_t updates = 0;

  static void fields(auto&& f, auto&... s) {
    f(state("momentum"), s.momentum...);
    f(state("updates"), s.updates...);
  }
  template <class U>
  using Rebind = SgdState<RebindTo<U, M>>;
};

}  // namespace kolmo::optim

namespace kolmo::detail {

template <class T>
struct SgdUpdate {
  T gradient_scale, momentum, weight_decay, rate;
  bool nesterov;

  template <class S>
  KOLMO_HD Array<S, 2> operator()(S p, S m, S g) const {
    g = gradient_scale * g + weight_decay * p;
    m = momentum * m + g;
    return {{p - rate * (nesterov ? g + momentum * m : m), m}};
  }
};

}  // namespace kolmo::detail

namespace kolmo::optim {

class Sgd {
 public:
  /// Throws ArgumentError unless learning_rate > 0, 0 <= momentum < 1 and weight_decay >= 0.
  explicit Sgd(const SgdOptions& options) : options_(options) {
    if (!(options.learning_rate > 0) || !(options.momentum >= 0 && options.momentum < 1) ||
        !(options.weight_decay >= 0))
      throw ArgumentError(
          "sgd: expected learning_rate > 0, 0 <= momentum < 1, weight_decay >= 0, given learning_rate " +
          std::to_string(options.learning_rate) + ", momentum " + std::to_string(options.momentum) + ", weight_decay " +
          std::to_string(options.weight_decay));
  }

  double learning_rate() const { return options_.learning_rate; }

  template <class M>
  SgdState<M> init(const M& model) const {
    return {zeros_like(model), 0};
  }

  /// Updates the parameters in place with gradient_scale * gradient. Throws ShapeError when the structures differ.
  template <class M>
  void step(M& model, const M& gradient, SgdState<M>& state, double learning_rate, double gradient_scale = 1) const {
    ++state.updates;
    using V = KindOf<M>;
    using T = ComputeOf<typename V::Scalar>;
    using Update = kolmo::detail::SgdUpdate<T>;
    kolmo::detail::LeafUpdates<2, V, Update, 1> updates(Update{static_cast<T>(gradient_scale),
                                                               static_cast<T>(options_.momentum),
                                                               static_cast<T>(options_.weight_decay),
                                                               static_cast<T>(learning_rate), options_.nesterov});
    kolmo::detail::visit_leaves(
        [&](const std::string& path, auto& p, const auto& g, auto& m) {
          kolmo::detail::check_leaf(path, p, g, "sgd");
          kolmo::detail::check_leaf(path, p, m, "sgd");
          updates.add({{&p, &m}}, g.contiguous());
        },
        model, gradient, state.momentum);
    updates.run();
  }
  template <class M>
  void step(M& model, const M& gradient, SgdState<M>& state) const {
    step(model, gradient, state, options_.learning_rate);
  }

 private:
  SgdOptions options_;
};

inline Sgd sgd(const SgdOptions& options = {}) { return Sgd(options); }

}  // namespace kolmo::optim
