#pragma once
// Sets of lines to be transformed: where each pass of a transform reads its points, and what it makes of the result.
// A set is
//
//   index_t fields, lines, stored;     fields of `lines` lines each; what is stored of a line, k = 0 ... stored - 1
//   side_by_side_in, side_by_side_out  whether neighbours in memory are points of neighbouring lines, or of one line
//   line(field, l)                     a line, which has
//     load(i, re, im)                  point i of the transform
//     store(z, k)                      writes result k from z.load(wave, re, im)
//
// With `filters`, line.factor(wave) multiplies the spectrum, which is transformed back: z.load(i, re, im) gives points.
// With `accumulates`, line.term(z, k, re, im) is summed over 0 ... k, and store takes the sum: store(z, k, re, im).
//
// A backend may run whole sets (fft_lines in ops/fft_kernels.hpp); else an item is a line, transformed in scalars.

#include <kolmo/backend/fft_field.hpp>

namespace kolmo::detail {

struct FftSet {
  static constexpr bool filters = false, accumulates = false;
};

/// Spectra [fields, rows, 2, columns], rows of parts `pitch` apart.
template <class T>
struct SpectrumRows {
  T* data;
  index_t rows, pitch;
  KOLMO_HD T* row(index_t field, index_t i) const { return data + (field * rows + i) * 2 * pitch; }
};

/// Real fields [fields, rows, points] as what RealRowsForward reads.
template <class T>
struct FieldRows {
  struct Row {
    const T* data;
    KOLMO_HD T at(index_t j) const { return data[j]; }
  };
  const T* data;
  index_t rows, points;
  KOLMO_HD Row row(index_t field, index_t i) const { return {data + (field * rows + i) * points}; }
};

/// Two lines p and p + half of a field of `count` lines, transformed as one. Of an odd number one stays alone: its
/// second line repeats the last.
struct LinePair {
  index_t first, second;
  bool lonely;
  KOLMO_HD LinePair(index_t p, index_t count)
      : first(p), second(p + divide_up(count, index_t{2})), lonely(second >= count) {
    if (lonely) second = count - 1;
  }
  KOLMO_HD LinePair(index_t f, index_t s, bool l) : first(f), second(s), lonely(l) {}
};

/// Real rows to their half spectra. Source::row(field, i).at(j) gives the points, whatever they are made from.
template <class T, class Source>
struct RealRowsForward : FftSet {
  static constexpr bool side_by_side_in = false, side_by_side_out = false;
  index_t fields, lines, stored;
  FieldWeights<T> weights;
  Source source;
  SpectrumRows<T> spectra;

  struct Line {
    FieldWeights<T> weights;
    typename Source::Row first, second;
    T *to_first, *to_second;
    index_t pitch;
    bool lonely;
    KOLMO_HD void load(index_t i, T& re, T& im) const {
      re = first.at(i);
      im = lonely ? T(0) : second.at(i);
    }
    template <class Z>
    KOLMO_HD void store(const Z& z, index_t k) const {
      T up_re, up_im, down_re, down_im, a_re, a_im, b_re, b_im;
      z.load(k, up_re, up_im);
      z.load(k == 0 ? 0 : weights.points - k, down_re, down_im);
      const T weight = weights.forward(k);
      FftPair::separate_real(weight, up_re, down_re, a_re, b_im);
      FftPair::separate_imaginary(weight, up_im, down_im, b_re, a_im);
      to_first[k] = a_re;
      to_first[pitch + k] = a_im;
      if (lonely) return;
      to_second[k] = b_re;
      to_second[pitch + k] = b_im;
    }
  };
  KOLMO_HD Line line(index_t field, index_t p) const {
    const LinePair pair(p, spectra.rows);
    return {weights,
            source.row(field, pair.first),
            source.row(field, pair.second),
            spectra.row(field, pair.first),
            spectra.row(field, pair.second),
            spectra.pitch,
            pair.lonely};
  }
};

/// Half spectra to real rows.
template <class T>
struct RealRowsInverse : FftSet {
  static constexpr bool side_by_side_in = false, side_by_side_out = false;
  index_t fields, lines, stored;
  FieldWeights<T> weights;
  index_t columns;
  SpectrumRows<T> spectra;
  T* x;  // [fields, rows, points]

