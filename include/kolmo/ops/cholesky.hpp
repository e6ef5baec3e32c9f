#pragma once
// Batched Cholesky factorisation A = L L^T with derivatives, and what is solved with the factor.
//
// The operand is read as its symmetric part (A + A^T) / 2. With Phi taking the lower triangle and half of
// the diagonal (Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527):
//   dL = L Phi(L^-1 dA L^-T),   gA = L^-T sym(Phi(L^T gL)) L^-1.

#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/triangular.hpp>

namespace kolmo {

namespace detail {

/// Factors one matrix. Works on the transposed factor, whose updates run along rows.
template <class T>
struct CholeskyKernel {
  const T* a;
  T* factor;
  std::int32_t* status;
  index_t n;

  KOLMO_HD void operator()(index_t item) const {
    const T* source = a + item * n * n;
    T* u = factor + item * n * n;
    status[item] = 0;
    for (index_t i = 0; i < n; ++i)
      for (index_t j = i; j < n; ++j) u[i * n + j] = (source[i * n + j] + source[j * n + i]) / T(2);
    for (index_t k = 0; k < n; ++k) {
      const T pivot = u[k * n + k];
      if (!(pivot > T(0)) || !is_finite(pivot)) {
        status[item] = static_cast<std::int32_t>(k + 1);
        const T difference = pivot - pivot;
        const T not_a_number = difference / difference;
        for (index_t i = 0; i < n * n; ++i) u[i] = not_a_number;
        return;
      }
      const T root = sqrt(pivot);
      u[k * n + k] = root;
      for (index_t j = k + 1; j < n; ++j) u[k * n + j] = u[k * n + j] / root;
      for (index_t i = k + 1; i < n; ++i) {
        const T scale = u[k * n + i];
        for (index_t j = i; j < n; ++j) u[i * n + j] = u[i * n + j] - scale * u[k * n + j];
      }
    }
    for (index_t i = 0; i < n; ++i)
      for (index_t j = i + 1; j < n; ++j) {
        u[j * n + i] = u[i * n + j];
        u[i * n + j] = T(0);
      }
  }
};

/// The same by a team: columns of the trailing matrix in turn, each element changed in the order of the pivots. The
/// matrix lies in the team's scratch memory while it fits.
template <int threads, class T>
struct CholeskyTeam {
  static constexpr int team_threads = threads;
  const T* a;
  T* factor;
  std::int32_t* status;
  index_t n;

  KOLMO_HD bool fits() const { return n * n * static_cast<index_t>(sizeof(T)) <= 40960; }
  KOLMO_HD index_t scratch_bytes() const { return fits() ? n * n * static_cast<index_t>(sizeof(T)) : 0; }

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t item) const {
    const T* const source = a + item * n * n;
    T* const target = factor + item * n * n;
    T* const u = fits() ? team.template scratch<T>() : target;
    for (index_t i = 0; i < n; ++i)
      for (index_t j = i + team.rank(); j < n; j += team.size())
        u[i * n + j] = (source[i * n + j] + source[j * n + i]) / T(2);
    team.synchronize();
    for (index_t k = 0; k < n; ++k) {
      const T pivot = u[k * n + k];
      if (!(pivot > T(0)) || !is_finite(pivot)) {
        // All see the same pivot. Nobody overwrites it before all have.
        team.synchronize();
        const T difference = pivot - pivot;
        for (index_t e = team.rank(); e < n * n; e += team.size()) target[e] = difference / difference;
        if (team.rank() == 0) status[item] = static_cast<std::int32_t>(k + 1);
        return;
      }
      const T root = sqrt(pivot);
      for (index_t j = k + 1 + team.rank(); j < n; j += team.size()) u[k * n + j] = u[k * n + j] / root;
      team.synchronize();
      if (team.rank() == 0) u[k * n + k] = root;
      constexpr int lanes = threads < 32 ? threads : 32;
      const int lane = team.rank() % lanes, group = team.rank() / lanes, groups = team.size() / lanes;
      for (index_t i = k + 1 + group; i < n; i += groups) {
        const T scale = u[k * n + i];
        for (index_t j = i + lane; j < n; j += lanes) u[i * n + j] = u[i * n + j] - scale * u[k * n + j];
      }
      team.synchronize();
    }
    for (index_t i = 0; i < n; ++i)
      for (index_t j = i + team.rank(); j < n; j += team.size()) {
        const T value = u[i * n + j];
        if (j > i) target[i * n + j] = T(0);
        target[j * n + i] = value;
      }
    if (team.rank() == 0) status[item] = 0;
  }
};

/// The lower triangle with half of the diagonal.
template <class T>
struct HalfTriangleKernel {
  const T* x;
  T* y;
  index_t n;
  KOLMO_HD void operator()(index_t item) const {
    const index_t j = item % n, i = item / n % n;
    y[item] = j < i ? x[item] : j == i ? x[item] / T(2) : T(0);
  }
};
struct HalfTriangle {
  template <PlainTensor V>
  V operator()(const V& x) const {
    const V source = x.contiguous();
    V result = V::uninitialized(x.shape());
    V::Backend::for_each(x.size(),
                         HalfTriangleKernel<typename V::Scalar>{source.data(), result.mutable_data(), x.shape()[-1]});
    return result;
  }
};

struct Average {
  template <class S>
  KOLMO_HD S operator()(S x, S y) const {
    return (x + y) / S(2);
  }
};
template <Value V>
V symmetric_part(const V& x) {
  return apply(Average{}, x, linear(TransposeLast{}, x));
}

template <Value V>
struct CholeskyPullBack {
  V factor;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    const G product = bilinear(Product{}, linear(TransposeLast{}, factor), linear(Triangle{true}, gradient));
    const G middle = symmetric_part(linear(HalfTriangle{}, product));
    const G left = solve_values(factor, middle, true, true);
    return std::make_tuple(G(solve_values(factor, G(linear(TransposeLast{}, left)), true, true)));
  }
};

