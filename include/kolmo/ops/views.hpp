#pragma once
// Changing the shape of a tensor of any kind without touching its elements: reshape, transpose, permute,
// expand, slice, flip, squeeze. The results are views of the same memory, except that reshape copies a
// tensor that is not contiguous. Axes may be negative and then count from the end.

#include <limits>

#include <kolmo/ops/strided.hpp>

namespace kolmo {

namespace detail {

struct ReshapeOperation {
  Shape shape;
  template <PlainTensor V>
  V operator()(const V& x) const {
    return x.reshaped(shape);
  }
};

/// Axis i of the result is axis axes[i] of the operand; -1 inserts an axis of extent one. Axes that are
/// not named must have extent one.
struct ArrangeAxes {
  Array<int, max_rank> axes{};
  int rank = 0;

  template <PlainTensor V>
  V operator()(const V& x) const {
    Shape shape;
    Strides strides{};
    for (int i = 0; i < rank; ++i) {
      strides[i] = axes[i] < 0 ? 0 : x.strides()[axes[i]];
      shape.push_back(axes[i] < 0 ? 1 : x.shape()[axes[i]]);
    }
    return x.view(shape, strides, 0);
  }

  ArrangeAxes inverse(int source_rank) const {
    ArrangeAxes result;
    result.rank = source_rank;
    for (int i = 0; i < source_rank; ++i) result.axes[i] = -1;
    for (int i = 0; i < rank; ++i)
      if (axes[i] >= 0) result.axes[axes[i]] = i;
    return result;
  }
};

struct ExpandTo {
  Shape shape;
  template <PlainTensor V>
  V operator()(const V& x) const {
    return x.view(shape, broadcast_strides(x.shape(), x.strides(), shape), 0);
  }
};

/// Every `step`-th element from `begin` on along one axis; a negative step walks backwards.
struct SliceAxis {
  int axis;
  index_t begin, count, step;
  template <PlainTensor V>
  V operator()(const V& x) const {
    Shape shape = x.shape();
    Strides strides = x.strides();
    const index_t offset = count == 0 ? 0 : begin * strides[axis];
    shape[axis] = count;
    strides[axis] *= step;
    return x.view(shape, strides, offset);
  }
};

/// The adjoint of SliceAxis: the operand in a tensor of zeros with `extent` elements along the axis.
struct PlaceOnAxis {
  int axis;
  index_t begin, step, extent;
  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = typename V::Scalar;
    Shape shape = x.shape();
    shape[axis] = extent;
    V result = V::zeros(shape);
    Strides strides = result.strides();
    T* target = result.mutable_data();
    if (x.size() > 0) target += begin * strides[axis];
    strides[axis] *= step;
    copy_strided(x, target, strides);
    return result;
  }
};

inline int position_of_new_axis(int axis, int rank, const char* operation) {
  const int normalized = axis < 0 ? axis + rank + 1 : axis;
  if (normalized < 0 || normalized > rank)
    throw ShapeError(std::string(operation) + ": an axis cannot be inserted at " + std::to_string(axis) +
                     " in a tensor of rank " + std::to_string(rank));
  return normalized;
}

template <TensorLike X>
auto arranged(const X& x, const ArrangeAxes& axes) {
  return linear_recorded(axes, axes.inverse(x.rank()), x);
}

}  // namespace detail

/// The same elements in row-major order under another shape. Throws ShapeError when the sizes differ.
template <TensorLike X>
auto reshape(const X& x, const Shape& shape) {
  if (shape.size() != x.size())
    throw ShapeError("reshape: " + x.shape().to_string() + " has " + std::to_string(x.size()) + " elements and " +
                     shape.to_string() + " has " + std::to_string(shape.size()));
  return detail::linear_recorded(detail::ReshapeOperation{shape}, detail::ReshapeOperation{x.shape()}, x);
}

/// reshape(x, {2, -1}): at most one extent may be -1 and is then computed. Throws ShapeError otherwise.
template <TensorLike X>
auto reshape(const X& x, std::initializer_list<index_t> extents) {
  Shape shape;
  int open = -1;
  for (index_t extent : extents) {
    if (extent == -1) {
      if (open >= 0) throw ShapeError("reshape: only one extent may be -1");
      open = shape.rank();
      extent = 1;
    }
    shape.push_back(extent);
  }
  if (open >= 0) {
    const index_t known = shape.size();
    if (known == 0 || x.size() % known != 0)
      throw ShapeError("reshape: the extent -1 cannot be found for " + std::to_string(x.size()) +
                       " elements of shape " + x.shape().to_string() + "; the other extents have product " +
                       std::to_string(known));
    shape[open] = x.size() / known;
  }
  return reshape(x, shape);
}

/// Joins the axes first to last, by default all of them, into one.
template <TensorLike X>
auto flatten(const X& x, int first = 0, int last = -1) {
  if (x.rank() == 0) return reshape(x, Shape{1});
  first = normalize_axis(first, x.rank(), "flatten");
  last = normalize_axis(last, x.rank(), "flatten");
  if (last < first)
    throw ShapeError("flatten: axis " + std::to_string(first) + " lies behind axis " + std::to_string(last));
  Shape shape;
  for (int i = 0; i < x.rank(); ++i) {
    if (i <= first || i > last)
      shape.push_back(x.shape()[i]);
    else
      shape[first] *= x.shape()[i];
  }
  return reshape(x, shape);
}

