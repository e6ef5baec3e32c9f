#pragma once
// Reading and adding at computed positions: take, take_along_axis, scatter_add, one_hot. Positions are
// tensors of integers; one outside its axis is an ArgumentError on every backend, never a stray access.
// Sums into the same place run in the order of the positions, so their bits do not depend on threads.

#include <concepts>

#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/ordering.hpp>
#include <kolmo/ops/strided.hpp>

namespace kolmo {

/// A plain tensor of integers.
template <class X>
concept IndexTensor = PlainTensor<X> && std::integral<typename std::remove_cvref_t<X>::Scalar>;

namespace detail {

template <class I>
struct LoadOutside {
  const I* indices;
  index_t extent, count;
  KOLMO_HD index_t operator()(index_t, index_t c) const {
    const auto i = static_cast<index_t>(indices[c]);
    return i < 0 || i >= extent ? c : count;
  }
};
struct KeepSmallest {
  KOLMO_HD index_t operator()(index_t a, index_t b) const { return a < b ? a : b; }
};

/// Throws ArgumentError naming the first index that is not in [0, extent). Waits for the backend.
template <IndexTensor I>
void check_indices(const I& indices, index_t extent, const char* operation) {
  using B = typename I::Backend;
  if (indices.size() == 0) return;
  const I source = indices.contiguous();
  auto first = Tensor<index_t, B>::uninitialized(Shape{});
  B::reduce(1, source.size(), LoadOutside<typename I::Scalar>{source.data(), extent, source.size()}, KeepSmallest{},
            source.size(), StoreRow<index_t>{first.mutable_data()});
  const index_t position = first.item();
  if (position == source.size()) return;
  const auto given = source.reshaped(Shape{source.size()}).view(Shape{}, Strides{}, position).item();
  throw ArgumentError(std::string(operation) + ": index " + std::to_string(given) + " at position " +
                      std::to_string(position) + " of " + indices.shape().to_string() + " is not in [0, " +
                      std::to_string(extent) + ")");
}

/// x as [outer, n, inner] around one axis.
struct AxisSplit {
  index_t outer = 1, n = 1, inner = 1;
  AxisSplit(const Shape& shape, int axis) : n(shape[axis]) {
    for (int i = 0; i < axis; ++i) outer *= shape[i];
    for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  }
};

/// The shape of x with one axis replaced by the axes of the indices.
inline Shape replace_axis(const Shape& shape, int axis, const Shape& by) {
  Shape result;
  for (int i = 0; i < axis; ++i) result.push_back(shape[i]);
  for (index_t extent : by) result.push_back(extent);
  for (int i = axis + 1; i < shape.rank(); ++i) result.push_back(shape[i]);
  return result;
}

/// y[o, j, i] = x[o, index[j], i]; an item is `run` elements of the inner axis.
template <class T, class I>
struct TakeRowsKernel {
  const T* x;
  const I* index;
  T* y;
  index_t n, count, inner, run;
  KOLMO_HD void operator()(index_t item) const {
    const index_t runs = divide_up(inner, run), row = item / runs, begin = item % runs * run;
    const T* from = x + (row / count * n + static_cast<index_t>(index[row % count])) * inner;
    T* to = y + row * inner;
    const index_t end = smaller(inner, begin + run);
    for (index_t i = begin; i < end; ++i) to[i] = from[i];
  }
};

/// y[o, t, i] = sum over the positions j of group t, in their order, of x[o, j, i].
template <class T>
struct AddRowsKernel {
  const T* x;
  const index_t* order;
  const index_t* starts;
  T* y;
  index_t n, count, inner, run;
  KOLMO_HD void operator()(index_t item) const {
    const index_t runs = divide_up(inner, run), row = item / runs, begin = item % runs * run;
    const index_t outer = row / n, target = row % n;
    const index_t end = smaller(inner, begin + run);
    T* to = y + row * inner;
    for (index_t i = begin; i < end; ++i) to[i] = T(0);
    for (index_t k = starts[target]; k < starts[target + 1]; ++k) {
      const T* from = x + (outer * count + order[k]) * inner;
      for (index_t i = begin; i < end; ++i) to[i] = to[i] + from[i];
    }
  }
};

/// starts[t] is the first place in `order` whose index is at least t.
template <class I>
struct GroupStartsKernel {
  const I* index;
  const index_t* order;
  index_t count;
  index_t* starts;
  KOLMO_HD void operator()(index_t target) const {
    index_t low = 0, high = count;
    while (low < high) {
      const index_t middle = (low + high) / 2;
      if (static_cast<index_t>(index[order[middle]]) < target)
        low = middle + 1;
      else
        high = middle;
    }
    starts[target] = low;
  }
};

/// Elements per item: a row on the host, one on a device.
template <class B, class Kernel>
index_t inner_run(index_t inner) {
  if constexpr (requires(const Kernel& kernel) { B::for_each_item(inner, kernel); })
    return larger<index_t>(1, smaller<index_t>(inner, 1024));
  else
    return 1;
}

template <IndexTensor I>
struct TakeRows {
  I indices;  // contiguous and checked
  int axis;
  template <PlainTensor V>
  V operator()(const V& x) const {
    using Kernel = TakeRowsKernel<typename V::Scalar, typename I::Scalar>;
    using B = typename V::Backend;
    const V source = x.contiguous();
    const AxisSplit split(x.shape(), axis);
    V result = V::uninitialized(replace_axis(x.shape(), axis, indices.shape()));
    if (result.size() == 0) return result;
    const Kernel kernel{source.data(),
                        indices.data(),
                        result.mutable_data(),
                        split.n,
                        indices.size(),
                        split.inner,
                        inner_run<B, Kernel>(split.inner)};
    B::for_each(split.outer * indices.size() * divide_up(split.inner, kernel.run), kernel);
    return result;
  }
};

template <IndexTensor I>
struct AddRows {
  I indices;
  int axis;
  Shape shape;
  template <PlainTensor V>
  V operator()(const V& x) const {
    using Kernel = AddRowsKernel<typename V::Scalar>;
    using B = typename V::Backend;
    const V source = x.contiguous();
    const AxisSplit split(shape, axis);
    V result = V::uninitialized(shape);
    if (result.size() == 0) return result;
    const auto order = sort_rows(indices.reshaped(Shape{1, indices.size()}), false);
    auto starts = Tensor<index_t, B>::uninitialized(Shape{split.n + 1});
    B::for_each(split.n + 1, GroupStartsKernel<typename I::Scalar>{indices.data(), order.data(), indices.size(),
                                                                   starts.mutable_data()});
    const Kernel kernel{source.data(), order.data(),   starts.data(), result.mutable_data(),
                        split.n,       indices.size(), split.inner,   inner_run<B, Kernel>(split.inner)};
    B::for_each(split.outer * split.n * divide_up(split.inner, kernel.run), kernel);
    return result;
  }
};

/// y[o, j, i] = x[o, index[o, j, i], i].
template <class T, class I>
struct TakeAlongKernel {
  const T* x;
  const I* index;
  T* y;
  index_t n, count, inner;
  KOLMO_HD void operator()(index_t item) const {
    const index_t i = item % inner, outer = item / inner / count;
    y[item] = x[(outer * n + static_cast<index_t>(index[item])) * inner + i];
  }
};

/// y[o, index[o, j, i], i] += x[o, j, i]; an item is one fibre, so that repeated positions do not race.
template <class T, class I>
struct AddAlongKernel {
  const T* x;
  const I* index;
  T* y;
  index_t n, count, inner;
  KOLMO_HD void operator()(index_t fibre) const {
    const index_t i = fibre % inner, outer = fibre / inner;
    for (index_t j = 0; j < count; ++j) {
      const index_t from = (outer * count + j) * inner + i;
      T& to = y[(outer * n + static_cast<index_t>(index[from])) * inner + i];
      to = to + x[from];
    }
  }
};

template <IndexTensor I>
struct TakeAlong {
  I indices;
  int axis;
  template <PlainTensor V>
  V operator()(const V& x) const {
    const V source = x.contiguous();
    const AxisSplit split(x.shape(), axis);
    V result = V::uninitialized(indices.shape());
    V::Backend::for_each(result.size(), TakeAlongKernel<typename V::Scalar, typename I::Scalar>{
                                            source.data(), indices.data(), result.mutable_data(), split.n,
                                            indices.shape()[axis], split.inner});
    return result;
  }
};

template <IndexTensor I>
struct AddAlong {
  I indices;
  int axis;
  Shape shape;
  template <PlainTensor V>
  V operator()(const V& x) const {
    const V source = x.contiguous();
    const AxisSplit split(shape, axis);
    V result = V::zeros(shape);
    V::Backend::for_each(split.outer * split.inner, AddAlongKernel<typename V::Scalar, typename I::Scalar>{
                                                        source.data(), indices.data(), result.mutable_data(), split.n,
                                                        indices.shape()[axis], split.inner});
    return result;
  }
};

template <class T, class I>
struct OneHotKernel {
  const I* index;
  T* y;
  index_t classes;
  KOLMO_HD void operator()(index_t i) const {
    y[i] = T(static_cast<index_t>(index[i / classes]) == i % classes ? 1 : 0);
  }
};

}  // namespace detail

/// The slices of x at the given positions of an axis, which is replaced by the axes of the indices: a
/// codebook [n, d] and codes [b, t] give [b, t, d]. Throws ArgumentError for an index outside the axis.
template <TensorLike X, IndexTensor I>
auto take(const X& x, const I& indices, int axis = 0) {
  axis = normalize_axis(axis, x.rank(), "take");
  detail::check_indices(indices, x.shape()[axis], "take");
  const I positions = indices.contiguous();
  return detail::linear_recorded(detail::TakeRows<I>{positions, axis}, detail::AddRows<I>{positions, axis, x.shape()},
                                 x);
}

/// Zeros with `extent` positions along `axis`, to which the slices of x are added: the adjoint of take.
/// The axes of the indices, which stand at `axis` in x, are replaced by one. Throws ShapeError when they
/// are not there, ArgumentError for an index outside the extent.
template <TensorLike X, IndexTensor I>
auto add_at(const X& x, const I& indices, index_t extent, int axis = 0) {
  const int rank = x.rank() - indices.rank() + 1;
  axis = normalize_axis(axis, rank, "add_at");
  Shape shape;
  for (int i = 0; i < axis; ++i) shape.push_back(x.shape()[i]);
  shape.push_back(extent);
  for (int i = axis + indices.rank(); i < x.rank(); ++i) shape.push_back(x.shape()[i]);
  if (!(detail::replace_axis(shape, axis, indices.shape()) == x.shape()))
    throw ShapeError("add_at: indices of shape " + indices.shape().to_string() + " do not stand at axis " +
                     std::to_string(axis) + " of " + x.shape().to_string());
  detail::check_indices(indices, extent, "add_at");
  const I positions = indices.contiguous();
  return detail::linear_recorded(detail::AddRows<I>{positions, axis, shape}, detail::TakeRows<I>{positions, axis}, x);
}

/// x with the updates added at the given positions of an axis; positions may repeat. The updates have the
/// shape of take(x, indices, axis).
template <TensorLike X, IndexTensor I, TensorLike U>
auto scatter_add(const X& x, const I& indices, const U& updates, int axis = 0) {
  axis = normalize_axis(axis, x.rank(), "scatter_add");
  const Shape expected = detail::replace_axis(x.shape(), axis, indices.shape());
  if (!(updates.shape() == expected))
    throw ShapeError("scatter_add: expected updates of shape " + expected.to_string() + ", given " +
                     updates.shape().to_string());
  return x + add_at(updates, indices, x.shape()[axis], axis);
}

/// y[.., j, ..] = x[.., indices[.., j, ..], ..] along an axis. The shapes agree outside it. Throws
/// ShapeError otherwise, ArgumentError for an index outside the axis.
template <TensorLike X, IndexTensor I>
auto take_along_axis(const X& x, const I& indices, int axis) {
  axis = normalize_axis(axis, x.rank(), "take_along_axis");
  Shape expected = x.shape();
  if (indices.rank() == x.rank()) expected[axis] = indices.shape()[axis];
  if (!(indices.shape() == expected))
    throw ShapeError("take_along_axis: indices of shape " + indices.shape().to_string() + " must agree with " +
                     x.shape().to_string() + " outside axis " + std::to_string(axis));
  detail::check_indices(indices, x.shape()[axis], "take_along_axis");
  const I positions = indices.contiguous();
  return detail::linear_recorded(detail::TakeAlong<I>{positions, axis}, detail::AddAlong<I>{positions, axis, x.shape()},
                                 x);
}

/// [..., classes] with a one at each index: one_hot<float>(labels, 10). Throws ArgumentError for an index
/// outside [0, classes).
template <class T, IndexTensor I>
auto one_hot(const I& indices, index_t classes) {
  using V = Tensor<T, typename I::Backend>;
  detail::check_indices(indices, classes, "one_hot");
  const I source = indices.contiguous();
  V result = V::uninitialized(indices.shape().with(indices.rank(), classes));
  V::Backend::for_each(result.size(),
                       detail::OneHotKernel<T, typename I::Scalar>{source.data(), result.mutable_data(), classes});
  return result;
}

/// Positions that order an axis: ascending, or descending. Equal elements keep their order; NaN counts as
/// larger than any number.
template <TensorLike X>
auto argsort(const X& x, int axis = -1, bool descending = false) {
  axis = normalize_axis(axis, x.rank(), "argsort");
  const auto plain = detach(x);
  return detail::sort_axis(plain, axis, descending);
}

/// The elements in order along an axis; see argsort.
template <TensorLike X>
auto sort(const X& x, int axis = -1, bool descending = false) {
  return take_along_axis(x, argsort(x, axis, descending), axis);
}

template <class V, class I>
struct TopK {
  V values;
  I indices;
};

/// The k largest elements along an axis and where they were, largest first; the lowest position on ties.
/// Throws ArgumentError unless 0 <= k <= extent.
template <TensorLike X>
auto top_k(const X& x, index_t k, int axis = -1) {
  axis = normalize_axis(axis, x.rank(), "top_k");
  if (k < 0 || k > x.shape()[axis])
    throw ArgumentError("top_k: expected k between 0 and " + std::to_string(x.shape()[axis]) + ", given " +
                        std::to_string(k));
  const auto order = argsort(x, axis, true);
  Shape shape = x.shape();
  shape[axis] = k;
  const auto indices = order.view(shape, order.strides(), 0).contiguous();
  auto values = take_along_axis(x, indices, axis);
  return TopK<decltype(values), std::remove_cvref_t<decltype(indices)>>{values, indices};
}

}  // namespace kolmo
