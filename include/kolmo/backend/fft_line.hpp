#pragma once
// The discrete Fourier transform of one line of n points, y_k = sum_j x_j e^{-2 pi i j k / n}, in place over radices 8,
// 4, 5, 3 and 2 (decimation in frequency, Cooley and Tukey 1965, Gentleman and Sande 1966). Lengths with other prime
// factors become a cyclic convolution (Bluestein 1970). The element type V is a scalar or a vector with one line per
// lane; every lane computes the same operations. The inverse transform is the forward one with the parts exchanged.
//
// A point is two values, its parts. The stages leave y_k at place `position[k]`: whoever reads the result looks there.

#include <kolmo/backend/fft_butterfly.hpp>
#include <utility>

#include <kolmo/core/array.hpp>

namespace kolmo::detail {

/// A stage splits blocks of `length` points into `radix` interleaved ones.
struct FftStage {
  int radix = 1;
  index_t length = 1;
  index_t roots = 0;  // where its roots of unity start
};

/// Points and parts of a line one after the other: a buffer of whole vectors, or one line in scalars.
template <class V>
struct FftBuffer {
  V* data;
  KOLMO_HD KOLMO_INLINE void load(index_t i, V& re, V& im) const {
    re = data[2 * i];
    im = data[2 * i + 1];
  }
  KOLMO_HD KOLMO_INLINE void store(index_t i, const V& re, const V& im) const {
    data[2 * i] = re;
    data[2 * i + 1] = im;
  }
};

/// The same, `step` values apart: lines side by side, as a device reads them best.
template <class V>
struct FftSpacedBuffer {
  V* data;
  index_t step;
  KOLMO_HD KOLMO_INLINE void load(index_t i, V& re, V& im) const {
    re = data[2 * i * step];
    im = data[(2 * i + 1) * step];
  }
  KOLMO_HD KOLMO_INLINE void store(index_t i, const V& re, const V& im) const {
    data[2 * i * step] = re;
    data[(2 * i + 1) * step] = im;
  }
};

/// A buffer seen with real and imaginary parts exchanged.
template <class Buffer>
struct FftExchanged {
  Buffer buffer;
  KOLMO_HD KOLMO_INLINE FftExchanged block(int g) const { return {buffer.block(g)}; }
  template <class V>
  KOLMO_HD KOLMO_INLINE void load(index_t i, V& re, V& im) const {
    buffer.load(i, im, re);
  }
  template <class V>
  KOLMO_HD KOLMO_INLINE void store(index_t i, const V& re, const V& im) const {
    buffer.store(i, im, re);
  }
};

/// A buffer and where its points come from or go to: one line of those that FftLine::transform_from and _to take.
template <class Buffer, class Outside>
struct FftLinePair {
  static constexpr int count = 1;
  Buffer inside;
  Outside other;
  KOLMO_HD KOLMO_INLINE Buffer buffer(int) const { return inside; }
  KOLMO_HD KOLMO_INLINE Outside outside(int) const { return other; }
};

/// Everything about transforms of n points; the tables are where the transform runs. See fft_tables.hpp.
template <class T>
struct FftLine {
  static constexpr int most_stages = 40;

  index_t points = 1;  // of the transform
  index_t size = 1;    // of the buffer: `points`, or the length of the convolution
  int stage_count = 0;
  Array<FftStage, most_stages> stages{};
  const T* roots = nullptr;
  const index_t* position = nullptr;  // [points]: where the stages leave y_k
  const index_t* wave = nullptr;      // [size]: which k ends up at a place
  const T* chirp = nullptr;           // [2 points]: e^{-i pi j^2 / n}; null without convolution
  const T* kernel = nullptr;          // [2 size]: the transform of the conjugate chirp over `size`, by place

  KOLMO_HD bool convolves() const { return chirp != nullptr; }

