#pragma once
// What a transform of fields is, for the host's loops and for a device alike: two lines and the weights of columns.

#include <kolmo/backend/fft_line.hpp>

namespace kolmo::detail {

/// The weights of wave numbers 0 ... n/2 of n real points.
template <class T>
struct FieldWeights {
  index_t points = 1;
  T scale = T(1);
  T interior = T(1);  // factor of the columns that stand for their conjugates too

  KOLMO_HD bool is_interior(index_t k) const { return k != 0 && 2 * k != points; }
  /// Two rows were packed into one line; the sums and differences that separate them count twice.
  KOLMO_HD T forward(index_t k) const { return T(0.5) * (is_interior(k) ? interior * scale : scale); }
  /// Both conjugates are summed: an interior column of factor 2 enters once.
  KOLMO_HD T inverse(index_t k) const { return is_interior(k) ? T(0.5) * interior * scale : scale; }
};

/// Real fields [n0, n1] and half spectra [n0, 2, columns].
template <class T>
struct FieldFft {
  FftLine<T> along_rows;     // n1 points
  FftLine<T> along_columns;  // n0 points
  index_t columns = 1;
  T scale = T(1);
  T interior = T(1);

  KOLMO_HD index_t rows() const { return along_columns.points; }
  KOLMO_HD index_t points() const { return along_rows.points; }
  KOLMO_HD FieldWeights<T> weights() const { return {points(), scale, interior}; }
  KOLMO_HD bool is_interior(index_t k) const { return weights().is_interior(k); }
  KOLMO_HD T forward_weight(index_t k) const { return weights().forward(k); }
  KOLMO_HD T inverse_weight(index_t k) const { return weights().inverse(k); }
};

/// What is done to lines of `points` in rows, one by one: [rows, points] where real, else [rows, 2, columns].
template <class T>
struct RowsFftForm {
  index_t points = 1;
  bool inverse = false, real_in = false, real_out = false;
  index_t columns = 1;  // of a half spectrum on either side
  T scale = T(1);
  T interior = T(1);  // factor of the columns that stand for their conjugates too

  KOLMO_HD bool completes() const { return real_out && !real_in; }
  KOLMO_HD index_t in_columns() const { return completes() ? columns : points; }
  KOLMO_HD index_t out_columns() const { return real_in && !real_out ? columns : points; }
  KOLMO_HD bool weighs() const { return !completes() && (scale != T(1) || interior != T(1)); }
  KOLMO_HD T weight(index_t k) const { return scale * (k == 0 || 2 * k == points || !real_in ? T(1) : interior); }

  /// Point i of the whole spectrum behind a half one, weighted; parts are exchanged.
  KOLMO_HD void complete(const T* half, index_t i, T& im, T& re) const {
    const bool below = i < columns;
    const index_t k = below ? i : points - i;
    im = re = T(0);
    if (k >= columns) return;
    if (k == 0 || 2 * k == points) {
      re = scale * half[k];
      return;
    }
    const T weight = T(0.5) * interior * scale;
    im = (below ? weight : -weight) * half[columns + k];
    re = weight * half[k];
  }
};

/// Lines in rows, with their transform.
template <class T>
struct RowsFft {
  FftLine<T> line;
  bool inverse = false, real_in = false, real_out = false;
  index_t columns = 1;
  T scale = T(1);
  T interior = T(1);

  KOLMO_HD RowsFftForm<T> form() const { return {line.points, inverse, real_in, real_out, columns, scale, interior}; }
  KOLMO_HD bool completes() const { return form().completes(); }
  KOLMO_HD index_t in_columns() const { return form().in_columns(); }
  KOLMO_HD index_t out_columns() const { return form().out_columns(); }
  KOLMO_HD bool weighs() const { return form().weighs(); }
  KOLMO_HD T weight(index_t k) const { return form().weight(k); }

  /// A half spectrum becomes a whole one, weighted; parts are exchanged. The imaginary parts of its ends are ignored.
  template <class V, class Buffer>
  KOLMO_HD void complete(const Buffer& buffer) const {
    const index_t n = line.points;
    const V zero = V{};
    for (index_t k = 0; k < columns; ++k) {
      V im, re;
      buffer.load(k, im, re);
      if (k == 0 || 2 * k == n) {
        buffer.store(k, zero, scale * re);
      } else {
        const T weight = T(0.5) * interior * scale;
        buffer.store(k, weight * im, weight * re);
        buffer.store(n - k, -weight * im, weight * re);
      }
    }
    for (index_t k = columns; k <= n - columns; ++k) buffer.store(k, zero, zero);
  }

