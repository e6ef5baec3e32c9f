#pragma once
// Trajectories as overlapping windows of frames, and windows as trajectories again: the two maps between which a
// network of windows makes a network of trajectories of any length (Rozet and Louppe 2023).

#include <vector>

#include <kolmo/ops/indexing.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::score {

/// Which window a frame of the result comes from, for windows of W frames every S frames, with i = (W - S) / 2:
/// symmetrical: the first window gives its frames [0, i + S), the last [i, W), the others [i, i + S);
/// causal: the first gives all its frames, every other its last S;
/// average: the mean over all windows that hold the frame.
enum class FoldRule { symmetrical, causal, average };

/// The windows of a trajectory.
class WindowPlan {
 public:
  /// The last window ends with the last frame: it starts less than `stride` after the one before where the length asks
  /// for it. Throws ShapeError for a trajectory shorter than a window, ArgumentError unless 1 <= stride <= width.
  WindowPlan(index_t length, index_t width, index_t stride = 1, FoldRule rule = FoldRule::symmetrical)
      : length_(length), width_(width), stride_(stride), rule_(rule) {
    if (width < 1 || stride < 1 || stride > width)
      throw ArgumentError("windows: expected a width of at least 1 and a stride from 1 to the width, given width " +
                          std::to_string(width) + " and stride " + std::to_string(stride));
    if (static_cast<int>(rule) < 0 || static_cast<int>(rule) > 2)
      throw ArgumentError("windows: no fold rule has the number " + std::to_string(static_cast<int>(rule)));
    if (length < width)
      throw ShapeError("windows: a trajectory of " + std::to_string(length) + " frames is shorter than a window of " +
                       std::to_string(width) + "; give at least as many frames, or a network of lower order");
    for (index_t start = 0; start < length - width; start += stride) starts_.push_back(start);
    starts_.push_back(length - width);
  }

  index_t length() const { return length_; }
  index_t width() const { return width_; }
  index_t count() const { return static_cast<index_t>(starts_.size()); }
  FoldRule rule() const { return rule_; }

  /// The frame behind each place of each window: [count * width].
  std::vector<index_t> frames() const {
    std::vector<index_t> result;
    for (const index_t start : starts_)
      for (index_t j = 0; j < width_; ++j) result.push_back(start + j);
    return result;
  }

  /// The place, window * width + position, that gives each frame; not for averages.
  std::vector<index_t> places() const {
    const index_t margin = rule_ == FoldRule::causal ? width_ - stride_ : (width_ - stride_) / 2;
    std::vector<index_t> result;
    index_t window = 0;
    for (index_t frame = 0; frame < length_; ++frame) {
      // A window gives frames until the next one's share begins.
      while (window + 1 < count() && frame >= starts_[static_cast<std::size_t>(window)] + margin + stride_) ++window;
      result.push_back(window * width_ + frame - starts_[static_cast<std::size_t>(window)]);
    }
    return result;
  }

 private:
  index_t length_, width_, stride_;
  FoldRule rule_;
  std::vector<index_t> starts_;
};

namespace detail {

template <TensorLike X>
Tensor<index_t, typename BaseOf<X>::Backend> positions_on(const std::vector<index_t>& values) {
  return Tensor<index_t, typename BaseOf<X>::Backend>::from(values);
}

/// [B, L, F...]: elements of an event.
inline index_t event_size(const Shape& x) {
  index_t size = 1;
  for (int i = 2; i < x.rank(); ++i) size *= x[i];
  return size;
}

}  // namespace detail

/// x [B, L, F...] to its windows [B, count, W F, ...]: frames side by side in the order of time. Throws ShapeError
/// unless x has L frames of at least one axis.
template <TensorLike X>
auto unfold(const X& x, const WindowPlan& plan) {
  const Shape& s = x.shape();
  if (s.rank() < 3 || s[1] != plan.length())
    throw ShapeError("unfold: expected trajectories [batch, " + std::to_string(plan.length()) +
                     ", features...], given " + s.to_string());
  const index_t event = detail::event_size(s);
  Shape result{s[0], plan.count(), plan.width() * s[2]};
  for (int i = 3; i < s.rank(); ++i) result.push_back(s[i]);
  return reshape(take(reshape(x, Shape{s[0], s[1], event}), detail::positions_on<X>(plan.frames()), 1), result);
}

/// Windows [B, count, W F, ...] to a trajectory [B, L, F...] by the rule of the plan. Throws ShapeError when they do
/// not fit.
template <TensorLike Y>
auto fold(const Y& y, const WindowPlan& plan) {
  using T = ScalarOf<Y>;
  const Shape& s = y.shape();
  if (s.rank() < 3 || s[1] != plan.count() || s[2] % plan.width() != 0)
    throw ShapeError("fold: expected windows [batch, " + std::to_string(plan.count()) + ", " +
                     std::to_string(plan.width()) + " x features, ...], given " + s.to_string());
  const index_t event = detail::event_size(s) / plan.width();
  const auto places = reshape(y, Shape{s[0], plan.count() * plan.width(), event});
  Shape result{s[0], plan.length(), s[2] / plan.width()};
  for (int i = 3; i < s.rank(); ++i) result.push_back(s[i]);
  if (plan.rule() != FoldRule::average) return reshape(take(places, detail::positions_on<Y>(plan.places()), 1), result);
  const std::vector<index_t> frames = plan.frames();
  std::vector<T> share(static_cast<std::size_t>(plan.length()), T(0));
  for (const index_t frame : frames) share[static_cast<std::size_t>(frame)] += T(1);
  for (T& number : share) number = T(1) / number;
  const auto weights = BaseOf<Y>::from(std::span<const T>(share), Shape{plan.length(), 1});
  return reshape(add_at(places, detail::positions_on<Y>(frames), plan.length(), 1) * weights, result);
}

}  // namespace kolmo::score
