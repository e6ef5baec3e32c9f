#pragma once
// What the shape operations share: copying between two strided layouts, and the rule that records an
// operation that is linear in one input with its adjoint.

#include <kolmo/ad/record.hpp>
#include <kolmo/core/reduce.hpp>

namespace kolmo::detail {

/// Copies between two layouts of the same shape. An item is a run of `length` elements along the last axis.
template <class T>
struct StridedCopyKernel {
  const T* source;
  T* target;
  Shape shape;
  Array<Strides, 2> strides;  // of source and target
  index_t length, runs;       // elements of a run, runs of a row

  KOLMO_HD void operator()(index_t item) const {
    const int last = shape.rank() - 1;
    const index_t begin = item % runs * length;
    const index_t count = smaller(length, shape[last] - begin);
    index_t rest = item / runs;
    index_t from = begin * strides[0][last], to = begin * strides[1][last];
    for (int d = last - 1; d >= 0; --d) {
      const index_t position = rest % shape[d];
      rest /= shape[d];
      from += position * strides[0][d];
      to += position * strides[1][d];
    }
    const index_t step_from = strides[0][last], step_to = strides[1][last];
    if (step_from == 1 && step_to == 1)
      for (index_t c = 0; c < count; ++c) target[to + c] = source[from + c];
    else
      for (index_t c = 0; c < count; ++c) target[to + c * step_to] = source[from + c * step_from];
  }
};

/// Writes a tensor of any layout to `target` with the given strides. The targets must be distinct.
template <PlainTensor V>
void copy_strided(const V& source, typename V::Scalar* target, const Strides& target_strides) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  if (source.size() == 0) return;
  StridedCopyKernel<T> kernel{source.data(), target, source.shape(), {{source.strides(), target_strides}}, 1, 1};
  merge_axes(kernel.shape, kernel.strides);
  const index_t inner = kernel.shape[-1], rows = kernel.shape.size() / inner;
  // The host walks long runs; a device gives every element a thread.
  if constexpr (requires { B::for_each_item(rows, kernel); }) {
    kernel.length = smaller<index_t>(inner, 4096);
    kernel.runs = divide_up(inner, kernel.length);
    if (kernel.length >= 512)
      B::for_each_item(rows * kernel.runs, kernel);
    else
      B::for_each(rows * kernel.runs, kernel);
  } else {
    kernel.runs = inner;
    B::for_each(rows * kernel.runs, kernel);
  }
}

template <class Adjoint>
struct AdjointPullBack {
  Adjoint adjoint;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::make_tuple(linear(adjoint, gradient));
  }
};

/// An operation on plain tensors that is linear, recorded with its adjoint.
template <class Operation, class Adjoint, TensorLike X>
auto linear_recorded(const Operation& operation, const Adjoint& adjoint, const X& x) {
  return record(linear(operation, value(x)), AdjointPullBack<Adjoint>{adjoint}, x);
}

}  // namespace kolmo::detail