template <PlainTensor V>
struct PlainCholesky {
  V factor;
  Tensor<std::int32_t, typename V::Backend> status;

  explicit PlainCholesky(const V& a) {
    using B = typename V::Backend;
    const index_t n = a.shape()[-1];
    const V source = a.contiguous();
    factor = V::uninitialized(a.shape());
    status = Tensor<std::int32_t, B>::uninitialized(a.shape().without(a.rank() - 1).without(a.rank() - 2));
    using T = typename V::Scalar;
    T* const target = factor.mutable_data();
    std::int32_t* const failures = status.mutable_data();
    if constexpr (HasTeams<B>) {
      // A small matrix is a thread's, whose neighbours share the lines of the cache.
      if (n > 256) {
        for_each_team<B>(status.size(), CholeskyTeam<1024, T>{source.data(), target, failures, n});
        return;
      }
      if (n > 32) {
        for_each_team<B>(status.size(), CholeskyTeam<128, T>{source.data(), target, failures, n});
        return;
      }
      if (n > 8) {
        for_each_team<B>(status.size(), CholeskyTeam<32, T>{source.data(), target, failures, n});
        return;
      }
    }
    for_each_matrix<B>(status.size(), n * n * n / 3, CholeskyKernel<T>{source.data(), target, failures, n});
  }
};

template <Value V, PlainTensor P>
V cholesky_values(const V& a, const P& factor) {
  if constexpr (JetLike<V>) {
    const P da = symmetric_part(a.tangent);
    const TriangularSolve solve{true, false};
    const P middle = solve(factor, TransposeLast{}(solve(factor, da)));
    return V{factor, Product{}(factor, HalfTriangle{}(middle))};
  } else {
    return factor;
  }
}

struct LoadFailure {
  const std::int32_t* status;
  index_t count;
  KOLMO_HD index_t operator()(index_t, index_t c) const { return status[c] != 0 ? c : count; }
};

}  // namespace detail

/// A factor and, for every matrix of the batch, 0 or one plus the index of the pivot that was not
/// positive or not finite; the factor of such a matrix is all NaN.
template <class X, class Status>
struct CholeskyResult {
  X factor;
  Status status;
};

/// Factors matrices [..., n, n] that may fail to be positive definite. Throws ShapeError unless square.
template <TensorLike X>
auto try_cholesky(const X& a) {
  detail::check_matrix(a.shape(), true, "cholesky");
  using V = ValueOf<X>;
  const detail::PlainCholesky<BaseOf<X>> plain(primal(value(a)));
  const V factor = detail::cholesky_values(value(a), plain.factor);
  auto recorded = record(factor, detail::CholeskyPullBack<V>{factor}, a);
  return CholeskyResult<decltype(recorded), std::remove_cvref_t<decltype(plain.status)>>{recorded, plain.status};
}

/// The lower factor L of A = L L^T for matrices [..., n, n]. Throws ShapeError unless square,
/// ArgumentError naming the matrix and the pivot when one is not positive definite or not finite.
template <TensorLike X>
auto cholesky(const X& a) {
  using B = typename BaseOf<X>::Backend;
  const auto result = try_cholesky(a);
  const index_t count = result.status.size();
  if (count > 0) {
    auto first = Tensor<index_t, B>::uninitialized(Shape{});
    B::reduce(1, count, detail::LoadFailure{result.status.data(), count}, detail::LowestIndex{}, count,
              detail::StoreRow<index_t>{first.mutable_data()});
    const index_t bad = first.item();
    if (bad < count) {
      const auto pivot = result.status.view(Shape{}, Strides{}, bad).item() - 1;
      throw ArgumentError("cholesky: matrix " + std::to_string(bad) + " of shape " + a.shape().to_string() +
                          " is not positive definite: pivot " + std::to_string(pivot) +
                          " is not positive or not finite; add to its diagonal, or use try_cholesky");
    }
  }
  return result.factor;
}

/// Solves A X = B with the factor of A.
template <TensorLike L, TensorLike B>
auto cholesky_solve(const L& factor, const B& b) {
  return solve_triangular(factor, solve_triangular(factor, b), {.lower = true, .transpose = true});
}

/// log det A from the factor of A: [...] for [..., n, n].
template <TensorLike L>
auto cholesky_log_det(const L& factor) {
  return 2 * sum(log(diagonal(factor)), {-1});
}

}  // namespace kolmo