/// Axis i of the result is axis axes[i] of x. Throws ShapeError unless every axis is named once.
template <TensorLike X>
auto permute(const X& x, std::initializer_list<int> axes) {
  if (static_cast<int>(axes.size()) != x.rank())
    throw ShapeError("permute: " + std::to_string(axes.size()) + " axes given for a tensor of rank " +
                     std::to_string(x.rank()));
  static_cast<void>(AxisSet(axes, x.rank(), "permute"));
  detail::ArrangeAxes arrangement;
  for (int axis : axes) arrangement.axes[arrangement.rank++] = normalize_axis(axis, x.rank(), "permute");
  return detail::arranged(x, arrangement);
}

/// Exchanges two axes.
template <TensorLike X>
auto swap_axes(const X& x, int a, int b) {
  a = normalize_axis(a, x.rank(), "swap_axes");
  b = normalize_axis(b, x.rank(), "swap_axes");
  detail::ArrangeAxes arrangement;
  arrangement.rank = x.rank();
  for (int i = 0; i < x.rank(); ++i) arrangement.axes[i] = i == a ? b : i == b ? a : i;
  return detail::arranged(x, arrangement);
}

/// Exchanges the last two axes. Throws ShapeError below rank two.
template <TensorLike X>
auto transpose(const X& x) {
  if (x.rank() < 2) throw ShapeError("transpose: expected at least two axes, given shape " + x.shape().to_string());
  return swap_axes(x, -2, -1);
}

/// Repeats x to `shape` by the rule of broadcasting, without a copy. Throws ShapeError when it does not fit.
template <TensorLike X>
auto broadcast_to(const X& x, const Shape& shape) {
  if (!(broadcast(x.shape(), shape, "broadcast_to") == shape))
    throw ShapeError("broadcast_to: shape " + x.shape().to_string() + " does not repeat to " + shape.to_string());
  return detail::linear_recorded(detail::ExpandTo{shape}, detail::SumTo{x.shape()}, x);
}
template <TensorLike X>
auto expand(const X& x, const Shape& shape) {
  return broadcast_to(x, shape);
}

/// Removes an axis of extent one. Throws ShapeError for another extent.
template <TensorLike X>
auto squeeze(const X& x, int axis) {
  axis = normalize_axis(axis, x.rank(), "squeeze");
  if (x.shape()[axis] != 1)
    throw ShapeError("squeeze: axis " + std::to_string(axis) + " of " + x.shape().to_string() +
                     " does not have extent one");
  detail::ArrangeAxes arrangement;
  for (int i = 0; i < x.rank(); ++i)
    if (i != axis) arrangement.axes[arrangement.rank++] = i;
  return detail::arranged(x, arrangement);
}

/// Inserts an axis of extent one before `axis`; -1 appends it.
template <TensorLike X>
auto unsqueeze(const X& x, int axis) {
  axis = detail::position_of_new_axis(axis, x.rank(), "unsqueeze");
  if (x.rank() == max_rank) static_cast<void>(x.shape().with(axis, 1));  // throws the error of Shape
  detail::ArrangeAxes arrangement;
  for (int i = 0; i <= x.rank(); ++i) arrangement.axes[arrangement.rank++] = i == axis ? -1 : i - (i > axis);
  return detail::arranged(x, arrangement);
}

/// Marks the end of an axis in a slice.
inline constexpr index_t axis_end = std::numeric_limits<index_t>::max();

/// A range of an axis: begin, begin + step, ... before end. Negative positions count from the end.
struct Slice {
  int axis = 0;
  index_t begin = 0;
  index_t end = axis_end;
  index_t step = 1;
};

/// A range of an axis as a view. Throws ArgumentError when it leaves the axis or step < 1.
template <TensorLike X>
auto slice(const X& x, const Slice& range) {
  const int axis = normalize_axis(range.axis, x.rank(), "slice");
  const index_t extent = x.shape()[axis];
  const index_t begin = range.begin < 0 ? range.begin + extent : range.begin;
  const index_t end = range.end == axis_end ? extent : range.end < 0 ? range.end + extent : range.end;
  if (begin < 0 || begin > end || end > extent || range.step < 1)
    throw ArgumentError("slice: the range [" + std::to_string(range.begin) + ", " +
                        (range.end == axis_end ? "end" : std::to_string(range.end)) + ") with step " +
                        std::to_string(range.step) + " does not lie in axis " + std::to_string(axis) + " of " +
                        x.shape().to_string() + "; expected 0 <= begin <= end <= extent and step >= 1");
  const index_t count = divide_up(end - begin, range.step);
  return detail::linear_recorded(detail::SliceAxis{axis, begin, count, range.step},
                                 detail::PlaceOnAxis{axis, begin, range.step, extent}, x);
}
template <TensorLike X>
auto slice(const X& x, int axis, index_t begin, index_t end = axis_end, index_t step = 1) {
  return slice(x, Slice{axis, begin, end, step});
}

/// One position of an axis, which disappears: x[.., index, ..]. Throws ArgumentError outside the axis.
template <TensorLike X>
auto at(const X& x, int axis, index_t index) {
  axis = normalize_axis(axis, x.rank(), "at");
  const index_t position = index < 0 ? index + x.shape()[axis] : index;
  if (position < 0 || position >= x.shape()[axis])
    throw ArgumentError("at: index " + std::to_string(index) + " does not lie in axis " + std::to_string(axis) +
                        " of " + x.shape().to_string());
  return squeeze(slice(x, axis, position, position + 1), axis);
}

/// Reverses an axis, as a view.
template <TensorLike X>
auto flip(const X& x, int axis) {
  axis = normalize_axis(axis, x.rank(), "flip");
  const index_t extent = x.shape()[axis];
  const detail::SliceAxis backwards{axis, extent - 1, extent, -1};
  return detail::linear_recorded(backwards, backwards, x);
}

}  // namespace kolmo
