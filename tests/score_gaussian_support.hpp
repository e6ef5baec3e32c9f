#pragma once
// A small linear-Gaussian problem in dense matrices, computed with Eigen alone, to judge guidance by.

#include <Eigen/Dense>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/score/guidance.hpp>
#include <kolmo/score/observations/sampling.hpp>
#include <kolmo/score/schedule.hpp>

namespace kolmo_test {

using namespace kolmo;
using namespace kolmo::score;
using V = Tensor<double, Cpu>;
using Matrix = Eigen::MatrixXd;

inline V tensor(const Matrix& m) {
  std::vector<double> values;
  for (Eigen::Index i = 0; i < m.rows(); ++i)
    for (Eigen::Index j = 0; j < m.cols(); ++j) values.push_back(m(i, j));
  return V::from(std::span<const double>(values), Shape{m.rows(), m.cols()});
}
inline Matrix matrix(const V& x) {
  const auto values = x.to_vector();
  Matrix m(x.shape()[0], x.size() / x.shape()[0]);
  for (Eigen::Index i = 0; i < m.rows(); ++i)
    for (Eigen::Index j = 0; j < m.cols(); ++j) m(i, j) = values[static_cast<std::size_t>(i * m.cols() + j)];
  return m;
}
inline Matrix random(Eigen::Index rows, Eigen::Index columns, std::uint64_t seed) {
  Matrix m(rows, columns);
  for (Eigen::Index i = 0; i < m.size(); ++i) m(i) = normal<double>(Key{seed}, static_cast<std::uint64_t>(i));
  return m;
}

/// The prior N(0, S) of section 6.5: periodic squared exponential, its spectrum clipped at zero, D points.
inline Matrix prior_covariance(Eigen::Index d, double length) {
  Matrix s(d, d);
  for (Eigen::Index i = 0; i < d; ++i)
    for (Eigen::Index j = 0; j < d; ++j) {
      const double distance = static_cast<double>(std::min(std::abs(i - j), d - std::abs(i - j)));
      s(i, j) = length > 0 ? std::exp(-0.5 * distance * distance / (length * length)) : (i == j ? 1.0 : 0.0);
    }
  const Eigen::SelfAdjointEigenSolver<Matrix> modes(s);
  s = modes.eigenvectors() * modes.eigenvalues().cwiseMax(0).asDiagonal() * modes.eigenvectors().transpose();
  return (1 - 1e-3) * s / s(0, 0) + 1e-3 * Matrix::Identity(d, d);
}

/// The exact noise estimate of N(0, S): eps = sigma (mu^2 S + sigma^2)^-1 x.
struct GaussianEstimator {
  Matrix s;
  Schedule schedule;
  Matrix e(double t) const {
    const double mu = schedule.mu(t), sigma = schedule.sigma(t);
    return sigma * (mu * mu * s + sigma * sigma * Matrix::Identity(s.rows(), s.rows())).inverse();
  }
  template <TensorLike X>
  auto operator()(const X& x, double t) const {
    return matmul(x, tensor(e(t).transpose()));
  }
};

struct Problem {
  Eigen::Index d = 12, step = 2;
  double length = 2, deviation = 0.1, t = 0.4;
  Schedule schedule{};
  Matrix s = prior_covariance(d, length);
  Matrix a = Matrix::Zero(d / step, d);
  Matrix x = random(3, d, 1), y = random(1, d / step, 2);
  GaussianEstimator eps{s, schedule};

  Problem() { set_step(2); }
  void set_step(Eigen::Index value) {
    step = value;
    a = Matrix::Zero((d + step - 1) / step, d);
    for (Eigen::Index i = 0; i < a.rows(); ++i) a(i, i * step) = 1;
    y = random(1, a.rows(), 2);
  }
  double mu() const { return schedule.mu(t); }
  double sigma() const { return schedule.sigma(t); }
  double rho() const { return schedule.rho(t); }
  Matrix identity() const { return Matrix::Identity(d, d); }
  Matrix unit() const { return Matrix::Identity(a.rows(), a.rows()); }
  Matrix j() const { return (identity() - sigma() * eps.e(t)) / mu(); }

  template <class Method>
  Matrix posterior(const Method& method) const {
    const auto estimate =
        guided(eps, schedule, observe(SubsampleSpace{step, 0, 1}, V(at(tensor(y), 0, 0)), deviation), method);
    return matrix(estimate(tensor(x), t));
  }
  /// eps = E x - sigma J^T A^T weight (y - A xhat), with J^T or what stands in its place.
  Matrix affine(const Matrix& weight, const Matrix& j_transposed) const {
    const Matrix residual = y.replicate(x.rows(), 1) - x * (a * j()).transpose();
    return x * eps.e(t).transpose() - sigma() * residual * (j_transposed * a.transpose() * weight).transpose();
  }
  /// sigma P^-1 (x - mu m*), P = mu^2 C* + sigma^2
  Matrix exact() const {
    const Matrix gain = s * a.transpose() * (a * s * a.transpose() + deviation * deviation * unit()).inverse();
    const Matrix covariance = s - gain * a * s;
    const Matrix p = mu() * mu() * covariance + sigma() * sigma() * identity();
    return sigma() * (x - mu() * (y * gain.transpose()).replicate(x.rows(), 1)) * p.inverse().transpose();
  }
};

inline double distance(const Matrix& a, const Matrix& b) { return (a - b).norm() / b.norm(); }

}  // namespace kolmo_test