  /// Transforms the `points` points of a buffer of `size` points in place; y_k is at position[k] then.
  template <class V, class Buffer>
  KOLMO_HD void transform(const Buffer& buffer) const {
    if (!convolves()) {
      run_stages<V>(buffer, 0, stage_count);
      return;
    }
    for (index_t j = 0; j < points; ++j) multiply<V>(buffer, j, chirp[2 * j], chirp[2 * j + 1]);
    const V zero = V{};
    for (index_t j = points; j < size; ++j) buffer.store(j, zero, zero);
    run_stages<V>(buffer, 0, stage_count);
    for (index_t j = 0; j < size; ++j) multiply<V>(buffer, j, kernel[2 * j], kernel[2 * j + 1]);
    for (int s = stage_count - 1; s >= 0; --s) mirrored_stage<V>(buffer, stages[s]);
    for (index_t j = 0; j < points; ++j) multiply<V>(buffer, j, chirp[2 * j], chirp[2 * j + 1]);
  }

  /// Transforms a buffer, multiplies the spectrum by line.factor(wave), and transforms it back without the factor 1/n:
  /// the points end where they were, and nothing is put into order on the way. Not for lengths that convolve.
  template <class V, class Buffer, class Line>
  KOLMO_HD void filter(const Buffer& buffer, const Line& line) const {
    run_stages<V>(buffer, 0, stage_count);
    for (index_t j = 0; j < size; ++j) {
      V re, im;
      buffer.load(j, re, im);
      const T factor = line.factor(wave[j]);
      buffer.store(j, factor * re, factor * im);
    }
    for (int s = stage_count - 1; s >= 0; --s) mirrored_stage<V>(buffer, stages[s]);
  }

  /// The same as `transform` for lines.count lines with x_j read from lines.outside(g).load(j, ...), in lines.buffer(g). The lines
  /// take turns, as they lie side by side.
  template <class V, class Lines>
  KOLMO_HD void transform_from(const Lines& lines) const {
    if (convolves() || stage_count == 0) {
      for (int g = 0; g < lines.count; ++g) {
        const auto& buffer = lines.buffer(g);
        const auto& in = lines.outside(g);
        for (index_t j = 0; j < points; ++j) {
          V re, im;
          in.load(j, re, im);
          buffer.store(j, re, im);
        }
        transform<V>(buffer);
      }
      return;
    }
    first_stage<V>(lines, stages[0]);
    for (int g = 0; g < lines.count; ++g) run_stages<V>(lines.buffer(g), 1, stage_count);
  }

  /// The same with y_k given to lines.outside(g).store(k, ...); the buffers are left undefined.
  template <class V, class Lines>
  KOLMO_HD void transform_to(const Lines& lines) const {
    if (convolves() || stage_count == 0) {
      for (int g = 0; g < lines.count; ++g) {
        const auto& buffer = lines.buffer(g);
        const auto& out = lines.outside(g);
        transform<V>(buffer);
        for (index_t k = 0; k < points; ++k) {
          V re, im;
          buffer.load(position[k], re, im);
          out.store(k, re, im);
        }
      }
      return;
    }
    for (int g = 0; g < lines.count; ++g) run_stages<V>(lines.buffer(g), 0, stage_count - 1);
    last_stage<V>(lines, stages[stage_count - 1]);
  }

 private:
  template <class V, class Buffer>
  KOLMO_HD static void multiply(const Buffer& buffer, index_t j, T c, T s) {
    V re, im;
    buffer.load(j, re, im);
    buffer.store(j, c * re - s * im, c * im + s * re);
  }

  template <class V, class Buffer>
  KOLMO_HD void run_stages(const Buffer& buffer, int begin, int end) const {
    for (int s = begin; s < end; ++s) stage<V>(buffer, stages[s]);
  }

  template <class V, class Buffer>
  KOLMO_HD void stage(const Buffer& buffer, const FftStage& s) const {
    switch (s.radix) {
      case 2:
        return radix_stage<2, V>(buffer, s);
      case 3:
        return radix_stage<3, V>(buffer, s);
      case 4:
        return radix_stage<4, V>(buffer, s);
      case 5:
        return radix_stage<5, V>(buffer, s);
      default:
        return radix_stage<8, V>(buffer, s);
    }
  }
  template <int radix, class V, class Buffer>
  KOLMO_HD KOLMO_NOINLINE void radix_stage(const Buffer& buffer, const FftStage& s) const {
    const index_t step = s.length / radix, all = size, length = s.length;
    const FftButterfly<radix, T, V, false, Buffer, Buffer> plain{buffer, buffer};
    const FftButterfly<radix, T, V, true, Buffer, Buffer> turned{buffer, buffer};
    if (step == 1) {
      KOLMO_ROLLED
      for (index_t block = 0; block < all; block += radix) plain(block, 1, block, 1, roots);
      return;
    }
    for (index_t block = 0; block < all; block += length) {
      const T* w = roots + s.roots;
      plain(block, step, block, step, w);
      KOLMO_ROLLED
      for (index_t i = 1; i < step; ++i) {
        turned(block + i, step, block + i, step, w);
        w += 2 * (radix - 1);
      }
    }
  }

