#pragma once
// Exponential moving average of weights, updated after every step and corrected for its start at zero:
//
//   a <- d a + (1 - d) p,   average = a / (1 - d^t)

#include <kolmo/optim/tree.hpp>

namespace kolmo::optim {

template <class M>
struct EmaState {
  M sum;
  index_t updates = 0;

  static void fields(auto&& f, auto&... s) {
    f(state("sum"), s.sum...);
    f(state("updates"), s.updates...);
  }
  template <class U>
  using Rebind = EmaState<RebindTo<U, M>>;
};

}  // namespace kolmo::optim

namespace kolmo::detail {
template <class T>
struct EmaUpdate {
  T keep;
  template <class S>
  KOLMO_HD S operator()(S average, S p) const {
    return average + (T(1) - keep) * (p - average);
  }
};
}  // namespace kolmo::detail

namespace kolmo::optim {

class Ema {
 public:
  /// Throws ArgumentError unless 0 <= decay < 1.
  explicit Ema(double decay) : decay_(decay) {
    if (!(decay >= 0 && decay < 1))
      throw ArgumentError("Ema: the decay must be in [0, 1), given " + std::to_string(decay));
  }

  double decay() const { return decay_; }

  template <class M>
  EmaState<M> init(const M& model) const {
    return {zeros_like(model), 0};
  }

  template <class M>
  void update(EmaState<M>& average, const M& model) const {
    ++average.updates;
    using V = KindOf<M>;
    using T = ComputeOf<typename V::Scalar>;
    using Update = kolmo::detail::EmaUpdate<T>;
    kolmo::detail::LeafUpdates<1, V, Update, 1> updates(Update{static_cast<T>(decay_)});
    kolmo::detail::visit_leaves(
        [&](const std::string& path, auto& a, const auto& p) {
          kolmo::detail::check_leaf(path, a, p, "ema");
          updates.add({{&a}}, p.contiguous());
        },
        average.sum, model);
    updates.run();
  }

  /// The model with averaged parameters; everything else as in `model`, which is returned itself before any update.
  template <class M>
  M value(const EmaState<M>& average, const M& model) const {
    M result = model;
    if (average.updates == 0) return result;
    const double correction = 1 / (1 - std::pow(decay_, static_cast<double>(average.updates)));
    kolmo::detail::visit_leaves(
        [&](const std::string&, auto& p, const auto& a) {
          using T = ComputeOf<ScalarOf<decltype(p)>>;
          p = apply(kolmo::detail::ScaleInPlace<T>{static_cast<T>(correction)}, a);
        },
        result, average.sum);
    return result;
  }

 private:
  double decay_;
};

}  // namespace kolmo::optim