  struct Line {
    FieldWeights<T> weights;
    const T *first, *second;
    T *to_first, *to_second;
    index_t columns, pitch;
    bool lonely;
    /// Parts are exchanged: the inverse transform is the forward one between two exchanges.
    KOLMO_HD void load(index_t i, T& re, T& im) const {
      const bool below = i < columns;
      const index_t k = below ? i : weights.points - i;
      re = im = T(0);
      if (k >= columns) return;
      const T a_re = first[k], a_im = first[pitch + k];
      const T b_re = lonely ? T(0) : second[k], b_im = lonely ? T(0) : second[pitch + k];
      const T weight = weights.inverse(k);
      if (!weights.is_interior(k)) {
        re = weight * b_re;
        im = weight * a_re;
        return;
      }
      T up_re, up_im, down_re, down_im;
      FftPair::join_real(weight, a_re, b_im, up_re, down_re);
      FftPair::join_imaginary(weight, b_re, a_im, up_im, down_im);
      re = below ? up_im : down_im;
      im = below ? up_re : down_re;
    }
    template <class Z>
    KOLMO_HD void store(const Z& z, index_t i) const {
      T a, b;
      z.load(i, b, a);
      to_first[i] = a;
      if (!lonely) to_second[i] = b;
    }
  };
  KOLMO_HD Line line(index_t field, index_t p) const {
    const LinePair pair(p, spectra.rows);
    const index_t n = weights.points;
    return {weights,
            spectra.row(field, pair.first),
            spectra.row(field, pair.second),
            x + (field * spectra.rows + pair.first) * n,
            x + (field * spectra.rows + pair.second) * n,
            columns,
            spectra.pitch,
            pair.lonely};
  }
};

/// Complex columns of spectra, from `x` to `y`, which may be the same.
template <class T, bool inverse>
struct ComplexColumns : FftSet {
  static constexpr bool side_by_side_in = true, side_by_side_out = true;
  index_t fields, lines, stored;
  SpectrumRows<const T> x;
  SpectrumRows<T> y;

  struct Line {
    const T* from;
    T* to;
    index_t from_pitch, to_pitch;
    KOLMO_HD void load(index_t i, T& re, T& im) const {
      const T* at = from + i * 2 * from_pitch;
      re = at[inverse ? from_pitch : 0];
      im = at[inverse ? 0 : from_pitch];
    }
    template <class Z>
    KOLMO_HD void store(const Z& z, index_t k) const {
      T* at = to + k * 2 * to_pitch;
      z.load(k, at[inverse ? to_pitch : 0], at[inverse ? 0 : to_pitch]);
    }
  };
  KOLMO_HD Line line(index_t field, index_t l) const {
    return {x.row(field, 0) + l, y.row(field, 0) + l, x.pitch, y.pitch};
  }
};

/// Columns of spectra, transformed, multiplied by factor(kx, ky), and transformed back, in place.
template <class T, class Factor>
struct FilteredColumns : FftSet {
  static constexpr bool side_by_side_in = true, side_by_side_out = true, filters = true;
  index_t fields, lines, stored;
  SpectrumRows<T> spectra;
  Factor by;

  struct Line {
    T* data;
    index_t pitch, column;
    Factor by;
    KOLMO_HD void load(index_t i, T& re, T& im) const {
      re = data[i * 2 * pitch];
      im = data[(2 * i + 1) * pitch];
    }
    KOLMO_HD T factor(index_t wave) const { return by(wave, column); }
    template <class Z>
    KOLMO_HD void store(const Z& z, index_t i) const {
      z.load(i, data[i * 2 * pitch], data[(2 * i + 1) * pitch]);
    }
  };
  KOLMO_HD Line line(index_t field, index_t l) const { return {spectra.row(field, 0) + l, spectra.pitch, l, by}; }
};

/// Lines in rows, one by one.
template <class T>
struct SingleRows : FftSet {
  static constexpr bool side_by_side_in = false, side_by_side_out = false;
  index_t fields, lines, stored;
  RowsFftForm<T> form;
  const T* x;
  T* y;