  template <class V, class Lines>
  KOLMO_HD void first_stage(const Lines& lines, const FftStage& s) const {
    switch (s.radix) {
      case 2:
        return radix_first<2, V>(lines, s);
      case 3:
        return radix_first<3, V>(lines, s);
      case 4:
        return radix_first<4, V>(lines, s);
      case 5:
        return radix_first<5, V>(lines, s);
      default:
        return radix_first<8, V>(lines, s);
    }
  }
  template <int radix, class V, class Lines>
  KOLMO_HD KOLMO_NOINLINE void radix_first(const Lines& lines, const FftStage& s) const {
    const index_t step = s.length / radix;
    const T* w = roots + s.roots;
    for (int g = 0; g < lines.count; ++g)
      butterfly<radix, V, false>(lines.outside(g), lines.buffer(g), 0, step, 0, step, w);
    for (index_t i = 1; i < step; ++i) {
      KOLMO_ROLLED
      for (int g = 0; g < lines.count; ++g)
        butterfly<radix, V, true>(lines.outside(g), lines.buffer(g), i, step, i, step, w);
      w += 2 * (radix - 1);
    }
  }
  template <int radix, class V, bool turned, class In, class Out>
  KOLMO_HD KOLMO_INLINE static void butterfly(const In& in, const Out& out, index_t from, index_t from_step, index_t to,
                                              index_t to_step, const T* w) {
    FftButterfly<radix, T, V, turned, In, Out>{in, out}(from, from_step, to, to_step, w);
  }

  template <class V, class Lines>
  KOLMO_HD void last_stage(const Lines& lines, const FftStage& s) const {
    switch (s.radix) {
      case 2:
        return radix_last<2, V>(lines);
      case 3:
        return radix_last<3, V>(lines);
      case 4:
        return radix_last<4, V>(lines);
      case 5:
        return radix_last<5, V>(lines);
      default:
        return radix_last<8, V>(lines);
    }
  }
  template <int radix, class V, class Lines>
  KOLMO_HD KOLMO_NOINLINE void radix_last(const Lines& lines) const {
    const index_t all = size, step = all / radix;
    for (index_t block = 0; block < all; block += radix) {
      KOLMO_ROLLED
      for (int g = 0; g < lines.count; ++g)
        butterfly<radix, V, false>(lines.buffer(g), lines.outside(g), block, 1, wave[block], step, roots);
    }
  }

  template <class V, class Buffer>
  KOLMO_HD void mirrored_stage(const Buffer& buffer, const FftStage& s) const {
    switch (s.radix) {
      case 2:
        return radix_mirrored<2, V>(buffer, s);
      case 3:
        return radix_mirrored<3, V>(buffer, s);
      case 4:
        return radix_mirrored<4, V>(buffer, s);
      case 5:
        return radix_mirrored<5, V>(buffer, s);
      default:
        return radix_mirrored<8, V>(buffer, s);
    }
  }
  template <int radix, class V, class Buffer>
  KOLMO_HD KOLMO_NOINLINE void radix_mirrored(const Buffer& buffer, const FftStage& s) const {
    const index_t step = s.length / radix;
    for (index_t block = 0; block < size; block += s.length) {
      const T* w = roots + s.roots;
      constexpr std::make_integer_sequence<int, radix> all{};
      FftMirrored<radix, T, V, false, Buffer>{buffer}.run(block, step, w, all);
      for (index_t i = 1; i < step; ++i) {
        FftMirrored<radix, T, V, true, Buffer>{buffer}.run(block + i, step, w, all);
        w += 2 * (radix - 1);
      }
    }
  }
};

}  // namespace kolmo::detail