  template <class V, class Buffer>
  KOLMO_HD void weigh(const Buffer& buffer) const {
    for (index_t k = 0; k < out_columns(); ++k) {
      V re, im;
      buffer.load(line.position[k], re, im);
      const T w = weight(k);
      buffer.store(line.position[k], w * re, w * im);
    }
  }
};

/// What two real lines packed as a + i b have in common with their spectra A and B. Everything comes in twice: from the
/// real parts of the points k and -k of the packed spectrum come re A and im B, from the imaginary parts re B and im A.
struct FftPair {
  template <class T, class V>
  KOLMO_HD KOLMO_INLINE static void separate_real(T weight, const V& up, const V& down, V& a_re, V& b_im) {
    a_re = weight * (up + down);
    b_im = weight * (down - up);
  }
  template <class T, class V>
  KOLMO_HD KOLMO_INLINE static void separate_imaginary(T weight, const V& up, const V& down, V& b_re, V& a_im) {
    b_re = weight * (up + down);
    a_im = weight * (up - down);
  }
  /// The other way, for points that are not their own conjugates.
  template <class T, class V>
  KOLMO_HD KOLMO_INLINE static void join_real(T weight, const V& a_re, const V& b_im, V& up, V& down) {
    const V a = weight * a_re, b = weight * b_im;
    up = a - b;
    down = a + b;
  }
  template <class T, class V>
  KOLMO_HD KOLMO_INLINE static void join_imaginary(T weight, const V& b_re, const V& a_im, V& up, V& down) {
    const V b = weight * b_re, a = weight * a_im;
    up = b + a;
    down = b - a;
  }
};

/// Sine sums S_l = 2 sum_j x_j sin(pi j l / n), l = 1 ... n-1, of complex x by one transform of n points (Cooley,
/// Lewis, Welch 1970): y_j = sin(pi j / n) (x_j + x_{n-j}) + (x_j - x_{n-j}) / 2 has even sums among its sines, and
/// differences of odd sums among its cosines. With complex x two real lines are transformed at once.
template <class T>
struct SineLine {
  FftLine<T> line;
  const T* sine = nullptr;  // [n]: sin(pi j / n)

  /// What x_j and x_{n-j} become at j, times `scale`.
  KOLMO_HD KOLMO_INLINE static T prepared(T here, T there, T sine_here, T scale) {
    return scale * sine_here * (here + there) + T(0.5) * scale * (here - there);
  }

  /// x_j, j = 1 ... n-1, in a buffer of line.size points becomes what the transform needs, times `scale`.
  template <class V, class Buffer>
  KOLMO_HD KOLMO_INLINE void prepare(const Buffer& buffer, T scale) const {
    const index_t n = line.points;
    const V zero = V{};
    buffer.store(0, zero, zero);
    for (index_t j = 1; 2 * j <= n; ++j) {
      V a_re, a_im, b_re, b_im;
      buffer.load(j, a_re, a_im);
      buffer.load(n - j, b_re, b_im);
      const T s = scale * sine[j], half = T(0.5) * scale;
      const V sum_re = s * (a_re + b_re), sum_im = s * (a_im + b_im);
      const V part_re = half * (a_re - b_re), part_im = half * (a_im - b_im);
      buffer.store(j, sum_re + part_re, sum_im + part_im);
      buffer.store(n - j, sum_re - part_re, sum_im - part_im);
    }
  }

  /// Gives the sums to out.store(l, ...), l = 1 ... n-1, from the transformed buffer.
  template <class V, class Buffer, class Out>
  KOLMO_HD KOLMO_INLINE void finish(const Buffer& buffer, const Out& out) const {
    const index_t n = line.points;
    V odd_re, odd_im;
    buffer.load(line.position[0], odd_re, odd_im);
    if (n > 1) out.store(1, odd_re, odd_im);
    for (index_t k = 1; 2 * k < n; ++k) {
      V a_re, a_im, b_re, b_im;
      buffer.load(line.position[k], a_re, a_im);
      buffer.load(line.position[n - k], b_re, b_im);
      out.store(2 * k, b_im - a_im, a_re - b_re);
      if (2 * k + 1 < n) {
        odd_re = odd_re + (a_re + b_re);
        odd_im = odd_im + (a_im + b_im);
        out.store(2 * k + 1, odd_re, odd_im);
      }
    }
  }
};

/// Sine sums over both axes of fields [nx-1, ny-1].
template <class T>
struct FieldSine {
  SineLine<T> along_rows;     // ny
  SineLine<T> along_columns;  // nx
  T scale = T(1);
  // Inputs are zero outside of these rows, and outputs wanted only in these columns.
  index_t row_begin = 0, row_end = index_t{1} << 60;
  index_t column_begin = 0, column_end = index_t{1} << 60;

  KOLMO_HD index_t rows() const { return along_columns.line.points - 1; }
  KOLMO_HD index_t columns() const { return along_rows.line.points - 1; }
};

}  // namespace kolmo::detail
