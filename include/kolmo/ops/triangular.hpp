#pragma once
// Triangular matrices: diagonals, triangular parts, and batched triangular solves with derivatives.
// For X = L^-1 B:  dX = L^-1 (dB - dL X),  gB = L^-T gX,  gL = -(the triangle of) gB X^T.

#include <kolmo/backend/team.hpp>
#include <kolmo/core/short_division.hpp>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo {

namespace detail {

/// Runs f(item) where each of a few items is `work` operations.
template <class B, class F>
void for_each_matrix(index_t count, index_t work, const F& f) {
  if constexpr (requires { B::for_each_item(count, f); }) {
    if (work >= 1024) {
      B::for_each_item(count, f);
      return;
    }
  }
  B::for_each(count, f);
}

inline void check_matrix(const Shape& shape, bool square, const char* operation) {
  if (shape.rank() < 2 || (square && shape[-1] != shape[-2]))
    throw ShapeError(std::string(operation) + ": expected " + (square ? "square matrices" : "matrices") +
                     " in the last two axes, given shape " + shape.to_string());
}

template <class T>
struct TriangleKernel {
  const T* x;
  T* y;
  index_t rows, columns;
  bool lower;
  KOLMO_HD void operator()(index_t item) const {
    const index_t j = item % columns, i = item / columns % rows;
    y[item] = (lower ? j <= i : j >= i) ? x[item] : T(0);
  }
};

/// Keeps one triangle and the diagonal; its own adjoint.
struct Triangle {
  bool lower;
  template <PlainTensor V>
  V operator()(const V& x) const {
    const V source = x.contiguous();
    V result = V::uninitialized(x.shape());
    V::Backend::for_each(x.size(), TriangleKernel<typename V::Scalar>{source.data(), result.mutable_data(),
                                                                      x.shape()[-2], x.shape()[-1], lower});
    return result;
  }
};

struct DiagonalLayout {
  Shape shape;
  Strides strides{};
  DiagonalLayout(const Shape& matrix, const Strides& matrix_strides) {
    const int last = matrix.rank() - 1;
    for (int i = 0; i < last - 1; ++i) {
      strides[i] = matrix_strides[i];
      shape.push_back(matrix[i]);
    }
    strides[last - 1] = matrix_strides[last - 1] + matrix_strides[last];
    shape.push_back(smaller(matrix[last - 1], matrix[last]));
  }
};

struct TakeDiagonal {
  template <PlainTensor V>
  V operator()(const V& x) const {
    const DiagonalLayout layout(x.shape(), x.strides());
    return x.view(layout.shape, layout.strides, 0);
  }
};

struct PlaceDiagonal {
  Shape shape;
  template <PlainTensor V>
  V operator()(const V& x) const {
    V result = V::zeros(shape);
    copy_strided(x, result.mutable_data(), DiagonalLayout(shape, result.strides()).strides);
    return result;
  }
};

/// Substitution in place for a block of columns of one right-hand side.
template <class T>
struct SubstituteKernel {
  const T* a;
  T* x;
  index_t n, columns, block, blocks;
  bool lower, transpose;
  KOLMO_HD void operator()(index_t item) const {
    const T* matrix = a + item / blocks * n * n;
    T* rhs = x + item / blocks * n * columns + item % blocks * block;
    const index_t count = smaller(block, columns - item % blocks * block);
    const bool forward = lower != transpose;
    for (index_t s = 0; s < n; ++s) {
      const index_t i = forward ? s : n - 1 - s;
      T* target = rhs + i * columns;
      for (index_t r = 0; r < s; ++r) {
        const index_t j = forward ? r : n - 1 - r;
        const T factor = transpose ? matrix[j * n + i] : matrix[i * n + j];
        const T* solved = rhs + j * columns;
        for (index_t c = 0; c < count; ++c) target[c] = target[c] - factor * solved[c];
      }
      const T pivot = matrix[i * n + i];
      for (index_t c = 0; c < count; ++c) target[c] = target[c] / pivot;
    }
  }
};

/// The same by a team: what is solved is taken out of all rows that are left, each of which changes in the same order.
template <int threads, class T>
struct SubstituteTeam {
  static constexpr int team_threads = threads;
  SubstituteKernel<T> system;

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t item) const {
    const index_t n = system.n, columns = system.columns, part = item % system.blocks * system.block;
    const T* const matrix = system.a + item / system.blocks * n * n;
    T* const rhs = system.x + item / system.blocks * n * columns + part;
    const index_t count = smaller(system.block, columns - part);
    const bool forward = system.lower != system.transpose;
    for (index_t s = 0; s < n; ++s) {
      const index_t i = forward ? s : n - 1 - s;
      const T pivot = matrix[i * n + i];
      for (index_t c = team.rank(); c < count; c += team.size()) rhs[i * columns + c] = rhs[i * columns + c] / pivot;
      team.synchronize();
      const index_t left = (n - 1 - s) * count;
      for (index_t e = team.rank(); e < left; e += team.size()) {
        const index_t r = short_quotient(e, count), c = e - r * count;
        const index_t j = forward ? s + 1 + r : n - 2 - s - r;
        const T factor = system.transpose ? matrix[i * n + j] : matrix[j * n + i];
        rhs[j * columns + c] = rhs[j * columns + c] - factor * rhs[i * columns + c];
      }
      team.synchronize();
    }
  }
};

