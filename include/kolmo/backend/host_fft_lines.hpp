#pragma once
// Transforms of many lines on the host, as many at once as a vector has lanes: rows are transposed in registers,
// columns are lanes as they lie.

#include <kolmo/backend/fft_field.hpp>
#include <kolmo/backend/fft_lanes.hpp>
#include <kolmo/backend/pool.hpp>
#include <kolmo/backend/threads.hpp>

namespace kolmo::detail {

/// A value that stays in a register: a compiler that reads it again from memory for every use doubles the loads of a
/// butterfly, and one that puts it on the stack its stores.
template <class V>
KOLMO_INLINE void hold_in_register([[maybe_unused]] V& v) {
#if defined(__x86_64__)
  __asm__("" : "+v"(v));
#endif
}

/// Points and parts of lines one after the other, as FftBuffer.
template <class V>
struct HostBuffer {
  V* data;
  KOLMO_INLINE void load(index_t i, V& re, V& im) const {
    re = data[2 * i];
    im = data[2 * i + 1];
    hold_in_register(re);
    hold_in_register(im);
  }
  KOLMO_INLINE void store(index_t i, const V& re, const V& im) const {
    data[2 * i] = re;
    data[2 * i + 1] = im;
  }
};

/// A batch on the threads: field by field where there are enough of them, else the blocks of one after the other.
template <class F>
void host_fft_batch(index_t batch, const F& field) {
  if (batch >= threads::count()) {
    threads::parallel_for(batch, field);
  } else {
    for (index_t b = 0; b < batch; ++b) field(b);
  }
}

/// Up to `width` rows of T and what a block of lanes reads and writes of them.
template <class T, int bytes>
struct HostRows {
  using Lanes = FftLanes<T, bytes>;
  using V = typename Lanes::Vector;
  static constexpr int width = Lanes::width;

  /// Part `part` of points `first` ... of a buffer from `points` elements of each row.
  static KOLMO_INLINE void load(const T* const (&row)[width], index_t points, V* buffer) {
    if (points < width) {
      for (index_t j = 0; j < points; ++j) {
        T values[width];
        for (int r = 0; r < width; ++r) values[r] = row[r][j];
        buffer[2 * j] = Lanes::load(values);
      }
      return;
    }
    index_t i = 0;
    for (; i + width <= points; i += width) load_tile(row, i, buffer);
    // The last tile overlaps the one before.
    if (i < points) load_tile(row, points - width, buffer);
  }

  /// Elements j of the first `count` rows from the points `place(j)` of a buffer.
  template <class Place>
  static KOLMO_INLINE void store(T* const (&row)[width], int count, index_t points, const V* buffer,
                                 const Place& place) {
    if (points < width) {
      for (index_t j = 0; j < points; ++j) {
        T values[width];
        Lanes::store(values, buffer[2 * place(j)]);
        for (int r = 0; r < count; ++r) row[r][j] = values[r];
      }
      return;
    }
    index_t i = 0;
    for (; i + width <= points; i += width) store_tile(row, count, i, buffer, place);
    if (i < points) store_tile(row, count, points - width, buffer, place);
  }