  struct Line {
    RowsFftForm<T> form;
    const T* from;
    T* to;
    KOLMO_HD void load(index_t i, T& re, T& im) const {
      if (form.completes()) {
        form.complete(from, i, re, im);
        return;
      }
      const T a = from[i], b = form.real_in ? T(0) : from[form.in_columns() + i];
      re = form.inverse ? b : a;
      im = form.inverse ? a : b;
    }
    template <class Z>
    KOLMO_HD void store(const Z& z, index_t k) const {
      T a, b;
      z.load(k, a, b);
      if (form.weighs()) {
        a = form.weight(k) * a;
        b = form.weight(k) * b;
      }
      to[k] = form.inverse ? b : a;
      if (!form.real_out) to[form.out_columns() + k] = form.inverse ? a : b;
    }
  };
  KOLMO_HD Line line(index_t, index_t row) const {
    return {form, x + row * (form.real_in ? form.in_columns() : 2 * form.in_columns()),
            y + row * (form.real_out ? form.out_columns() : 2 * form.out_columns())};
  }
};

/// Sine sums of `count` lines of n - 1 points, in rows or columns of each field: of two lines at a time, or of every
/// line by itself, so that its bits do not depend on the others.
template <class T, bool columns>
struct SinePairs : FftSet {
  static constexpr bool side_by_side_in = columns, side_by_side_out = columns, accumulates = true;
  index_t fields, lines, stored;
  index_t points;  // n
  const T* sine;   // sin(pi j / n)
  T scale;
  const T* x;
  T* y;
  index_t count;  // lines of a field
  bool paired;
  index_t field_step, row;  // distances of fields and of rows

  struct Line {
    index_t points, step;
    const T* sine;
    T scale;
    const T *first, *second;
    T *to_first, *to_second;
    bool lonely;
    KOLMO_HD void load(index_t j, T& re, T& im) const {
      re = im = T(0);
      if (j == 0) return;
      const index_t here = (j - 1) * step, there = (points - j - 1) * step;
      re = SineLine<T>::prepared(first[here], first[there], sine[j], scale);
      im = SineLine<T>::prepared(second[here], second[there], sine[j], scale);
    }
    /// Of the sums with odd numbers.
    template <class Z>
    KOLMO_HD void term(const Z& z, index_t k, T& re, T& im) const {
      z.load(k, re, im);
      if (k == 0) return;
      T b_re, b_im;
      z.load(points - k, b_re, b_im);
      re = re + b_re;
      im = im + b_im;
    }
    template <class Z>
    KOLMO_HD void store(const Z& z, index_t k, T odd_re, T odd_im) const {
      if (k > 0) {
        T a_re, a_im, b_re, b_im;
        z.load(k, a_re, a_im);
        z.load(points - k, b_re, b_im);
        put(2 * k, b_im - a_im, a_re - b_re);
      }
      if (2 * k + 1 < points) put(2 * k + 1, odd_re, odd_im);
    }
    KOLMO_HD void put(index_t l, T re, T im) const {
      to_first[(l - 1) * step] = re;
      if (!lonely) to_second[(l - 1) * step] = im;
    }
  };
  KOLMO_HD Line line(index_t field, index_t p) const {
    const LinePair pair = paired ? LinePair(p, count) : LinePair{p, p, true};
    const index_t line_step = columns ? 1 : row, at = field * field_step;
    const index_t first = at + pair.first * line_step, second = at + pair.second * line_step;
    return {points, columns ? row : 1, sine, scale, x + first, x + second, y + first, y + second, pair.lonely};
  }
};

}  // namespace kolmo::detail
