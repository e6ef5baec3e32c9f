#pragma once
// Reductions over axes: sum, mean, extrema with their indices, log-sum-exp, softmax, norms. Axes are
// given as a list ({-1}, {0, 2}); without a list all axes are folded. With `keep` folded axes stay with
// extent one.

#include <limits>

#include <kolmo/ops/elementwise.hpp>

namespace kolmo {

/// Axes of a reduction, possibly negative.
using Axes = std::initializer_list<int>;

namespace detail {

/// Reads a folded value as if it still had the folded axes: stride zero along them, no copy.
struct ExpandFolded {
  Shape shape;
  AxisSet axes;
  template <PlainTensor V>
  V operator()(const V& x) const {
    const V folded = x.reshaped(reduced_shape(shape, axes, true));
    return folded.view(shape, broadcast_strides(folded.shape(), folded.strides(), shape), 0);
  }
};

struct SumPullBack {
  Shape shape;
  AxisSet axes;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::make_tuple(linear(ExpandFolded{shape, axes}, gradient));
  }
};

template <TensorLike X>
auto sum_over(const X& x, const AxisSet& axes, bool keep) {
  return record(linear(SumOver{axes, keep}, value(x)), SumPullBack{x.shape(), axes}, x);
}

inline index_t folded_count(const Shape& shape, const AxisSet& axes) {
  index_t count = 1;
  for (int i = 0; i < shape.rank(); ++i)
    if (axes.contains(i)) count *= shape[i];
  return count;
}

template <TensorLike X>
auto mean_over(const X& x, const AxisSet& axes, bool keep) {
  const index_t count = folded_count(x.shape(), axes);
  if (count == 0) throw ShapeError("mean: no elements to average in shape " + x.shape().to_string());
  return sum_over(x, axes, keep) / count;
}

template <class T>
struct ValueAt {
  T value;
  index_t index;
};

template <class T>
struct WithIndex {
  KOLMO_HD ValueAt<T> operator()(T value, index_t column) const { return {value, column}; }
};

/// Keeps the extremum; NaN wins over numbers, and ties take the lowest index.
template <class T, bool largest>
struct KeepExtremum {
  KOLMO_HD ValueAt<T> operator()(ValueAt<T> a, ValueAt<T> b) const {
    const bool a_is_nan = !(a.value == a.value), b_is_nan = !(b.value == b.value);
    bool take_b = largest ? b.value > a.value : b.value < a.value;
    const bool tie = b.value == a.value || (a_is_nan && b_is_nan);
    take_b = (take_b || (b_is_nan && !a_is_nan)) && !(a_is_nan && !b_is_nan);
    take_b = take_b || (tie && b.index < a.index);
    // An index of -1 marks the neutral start.
    if (a.index < 0) return b;
    if (b.index < 0) return a;
    return take_b ? b : a;
  }
};

template <class T, class I>
struct StoreIndex {
  I* target;
  KOLMO_HD void operator()(index_t r, ValueAt<T> best) const { target[r] = best.index; }
};

/// Element index[r] of every fibre along an axis; x is read as [outer, n, inner].
template <class T>
struct TakeKernel {
  const T* x;
  const index_t* index;
  T* y;
  index_t n, inner;
  KOLMO_HD void operator()(index_t r) const { y[r] = x[(r / inner * n + index[r]) * inner + r % inner]; }
};
template <class T>
struct PutKernel {
  const T* y;
  const index_t* index;
  T* x;
  index_t n, inner;
  KOLMO_HD void operator()(index_t r) const { x[(r / inner * n + index[r]) * inner + r % inner] = y[r]; }
};

inline index_t inner_size(const Shape& shape, int axis) {
  index_t inner = 1;
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  return inner;
}

template <class Indices>
struct TakeExtremum {
  int axis;
  Indices indices;
  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = typename V::Scalar;
    const V source = x.contiguous();
    V result = V::uninitialized(indices.shape());
    V::Backend::for_each(result.size(), TakeKernel<T>{source.data(), indices.data(), result.mutable_data(),
                                                      x.shape()[axis], inner_size(x.shape(), axis)});
    return result;
  }
};

template <class Indices>
struct PutExtremum {
  int axis;
  Indices indices;
  Shape shape;
  template <PlainTensor V>
  V operator()(const V& y) const {
    using T = typename V::Scalar;
    const V source = y.contiguous();
    V result = V::zeros(shape);
    V::Backend::for_each(y.size(), PutKernel<T>{source.data(), indices.data(), result.mutable_data(), shape[axis],
                                                inner_size(shape, axis)});
    return result;
  }
};

