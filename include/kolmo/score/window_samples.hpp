#pragma once
// Windows of trajectories as a source of batches (see optim/samples.hpp). An epoch of the usual kind visits every
// trajectory once and takes a window that begins at a time drawn anew (Rozet and Louppe 2023, arXiv 2306.10574).

#include <cstdint>
#include <span>
#include <string>

#include <kolmo/backend/tensor_list.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/score/trajectory_data.hpp>

namespace kolmo::score {

enum class WindowChoice {
  random,  ///< one window of each trajectory, at a random time, another in every epoch
  all      ///< every window of every trajectory, in their order
};
enum class WindowLayout {
  channels,  ///< [batch, window * channel, space...]: the frames one after the other, as a network takes them
  frames     ///< [batch, window, channel, space...]
};

struct WindowOptions {
  index_t window = 1;  ///< frames in a window
  WindowChoice choice = WindowChoice::random;
  WindowLayout layout = WindowLayout::channels;
  index_t per_trajectory = 1;  ///< random windows of each trajectory in an epoch
  index_t stride = 1;          ///< of `all`: frames from one window's begin to the next
  Key key = {};
};

/// A window is a function of the key, the epoch and its index alone: a run that continues sees the same ones.
template <PlainTensor V>
class WindowSamples {
  using T = typename V::Scalar;
  using B = typename V::Backend;

 public:
  /// Throws ArgumentError for options out of range or trajectories shorter than a window.
  WindowSamples(const TrajectoryData<V>& data, const WindowOptions& options)
      : values_(data.values()), options_(options) {
    if (options.window < 1 || options.per_trajectory < 1 || options.stride < 1)
      throw ArgumentError("WindowSamples: window, per_trajectory and stride must be at least 1, given " +
                          std::to_string(options.window) + ", " + std::to_string(options.per_trajectory) + " and " +
                          std::to_string(options.stride));
    if (options.window > data.times())
      throw ArgumentError("WindowSamples: a window of " + std::to_string(options.window) +
                          " frames does not fit into trajectories of " + std::to_string(data.times()) +
                          "; take a smaller window, or longer trajectories");
    const index_t starts = data.times() - options.window + 1;
    each_ = options.choice == WindowChoice::random ? options.per_trajectory : divide_up(starts, options.stride);
  }

  /// Windows in an epoch.
  index_t size() const { return values_.shape()[0] * each_; }

  /// The same trajectories with the windows of an epoch, counted from 1.
  WindowSamples at_epoch(index_t epoch) const {
    WindowSamples result = *this;
    result.epoch_ = epoch;
    return result;
  }

  /// The time at which window i begins.
  index_t start(index_t i) const {
    if (options_.choice == WindowChoice::all) return i % each_ * options_.stride;
    const Key of_epoch = fold_in(options_.key, static_cast<std::uint64_t>(epoch_));
    return integer_below(of_epoch, static_cast<std::uint64_t>(i), values_.shape()[1] - options_.window + 1);
  }

  /// Throws ArgumentError for an index outside [0, size()).
  V batch(std::span<const index_t> indices) const {
    const Shape& from = values_.shape();
    const index_t frame = values_.size() / from[0] / from[1], width = options_.window * frame;
    Shape shape{static_cast<index_t>(indices.size())};
    if (options_.layout == WindowLayout::frames) shape.push_back(options_.window);
    shape.push_back(options_.layout == WindowLayout::frames ? from[2] : options_.window * from[2]);
    for (int d = 3; d < from.rank(); ++d) shape.push_back(from[d]);
    V result = V::uninitialized(shape);
    T* target = result.mutable_data();
    [[maybe_unused]] kolmo::detail::TensorList<B, kolmo::detail::CastTile<T, T>, 2> list;
    for (const index_t i : indices) {
      if (i < 0 || i >= size())
        throw ArgumentError("WindowSamples: index " + std::to_string(i) + " of " + std::to_string(size()) + " windows");
      const index_t first = i / each_ * from[1] + start(i);
      const T* const source = values_.data() + first * frame;
      // A device copies all windows at once.
      if constexpr (kolmo::detail::HasTeams<B>)
        list.add({{target, const_cast<T*>(source)}}, width);
      else
        B::copy(target, source, static_cast<std::size_t>(width) * sizeof(T));
      target += width;
    }
    if constexpr (kolmo::detail::HasTeams<B>) list.run({});
    return result;
  }

 private:
  V values_;
  WindowOptions options_;
  index_t each_ = 1;
  index_t epoch_ = 1;
};

}  // namespace kolmo::score