template <class T>
struct LoadBadPivot {
  const T* a;
  index_t n, count;
  KOLMO_HD index_t operator()(index_t, index_t c) const {
    const T pivot = a[c / n * n * n + c % n * (n + 1)];
    return pivot == T(0) || !is_finite(pivot) ? c : count;
  }
};
struct LowestIndex {
  KOLMO_HD index_t operator()(index_t a, index_t b) const { return smaller(a, b); }
};

/// op(A)^-1 B for plain tensors with equal batches.
struct TriangularSolve {
  bool lower, transpose;
  template <PlainTensor V>
  V operator()(const V& a, const V& b) const {
    using T = typename V::Scalar;
    const V matrix = a.contiguous();
    V x = b.copy();
    if (x.size() == 0) return x;
    const index_t n = a.shape()[-1], columns = b.shape()[-1], batch = x.size() / (n * columns);
    const index_t block = smaller<index_t>(columns, 64);
    const SubstituteKernel<T> kernel{matrix.data(), x.mutable_data(),          n,     columns,
                                     block,         divide_up(columns, block), lower, transpose};
    using B = typename V::Backend;
    if constexpr (HasTeams<B>) {
      // Rows and right-hand sides are shared by the threads; a few equations are a thread's.
      if (n > 256) {
        for_each_team<B>(batch * kernel.blocks, SubstituteTeam<1024, T>{kernel});
        return x;
      }
      if (n > 32) {
        for_each_team<B>(batch * kernel.blocks, SubstituteTeam<128, T>{kernel});
        return x;
      }
      if (n > 8) {
        for_each_team<B>(batch * kernel.blocks, SubstituteTeam<32, T>{kernel});
        return x;
      }
    }
    for_each_matrix<B>(batch * kernel.blocks, n * n * block, kernel);
    return x;
  }
};

template <PlainTensor V>
void check_pivots(const V& a, const char* operation) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  const index_t n = a.shape()[-1], count = n == 0 ? 0 : a.size() / n;
  if (count == 0) return;
  const V matrix = a.contiguous();
  auto first = Tensor<index_t, B>::uninitialized(Shape{});
  B::reduce(1, count, LoadBadPivot<T>{matrix.data(), n, count}, LowestIndex{}, count,
            StoreRow<index_t>{first.mutable_data()});
  const index_t bad = first.item();
  if (bad < count)
    throw ArgumentError(std::string(operation) + ": matrix " + std::to_string(bad / n) + " of shape " +
                        a.shape().to_string() + " is singular: diagonal element " + std::to_string(bad % n) +
                        " is zero or not finite");
}

