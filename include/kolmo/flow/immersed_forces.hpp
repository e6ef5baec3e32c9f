#pragma once
// The matrix M of the boundary forces, M F = velocity to be made up, factored once for bodies at rest. M is symmetric
// positive definite on one grid and only nearly symmetric on nested ones (about 5e-5), so it is factored by
// elimination with row interchanges: the constraint then holds to round-off on any number of levels. Factors are
// inverted, in double precision, so that a solve is two triangular matrix-vector products.

#include <cmath>
#include <vector>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/flow/immersed_operators.hpp>

namespace kolmo::flow::detail {

/// y[r] = sum of a[r, c] x[c] over columns begin..end: lower triangles end at r, upper ones begin there. An item is a
/// row of one case.
template <class S>
struct TriangleKernel {
  using T = BaseScalar<S>;
  const T* a;
  const S* x;
  S* y;
  index_t n;
  bool lower;
  KOLMO_HD void operator()(index_t item) const {
    const index_t r = item % n;
    const T* row = a + r * n;
    const S* from = x + (item - r);
    const index_t first = lower ? 0 : r, last = lower ? r + 1 : n;
    constexpr int lanes = 16;
    S lane[lanes];
    for (int k = 0; k < lanes; ++k) lane[k] = S(T(0));
    index_t c = first;
    for (; c + lanes <= last; c += lanes)
      for (int k = 0; k < lanes; ++k) lane[k] = lane[k] + row[c + k] * from[c + k];
    S sum = S(T(0));
    for (; c < last; ++c) sum = sum + row[c] * from[c];
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int k = 0; k < width; ++k) lane[k] = lane[k] + lane[k + width];
    y[item] = sum + lane[0];
  }
};

template <class S>
struct PermuteKernel {
  const S* x;
  const std::int32_t* order;
  S* y;
  index_t n;
  bool inverse;
  KOLMO_HD void operator()(index_t item) const {
    const index_t i = item % n, first = item - i;
    if (inverse)
      y[first + order[i]] = x[item];
    else
      y[item] = x[first + order[i]];
  }
};

/// P M = L U on the host; false where M is singular or not finite.
struct HostFactors {
  index_t n = 0;
  std::vector<double> lower, upper;  // inverses of the factors, row-major
  std::vector<std::int32_t> order;

  bool factor(std::vector<double> m, index_t size) {
    n = size;
    order.resize(static_cast<std::size_t>(n));
    for (index_t i = 0; i < n; ++i) order[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i);
    double* a = m.data();
    for (index_t k = 0; k < n; ++k) {
      index_t pivot = k;
      for (index_t i = k + 1; i < n; ++i)
        if (std::abs(a[i * n + k]) > std::abs(a[pivot * n + k])) pivot = i;
      if (!(std::abs(a[pivot * n + k]) > 0) || !is_finite(a[pivot * n + k])) return false;
      if (pivot != k) {
        for (index_t j = 0; j < n; ++j) std::swap(a[k * n + j], a[pivot * n + j]);
        std::swap(order[static_cast<std::size_t>(k)], order[static_cast<std::size_t>(pivot)]);
      }
      const double inverse = 1 / a[k * n + k];
      for (index_t i = k + 1; i < n; ++i) {
        const double scale = a[i * n + k] * inverse;
        a[i * n + k] = scale;
        double* row = a + i * n;
        const double* top = a + k * n;
        KOLMO_INDEPENDENT
        for (index_t j = k + 1; j < n; ++j) row[j] -= scale * top[j];
      }
    }
    invert(a);
    return true;
  }

 private:
  void invert(const double* a) {
    lower.assign(static_cast<std::size_t>(n * n), 0.0);
    upper.assign(static_cast<std::size_t>(n * n), 0.0);
    for (index_t i = 0; i < n; ++i) {
      double* row = lower.data() + i * n;
      row[i] = 1;
      for (index_t k = 0; k < i; ++k) subtract(row, lower.data() + k * n, a[i * n + k], 0, k + 1);
    }
    for (index_t i = n - 1; i >= 0; --i) {
      double* row = upper.data() + i * n;
      row[i] = 1;
      for (index_t k = i + 1; k < n; ++k) subtract(row, upper.data() + k * n, a[i * n + k], k, n);
      const double inverse = 1 / a[i * n + i];
      for (index_t j = i; j < n; ++j) row[j] *= inverse;
    }
  }
  static void subtract(double* row, const double* other, double scale, index_t begin, index_t end) {
    KOLMO_INDEPENDENT
    for (index_t j = begin; j < end; ++j) row[j] -= scale * other[j];
  }
};

