#pragma once
// Shapes, strides and NumPy's broadcasting rule: trailing axes are matched, and an axis of extent one
// (or a missing one) repeats.

#include <initializer_list>
#include <string>

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

namespace kolmo {

/// Largest number of axes of a tensor.
inline constexpr int max_rank = 6;

/// Extents of a tensor, stored inline. Negative axis numbers count from the end.
class Shape {
 public:
  constexpr Shape() = default;

  /// Throws ShapeError on more than max_rank axes or a negative extent.
  Shape(std::initializer_list<index_t> extents);
  template <class Iterator>
  Shape(Iterator first, Iterator last) {
    for (; first != last; ++first) push_back(static_cast<index_t>(*first));
  }

  KOLMO_HD constexpr int rank() const { return rank_; }
  /// Extent of an axis; no check, so that kernels can call it.
  KOLMO_HD constexpr index_t operator[](int axis) const { return extents_[axis < 0 ? axis + rank_ : axis]; }
  KOLMO_HD constexpr index_t& operator[](int axis) { return extents_[axis < 0 ? axis + rank_ : axis]; }
  /// Number of elements; one for rank zero.
  KOLMO_HD constexpr index_t size() const {
    index_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= extents_[i];
    return n;
  }
  const index_t* begin() const { return extents_.begin(); }
  const index_t* end() const { return extents_.begin() + rank_; }

  void push_back(index_t extent);
  /// The shape with one axis removed, or inserted before `axis`.
  Shape without(int axis) const;
  Shape with(int axis, index_t extent) const;
  /// "[64, 3]"
  std::string to_string() const;

  friend constexpr bool operator==(const Shape& a, const Shape& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.extents_[i] != b.extents_[i]) return false;
    return true;
  }

 private:
  Array<index_t, max_rank> extents_{};
  int rank_ = 0;
};

/// Distance in elements between neighbours along each axis.
using Strides = Array<index_t, max_rank>;

inline void Shape::push_back(index_t extent) {
  if (rank_ == max_rank)
    throw ShapeError("a tensor has at most " + std::to_string(max_rank) + " axes; reshape to fewer before adding another to " +
                     to_string());
  if (extent < 0) throw ShapeError("an extent must not be negative, given " + std::to_string(extent));
  extents_[rank_++] = extent;
}

inline Shape::Shape(std::initializer_list<index_t> extents) {
  for (index_t extent : extents) push_back(extent);
}

inline std::string Shape::to_string() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string(extents_[i]);
  return text + "]";
}

/// Turns a possibly negative axis into [0, rank). Throws ShapeError naming the operation.
inline int normalize_axis(int axis, int rank, const char* operation) {
  const int normalized = axis < 0 ? axis + rank : axis;
  if (normalized < 0 || normalized >= rank)
    throw ShapeError(std::string(operation) + ": axis " + std::to_string(axis) + " does not exist in a tensor of rank " +
                     std::to_string(rank));
  return normalized;
}

inline Shape Shape::without(int axis) const {
  Shape result;
  for (int i = 0; i < rank_; ++i)
    if (i != axis) result.push_back(extents_[i]);
  return result;
}

inline Shape Shape::with(int axis, index_t extent) const {
  Shape result;
  for (int i = 0; i <= rank_; ++i) {
    if (i == axis) result.push_back(extent);
    if (i < rank_) result.push_back(extents_[i]);
  }
  return result;
}

/// Strides of a contiguous row-major tensor.
KOLMO_HD constexpr Strides row_major_strides(const Shape& shape) {
  Strides strides{};
  index_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

/// The common shape of two operands. Throws ShapeError naming the operation and both shapes.
inline Shape broadcast(const Shape& a, const Shape& b, const char* operation = "broadcast") {
  if (a == b) return a;
  const int rank = larger(a.rank(), b.rank());
  Shape result;
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank());
    const int ib = i - (rank - b.rank());
    const index_t na = ia < 0 ? 1 : a[ia];
    const index_t nb = ib < 0 ? 1 : b[ib];
    if (na != nb && na != 1 && nb != 1)
      throw ShapeError(std::string(operation) + ": shapes " + a.to_string() + " and " + b.to_string() +
                       " do not broadcast; extents must be equal or one, counted from the last axis");
    result.push_back(na == 1 ? nb : na);
  }
  return result;
}

/// Strides that read a tensor of shape `from` as if it had shape `to`: zero along repeated axes.
/// `from` must broadcast to `to`.
inline Strides broadcast_strides(const Shape& from, const Strides& strides, const Shape& to) {
  Strides result{};
  for (int i = 0; i < from.rank(); ++i) {
    const int j = i + to.rank() - from.rank();
    result[j] = from[i] == 1 ? 0 : strides[i];
  }
  return result;
}

/// Joins neighbouring axes wherever every stride vector allows it and drops axes of extent one, so
/// that most loops become one- or two-dimensional. The shape keeps at least rank one.
template <int N>
void merge_axes(Shape& shape, Array<Strides, N>& strides) {
  Shape merged;
  Array<Strides, N> kept{};
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == 1) continue;
    const int last = merged.rank() - 1;
    bool joins = last >= 0;
    for (int s = 0; joins && s < N; ++s) joins = kept[s][last] == strides[s][i] * shape[i];
    if (joins) {
      merged[last] *= shape[i];
      for (int s = 0; s < N; ++s) kept[s][last] = strides[s][i];
    } else {
      for (int s = 0; s < N; ++s) kept[s][last + 1] = strides[s][i];
      merged.push_back(shape[i]);
    }
  }
  if (merged.rank() == 0) {
    merged.push_back(1);
    for (int s = 0; s < N; ++s) kept[s][0] = 1;
  }
  shape = merged;
  strides = kept;
}

}  // namespace kolmo