 private:
  static KOLMO_INLINE void load_tile(const T* const (&row)[width], index_t i, V* buffer) {
    V v[width];
    Lanes::load_transposed(row, i, v);
    for (int j = 0; j < width; ++j) buffer[2 * (i + j)] = v[j];
  }
  template <class Place>
  static KOLMO_INLINE void store_tile(T* const (&row)[width], int count, index_t i, const V* buffer,
                                      const Place& place) {
    V v[width];
    for (int j = 0; j < width; ++j) v[j] = buffer[2 * place(i + j)];
    if (count == width) {
      Lanes::store_transposed(row, i, v);
    } else {
      Lanes::transpose(v);
      for (int r = 0; r < count; ++r) Lanes::store(row[r] + i, v[r]);
    }
  }
};

/// Rows of complex columns in memory, one vector of each part per row.
template <class T, int bytes, bool whole>
struct HostColumns {
  using Lanes = FftLanes<T, bytes>;
  T* data;
  index_t row, part;  // distances
  index_t count;      // columns, where not a whole vector
  KOLMO_INLINE HostColumns block(int g) const { return {data + g * Lanes::width, row, part, count}; }
  template <class V>
  KOLMO_INLINE void load(index_t i, V& re, V& im) const {
    const T* from = data + i * row;
    if constexpr (whole) {
      re = Lanes::load(from);
      im = Lanes::load(from + part);
    } else {
      re = Lanes::load(from, count);
      im = Lanes::load(from + part, count);
    }
    hold_in_register(re);
    hold_in_register(im);
  }
  template <class V>
  KOLMO_INLINE void store(index_t i, const V& re, const V& im) const {
    T* to = data + i * row;
    if constexpr (whole) {
      Lanes::store(to, re);
      Lanes::store(to + part, im);
    } else {
      Lanes::store(to, re, count);
      Lanes::store(to + part, im, count);
    }
  }
};

/// Blocks of lanes that are neighbours in memory, with their buffers: lines for FftLine::transform_from and _to.
template <class V, class Columns>
struct HostColumnBlocks {
  V* buffers;
  index_t step;  // from buffer to buffer
  Columns columns;
  int count;
  KOLMO_INLINE HostBuffer<V> buffer(int g) const { return {buffers + g * step}; }
  KOLMO_INLINE Columns outside(int g) const { return columns.block(g); }
};

/// Places in natural order, and those that the stages leave.
struct FftInOrder {
  KOLMO_INLINE index_t operator()(index_t j) const { return j; }
};
struct FftByPosition {
  const index_t* position;
  KOLMO_INLINE index_t operator()(index_t j) const { return position[j]; }
};

/// Lines in rows; every lane is a row of its own.
template <class T, int bytes = fft_vector_bytes>
class HostRowsFft {
  using Lanes = FftLanes<T, bytes>;
  using Rows = HostRows<T, bytes>;
  using V = typename Lanes::Vector;
  static constexpr int width = Lanes::width;

 public:
  static void transform(const RowsFft<T>& f, index_t rows, const T* x, T* y) {
    threads::parallel_for(divide_up(rows, width), [&](index_t block) { transform_block(f, rows, block, x, y); });
  }
  static void sine(const SineLine<T>& f, T scale, index_t rows, const T* x, T* y) {
    threads::parallel_for(divide_up(rows, width), [&](index_t block) { sine_block(f, scale, rows, block, x, y); });
  }

 private:
  /// Rows `step` apart; lanes behind the last row repeat it.
  struct Block {
    const T* in[width];
    T* out[width];
    int count;
    Block(index_t rows, index_t block, const T* x, index_t in_step, T* y, index_t out_step)
        : count(static_cast<int>(smaller<index_t>(width, rows - block * width))) {
      for (int r = 0; r < width; ++r) {
        const index_t row = smaller(block * width + r, rows - 1);
        in[r] = x + row * in_step;
        out[r] = y + row * out_step;
      }
    }
    void advance(index_t in_part, index_t out_part) {
      for (int r = 0; r < width; ++r) {
        in[r] += in_part;
        out[r] += out_part;
      }
    }
  };

  KOLMO_NOINLINE static void transform_block(const RowsFft<T>& f, index_t rows, index_t block, const T* x, T* y) {
    const index_t n = f.line.points, given = f.in_columns(), kept = f.out_columns();
    const HostScratch<V> buffer(2 * f.line.size);
    Block b(rows, block, x, f.real_in ? n : 2 * given, y, f.real_out ? n : 2 * kept);
    // The inverse transform is the forward one between exchanged parts.
    const int re = f.inverse ? 1 : 0, im = 1 - re;
    V* z = buffer.data();
    Rows::load(b.in, given, z + re);
    if (f.real_in) {
      for (index_t j = 0; j < n; ++j) z[2 * j + im] = V{};
    } else {
      b.advance(given, 0);
      Rows::load(b.in, given, z + im);
    }
    if (f.completes()) f.template complete<V>(HostBuffer<V>{z});
    f.line.template transform<V>(HostBuffer<V>{z});
    if (f.weighs()) f.template weigh<V>(HostBuffer<V>{z});
    Rows::store(b.out, b.count, kept, z + re, FftByPosition{f.line.position});
    if (f.real_out) return;
    b.advance(0, kept);
    Rows::store(b.out, b.count, kept, z + im, FftByPosition{f.line.position});
  }

