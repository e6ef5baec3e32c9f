#pragma once
// Beam search of residual codes: after every stage the `width` best partial codes of a vector are kept, by the squared
// error they leave. A width of one is the greedy encoder.

#include <kolmo/rvq/tables.hpp>

namespace kolmo::rvq {

/// Partial codes of n vectors, best first, and what they leave.
template <PlainTensor V>
struct BeamPaths {
  CodesOf<V> codes;  ///< [n, width, stages so far]
  V residual;        ///< [n, width, d]
};

namespace detail {

/// Chooses among the children of all paths of a vector: an item is a vector. Errors are |r|^2 - 2 s in double; of equal
/// ones the path that was better before comes first, then the codeword that is nearer.
template <class T>
struct ChooseChildrenKernel {
  const T* residual;
  const Code* index;
  const T* score;
  index_t paths, count, d, width;
  index_t* parent;  // [n, width]
  Code* code;
  KOLMO_HD void operator()(index_t item) const {
    const index_t first = item * paths;
    for (index_t place = 0; place < width; ++place) {
      double least = 0;
      index_t chosen = -1, rank = 0;
      for (index_t p = 0; p < paths; ++p) {
        // Children of a path are taken in their order.
        index_t next = 0;
        for (index_t i = 0; i < place; ++i) next += parent[item * width + i] == p ? 1 : 0;
        if (next == count) continue;
        const T* r = residual + (first + p) * d;
        double norm = 0;
        for (index_t j = 0; j < d; ++j) norm = multiply_add(static_cast<double>(r[j]), static_cast<double>(r[j]), norm);
        const double error = norm - 2 * static_cast<double>(score[(first + p) * count + next]);
        if (chosen >= 0 && !(error < least)) continue;
        least = error;
        chosen = p;
        rank = next;
      }
      parent[item * width + place] = chosen;
      code[item * width + place] = index[(first + chosen) * count + rank];
    }
  }
};

/// An item is a path.
template <class T>
struct FollowChildKernel {
  const Code* codes;
  const T* residual;
  const T* table;
  const index_t* parent;
  const Code* code;
  index_t paths, stages, d, width;
  Code* next_codes;
  T* next_residual;
  KOLMO_HD void operator()(index_t item) const {
    const index_t from = item / width * paths + parent[item];
    for (index_t q = 0; q < stages; ++q) next_codes[item * (stages + 1) + q] = codes[from * stages + q];
    next_codes[item * (stages + 1) + stages] = code[item];
    const T* codeword = table + static_cast<index_t>(code[item]) * d;
    for (index_t j = 0; j < d; ++j) next_residual[item * d + j] = residual[from * d + j] - codeword[j];
  }
};

}  // namespace detail

/// The start: one path without codes for every row of x [n, d].
template <PlainTensor V>
BeamPaths<V> beam_start(const V& x) {
  if (x.rank() != 2) throw ShapeError("beam_start: expected vectors [n, d], given " + x.shape().to_string());
  return {CodesOf<V>::uninitialized(Shape{x.shape()[0], 1, 0}), x.reshaped(Shape{x.shape()[0], 1, x.shape()[1]})};
}

/// The paths after one more stage with table [K, d]: at most `width` of every vector, fewer while there are not as
/// many. Throws as nearest_rows, and ArgumentError unless width >= 1.
template <PlainTensor V>
BeamPaths<V> beam_step(const BeamPaths<V>& before, const V& table, index_t width) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  if (width < 1)
    throw ArgumentError("beam_step: the width of the beam must be at least 1, given " + std::to_string(width));
  const index_t n = before.residual.shape()[0], paths = before.residual.shape()[1], d = before.residual.shape()[2];
  const index_t stages = before.codes.shape()[2];
  const V rows = table.contiguous(), residual = before.residual.contiguous();
  detail::check_nearest_shapes(Shape{n * paths, d}, rows.shape(), "beam_step");
  const index_t count = smaller(width, rows.shape()[0]), next = smaller(width, paths * count);
  const auto nearest = nearest_rows(residual.reshaped(Shape{n * paths, d}), rows, half_squared_norms(rows), count);
  auto parent = Tensor<index_t, B>::uninitialized(Shape{n, next});
  auto code = CodesOf<V>::uninitialized(Shape{n, next});
  B::for_each(n, detail::ChooseChildrenKernel<T>{residual.data(), nearest.index.data(), nearest.score.data(), paths,
                                                 count, d, next, parent.mutable_data(), code.mutable_data()});
  BeamPaths<V> after{CodesOf<V>::uninitialized(Shape{n, next, stages + 1}), V::uninitialized(Shape{n, next, d})};
  const auto codes = before.codes.contiguous();
  B::for_each(n * next, detail::FollowChildKernel<T>{codes.data(), residual.data(), rows.data(), parent.data(),
                                                     code.data(), paths, stages, d, next, after.codes.mutable_data(),
                                                     after.residual.mutable_data()});
  return after;
}

}  // namespace kolmo::rvq
