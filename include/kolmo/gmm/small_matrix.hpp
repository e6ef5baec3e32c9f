#pragma once
// Small symmetric matrices on the host, in double precision: Cholesky factor, inverse of a triangle, and eigenvalues
// raised to a floor. Matrices are row-major [n, n].

#include <cmath>
#include <vector>

#include <kolmo/core/math.hpp>

namespace kolmo::gmm::detail {

/// The lower factor of A = L L^T, zeros above the diagonal; false where A is not positive definite or not finite.
inline bool cholesky_lower(const double* a, index_t n, double* lower) {
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) {
      if (j > i) {
        lower[i * n + j] = 0.0;
        continue;
      }
      double sum = a[i * n + j];
      for (index_t k = 0; k < j; ++k) sum -= lower[i * n + k] * lower[j * n + k];
      if (j < i) {
        lower[i * n + j] = sum / lower[j * n + j];
      } else {
        if (!(sum > 0.0) || !is_finite(sum)) return false;
        lower[i * n + i] = std::sqrt(sum);
      }
    }
  return true;
}

/// The inverse of a lower triangle.
inline void invert_lower(const double* lower, index_t n, double* inverse) {
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) {
      if (j > i) {
        inverse[i * n + j] = 0.0;
        continue;
      }
      double sum = i == j ? 1.0 : 0.0;
      for (index_t k = j; k < i; ++k) sum -= lower[i * n + k] * inverse[k * n + j];
      inverse[i * n + j] = sum / lower[i * n + i];
    }
}

/// Diagonalises A by rotations (Jacobi 1846): A becomes diagonal and `vectors` its eigenvectors by columns.
inline void diagonalise(double* a, index_t n, double* vectors) {
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) vectors[i * n + j] = i == j ? 1.0 : 0.0;
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0.0, total = 0.0;
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) (i == j ? total : off) += a[i * n + j] * a[i * n + j];
    if (!(off > 1e-32 * total)) return;
    for (index_t p = 0; p < n; ++p)
      for (index_t q = p + 1; q < n; ++q) {
        if (a[p * n + q] == 0.0) continue;
        const double theta = (a[q * n + q] - a[p * n + p]) / (2.0 * a[p * n + q]);
        const double t = (theta < 0.0 ? -1.0 : 1.0) / (std::abs(theta) + std::sqrt(theta * theta + 1.0));
        const double c = 1.0 / std::sqrt(t * t + 1.0), s = t * c;
        for (index_t k = 0; k < n; ++k) {
          const double x = a[k * n + p], y = a[k * n + q];
          a[k * n + p] = c * x - s * y;
          a[k * n + q] = s * x + c * y;
        }
        for (index_t k = 0; k < n; ++k) {
          const double x = a[p * n + k], y = a[q * n + k];
          a[p * n + k] = c * x - s * y;
          a[q * n + k] = s * x + c * y;
        }
        for (index_t k = 0; k < n; ++k) {
          const double x = vectors[k * n + p], y = vectors[k * n + q];
          vectors[k * n + p] = c * x - s * y;
          vectors[k * n + q] = s * x + c * y;
        }
      }
  }
}

/// Raises the eigenvalues of a symmetric matrix to `floor`; whether there was one below. Finds out from the factor,
/// 1 / |L^-1|^2 <= the least eigenvalue, so that matrices far from the floor cost no eigenvalues.
inline bool raise_eigenvalues(double* a, index_t n, double floor) {
  const auto size = static_cast<std::size_t>(n * n);
  std::vector<double> lower(size), inverse(size);
  if (cholesky_lower(a, n, lower.data())) {
    invert_lower(lower.data(), n, inverse.data());
    double norm = 0.0;
    for (const double x : inverse) norm += x * x;
    if (norm * floor <= 1.0) return false;
  }
  std::vector<double> diagonal(a, a + n * n);
  std::vector<double>& vectors = inverse;
  diagonalise(diagonal.data(), n, vectors.data());
  bool raised = false;
  for (index_t i = 0; i < n; ++i) {
    double& value = diagonal[static_cast<std::size_t>(i * n + i)];
    if (value >= floor) continue;
    value = floor;
    raised = true;
  }
  if (!raised) return false;
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j <= i; ++j) {
      double sum = 0.0;
      for (index_t k = 0; k < n; ++k)
        sum += vectors[static_cast<std::size_t>(i * n + k)] * diagonal[static_cast<std::size_t>(k * n + k)] *
               vectors[static_cast<std::size_t>(j * n + k)];
      a[i * n + j] = a[j * n + i] = sum;
    }
  return true;
}

}  // namespace kolmo::gmm::detail
