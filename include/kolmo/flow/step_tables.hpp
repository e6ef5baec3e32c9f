#pragma once
// Tables of a solver that depend on the length of its steps, kept where the solver computes: a second run with the same
// step copies nothing to a device, and waits for nothing.

#include <map>
#include <mutex>

#include <kolmo/core/tensor.hpp>

namespace kolmo::flow::detail {

/// One tensor for each of the last few step lengths.
template <class T, class B>
class TablesOfSteps {
 public:
  /// The table of steps of dt; make() computes it where it is not known yet.
  template <class Make>
  Tensor<T, B> get(double dt, const Make& make) const {
    const std::lock_guard lock(mutex_);
    const auto found = tables_.find(dt);
    if (found != tables_.end()) return found->second;
    if (tables_.size() >= most) tables_.clear();
    return tables_.emplace(dt, make()).first->second;
  }

 private:
  static constexpr std::size_t most = 8;
  mutable std::mutex mutex_;
  mutable std::map<double, Tensor<T, B>> tables_;
};

}  // namespace kolmo::flow::detail
