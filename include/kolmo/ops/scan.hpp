#pragma once
// Running sums along an axis, on every tensor kind.

#include <kolmo/ops/strided.hpp>

namespace kolmo {

/// Direction and kind of a running sum.
struct ScanOptions {
  bool reverse = false;    // from the end of the axis
  bool exclusive = false;  // without the element itself: the first one becomes zero
};

namespace detail {

/// Position c of fibre r along the middle axis of [outer, n, inner], possibly from the end.
struct FibreIndex {
  index_t n, inner;
  bool reverse;
  KOLMO_HD index_t operator()(index_t r, index_t c) const {
    return (r / inner * n + (reverse ? n - 1 - c : c)) * inner + r % inner;
  }
};

template <class T>
struct LoadFibre {
  const T* x;
  FibreIndex index;
  KOLMO_HD ComputeOf<T> operator()(index_t r, index_t c) const { return x[index(r, c)]; }
};

template <class T>
struct StoreFibre {
  T* y;
  FibreIndex index;
  bool exclusive;
  KOLMO_HD void operator()(index_t r, index_t c, ComputeOf<T> total) const {
    if (!exclusive) {
      y[index(r, c)] = static_cast<T>(total);
    } else {
      if (c + 1 < index.n) y[index(r, c + 1)] = static_cast<T>(total);
      if (c == 0) y[index(r, 0)] = T(0);
    }
  }
};

struct RunningSum {
  int axis;
  ScanOptions options;
  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = typename V::Scalar;
    const V source = x.contiguous();
    V result = V::uninitialized(x.shape());
    if (x.size() == 0) return result;
    index_t inner = 1;
    for (int i = axis + 1; i < x.rank(); ++i) inner *= x.shape()[i];
    const FibreIndex index{x.shape()[axis], inner, options.reverse};
    V::Backend::scan(x.size() / index.n, index.n, LoadFibre<T>{source.data(), index}, SumCombine{},
                     StoreFibre<T>{result.mutable_data(), index, options.exclusive});
    return result;
  }
};

}  // namespace detail

/// Sums of all elements up to each position of an axis. Throws ShapeError for an axis that does not exist.
template <TensorLike X>
auto cumsum(const X& x, int axis, ScanOptions options = {}) {
  axis = normalize_axis(axis, x.rank(), "cumsum");
  return detail::linear_recorded(detail::RunningSum{axis, options},
                                 detail::RunningSum{axis, {!options.reverse, options.exclusive}}, x);
}

}  // namespace kolmo
