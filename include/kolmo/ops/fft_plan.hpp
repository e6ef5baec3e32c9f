#pragma once
// Fourier and sine transforms of fields, for solvers that work on pointers: RealFft2 from a real field to its half
// spectrum and back, SineTransform2 between a field that vanishes on the border and its sine coefficients.
//
// A spectrum over both axes is stored as [n0, 2, m]: row kx holds m real parts, then m imaginary parts, of the wave
// numbers ky = 0 ... m-1. Modes that are not kept count as zero on the way back.

#include <string>

#include <kolmo/backend/host_fft.hpp>
#include <kolmo/ops/fft_kernels.hpp>

namespace kolmo {

/// The discrete Fourier transform of real fields [batch, n0, n1] and its inverse. T is float or double; the functions
/// take S = T or Dual<T, 1>, pointers in the memory of backend B, and inputs and outputs that do not overlap. Copies
/// share their tables.
template <class T>
class RealFft2 {
 public:
  /// `columns` is the number of wave numbers ky kept; all n1/2 + 1 unless given.
  /// Throws ArgumentError unless n0, n1 >= 1 and 1 <= columns <= n1/2 + 1.
  explicit RealFft2(index_t n0, index_t n1, index_t columns = -1) : columns_(columns == -1 ? n1 / 2 + 1 : columns) {
    if (n0 < 1 || n1 < 1)
      throw ArgumentError("RealFft2: the extents must be at least 1, given " + std::to_string(n0) + " and " +
                          std::to_string(n1));
    if (columns_ < 1 || columns_ > n1 / 2 + 1)
      throw ArgumentError("RealFft2: of " + std::to_string(n1) + " points 1 to " + std::to_string(n1 / 2 + 1) +
                          " columns can be kept, given " + std::to_string(columns_));
    along_columns_ = std::make_shared<const detail::FftTables<T>>(n0);
    along_rows_ = n0 == n1 ? along_columns_ : std::make_shared<const detail::FftTables<T>>(n1);
  }

  index_t rows() const { return along_columns_->line().points; }
  index_t points() const { return along_rows_->line().points; }
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

  /// Numbers of scratch memory that `filter` takes.
  index_t scratch_size(index_t batch) const { return batch * rows() * 2 * scratch_pitch(); }

  /// y = the inverse transform, without its factor, of factor(kx, ky) times the transform of x: x and y may be the same
  /// memory. Row kx = 0 ... n0 - 1 of the factor belongs to the wave number kx or kx - n0; Factor is a functor with
  /// KOLMO_HD T operator()(index_t kx, index_t ky) const.
  template <class B, class S, class Factor>
  void filter(index_t batch, const S* x, S* y, const Factor& factor, S* scratch) const {
    if constexpr (std::is_same_v<S, T>) {
      filter_from<B>(batch, detail::FieldRows<T>{x, rows(), points()}, y, factor, scratch);
    } else {
      static_assert(sizeof(S) % sizeof(T) == 0, "the scalar must consist of the plan's real numbers");
      T* const spectra = reinterpret_cast<T*>(scratch);
      const index_t size = rows() * points();
      detail::by_components<B, T>(batch, size, size, x, y, [&](index_t count, const T* from, T* to) {
        filter<B>(count, from, to, factor, spectra);
      });
    }
  }

