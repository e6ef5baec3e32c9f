#pragma once
// Training in bfloat16 with master weights in float: the weights are cast inside the differentiated function, so that
// the network runs and is recorded in bfloat16 while train(), the optimiser and its moments see float only. The
// gradient of a weight arrives through its cast.

#include <concepts>

#include <kolmo/ops/cast.hpp>

namespace kolmo::optim {

/// See mixed_precision.
template <class T, class Loss>
class MixedPrecision {
 public:
  explicit MixedPrecision(Loss loss) : loss_(std::move(loss)) {}

  template <class M, class... Rest>
  requires std::invocable<const Loss&, const decltype(cast<T>(std::declval<const M&>()))&, const Rest&...>
  auto operator()(const M& model, const Rest&... rest) const {
    return cast<ScalarOf<KindOf<M>>>(loss_(cast<T>(model), rest...));
  }

  auto at_epoch(index_t epoch) const requires requires(const Loss& loss) { loss.at_epoch(epoch); }
  {
    using Inner = decltype(loss_.at_epoch(epoch));
    return MixedPrecision<T, Inner>(loss_.at_epoch(epoch));
  }

 private:
  Loss loss_;
};

/// The loss that gives `loss` the model with its values stored as T: train(state, optimiser, data,
/// mixed_precision(loss), options). Score networks take their inputs to the scalar of their weights and return the
/// scalar of their inputs by themselves; any other loss casts what it multiplies with weights: cast<ScalarOf<...>>(x).
template <class T = BFloat16, class Loss>
auto mixed_precision(Loss loss) {
  return MixedPrecision<T, Loss>(std::move(loss));
}

}  // namespace kolmo::optim
