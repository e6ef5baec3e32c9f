#pragma once
// Stable sorting of the rows of a plain tensor by merging: short runs by insertion, then runs of double
// length. The host merges two runs after each other; a device finds every element's place by bisection.
// Both give the one permutation that a stable sort has.

#include <utility>

#include <kolmo/core/tensor.hpp>

namespace kolmo::detail {

/// Whether a stands before b: by value, NaN after all numbers.
template <class T, bool descending>
struct StandsBefore {
  KOLMO_HD bool operator()(T a, T b) const {
    if constexpr (descending) {
      const T swapped = a;
      a = b;
      b = swapped;
    }
    const bool a_is_nan = !(a == a), b_is_nan = !(b == b);
    return a < b || (b_is_nan && !a_is_nan);
  }
};

inline constexpr index_t sorted_run = 32;

/// Sorts the positions of one run of sorted_run elements by insertion.
template <class T, class Before>
struct SortRunKernel {
  const T* x;
  index_t* order;
  index_t n, runs;
  KOLMO_HD void operator()(index_t item) const {
    const Before before{};
    const T* row = x + item / runs * n;
    index_t* positions = order + item / runs * n;
    const index_t begin = item % runs * sorted_run, end = smaller(n, begin + sorted_run);
    for (index_t i = begin; i < end; ++i) {
      const T value = row[i];
      index_t j = i;
      for (; j > begin && before(value, row[positions[j - 1]]); --j) positions[j] = positions[j - 1];
      positions[j] = i;
    }
  }
};

/// Merges two neighbouring sorted runs; an item is a pair of runs.
template <class T, class Before>
struct MergePairKernel {
  const T* x;
  const index_t* from;
  index_t* to;
  index_t n, width, pairs;
  KOLMO_HD void operator()(index_t item) const {
    const Before before{};
    const index_t base = item / pairs * n;
    const T* row = x + base;
    const index_t begin = item % pairs * 2 * width;
    const index_t middle = smaller(n, begin + width), end = smaller(n, begin + 2 * width);
    index_t a = begin, b = middle;
    for (index_t k = begin; k < end; ++k) {
      const bool take_a = b == end || (a < middle && !before(row[from[base + b]], row[from[base + a]]));
      to[base + k] = from[base + (take_a ? a++ : b++)];
    }
  }
};

/// Puts one element to its place in the merged pair of runs.
template <class T, class Before>
struct MergeElementKernel {
  const T* x;
  const index_t* from;
  index_t* to;
  index_t n, width;
  KOLMO_HD void operator()(index_t item) const {
    const Before before{};
    const index_t base = item / n * n, k = item % n;
    const T* row = x + base;
    const index_t* positions = from + base;
    const T value = row[positions[k]];
    const index_t begin = k / (2 * width) * 2 * width;
    const index_t middle = smaller(n, begin + width), end = smaller(n, begin + 2 * width);
    const bool left = k < middle;
    // Elements of the other run that stand before this one; equal ones do so only in the left run.
    index_t low = left ? middle : begin, high = left ? end : middle;
    const index_t other = low;
    while (low < high) {
      const index_t probe = (low + high) / 2;
      const T candidate = row[positions[probe]];
      if (left ? before(candidate, value) : !before(value, candidate))
        low = probe + 1;
      else
        high = probe;
    }
    to[base + begin + (k - (left ? begin : middle)) + (low - other)] = positions[k];
  }
};

/// Positions that sort every row of x [rows, n].
template <class Before, PlainTensor V>
Tensor<index_t, typename V::Backend> sort_rows_by(const V& x) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  const V source = x.contiguous();
  const index_t rows = x.shape()[0], n = x.shape()[1];
  auto order = Tensor<index_t, B>::uninitialized(x.shape());
  if (x.size() == 0) return order;
  const index_t runs = divide_up(n, sorted_run);
  B::for_each(rows * runs, SortRunKernel<T, Before>{source.data(), order.mutable_data(), n, runs});
  if (n <= sorted_run) return order;
  auto other = Tensor<index_t, B>::uninitialized(x.shape());
  for (index_t width = sorted_run; width < n; width *= 2) {
    if constexpr (requires { B::for_each_item(n, MergePairKernel<T, Before>{}); }) {
      const index_t pairs = divide_up(n, 2 * width);
      const MergePairKernel<T, Before> kernel{source.data(), order.data(), other.mutable_data(), n, width, pairs};
      if (width >= 256)
        B::for_each_item(rows * pairs, kernel);
      else
        B::for_each(rows * pairs, kernel);
    } else {
      B::for_each(rows * n, MergeElementKernel<T, Before>{source.data(), order.data(), other.mutable_data(), n, width});
    }
    std::swap(order, other);
  }
  return order;
}

template <PlainTensor V>
auto sort_rows(const V& x, bool descending) {
  using T = typename V::Scalar;
  return descending ? sort_rows_by<StandsBefore<T, true>>(x) : sort_rows_by<StandsBefore<T, false>>(x);
}

/// Positions that sort x along an axis: brings the axis to the end and back.
template <PlainTensor V>
auto sort_axis(const V& x, int axis, bool descending) {
  Shape shape = x.shape();
  Strides strides = x.strides();
  const int last = x.rank() - 1;
  std::swap(shape[axis], shape[last]);
  std::swap(strides[axis], strides[last]);
  const index_t n = shape[last];
  const auto rows = x.view(shape, strides, 0).reshaped(Shape{n == 0 ? 0 : x.size() / n, n});
  const auto order = sort_rows(rows, descending).reshaped(shape);
  Strides back = order.strides();
  std::swap(back[axis], back[last]);
  return order.view(x.shape(), back, 0).contiguous();
}

}  // namespace kolmo::detail
