#pragma once
// Fourier and sine transforms of fields, for solvers that work on pointers: RealFft2 from a real field to its half
// spectrum and back, SineTransform2 between a field that vanishes on the border and its sine coefficients.
//
// A spectrum [n0, n1] over both axes is stored as [n0, 2, m]: row kx holds m real parts, then m imaginary parts, of the
// wave numbers ky = 0 ... m-1. Modes that are not kept count as zero on the way back.

#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include <kolmo/ad/items.hpp>
#include <kolmo/core/tensor.hpp>

namespace kolmo {

namespace detail {

/// e^{sign 2 pi i k / n} for k = 0 ... n-1: cosines, then sines.
template <class T>
struct Roots {
  const T* table;
  index_t n;
  KOLMO_HD T cosine(index_t k) const { return table[k % n]; }
  KOLMO_HD T sine(index_t k) const { return table[n + k % n]; }
};

template <class T>
std::vector<T> roots_of_unity(index_t n) {
  std::vector<T> table(static_cast<std::size_t>(2 * n));
  for (index_t k = 0; k < n; ++k) {
    const long double angle = 6.28318530717958647692528676655900577L * static_cast<long double>(k) / static_cast<long double>(n);
    table[static_cast<std::size_t>(k)] = static_cast<T>(std::cos(angle));
    table[static_cast<std::size_t>(n + k)] = static_cast<T>(std::sin(angle));
  }
  return table;
}

/// One row to its half spectrum. An item is a row.
template <class T, class S>
struct RealRowKernel {
  const S* x;
  S* y;
  Roots<T> roots;
  index_t columns;
  T interior, scale;
  KOLMO_HD void operator()(index_t row) const {
    const index_t n = roots.n;
    for (index_t k = 0; k < columns; ++k) {
      S re = S(T(0)), im = S(T(0));
      for (index_t j = 0; j < n; ++j) {
        re = re + x[row * n + j] * roots.cosine(j * k);
        im = im - x[row * n + j] * roots.sine(j * k);
      }
      const T weight = (k == 0 || 2 * k == n) ? scale : interior * scale;
      y[row * 2 * columns + k] = re * weight;
      y[(row * 2 + 1) * columns + k] = im * weight;
    }
  }
};

/// One half spectrum to its row. An item is a row.
template <class T, class S>
struct HermitianRowKernel {
  const S* y;
  S* x;
  Roots<T> roots;
  index_t columns;
  T interior, scale;
  KOLMO_HD void operator()(index_t row) const {
    const index_t n = roots.n;
    for (index_t j = 0; j < n; ++j) {
      S sum = S(T(0));
      for (index_t k = 0; k < columns; ++k) {
        const T weight = (k == 0 || 2 * k == n) ? T(1) : interior;
        sum = sum + y[row * 2 * columns + k] * (weight * roots.cosine(j * k)) -
              y[(row * 2 + 1) * columns + k] * (weight * roots.sine(j * k));
      }
      x[row * n + j] = sum * scale;
    }
  }
};

/// The complex transform along the rows' index. An item is one output row of one field.
template <class T, class S>
struct ComplexColumnKernel {
  const S* x;
  S* y;
  Roots<T> roots;
  index_t columns;
  T sign;
  KOLMO_HD void operator()(index_t item) const {
    const index_t n = roots.n, k = item % n, first = item / n * n;
    for (index_t c = 0; c < columns; ++c) {
      S re = S(T(0)), im = S(T(0));
      for (index_t j = 0; j < n; ++j) {
        const S a = x[(first + j) * 2 * columns + c], b = x[((first + j) * 2 + 1) * columns + c];
        const T cosine = roots.cosine(j * k), sine = sign * roots.sine(j * k);
        re = re + a * cosine - b * sine;
        im = im + a * sine + b * cosine;
      }
      y[item * 2 * columns + c] = re;
      y[(item * 2 + 1) * columns + c] = im;
    }
  }
};

/// Sine sums along an axis with n - 1 elements, `inner` apart. An item is one output element.
template <class T, class S>
struct SineSumKernel {
  const S* x;
  S* y;
  Roots<T> roots;  // of order 2n
  index_t inner;
  T scale;
  KOLMO_HD void operator()(index_t item) const {
    const index_t length = roots.n / 2 - 1, k = item / inner % length, first = item - k * inner;
    S sum = S(T(0));
    for (index_t j = 0; j < length; ++j) sum = sum + x[first + j * inner] * roots.sine((j + 1) * (k + 1));
    y[item] = sum * (T(2) * scale);
  }
};

}  // namespace detail

/// The discrete Fourier transform of real fields [batch, n0, n1] and its inverse. T is float or double; the functions
/// take S = T or Dual<T, 1>, pointers in the memory of backend B, and inputs and outputs that do not overlap.
template <class T>
class RealFft2 {
 public:
  /// `columns` is the number of wave numbers ky kept; all n1/2 + 1 unless given.
  /// Throws ArgumentError unless n0, n1 >= 1 and 1 <= columns <= n1/2 + 1.
  explicit RealFft2(index_t n0, index_t n1, index_t columns = -1)
      : n0_(n0), n1_(n1), columns_(columns < 0 ? n1 / 2 + 1 : columns) {
    if (n0 < 1 || n1 < 1)
      throw ArgumentError("RealFft2: the extents must be at least 1, given " + std::to_string(n0) + " and " +
                          std::to_string(n1));
    if (columns_ < 1 || columns_ > n1 / 2 + 1)
      throw ArgumentError("RealFft2: of " + std::to_string(n1) + " points 1 to " + std::to_string(n1 / 2 + 1) +
                          " columns can be kept, given " + std::to_string(columns_));
    roots0_ = detail::roots_of_unity<T>(n0);
    roots1_ = detail::roots_of_unity<T>(n1);
  }

