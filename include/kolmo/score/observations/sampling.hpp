#pragma once
// Observing some of the points: every s-th one, chosen frames, a window, a mask. Fields are channels-first, images
// (B, C, H, W) and trajectories (B, L, C, H, W) or (B, L, F), so space is counted from the end and time is axis 1.
// All operators are linear, take any kind of tensor, and get their adjoint from reverse mode.

#include <vector>

#include <kolmo/ops/indexing.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo::score {

/// Every `step`-th position of one axis from `begin` on, before `end`.
struct Subsample {
  static constexpr bool is_linear = true;
  int axis = 1;
  index_t step = 1;
  index_t begin = 0;
  index_t end = axis_end;

  template <TensorLike X>
  auto operator()(const X& x) const {
    return slice(x, axis, begin, end, step);
  }
};

/// Frames begin, begin + step, ... of trajectories (B, L, ...).
inline Subsample subsample_time(index_t step, index_t begin = 0) { return {1, step, begin, axis_end}; }

/// Every `step`-th point from `begin` on along each of the last `dimensions` axes.
struct SubsampleSpace {
  static constexpr bool is_linear = true;
  index_t step = 1;
  index_t begin = 0;
  int dimensions = 2;

  template <TensorLike X>
  auto operator()(const X& x) const {
    if (dimensions != 1 && dimensions != 2)
      throw ArgumentError("SubsampleSpace: expected 1 or 2 dimensions, given " + std::to_string(dimensions));
    const auto rows = slice(x, -1, begin, axis_end, step);
    // A slice of one kind is of that kind: views of Var and Jet stay what they are.
    return dimensions == 1 ? rows : slice(rows, -2, begin, axis_end, step);
  }
};

/// The given positions of one axis, in their order: frames {0, 3, 6} with axis 1, a component with axis -3.
struct Select {
  static constexpr bool is_linear = true;
  std::vector<index_t> positions;
  int axis = 1;

  template <TensorLike X>
  auto operator()(const X& x) const {
    using Indices = Tensor<index_t, typename BaseOf<X>::Backend>;
    return take(x, Indices::from(positions), axis);
  }
};

/// The window [begin, end) of both last axes; negative positions count from the end, so {4, -4} is the inner part.
struct Crop {
  static constexpr bool is_linear = true;
  index_t begin = 0;
  index_t end = axis_end;

  template <TensorLike X>
  auto operator()(const X& x) const {
    return slice(slice(x, -1, begin, end), -2, begin, end);
  }
};

/// The frame `first` minus the frame `second` of trajectories (B, L, ...): zero for a loop.
struct FrameDifference {
  static constexpr bool is_linear = true;
  index_t first = 0;
  index_t second = -1;

  template <TensorLike X>
  auto operator()(const X& x) const {
    return at(x, 1, first) - at(x, 1, second);
  }
};

/// The marked points of an event as a list: [B, event...] to [B, N], N the number of marks, in row-major order.
class Points {
 public:
  static constexpr bool is_linear = true;

  /// The positions in the flattened event. Throws ArgumentError for an empty list.
  explicit Points(std::vector<index_t> positions) : positions_(std::move(positions)) {
    if (positions_.empty()) throw ArgumentError("Points: no point is observed");
  }

  /// The points where the mask, which has the shape of an event, is not zero. Throws ArgumentError when none is.
  template <PlainTensor V>
  static Points where(const V& mask) {
    std::vector<index_t> positions;
    const auto values = mask.to_vector();
    for (std::size_t i = 0; i < values.size(); ++i)
      if (values[i] != 0) positions.push_back(static_cast<index_t>(i));
    return Points(std::move(positions));
  }

  const std::vector<index_t>& positions() const { return positions_; }

  template <TensorLike X>
  auto operator()(const X& x) const {
    if (x.rank() < 2)
      throw ShapeError("Points: expected a batch of events [B, event...], given shape " + x.shape().to_string());
    using Indices = Tensor<index_t, typename BaseOf<X>::Backend>;
    return take(flatten(x, 1), Indices::from(positions_), 1);
  }

 private:
  std::vector<index_t> positions_;
};

/// m x for a mask m of zeros and ones that broadcasts against the event: what is not observed reads zero. The measured
/// value must be masked likewise. Prefer Points where the number of observations matters (chi^2, the scalings with N).
template <PlainTensor V>
struct Mask {
  static constexpr bool is_linear = true;
  V mask;

  template <TensorLike X>
  auto operator()(const X& x) const {
    return x * mask;
  }
};

}  // namespace kolmo::score