  /// The same of fields whose points are given by source.row(field, i).at(j). On the host they are written down first.
  template <class B, class Source, class Factor>
  void filter_from(index_t batch, const Source& source, T* y, const Factor& factor, T* scratch) const {
    const auto field = field_on<B>(T(1), T(1));
    if constexpr (detail::HostMemory<B>) {
      if constexpr (std::is_same_v<Source, detail::FieldRows<T>>) {
        detail::host_field_forward(field, batch, source.data, scratch);
      } else {
        B::for_each(batch * rows() * points(), detail::WriteRows<T, Source>{source, rows(), points(), y});
        detail::host_field_forward(field, batch, static_cast<const T*>(y), scratch);
      }
      B::for_each(batch * rows() * columns_,
                  detail::ScaleModes<T, Factor>{{scratch, rows(), columns_}, columns_, factor});
      inverse<B>(batch, static_cast<const T*>(scratch), y);
    } else {
      detail::field_filter<B>(field, batch, source, detail::SpectrumRows<T>{scratch, rows(), scratch_pitch()}, factor,
                              y);
    }
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
  /// Rows of scratch begin at multiples of 64 bytes, as tiles of columns are read.
  index_t scratch_pitch() const {
    constexpr index_t line = 64 / static_cast<index_t>(sizeof(T));
    return divide_up(columns_, line) * line;
  }

  template <class B, class S>
  void analyse(index_t batch, const S* x, S* y, T interior, T scale) const {
    const auto field = field_on<B>(interior, scale);
    detail::by_components<B, T>(batch, rows() * points(), rows() * 2 * columns_, x, y,
                                [&field](index_t count, const T* from, T* to) {
                                  if constexpr (detail::HostMemory<B>)
                                    detail::host_field_forward(field, count, from, to);
                                  else
                                    detail::field_forward<B>(field, count, from, to);
                                });
  }

  template <class B, class S>
  void synthesise(index_t batch, const S* y, S* x, T interior, T scale) const {
    const auto field = field_on<B>(interior, scale);
    detail::by_components<B, T>(batch, rows() * 2 * columns_, rows() * points(), y, x,
                                [&field](index_t count, const T* from, T* to) {
                                  if constexpr (detail::HostMemory<B>)
                                    detail::host_field_inverse(field, count, from, to);
                                  else
                                    detail::field_inverse<B>(field, count, from, to);
                                });
  }

  template <class B>
  detail::FieldFft<T> field_on(T interior, T scale) const {
    if constexpr (detail::HostMemory<B>) {
      return {along_rows_->line(), along_columns_->line(), columns_, scale, interior};
    } else {
      using Tables = detail::FftTablesOn<T, B>;
      struct Both {
        Tables along_rows, along_columns;
      };
      const Both& tables = cache_.get<Both>([this] { return Both{Tables(*along_rows_), Tables(*along_columns_)}; });
      return {tables.along_rows.line(), tables.along_columns.line(), columns_, scale, interior};
    }
  }

  index_t columns_;
  std::shared_ptr<const detail::FftTables<T>> along_rows_, along_columns_;
  detail::FftCache cache_;
};

/// The sine transform of type I over both axes of fields [batch, nx-1, ny-1], the inner points of a grid of nx x ny
/// cells: y[k, l] = scale * sum over i, j of 4 x[i, j] sin(pi i k / nx) sin(pi j l / ny), indices from 1. It is
/// symmetric, and its own inverse for scale = 1 / (4 nx ny). Scalars and memory as for RealFft2.
template <class T>
class SineTransform2 {
 public:
  /// Throws ArgumentError unless nx, ny >= 2.
  SineTransform2(index_t nx, index_t ny) {
    if (nx < 2 || ny < 2)
      throw ArgumentError("SineTransform2: the grid must have at least 2 cells each way, given " + std::to_string(nx) +
                          " and " + std::to_string(ny));
    along_columns_ = std::make_shared<const detail::SineTables<T>>(nx);
    along_rows_ = nx == ny ? along_columns_ : std::make_shared<const detail::SineTables<T>>(ny);
  }

  /// x and y may be the same memory; otherwise they must not overlap.
  template <class B, class S>
  void apply(index_t batch, const S* x, S* y, T scale = T(1)) const {
    apply_field<B>(field_on<B>(scale), batch, x, y);
  }

  /// Rows and columns [begin, end) of a field, counted from 0.
  struct Part {
    index_t row_begin, row_end, column_begin, column_end;
  };
  /// The transform of x that is zero outside of the rows of `part`, wanted in its columns only: y is undefined in
  /// others. On the host this takes about the time of what is left.
  template <class B, class S>
  void apply_part(index_t batch, const S* x, S* y, const Part& part, T scale = T(1)) const {
    detail::FieldSine<T> field = field_on<B>(scale);
    field.row_begin = part.row_begin;
    field.row_end = part.row_end;
    field.column_begin = part.column_begin;
    field.column_end = part.column_end;
    apply_field<B>(field, batch, x, y);
  }

 private:
  template <class B, class S>
  static void apply_field(const detail::FieldSine<T>& field, index_t batch, const S* x, S* y) {
    const index_t size = field.rows() * field.columns();
    detail::by_components<B, T>(batch, size, size, x, y, [&field](index_t count, const T* from, T* to) {
      if constexpr (detail::HostMemory<B>)
        detail::host_field_sine(field, count, from, to);
      else
        detail::field_sine<B>(field, count, from, to);
    });
  }

  template <class B>
  detail::FieldSine<T> field_on(T scale) const {
    if constexpr (detail::HostMemory<B>) {
      return {along_rows_->sine_line(), along_columns_->sine_line(), scale};
    } else {
      using Tables = detail::SineTablesOn<T, B>;
      struct Both {
        Tables along_rows, along_columns;
      };
      const Both& tables = cache_.get<Both>([this] { return Both{Tables(*along_rows_), Tables(*along_columns_)}; });
      return {tables.along_rows.sine_line(), tables.along_columns.sine_line(), scale};
    }
  }

  std::shared_ptr<const detail::SineTables<T>> along_rows_, along_columns_;
  detail::FftCache cache_;
};

}  // namespace kolmo
