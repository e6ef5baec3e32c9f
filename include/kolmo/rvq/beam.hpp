#pragma once
// Beam search of residual codes: after every stage the `width` best partial codes of a vector are kept, by the squared
// error they leave. A width of one is the greedy encoder.

#include <kolmo/rvq/beam_kernels.hpp>
#include <kolmo/rvq/tables.hpp>

namespace kolmo::rvq {

/// Partial codes of n vectors, best first, and what they leave.
template <PlainTensor V>
struct BeamPaths {
  CodesOf<V> codes;                           ///< [n, width, stages so far]
  V residual;                                 ///< [n, width, d]
  Tensor<double, typename V::Backend> norms;  ///< [n, width], |residual|^2
};

namespace detail {

template <class T>
struct SquaredNormKernel {
  const T* residual;
  index_t d;
  double* norm;
  KOLMO_HD void operator()(index_t row) const { norm[row] = squared_norm(residual + row * d, d); }
};

/// An item is a vector.
template <class T>
struct ChooseChildrenKernel {
  index_t paths, count, width;
  const double* norm;
  const Code* index;
  const T* score;
  Code* taken;
  Code* parent;
  Code* code;
  KOLMO_HD void operator()(index_t item) const {
    choose_children(paths, count, width, norm + item * paths, index + item * paths * count,
                    score + item * paths * count, taken + item * paths, parent + item * width, code + item * width);
  }
};

/// An item is a path.
template <class T>
struct FollowChildKernel {
  index_t paths, stages, d, width;
  const Code* codes;
  const T* residual;
  const T* table;
  const Code* parent;
  const Code* code;
  Code* next_codes;
  T* next_residual;
  double* next_norm;
  KOLMO_HD void operator()(index_t item) const {
    const index_t from = item / width * paths + parent[item];
    T* next = next_residual + item * d;
    follow_child(stages, d, codes + from * stages, residual + from * d, code[item],
                 table + static_cast<index_t>(code[item]) * d, next_codes + item * (stages + 1), next);
    next_norm[item] = squared_norm(next, d);
  }
};

inline void check_beam(index_t width, const char* operation) {
  if (width < 1)
    throw ArgumentError(std::string(operation) + ": the width of the beam must be at least 1, given " +
                        std::to_string(width));
}

}  // namespace detail

/// The start: one path without codes for every row of x [n, d].
template <PlainTensor V>
BeamPaths<V> beam_start(const V& x) {
  if (x.rank() != 2) throw ShapeError("beam_start: expected vectors [n, d], given " + x.shape().to_string());
  const index_t n = x.shape()[0], d = x.shape()[1];
  BeamPaths<V> start{CodesOf<V>::uninitialized(Shape{n, 1, 0}), x.reshaped(Shape{n, 1, d}),
                     Tensor<double, typename V::Backend>::uninitialized(Shape{n, 1})};
  V::Backend::for_each(
      n, detail::SquaredNormKernel<typename V::Scalar>{start.residual.data(), d, start.norms.mutable_data()});
  return start;
}

namespace detail {

/// The best `width` children, given the `count` nearest codewords [n paths, count] of every path.
template <PlainTensor V>
BeamPaths<V> beam_advance(const BeamPaths<V>& before, const V& table, const NearestRows<V>& nearest, index_t width) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  const index_t n = before.residual.shape()[0], paths = before.residual.shape()[1], d = before.residual.shape()[2];
  const index_t stages = before.codes.shape()[2], count = nearest.index.shape()[1];
  const index_t next = smaller(width, paths * count);
  auto taken = CodesOf<V>::uninitialized(Shape{n, paths});
  auto parent = CodesOf<V>::uninitialized(Shape{n, next}), code = CodesOf<V>::uninitialized(Shape{n, next});
  B::for_each(
      n, ChooseChildrenKernel<T>{paths, count, next, before.norms.data(), nearest.index.data(), nearest.score.data(),
                                 taken.mutable_data(), parent.mutable_data(), code.mutable_data()});
  BeamPaths<V> after{CodesOf<V>::uninitialized(Shape{n, next, stages + 1}), V::uninitialized(Shape{n, next, d}),
                     Tensor<double, B>::uninitialized(Shape{n, next})};
  B::for_each(n * next, FollowChildKernel<T>{paths, stages, d, next, before.codes.data(), before.residual.data(),
                                             table.data(), parent.data(), code.data(), after.codes.mutable_data(),
                                             after.residual.mutable_data(), after.norms.mutable_data()});
  return after;
}

}  // namespace detail

/// The paths after one more stage with table [K, d]: at most `width` of every vector, fewer while there are not as
/// many. Throws as nearest_rows, and ArgumentError unless width >= 1.
template <PlainTensor V>
BeamPaths<V> beam_step(const BeamPaths<V>& before, const V& table, index_t width, Screen screen = Screen::automatic) {
  detail::check_beam(width, "beam_step");
  const Shape shape{before.residual.shape()[0] * before.residual.shape()[1], before.residual.shape()[2]};
  const V rows = table.contiguous();
  detail::check_nearest_shapes(shape, rows.shape(), "beam_step");
  const auto nearest = nearest_rows(before.residual.reshaped(shape), rows, half_squared_norms(rows),
                                    smaller(width, rows.shape()[0]), screen);
  return detail::beam_advance(before, rows, nearest, width);
}

namespace detail {

/// Codes [n, stages] of x [n, d] by a beam of `width`, given contiguous tables and their norms. Waits for the backend
/// once, at the end.
template <PlainTensor V>
CodesOf<V> beam_encode(const std::vector<V>& tables, const std::vector<V>& half_norms, const V& x, index_t width,
                       Screen screen) {
  using B = typename V::Backend;
  const index_t n = x.shape()[0], d = x.shape()[1];
  BeamPaths<V> paths = beam_start(x);
  FirstBadRow<B> bad(n), later(0);
  for (std::size_t q = 0; q < tables.size(); ++q) {
    const V rows = paths.residual.reshaped(Shape{n * paths.residual.shape()[1], d});
    const index_t kept = q + 1 < tables.size() ? width : 1;
    if (q > 0) later = FirstBadRow<B>(rows.shape()[0]);
    const auto nearest = search_rows(rows, tables[q], half_norms[q], smaller(kept, tables[q].shape()[0]), screen,
                                     q == 0 ? bad : later);
    paths = beam_advance(paths, tables[q], nearest, kept);
  }
  if (n > 0) bad.check(x.shape(), "encode_residual");
  return paths.codes.reshaped(Shape{n, static_cast<index_t>(tables.size())});
}

}  // namespace detail

}  // namespace kolmo::rvq
