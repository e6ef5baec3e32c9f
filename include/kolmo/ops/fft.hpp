#pragma once
// Discrete Fourier and sine transforms on every tensor kind, normalised as in NumPy and SciPy: the forward transform is
// the plain sum, the inverse divides by the number of points. Any length is fast; products of 2, 3 and 5 are fastest.
//
// Complex numbers are two rows of real ones: the axis before the last holds (re, im). So complex data of n points is
// [..., 2, n], of n0 x n1 points [..., n0, 2, n1], and a real transform keeps the wave numbers 0 ... m-1 of its last
// axis, m <= n/2 + 1; those not kept count as zero on the way back.

#include <vector>

#include <kolmo/ops/fft_lines.hpp>
#include <kolmo/ops/fft_plan.hpp>
#include <kolmo/ops/strided.hpp>

namespace kolmo {

namespace detail {

/// The kept wave numbers of n points; all unless given.
inline index_t kept_columns(const char* name, index_t n, index_t columns) {
  if (columns == -1) return n / 2 + 1;
  if (columns < 1 || columns > n / 2 + 1)
    throw ArgumentError(std::string(name) + ": of " + std::to_string(n) + " points 1 to " + std::to_string(n / 2 + 1) +
                        " columns can be kept, given " + std::to_string(columns));
  return columns;
}

/// The points behind m wave numbers; an even number of them unless given.
inline index_t points_of(const char* name, index_t m, index_t n) {
  if (n == -1) n = larger<index_t>(1, 2 * (m - 1));
  if (n < 1 || m > n / 2 + 1)
    throw ArgumentError(std::string(name) + ": " + std::to_string(m) + " wave numbers cannot come from " +
                        std::to_string(n) + " points, which have " + std::to_string(n / 2 + 1));
  return n;
}

inline void expect_lines(const char* name, const Shape& shape, int rank, const char* expected) {
  if (shape.rank() < rank)
    throw ShapeError(std::string(name) + ": expected " + expected + ", given shape " + shape.to_string());
  for (int axis = 1; axis <= rank; ++axis)
    if (shape[-axis] < 1)
      throw ShapeError(std::string(name) + ": cannot transform an axis without elements, given shape " +
                       shape.to_string());
}

inline void expect_complex(const char* name, const Shape& shape, int rank, const char* expected) {
  expect_lines(name, shape, rank, expected);
  if (shape[-2] != 2)
    throw ShapeError(std::string(name) + ": expected " + expected +
                     " with 2 as the real and imaginary part, given shape " + shape.to_string());
}

}  // namespace detail

/// The transform of complex data [..., 2, n] over its last axis: y_k = sum_j x_j e^{-2 pi i j k / n}.
/// Throws ShapeError unless the axis before the last has 2 elements and the last at least one.
template <TensorLike X>
auto fft(const X& x) {
  detail::expect_complex("fft", x.shape(), 2, "[..., 2, n]");
  return detail::linear_recorded(detail::ComplexLines{false, 1}, detail::ComplexLines{true, 1}, x);
}

/// The inverse of fft. Throws likewise.
template <TensorLike X>
auto ifft(const X& x) {
  detail::expect_complex("ifft", x.shape(), 2, "[..., 2, n]");
  const double scale = 1.0 / static_cast<double>(x.shape()[-1]);
  return detail::linear_recorded(detail::ComplexLines{true, scale}, detail::ComplexLines{false, scale}, x);
}

/// The transform of complex data [..., n0, 2, n1] over both axes. Throws ShapeError as fft.
template <TensorLike X>
auto fft2(const X& x) {
  detail::expect_complex("fft2", x.shape(), 3, "[..., n0, 2, n1]");
  return detail::linear_recorded(detail::ComplexFields{false, 1}, detail::ComplexFields{true, 1}, x);
}

/// The inverse of fft2. Throws likewise.
template <TensorLike X>
auto ifft2(const X& x) {
  detail::expect_complex("ifft2", x.shape(), 3, "[..., n0, 2, n1]");
  const double scale = 1.0 / static_cast<double>(x.shape()[-3] * x.shape()[-1]);
  return detail::linear_recorded(detail::ComplexFields{true, scale}, detail::ComplexFields{false, scale}, x);
}

/// The transform of real data [..., n] over its last axis to [..., 2, columns], the first wave numbers of all n/2 + 1.
/// Throws ShapeError for a scalar or an axis without elements, ArgumentError for columns that do not exist.
template <TensorLike X>
auto rfft(const X& x, index_t columns = -1) {
  detail::expect_lines("rfft", x.shape(), 1, "[..., n]");
  const index_t n = x.shape()[-1], m = detail::kept_columns("rfft", n, columns);
  return detail::linear_recorded(detail::RealLines{false, n, m, 1, 1}, detail::RealLines{true, n, m, 1, 1}, x);
}

/// Real data [..., n] from the half spectrum [..., 2, m]; n = 2 (m - 1) unless given. Imaginary parts that a real
/// signal cannot have are ignored. Throws ShapeError as fft, ArgumentError when n points have fewer than m wave
/// numbers.
template <TensorLike X>
auto irfft(const X& x, index_t n = -1) {
  detail::expect_complex("irfft", x.shape(), 2, "[..., 2, m]");
  const index_t m = x.shape()[-1];
  n = detail::points_of("irfft", m, n);
  const double scale = 1.0 / static_cast<double>(n);
  return detail::linear_recorded(detail::RealLines{true, n, m, scale, 2}, detail::RealLines{false, n, m, scale, 2}, x);
}

/// The transform of real fields [..., n0, n1] over both axes to [..., n0, 2, columns]. Throws as rfft.
template <TensorLike X>
auto rfft2(const X& x, index_t columns = -1) {
  detail::expect_lines("rfft2", x.shape(), 2, "[..., n0, n1]");
  const index_t n = x.shape()[-1], m = detail::kept_columns("rfft2", n, columns);
  using detail::FieldStep;
  return detail::linear_recorded(detail::RealFields{FieldStep::forward, n, m, 1},
                                 detail::RealFields{FieldStep::forward_adjoint, n, m, 1}, x);
}

/// Real fields [..., n0, n1] from half spectra [..., n0, 2, m]; n1 = 2 (m - 1) unless given. Throws as irfft.
template <TensorLike X>
auto irfft2(const X& x, index_t n1 = -1) {
  detail::expect_complex("irfft2", x.shape(), 3, "[..., n0, 2, m]");
  const index_t m = x.shape()[-1];
  n1 = detail::points_of("irfft2", m, n1);
  const double scale = 1.0 / static_cast<double>(x.shape()[-3] * n1);
  using detail::FieldStep;
  return detail::linear_recorded(detail::RealFields{FieldStep::inverse, n1, m, scale},
                                 detail::RealFields{FieldStep::inverse_adjoint, n1, m, scale}, x);
}

/// The sine transform of type I over the last axis of [..., n - 1]: y_k = 2 sum_j x_j sin(pi j k / n), j, k = 1 ...
/// n-1. Its own inverse up to 1 / (2n), and its own adjoint. Throws ShapeError for a scalar or an axis without
/// elements.
template <TensorLike X>
auto dst1(const X& x) {
  detail::expect_lines("dst1", x.shape(), 1, "[..., n - 1]");
  return detail::linear_recorded(detail::SineLines{}, detail::SineLines{}, x);
}

/// The same over both last axes of [..., nx - 1, ny - 1]. Throws likewise.
template <TensorLike X>
auto dst1_2d(const X& x) {
  detail::expect_lines("dst1_2d", x.shape(), 2, "[..., nx - 1, ny - 1]");
  return detail::linear_recorded(detail::SineFields{}, detail::SineFields{}, x);
}

/// Complex numbers [..., n] from their parts [..., 2, n]. Throws ShapeError as fft.
template <class T, class B>
Tensor<Complex<T>, B> to_complex(const Tensor<T, B>& x) {
  detail::expect_complex("to_complex", x.shape(), 2, "[..., 2, n]");
  const index_t n = x.shape()[-1];
  const auto source = x.contiguous();
  auto result = Tensor<Complex<T>, B>::uninitialized(x.shape().without(x.rank() - 2));
  B::for_each(result.size(), detail::JoinParts<T>{source.data(), result.mutable_data(), n});
  return result;
}

/// The parts [..., 2, n] of complex numbers [..., n]. Throws ShapeError for a scalar.
template <class T, class B>
Tensor<T, B> from_complex(const Tensor<Complex<T>, B>& x) {
  detail::expect_lines("from_complex", x.shape(), 1, "[..., n]");
  const index_t n = x.shape()[-1];
  const auto source = x.contiguous();
  auto result = Tensor<T, B>::uninitialized(x.shape().with(x.rank() - 1, 2));
  B::for_each(x.size(), detail::SplitParts<T>{source.data(), result.mutable_data(), n});
  return result;
}

/// The frequencies of the n results of fft on samples `spacing` apart, in periods per unit:
/// 0, 1, ..., then the negative ones from the lowest up to -1, over n * spacing; at even n the middle one is negative.
/// Throws ArgumentError unless n >= 1 and spacing > 0.
inline std::vector<double> fft_frequencies(index_t n, double spacing = 1) {
  if (n < 1 || !(spacing > 0))
    throw ArgumentError("fft_frequencies: expected at least one point and a positive spacing, given " +
                        std::to_string(n) + " and " + std::to_string(spacing));
  std::vector<double> result(static_cast<std::size_t>(n));
  for (index_t k = 0; k < n; ++k)
    result[static_cast<std::size_t>(k)] =
        static_cast<double>(2 * k < n ? k : k - n) / (static_cast<double>(n) * spacing);
  return result;
}

}  // namespace kolmo