  index_t rows() const { return n0_; }
  index_t points() const { return n1_; }
  /// Kept wave numbers ky.
  index_t columns() const { return columns_; }

  /// y[batch, n0, 2, columns] = sum over all points of x[batch, n0, n1] e^{-i k x}.
  template <class B, class S>
  void forward(index_t batch, const S* x, S* y) const {
    analyse<B>(batch, x, y, T(1), T(1));
  }

  /// x = scale * sum over all modes of y e^{i k x}: columns 0 and n1/2 count once, the others twice, for their
  /// conjugates. Imaginary parts that these conjugates would cancel are ignored.
  template <class B, class S>
  void inverse(index_t batch, const S* y, S* x, T scale = T(1)) const {
    synthesise<B>(batch, y, x, T(2), scale);
  }

  /// gx with <gy, forward(x)> = <gx, x>.
  template <class B, class S>
  void forward_adjoint(index_t batch, const S* gy, S* gx) const {
    synthesise<B>(batch, gy, gx, T(1), T(1));
  }

  /// gy with <gx, inverse(y)> = <gy, y>.
  template <class B, class S>
  void inverse_adjoint(index_t batch, const S* gx, S* gy, T scale = T(1)) const {
    analyse<B>(batch, gx, gy, T(2), scale);
  }

 private:
  template <class B, class S>
  void analyse(index_t batch, const S* x, S* y, T interior, T scale) const {
    auto work = Tensor<S, B>::uninitialized(Shape{batch, n0_, 2, columns_});
    const auto roots0 = Tensor<T, B>::from(roots0_), roots1 = Tensor<T, B>::from(roots1_);
    detail::for_each_item<B>(batch * n0_, detail::RealRowKernel<T, S>{x, work.mutable_data(), {roots1.data(), n1_},
                                                                      columns_, interior, scale});
    detail::for_each_item<B>(batch * n0_, detail::ComplexColumnKernel<T, S>{work.data(), y, {roots0.data(), n0_}, columns_, T(-1)});
  }

  template <class B, class S>
  void synthesise(index_t batch, const S* y, S* x, T interior, T scale) const {
    auto work = Tensor<S, B>::uninitialized(Shape{batch, n0_, 2, columns_});
    const auto roots0 = Tensor<T, B>::from(roots0_), roots1 = Tensor<T, B>::from(roots1_);
    detail::for_each_item<B>(batch * n0_, detail::ComplexColumnKernel<T, S>{y, work.mutable_data(), {roots0.data(), n0_},
                                                                            columns_, T(1)});
    detail::for_each_item<B>(batch * n0_, detail::HermitianRowKernel<T, S>{work.data(), x, {roots1.data(), n1_}, columns_,
                                                                           interior, scale});
  }

  index_t n0_, n1_, columns_;
  std::vector<T> roots0_, roots1_;
};

/// The sine transform of type I over both axes of fields [batch, nx-1, ny-1], the inner points of a grid of nx x ny
/// cells: y[k, l] = scale * sum over i, j of 4 x[i, j] sin(pi i k / nx) sin(pi j l / ny). It is symmetric, and its own
/// inverse for scale = 1 / (4 nx ny).
template <class T>
class SineTransform2 {
 public:
  /// Throws ArgumentError unless nx, ny >= 2.
  SineTransform2(index_t nx, index_t ny) : nx_(nx), ny_(ny) {
    if (nx < 2 || ny < 2)
      throw ArgumentError("SineTransform2: the grid must have at least 2 cells each way, given " + std::to_string(nx) +
                          " and " + std::to_string(ny));
    roots_x_ = detail::roots_of_unity<T>(2 * nx);
    roots_y_ = detail::roots_of_unity<T>(2 * ny);
  }

  /// x and y may be the same memory; otherwise they must not overlap.
  template <class B, class S>
  void apply(index_t batch, const S* x, S* y, T scale = T(1)) const {
    auto work = Tensor<S, B>::uninitialized(Shape{batch, nx_ - 1, ny_ - 1});
    const auto roots_x = Tensor<T, B>::from(roots_x_), roots_y = Tensor<T, B>::from(roots_y_);
    B::for_each(work.size(), detail::SineSumKernel<T, S>{x, work.mutable_data(), {roots_y.data(), 2 * ny_}, 1, T(1)});
    B::for_each(work.size(), detail::SineSumKernel<T, S>{work.data(), y, {roots_x.data(), 2 * nx_}, ny_ - 1, scale});
  }

 private:
  index_t nx_, ny_;
  std::vector<T> roots_x_, roots_y_;
};

}  // namespace kolmo
