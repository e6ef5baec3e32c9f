#pragma once
// Samples in memory as a source of batches. A source is any object with
//
//   index_t size() const;                               how many samples
//   auto batch(std::span<const index_t> indices) const;  a batch of them, of any type
//
// both callable from several threads at once. One whose samples change over time also has at_epoch(epoch), which
// returns the source of an epoch, counted from 1; its size must stay the same.

#include <cstring>
#include <span>
#include <tuple>

#include <kolmo/backend/team.hpp>
#include <kolmo/core/tensor.hpp>

namespace kolmo {

namespace detail {

template <class T>
struct GatherRowsKernel {
  const T* source;
  const index_t* indices;
  T* target;
  index_t width;
  KOLMO_HD void operator()(index_t r) const {
    const T* from = source + indices[r] * width;
    T* to = target + r * width;
    for (index_t c = 0; c < width; ++c) to[c] = from[c];
  }
};

/// The same by teams, each some columns of a row: neighbours copy neighbouring numbers.
template <class T>
struct GatherRowsTeam {
  static constexpr int team_threads = 256;
  static constexpr index_t most_columns = 2048;
  GatherRowsKernel<T> rows;
  index_t parts;  // of a row

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t item) const {
    const index_t r = item / parts, begin = (item - r * parts) * most_columns;
    const T* const from = rows.source + rows.indices[r] * rows.width;
    T* const to = rows.target + r * rows.width;
    const index_t end = smaller(rows.width, begin + most_columns);
    for (index_t c = begin + team.rank(); c < end; c += team.size()) to[c] = from[c];
  }
};

}  // namespace detail

namespace optim {

/// Tensors whose first axis counts the samples. A batch is a tensor when there is one of them, else a std::tuple.
template <PlainTensor... V>
class Samples {
  static_assert(sizeof...(V) >= 1);
  using First = std::tuple_element_t<0, std::tuple<V...>>;
  using B = typename First::Backend;

 public:
  /// Throws ShapeError unless all have the same number of samples.
  explicit Samples(V... tensors) : tensors_(tensors.contiguous()...) {
    const Array<index_t, sizeof...(V)> counts{{(tensors.rank() > 0 ? tensors.shape()[0] : -1)...}};
    for (const index_t count : counts)
      if (count < 0 || count != counts[0])
        throw ShapeError("Samples: expected tensors with the same first extent, given " +
                         ((tensors.shape().to_string() + " ") + ...));
    size_ = counts[0];
  }

  index_t size() const { return size_; }

  /// Throws ArgumentError for an index outside [0, size()).
  auto batch(std::span<const index_t> indices) const {
    for (const index_t i : indices)
      if (i < 0 || i >= size_)
        throw ArgumentError("Samples: index " + std::to_string(i) + " of " + std::to_string(size_) + " samples");
    const auto positions = Tensor<index_t, B>::from(indices, Shape{static_cast<index_t>(indices.size())});
    if constexpr (sizeof...(V) == 1)
      return rows(std::get<0>(tensors_), positions);
    else
      return std::apply([&](const auto&... x) { return std::make_tuple(rows(x, positions)...); }, tensors_);
  }

 private:
  template <class X>
  static X rows(const X& x, const Tensor<index_t, B>& positions) {
    using T = typename X::Scalar;
    Shape shape = x.shape();
    const index_t width = shape.without(0).size();
    shape[0] = positions.size();
    X result = X::uninitialized(shape);
    const kolmo::detail::GatherRowsKernel<T> gather{x.data(), positions.data(), result.mutable_data(), width};
    if constexpr (kolmo::detail::HasTeams<B>) {
      if (width > 16) {
        const index_t parts = divide_up(width, kolmo::detail::GatherRowsTeam<T>::most_columns);
        for_each_team<B>(shape[0] * parts, kolmo::detail::GatherRowsTeam<T>{gather, parts});
        return result;
      }
    }
    B::for_each(shape[0], gather);
    return result;
  }

  std::tuple<V...> tensors_;
  index_t size_ = 0;
};

}  // namespace optim
}  // namespace kolmo
