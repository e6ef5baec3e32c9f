#pragma once
// Folding a plain tensor over some of its axes with any accumulator: brings the axes into rows and
// columns, chooses how memory is walked, and calls the backend's reduce.

#include <kolmo/core/bfloat16.hpp>
#include <kolmo/core/tensor.hpp>

namespace kolmo {

/// A set of axes, one bit each.
class AxisSet {
 public:
  AxisSet() = default;
  /// Throws ShapeError for an axis that does not exist or is named twice.
  AxisSet(std::initializer_list<int> axes, int rank, const char* operation) {
    for (int axis : axes) {
      const unsigned bit = 1u << normalize_axis(axis, rank, operation);
      if ((bits_ & bit) != 0u)
        throw ShapeError(std::string(operation) + ": axis " + std::to_string(axis) + " is named twice");
      bits_ |= bit;
    }
  }
  static AxisSet all(int rank) {
    AxisSet set;
    set.bits_ = (1u << rank) - 1;
    return set;
  }
  /// The axes along which `shape` is repeated when it is broadcast to `target`.
  static AxisSet repeated(const Shape& shape, const Shape& target) {
    AxisSet set;
    for (int i = 0; i < target.rank(); ++i) {
      const int j = i - (target.rank() - shape.rank());
      if (j < 0 || (shape[j] == 1 && target[i] != 1)) set.bits_ |= 1u << i;
    }
    return set;
  }
  bool contains(int axis) const { return ((bits_ >> axis) & 1u) != 0; }
  bool empty() const { return bits_ == 0; }

 private:
  unsigned bits_ = 0;
};

/// The shape after folding: axes of the set have extent one, or are gone when keep is false.
inline Shape reduced_shape(const Shape& shape, const AxisSet& axes, bool keep) {
  Shape result;
  for (int i = 0; i < shape.rank(); ++i) {
    if (!axes.contains(i))
      result.push_back(shape[i]);
    else if (keep)
      result.push_back(1);
  }
  return result;
}

/// The tensor of the numbers that a stored scalar is computed in.
template <PlainTensor V>
using ComputeTensor = Tensor<ComputeOf<typename V::Scalar>, typename V::Backend>;

namespace detail {

/// Columns are neighbours in memory.
template <class T, class Element>
struct LoadAlongColumns {
  const T* data;
  index_t row_stride;
  Element element;
  KOLMO_HD auto operator()(index_t r, index_t c) const { return element(data[r * row_stride + c], c); }
};

/// Rows are neighbours in memory.
template <class T, class Element>
struct LoadAlongRows {
  static constexpr bool rows_contiguous = true;
  const T* data;
  index_t column_stride;
  Element element;
  KOLMO_HD auto operator()(index_t r, index_t c) const { return element(data[c * column_stride + r], c); }
};

}  // namespace detail

/// Folds element(value, column) over the axes of the set; store(row, accumulator) gets the row-major
/// index of the kept axes. Columns count the folded elements in row-major order. `init` must be neutral
/// for `combine`, and `combine` associative and commutative up to rounding.
template <PlainTensor V, class Element, class Combine, class Accumulator, class Store>
void fold(const V& x, const AxisSet& axes, const Element& element, const Combine& combine, Accumulator init,
          const Store& store) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  Shape kept, folded;
  Array<Strides, 1> kept_strides{}, folded_strides{};
  for (int i = 0; i < x.rank(); ++i) {
    if (axes.contains(i)) {
      folded_strides[0][folded.rank()] = x.strides()[i];
      folded.push_back(x.shape()[i]);
    } else {
      kept_strides[0][kept.rank()] = x.strides()[i];
      kept.push_back(x.shape()[i]);
    }
  }
  const index_t rows = kept.size();
  const index_t columns = folded.size();
  if (rows == 0) return;
  Shape merged_kept = kept, merged_folded = folded;
  Array<Strides, 1> row_strides = kept_strides, column_strides = folded_strides;
  merge_axes(merged_kept, row_strides);
  merge_axes(merged_folded, column_strides);
  const bool flat = merged_kept.rank() == 1 && merged_folded.rank() == 1;
  if (flat && (column_strides[0][0] == 1 || columns <= 1)) {
    B::reduce(rows, columns, detail::LoadAlongColumns<T, Element>{x.data(), row_strides[0][0], element}, combine, init,
              store);
  } else if (flat && row_strides[0][0] == 1) {
    B::reduce(rows, columns, detail::LoadAlongRows<T, Element>{x.data(), column_strides[0][0], element}, combine, init,
              store);
  } else {
    // Any other layout is brought into rows and columns by one strided copy.
    Shape ordered = kept;
    Strides strides = kept_strides[0];
    for (int i = 0; i < folded.rank(); ++i) {
      strides[ordered.rank()] = folded_strides[0][i];
      ordered.push_back(folded[i]);
    }
    const V packed = x.view(ordered, strides, 0).copy();
    B::reduce(rows, columns, detail::LoadAlongColumns<T, Element>{packed.data(), columns, element}, combine, init, store);
  }
}

namespace detail {

struct PlainElement {
  template <class T>
  KOLMO_HD ComputeOf<T> operator()(T value, index_t) const {
    return value;
  }
};

struct SumCombine {
  template <class T>
  KOLMO_HD T operator()(T a, T b) const {
    return a + b;
  }
};

template <class T>
struct StoreRow {
  T* target;
  KOLMO_HD void operator()(index_t r, ComputeOf<T> value) const { target[r] = static_cast<T>(value); }
};

/// Sum over a set of axes, as an operation on plain tensors.
struct SumOver {
  AxisSet axes;
  bool keep;
  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = typename V::Scalar;
    V result = V::uninitialized(reduced_shape(x.shape(), axes, keep));
    fold(x, axes, PlainElement{}, SumCombine{}, ComputeOf<T>(0), StoreRow<T>{result.mutable_data()});
    return result;
  }
};

/// Sums a gradient over the axes along which the input was repeated.
struct SumTo {
  Shape shape;
  template <PlainTensor V>
  V operator()(const V& x) const {
    if (x.shape() == shape) return x;
    const AxisSet axes = AxisSet::repeated(shape, x.shape());
    if (axes.empty()) return x.reshaped(shape);
    return SumOver{axes, true}(x).reshaped(shape);
  }
};

}  // namespace detail
}  // namespace kolmo
