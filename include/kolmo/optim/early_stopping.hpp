#pragma once
// Early stopping: keeps the best model by a metric, and ends the training when it has not improved for a while.

#include <limits>
#include <optional>
#include <string>

#include <kolmo/ad/module.hpp>

namespace kolmo::optim {

/// The best model so far; nothing before the first metric.
template <class M>
struct BestModel {
  std::optional<M> model;
  double metric = std::numeric_limits<double>::infinity();
  index_t epoch = 0;   ///< of the best model
  index_t waited = 0;  ///< epochs since

  static void fields(auto&& f, auto&... s) {
    f(state("model"), s.model...);
    f(state("metric"), s.metric...);
    f(state("epoch"), s.epoch...);
    f(state("waited"), s.waited...);
  }
  template <class U>
  using Rebind = BestModel<RebindTo<U, M>>;
};

/// Lower metrics are better; a NaN is never an improvement.
struct EarlyStopping {
  index_t patience = 10;          ///< epochs without improvement after which the training ends; 0: never
  double min_improvement = 1e-5;  ///< smaller gains do not count

  /// Takes the metric of an epoch. Returns true when the training should end.
  template <class M>
  bool update(BestModel<M>& best, const M& model, double metric, index_t epoch) const {
    if (metric < best.metric - min_improvement || (!best.model && metric < best.metric)) {
      best = {model, metric, epoch, 0};
      return false;
    }
    ++best.waited;
    return patience > 0 && best.waited >= patience;
  }
};

}  // namespace kolmo::optim