template <class Indices>
struct ExtremumPullBack {
  int axis;
  Indices indices;
  Shape shape;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::make_tuple(linear(PutExtremum<Indices>{axis, indices, shape}, gradient));
  }
};

template <bool largest, PlainTensor V>
Tensor<index_t, typename V::Backend> arg_extremum(const V& x, int axis, bool keep, const char* name) {
  using T = typename V::Scalar;
  axis = normalize_axis(axis, x.rank(), name);
  if (x.shape()[axis] == 0)
    throw ShapeError(std::string(name) + ": axis of extent zero in shape " + x.shape().to_string());
  const AxisSet axes({axis}, x.rank(), name);
  auto result = Tensor<index_t, typename V::Backend>::uninitialized(reduced_shape(x.shape(), axes, keep));
  fold(x, axes, WithIndex<T>{}, KeepExtremum<T, largest>{}, ValueAt<T>{T(0), -1},
       StoreIndex<T, index_t>{result.mutable_data()});
  return result;
}

template <bool largest, TensorLike X>
auto extremum(const X& x, int axis, bool keep, const char* name) {
  axis = normalize_axis(axis, x.rank(), name);
  const auto indices = arg_extremum<largest>(detach(x), axis, keep, name);
  using Indices = std::remove_cvref_t<decltype(indices)>;
  return record(linear(TakeExtremum<Indices>{axis, indices}, value(x)),
                ExtremumPullBack<Indices>{axis, indices, x.shape()}, x);
}

/// Flattens a tensor of any kind, for the reductions over everything.
struct FlattenPullBack {
  Shape shape;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::make_tuple(linear(ReshapeTo{shape}, gradient));
  }
  struct ReshapeTo {
    Shape shape;
    template <PlainTensor V>
    V operator()(const V& x) const {
      return x.reshaped(shape);
    }
  };
};

template <TensorLike X>
auto flattened(const X& x) {
  return record(linear(FlattenPullBack::ReshapeTo{Shape{x.size()}}, value(x)), FlattenPullBack{x.shape()}, x);
}

/// Finite reference point for the exponentials: an infinite maximum is replaced by zero.
struct FiniteReference {
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return select(is_finite(x), x, S(0));
  }
};
struct ExpDifference {
  KOLMO_HD auto operator()(auto x, auto y) const { return exp(x - y); }
};
struct AddLog {
  KOLMO_HD auto operator()(auto sum, auto reference) const { return log(sum) + reference; }
};
struct LogSumExpGradient {
  KOLMO_HD auto operator()(auto gradient, auto x, auto y) const { return gradient * exp(x - y); }
};
struct SoftmaxGradient {
  KOLMO_HD auto operator()(auto gradient, auto y, auto dot) const { return y * (gradient - dot); }
};

template <Value V>
struct LogSumExpPullBack {
  V x, y;  // y keeps the folded axis
  Shape result;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    const auto kept = linear(FlattenPullBack::ReshapeTo{y.shape()}, gradient);
    return std::make_tuple(apply(LogSumExpGradient{}, kept, x, y));
  }
};

template <Value V>
struct SoftmaxPullBack {
  V y;
  AxisSet axes;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    const auto dot = linear(SumOver{axes, true}, apply(fn::Multiply{}, gradient, y));
    return std::make_tuple(apply(SoftmaxGradient{}, gradient, y, dot));
  }
};

/// The larger of two; a NaN may lose here, the exponentials bring it back.
struct LargerCombine {
  template <class T>
  KOLMO_HD T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

template <PlainTensor V>
V exponential_reference(const V& x, int axis, const char* name) {
  using T = typename V::Scalar;
  if (x.shape()[axis] == 0)
    throw ShapeError(std::string(name) + ": axis of extent zero in shape " + x.shape().to_string());
  const AxisSet axes({axis}, x.rank(), name);
  V largest = V::uninitialized(reduced_shape(x.shape(), axes, true));
  fold(x, axes, PlainElement{}, LargerCombine{}, ComputeOf<T>(std::numeric_limits<T>::lowest()),
       StoreRow<T>{largest.mutable_data()});
  return apply(FiniteReference{}, largest);
}

}  // namespace detail