/// M^-1 in the memory of a backend.
template <class T, class B>
class ForceSolve {
 public:
  ForceSolve() = default;
  /// Throws ArgumentError where M is singular.
  ForceSolve(const std::vector<double>& m, index_t n) : n_(n) {
    HostFactors factors;
    if (!factors.factor(m, n))
      throw ArgumentError("the boundary force matrix of " + std::to_string(n / 2) +
                          " body points is singular: points coincide, or lie much closer than the grid spacing");
    lower_ = table(factors.lower);
    upper_ = table(factors.upper);
    order_ = Tensor<std::int32_t, B>::from(factors.order);
    std::vector<double> transposed(factors.lower.size());
    transpose(factors.lower, transposed);
    lower_transposed_ = table(transposed);
    transpose(factors.upper, transposed);
    upper_transposed_ = table(transposed);
    asymmetry_ = 0;
    double largest = 0;
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) {
        const double a = m[static_cast<std::size_t>(i * n + j)], b = m[static_cast<std::size_t>(j * n + i)];
        asymmetry_ = std::max(asymmetry_, std::abs(a - b));
        largest = std::max(largest, std::abs(a));
      }
    asymmetry_ /= largest;
  }

  index_t size() const { return n_; }
  /// max |M - M^T| / max |M|
  double asymmetry() const { return asymmetry_; }

  /// forces = M^-1 velocity, [cases, n].
  template <class S>
  void solve(index_t cases, const S* velocity, S* forces) const {
    auto work = Tensor<S, B>::uninitialized(Shape{2, cases, n_});
    S* a = work.mutable_data();
    S* b = a + cases * n_;
    B::for_each(cases * n_, PermuteKernel<S>{velocity, order_.data(), a, n_, false});
    if constexpr (std::is_same_v<S, T>) {
      if (cases > 1) {
        // The triangles' zeros cost less than not being a product of matrices.
        B::gemm(product(cases, a, lower_.data(), b));
        B::gemm(product(cases, b, upper_.data(), forces));
        return;
      }
    }
    B::for_each(cases * n_, TriangleKernel<S>{lower_.data(), a, b, n_, true});
    B::for_each(cases * n_, TriangleKernel<S>{upper_.data(), b, forces, n_, false});
  }
  /// velocity = M^-T forces, of one case.
  template <class S>
  void solve_transpose(const S* forces, S* velocity) const {
    auto work = Tensor<S, B>::uninitialized(Shape{2, n_});
    S* a = work.mutable_data();
    S* b = a + n_;
    B::for_each(n_, TriangleKernel<S>{upper_transposed_.data(), forces, a, n_, true});
    B::for_each(n_, TriangleKernel<S>{lower_transposed_.data(), a, b, n_, false});
    B::for_each(n_, PermuteKernel<S>{b, order_.data(), velocity, n_, true});
  }

 private:
  /// C [cases, n] = A [cases, n] times the transpose of a triangle.
  GemmCall<T> product(index_t cases, const T* a, const T* triangle, T* c) const {
    GemmCall<T> call;
    call.transpose_b = true;
    call.m = cases;
    call.n = call.k = call.leading_a = call.leading_b = call.leading_c = n_;
    call.a = a;
    call.b = triangle;
    call.c = c;
    return call;
  }
  Tensor<T, B> table(const std::vector<double>& x) const {
    return Tensor<T, B>::from(std::vector<T>(x.begin(), x.end())).reshaped(Shape{n_, n_});
  }
  void transpose(const std::vector<double>& x, std::vector<double>& y) const {
    for (index_t i = 0; i < n_; ++i)
      for (index_t j = 0; j < n_; ++j)
        y[static_cast<std::size_t>(j * n_ + i)] = x[static_cast<std::size_t>(i * n_ + j)];
  }

  index_t n_ = 0;
  double asymmetry_ = 0;
  Tensor<T, B> lower_, upper_, lower_transposed_, upper_transposed_;
  Tensor<std::int32_t, B> order_;
};

}  // namespace kolmo::flow::detail