/// The solve on values and jets.
template <Value A, Value B>
auto solve_values(const A& a, const B& b, bool lower, bool transpose) {
  const TriangularSolve solve{lower, transpose};
  const auto x = solve(primal(a), primal(b));
  if constexpr (!JetLike<A> && !JetLike<B>) {
    return x;
  } else {
    using V = std::remove_cvref_t<decltype(x)>;
    V rhs;
    if constexpr (JetLike<A>) {
      const V da = Triangle{lower}(a.tangent);
      rhs = apply(fn::Negate{}, Product{}(transpose ? TransposeLast{}(da) : da, x));
      if constexpr (JetLike<B>) rhs = apply(fn::Add{}, rhs, b.tangent);
    } else {
      rhs = b.tangent;
    }
    return Jet<V>{x, solve(primal(a), rhs)};
  }
}

template <Value A, Value X>
struct SolvePullBack {
  A a;
  X x;
  bool lower, transpose;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<2>& wanted) const {
    const G gb = solve_values(a, gradient, lower, !transpose);
    G ga;
    if (wanted[0]) {
      const G outer = transpose ? G(bilinear(Product{}, x, linear(TransposeLast{}, gb)))
                                : G(bilinear(Product{}, gb, linear(TransposeLast{}, x)));
      ga = linear(Triangle{lower}, apply(fn::Negate{}, outer));
    }
    return std::make_tuple(ga, gb);
  }
};

}  // namespace detail

/// The elements on and below the diagonal of the last two axes, zeros above.
template <TensorLike X>
auto lower_triangle(const X& x) {
  detail::check_matrix(x.shape(), false, "lower_triangle");
  return detail::linear_recorded(detail::Triangle{true}, detail::Triangle{true}, x);
}
/// The elements on and above the diagonal of the last two axes, zeros below.
template <TensorLike X>
auto upper_triangle(const X& x) {
  detail::check_matrix(x.shape(), false, "upper_triangle");
  return detail::linear_recorded(detail::Triangle{false}, detail::Triangle{false}, x);
}

/// The diagonal of the last two axes, as a view.
template <TensorLike X>
auto diagonal(const X& x) {
  detail::check_matrix(x.shape(), false, "diagonal");
  return detail::linear_recorded(detail::TakeDiagonal{}, detail::PlaceDiagonal{x.shape()}, x);
}

/// Which triangle of the matrix is read, and whether the transposed system is solved.
struct TriangularOptions {
  bool lower = true;
  bool transpose = false;
};

/// Solves op(A) X = B for triangular A [..., n, n] and B [..., n, k]; the other triangle is not read.
/// Batches broadcast. Throws ShapeError when shapes do not fit, ArgumentError naming the matrix when a
/// diagonal element is zero or not finite.
template <TensorLike A, TensorLike B>
auto solve_triangular(const A& a, const B& b, TriangularOptions options = {}) {
  detail::check_matrix(a.shape(), true, "solve_triangular");
  detail::check_matrix(b.shape(), false, "solve_triangular");
  const index_t n = a.shape()[-1];
  if (b.shape()[-2] != n)
    throw ShapeError("solve_triangular: the rows of " + b.shape().to_string() + " must equal those of " +
                     a.shape().to_string());
  Shape batch_a, batch_b;
  for (int i = 0; i < a.rank() - 2; ++i) batch_a.push_back(a.shape()[i]);
  for (int i = 0; i < b.rank() - 2; ++i) batch_b.push_back(b.shape()[i]);
  Shape shape_a = broadcast(batch_a, batch_b, "solve_triangular"), shape_b = shape_a;
  for (index_t extent : {n, n}) shape_a.push_back(extent);
  for (index_t extent : {n, b.shape()[-1]}) shape_b.push_back(extent);
  detail::check_pivots(detach(a), "solve_triangular");
  const auto matrix = broadcast_to(a, shape_a);
  const auto rhs = broadcast_to(b, shape_b);
  const auto x = detail::solve_values(value(matrix), value(rhs), options.lower, options.transpose);
  return record(x,
                detail::SolvePullBack<ValueOf<A>, std::remove_cvref_t<decltype(x)>>{value(matrix), x, options.lower,
                                                                                    options.transpose},
                matrix, rhs);
}

}  // namespace kolmo