template <TensorLike X>
auto sum(const X& x) {
  return detail::sum_over(x, AxisSet::all(x.rank()), false);
}
/// Throws ShapeError for an axis that does not exist.
template <TensorLike X>
auto sum(const X& x, Axes axes, bool keep = false) {
  return detail::sum_over(x, AxisSet(axes, x.rank(), "sum"), keep);
}

/// Throws ShapeError when there is nothing to average.
template <TensorLike X>
auto mean(const X& x) {
  return detail::mean_over(x, AxisSet::all(x.rank()), false);
}
template <TensorLike X>
auto mean(const X& x, Axes axes, bool keep = false) {
  return detail::mean_over(x, AxisSet(axes, x.rank(), "mean"), keep);
}

/// Index of the largest element along an axis; the first one on ties, a NaN before any number.
template <TensorLike X>
auto argmax(const X& x, int axis, bool keep = false) {
  return detail::arg_extremum<true>(detach(x), axis, keep, "argmax");
}
template <TensorLike X>
auto argmin(const X& x, int axis, bool keep = false) {
  return detail::arg_extremum<false>(detach(x), axis, keep, "argmin");
}

/// Largest element along an axis, or of all; the derivative goes to the first one on ties.
template <TensorLike X>
auto max(const X& x, int axis, bool keep = false) {
  return detail::extremum<true>(x, axis, keep, "max");
}
template <TensorLike X>
auto max(const X& x) {
  return max(detail::flattened(x), 0);
}
template <TensorLike X>
auto min(const X& x, int axis, bool keep = false) {
  return detail::extremum<false>(x, axis, keep, "min");
}
template <TensorLike X>
auto min(const X& x) {
  return min(detail::flattened(x), 0);
}

/// log(sum(exp(x))) along an axis, without overflow; -inf when every element is -inf.
template <TensorLike X>
auto logsumexp(const X& x, int axis, bool keep = false) {
  axis = normalize_axis(axis, x.rank(), "logsumexp");
  const AxisSet axes({axis}, x.rank(), "logsumexp");
  const auto v = value(x);
  using V = std::remove_cvref_t<decltype(v)>;
  const auto reference = detail::exponential_reference(primal(v), axis, "logsumexp");
  const V y = apply(detail::AddLog{}, linear(detail::SumOver{axes, true}, apply(detail::ExpDifference{}, v, reference)),
                    reference);
  const Shape shape = reduced_shape(x.shape(), axes, keep);
  return record(V(linear(detail::FlattenPullBack::ReshapeTo{shape}, y)), detail::LogSumExpPullBack<V>{v, y, shape}, x);
}

/// exp(x) / sum(exp(x)) along an axis.
template <TensorLike X>
auto softmax(const X& x, int axis) {
  axis = normalize_axis(axis, x.rank(), "softmax");
  const AxisSet axes({axis}, x.rank(), "softmax");
  const auto v = value(x);
  using V = std::remove_cvref_t<decltype(v)>;
  const auto e = apply(detail::ExpDifference{}, v, detail::exponential_reference(primal(v), axis, "softmax"));
  const V y = apply(fn::Divide{}, e, linear(detail::SumOver{axes, true}, e));
  return record(y, detail::SoftmaxPullBack<V>{y, axes}, x);
}

template <TensorLike X>
auto log_softmax(const X& x, int axis) {
  return x - logsumexp(x, axis, true);
}

/// Euclidean norm over axes, or of all elements. Its derivative at zero is undefined (NaN).
template <TensorLike X>
auto norm(const X& x, Axes axes, bool keep = false) {
  return sqrt(sum(square(x), axes, keep));
}
template <TensorLike X>
auto norm(const X& x) {
  return sqrt(sum(square(x)));
}
/// Sum of absolute values.
template <TensorLike X>
auto norm_l1(const X& x, Axes axes, bool keep = false) {
  return sum(abs(x), axes, keep);
}
/// Largest absolute value along an axis.
template <TensorLike X>
auto norm_max(const X& x, int axis, bool keep = false) {
  return max(abs(x), axis, keep);
}

/// Sum of products of two tensors of the same shape.
template <TensorLike X, TensorLike Y>
auto dot(const X& x, const Y& y) {
  if (!(x.shape() == y.shape()))
    throw ShapeError("dot: shapes " + x.shape().to_string() + " and " + y.shape().to_string() + " differ");
  return sum(x * y);
}

}  // namespace kolmo
