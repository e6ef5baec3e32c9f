#pragma once
// Rows by group: the positions of equal labels next to each other, and the sums of the rows of every group about a
// centre of its own. Groups keep the order of the rows and sums are formed in double, one row after the other, so
// that their bits depend neither on threads nor on where a group begins.

#include <vector>

#include <kolmo/ad/items.hpp>
#include <kolmo/ops/indexing.hpp>

namespace kolmo {

/// The positions of the labels 0, ..., groups - 1: those of label k are order[starts[k]], ..., order[starts[k + 1] -
/// 1], ascending. Positions with the label -1 stand in front of starts[0].
template <class B>
struct RowGroups {
  Tensor<index_t, B> order;   ///< [n]
  Tensor<index_t, B> starts;  ///< [groups + 1]
};

namespace detail {

/// One item is a run of the coordinates of one group.
template <class T>
struct GroupSumsKernel {
  const T* x;
  const T* about;
  const index_t* order;
  const index_t* starts;
  double* sums;
  double* squares;
  index_t d;
  KOLMO_HD void operator()(index_t group) const {
    double* to = sums + group * d;
    const T* centre = about + group * d;
    double square = 0.0;
    for (index_t j = 0; j < d; ++j) to[j] = 0.0;
    for (index_t k = starts[group]; k < starts[group + 1]; ++k) {
      const T* row = x + order[k] * d;
      constexpr int lanes = 8;
      double part[lanes] = {};
      index_t j = 0;
      for (; j + lanes <= d; j += lanes) {
        KOLMO_INDEPENDENT
        for (int l = 0; l < lanes; ++l) {
          const double shift = static_cast<double>(row[j + l]) - static_cast<double>(centre[j + l]);
          to[j + l] += shift;
          part[l] += shift * shift;
        }
      }
      for (; j < d; ++j) {
        const double shift = static_cast<double>(row[j]) - static_cast<double>(centre[j]);
        to[j] += shift;
        part[j % lanes] += shift * shift;
      }
      for (int width = lanes / 2; width > 0; width /= 2)
        for (int l = 0; l < width; ++l) part[l] += part[l + width];
      square += part[0];
    }
    squares[group] = square;
  }
};

}  // namespace detail

/// Groups the positions of labels [n]. Throws ShapeError unless the rank is 1, ArgumentError for a label that is
/// neither -1 nor in [0, groups).
template <IndexTensor I>
RowGroups<typename I::Backend> group_rows(const I& labels, index_t groups) {
  using B = typename I::Backend;
  if (labels.rank() != 1)
    throw ShapeError("group_rows: expected labels of rank 1, given shape " + labels.shape().to_string());
  const I source = labels.contiguous();
  const index_t n = labels.size();
  RowGroups<B> result{Tensor<index_t, B>::uninitialized(Shape{n}),
                      Tensor<index_t, B>::uninitialized(Shape{groups + 1})};
  const std::vector<typename I::Scalar> values = source.to_vector();
  std::vector<index_t> starts(static_cast<std::size_t>(groups) + 2, 0), order(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto label = static_cast<index_t>(values[i]);
    if (label < -1 || label >= groups)
      throw ArgumentError("group_rows: label " + std::to_string(label) + " at position " + std::to_string(i) +
                          " is neither -1 nor in [0, " + std::to_string(groups) + ")");
    ++starts[static_cast<std::size_t>(label + 1)];
  }
  // Counts become the places at which the next label of a kind goes, then the ends of the groups.
  index_t place = 0;
  for (index_t& entry : starts) {
    const index_t count = entry;
    entry = place;
    place += count;
  }
  for (std::size_t i = 0; i < values.size(); ++i)
    order[static_cast<std::size_t>(starts[static_cast<std::size_t>(values[i] + 1)]++)] = static_cast<index_t>(i);
  starts.pop_back();
  B::upload(result.order.mutable_data(), order.data(), order.size() * sizeof(index_t));
  B::upload(result.starts.mutable_data(), starts.data(), starts.size() * sizeof(index_t));
  return result;
}

/// What the rows of every group add up to about its centre.
template <class B>
struct GroupSums {
  Tensor<double, B> sums;     ///< [groups, d]: sum of x_i - centre
  Tensor<double, B> squares;  ///< [groups]: sum of |x_i - centre|^2
};

/// Sums of the rows of x [n, d] by group about the centres [groups, d].
template <PlainTensor V>
GroupSums<typename V::Backend> group_sums(const V& x, const RowGroups<typename V::Backend>& groups, const V& centres) {
  using B = typename V::Backend;
  const index_t count = groups.starts.size() - 1, d = x.extent(1);
  if (centres.rank() != 2 || centres.extent(0) != count || centres.extent(1) != d)
    throw ShapeError("group_sums: expected centres of shape " + Shape{count, d}.to_string() + ", given " +
                     centres.shape().to_string());
  GroupSums<B> result{Tensor<double, B>::uninitialized(Shape{count, d}),
                      Tensor<double, B>::uninitialized(Shape{count})};
  const V rows = x.contiguous(), about = centres.contiguous();
  const detail::GroupSumsKernel<typename V::Scalar> kernel{rows.data(),
                                                           about.data(),
                                                           groups.order.data(),
                                                           groups.starts.data(),
                                                           result.sums.mutable_data(),
                                                           result.squares.mutable_data(),
                                                           d};
  detail::for_each_item<B>(count, kernel);
  return result;
}

}  // namespace kolmo
