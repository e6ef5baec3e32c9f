#pragma once
// Covariances Sigma of Gaussian priors, known by their products with (Sigma^-1 + rho^-2 I)^-1, the covariance of x
// given x_t = mu x + sigma eps with rho = sigma / mu. All act on batches [B, event...].

#include <cmath>
#include <memory>

#include <kolmo/ops/cholesky.hpp>
#include <kolmo/ops/fft.hpp>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/views.hpp>

namespace kolmo {

namespace detail {

/// lambda rho^2 / (lambda + rho^2) v
template <class T>
struct ShrinkMode {
  T rho_squared;
  KOLMO_HD auto operator()(auto v, auto lambda) const { return v * (lambda * rho_squared / (lambda + rho_squared)); }
};

}  // namespace detail

namespace score {

/// variance I
struct WhiteCovariance {
  double variance = 1;

  template <PlainTensor V>
  V given_noise(const V& v, double rho) const {
    return v * (variance * rho * rho / (variance + rho * rho));
  }
};

/// Any covariance matrix [D, D] of events with D numbers. One Cholesky factor per noise level, kept for the next call.
template <PlainTensor V>
class DenseCovariance {
 public:
  /// Throws ShapeError unless the matrix is square.
  explicit DenseCovariance(V matrix) : matrix_(std::move(matrix)), factor_(std::make_shared<Factor>()) {
    if (matrix_.rank() != 2 || matrix_.shape()[0] != matrix_.shape()[1])
      throw ShapeError("DenseCovariance: expected a square matrix, given shape " + matrix_.shape().to_string());
  }

  V given_noise(const V& v, double rho) const {
    const index_t d = matrix_.shape()[0];
    if (v.rank() < 1 || v.size() != v.shape()[0] * d)
      throw ShapeError("DenseCovariance: a covariance of " + std::to_string(d) + " numbers does not fit states " +
                       v.shape().to_string());
    using T = typename V::Scalar;
    if (factor_->rho != rho) {
      const V shift = V::full(Shape{d}, static_cast<T>(rho * rho));
      factor_->factor = cholesky(matrix_ + kolmo::detail::PlaceDiagonal{matrix_.shape()}(shift));
      factor_->rho = rho;
    }
    const V columns = matmul(matrix_, transpose(v.reshaped(Shape{v.shape()[0], d})));
    const V solved = cholesky_solve(factor_->factor, columns) * (rho * rho);
    return V(transpose(solved)).reshaped(v.shape());
  }

 private:
  struct Factor {
    double rho = -1;
    V factor;
  };
  V matrix_;
  std::shared_ptr<Factor> factor_;
};

/// A stationary covariance of periodic fields, diagonal in Fourier space: `spectrum` holds its eigenvalues at the wave
/// numbers of rfft ([..., n/2 + 1], one axis) or rfft2 ([..., n0, n1/2 + 1]) and broadcasts against the axes before,
/// components or frames. An eigenvalue is the variance of a Fourier coefficient over the number of points.
template <PlainTensor V>
class SpectralCovariance {
 public:
  /// Throws ArgumentError unless eigenvalues are finite and not negative, ShapeError for other than 1 or 2 dimensions.
  SpectralCovariance(V spectrum, int dimensions) : dimensions_(dimensions) {
    if ((dimensions != 1 && dimensions != 2) || spectrum.rank() < dimensions)
      throw ShapeError("SpectralCovariance: expected 1 or 2 dimensions and a spectrum with as many axes, given " +
                       std::to_string(dimensions) + " and shape " + spectrum.shape().to_string());
    for (const auto lambda : spectrum.to_vector())
      if (!(lambda >= 0) || !is_finite(lambda))
        throw ArgumentError("SpectralCovariance: eigenvalues must be finite and not negative, given " +
                            std::to_string(lambda));
    spectrum_ = unsqueeze(spectrum, -2);
  }

  V given_noise(const V& v, double rho) const {
    using T = typename V::Scalar;
    const kolmo::detail::ShrinkMode<T> shrink{static_cast<T>(rho * rho)};
    const index_t n = v.shape()[-1];
    if (dimensions_ == 1) return irfft(V(apply(shrink, rfft(v), spectrum_)), n);
    return irfft2(V(apply(shrink, rfft2(v), spectrum_)), n);
  }

 private:
  int dimensions_;
  V spectrum_;
};

/// The spectrum of samples [n, ..., H, W] or [n, ..., N] around their mean `centre` (broadcast against them):
/// the mean over samples of |Fourier coefficient|^2 / points, one per component, frame and wave number.
template <PlainTensor V>
V fitted_spectrum(const V& samples, const V& centre, int dimensions) {
  if ((dimensions != 1 && dimensions != 2) || samples.rank() <= dimensions || samples.shape()[0] < 2)
    throw ShapeError("fitted_spectrum: expected at least two samples [n, ..., " +
                     std::string(dimensions == 2 ? "H, W" : "N") + "], given shape " + samples.shape().to_string());
  const V centred = samples - centre;
  const double points = static_cast<double>(centred.shape()[-1] * (dimensions == 2 ? centred.shape()[-2] : 1));
  const V coefficients = dimensions == 1 ? V(rfft(centred)) : V(rfft2(centred));
  return V(sum(mean(square(coefficients), {0}), {-2})) / points;
}

}  // namespace score
}  // namespace kolmo