  KOLMO_NOINLINE static void sine_block(const SineLine<T>& f, T scale, index_t rows, index_t block, const T* x, T* y) {
    const index_t n = f.line.points;
    const HostScratch<V> buffer(2 * f.line.size), sums(2 * n);
    const Block b(rows, block, x, n - 1, y, n - 1);
    const HostBuffer<V> z{buffer.data()};
    Rows::load(b.in, n - 1, z.data + 2);
    for (index_t j = 1; j < n; ++j) z.data[2 * j + 1] = z.data[2 * j];
    f.template prepare<V>(z, scale);
    f.line.template transform<V>(z);
    f.template finish<V>(z, HostBuffer<V>{sums.data()});
    Rows::store(b.out, b.count, n - 1, sums.data() + 2, FftInOrder{});
  }
};

/// Complex columns of [batch, n, 2, columns].
template <class T, int bytes = fft_vector_bytes>
class HostColumnsFft {
  using Lanes = FftLanes<T, bytes>;
  using V = typename Lanes::Vector;
  static constexpr int width = Lanes::width;

 public:
  static void transform(const FftLine<T>& line, bool inverse, index_t batch, index_t columns, const T* x, T* y) {
    const index_t blocks = divide_up(columns, width);
    threads::parallel_for(batch * blocks, [&](index_t task) {
      const index_t at = task / blocks * line.points * 2 * columns + task % blocks * width;
      const index_t count = smaller<index_t>(width, columns - task % blocks * width);
      if (count == width)
        transform_block<true>(line, inverse, columns, count, x + at, y + at);
      else
        transform_block<false>(line, inverse, columns, count, x + at, y + at);
    });
  }

 private:
  template <bool whole>
  KOLMO_NOINLINE static void transform_block(const FftLine<T>& line, bool inverse, index_t columns, index_t count,
                                             const T* x, T* y) {
    const HostScratch<V> buffer(2 * line.size);
    const HostBuffer<V> z{buffer.data()};
    const index_t part = inverse ? -columns : columns, first = inverse ? columns : 0;
    const HostColumns<T, bytes, whole> in{const_cast<T*>(x) + first, 2 * columns, part, count};
    for (index_t j = 0; j < line.points; ++j) {
      V re, im;
      in.load(j, re, im);
      z.store(j, re, im);
    }
    line.template transform_to<V>(FftLinePair<HostBuffer<V>, HostColumns<T, bytes, whole>>{
        z, HostColumns<T, bytes, whole>{y + first, 2 * columns, part, count}});
  }
};

// With KOLMO_COMPILED, and in CUDA files, which have no vector types, these come from the library kolmo::compiled.
template <class T>
void host_rows_fft(const RowsFft<T>& f, index_t rows, const T* x, T* y);
template <class T>
void host_rows_sine(const SineLine<T>& f, T scale, index_t rows, const T* x, T* y);
template <class T>
void host_columns_fft(const FftLine<T>& line, bool inverse, index_t batch, index_t columns, const T* x, T* y);

#if defined(KOLMO_COMPILING) || !(defined(KOLMO_COMPILED) || defined(KOLMO_CUDA_FILE))
template <class T>
void host_rows_fft(const RowsFft<T>& f, index_t rows, const T* x, T* y) {
  HostRowsFft<T>::transform(f, rows, x, y);
}
template <class T>
void host_rows_sine(const SineLine<T>& f, T scale, index_t rows, const T* x, T* y) {
  HostRowsFft<T>::sine(f, scale, rows, x, y);
}
template <class T>
void host_columns_fft(const FftLine<T>& line, bool inverse, index_t batch, index_t columns, const T* x, T* y) {
  HostColumnsFft<T>::transform(line, inverse, batch, columns, x, y);
}
#else
extern template void host_rows_fft<float>(const RowsFft<float>&, index_t, const float*, float*);
extern template void host_rows_fft<double>(const RowsFft<double>&, index_t, const double*, double*);
extern template void host_rows_sine<float>(const SineLine<float>&, float, index_t, const float*, float*);
extern template void host_rows_sine<double>(const SineLine<double>&, double, index_t, const double*, double*);
extern template void host_columns_fft<float>(const FftLine<float>&, bool, index_t, index_t, const float*, float*);
extern template void host_columns_fft<double>(const FftLine<double>&, bool, index_t, index_t, const double*, double*);
#endif

}  // namespace kolmo::detail
