#pragma once
// Transforms of fields on the host. Lines are lanes of vectors: rows are transposed in registers, two of them as the
// parts of one complex line, so that no root of unity separates them; columns are lanes as they lie. Between the two
// passes the field lies in blocks of as many columns as a vector holds, which stay in the first-level cache.

#include <kolmo/backend/host_fft_sine.hpp>

namespace kolmo::detail {

template <class T, int bytes = fft_vector_bytes>
class HostFieldFft {
  using Lanes = FftLanes<T, bytes>;
  using Lane = std::make_integer_sequence<int, Lanes::width>;
  using Rows = HostRows<T, bytes>;
  using V = typename Lanes::Vector;
  static constexpr int width = Lanes::width;
  static constexpr index_t most_in_group = 8;

 public:
  /// x[batch, n0, n1] -> y[batch, n0, 2, columns].
  static void forward(const FieldFft<T>& field, index_t batch, const T* x, T* y) {
    HostFieldFft f(field, batch);
    f.prepare_forward();
    host_fft_batch(batch, [&](index_t b) {
      const HostScratch<V> blocks(f.block_step_ * f.column_blocks_);
      const T* from = x + b * field.rows() * field.points();
      T* to = y + b * field.rows() * 2 * field.columns;
      threads::parallel_for(f.row_blocks_, [&](index_t block) { f.forward_rows(block, from, blocks.data()); });
      threads::parallel_for(f.column_groups(), [&](index_t group) { f.forward_columns(group, blocks.data(), to); });
    });
  }

  /// The other way.
  static void inverse(const FieldFft<T>& field, index_t batch, const T* y, T* x) {
    HostFieldFft f(field, batch);
    f.prepare_inverse();
    host_fft_batch(batch, [&](index_t b) {
      const HostScratch<V> blocks(f.block_step_ * f.column_blocks_);
      const T* from = y + b * field.rows() * 2 * field.columns;
      T* to = x + b * field.rows() * field.points();
      threads::parallel_for(f.column_groups(), [&](index_t group) { f.inverse_columns(group, from, blocks.data()); });
      threads::parallel_for(f.row_blocks_, [&](index_t block) { f.inverse_rows(block, blocks.data(), to); });
    });
  }

 private:
  HostFieldFft(const FieldFft<T>& field, index_t batch)
      : field_(field),
        half_(divide_up(field.rows(), 2)),
        row_blocks_(divide_up(half_, width)),
        column_blocks_(divide_up(field.columns, width)),
        block_step_(2 * (field.along_columns.size + 1)),
        column_group_(group_size(batch)),
        weights_(column_blocks_ * width),
        up_(column_blocks_ * width),
        down_(column_blocks_ * width) {}

  /// Where the wave numbers k and -k of every lane lie in a transformed row, for the analysis. Lanes behind the last
  /// column repeat it.
  void prepare_forward() {
    for (index_t k = 0; k < column_blocks_ * width; ++k) {
      const index_t column = smaller(k, field_.columns - 1);
      weights_.data()[k] = field_.forward_weight(column);
      up_.data()[k] = 2 * field_.along_rows.position[column];
      down_.data()[k] = 2 * field_.along_rows.position[column == 0 ? 0 : field_.points() - column];
    }
  }

  /// Where they go for the synthesis: what is not a mode of its own goes behind the row.
  void prepare_inverse() {
    const index_t nowhere = field_.along_rows.size;
    for (index_t k = 0; k < column_blocks_ * width; ++k) {
      const bool kept = k < field_.columns;
      weights_.data()[k] = kept ? field_.inverse_weight(k) : T(0);
      up_.data()[k] = 2 * (kept ? k : nowhere);
      down_.data()[k] = 2 * (kept && field_.is_interior(k) ? field_.points() - k : nowhere);
    }
  }

  /// The pairs of rows of a block: row p with row p + half. Lanes without a pair repeat the last one. Of an odd number
  /// of rows the last has no partner: the row behind all others stands for zeros.
  struct Pairs {
    index_t first[width], second[width];
    int count;
  };
  Pairs pairs(index_t block) const {
    Pairs result;
    result.count = static_cast<int>(smaller<index_t>(width, half_ - block * width));
    for (int r = 0; r < width; ++r) {
      const index_t p = smaller(block * width + r, half_ - 1);
      result.first[r] = p;
      result.second[r] = p + half_ < field_.rows() ? p + half_ : line_end();
    }
    return result;
  }

  KOLMO_NOINLINE void forward_rows(index_t block, const T* x, V* blocks) const {
    const index_t rows = field_.rows(), n = field_.points();
    const FftLine<T>& line = field_.along_rows;
    const HostScratch<V> buffer(2 * line.size);
    const Pairs pair = pairs(block);
    const bool lonely = pair.second[width - 1] == line_end();
    const HostScratch<T> zeros(lonely ? n : 0);
    if (lonely)
      for (index_t i = 0; i < n; ++i) zeros.data()[i] = T(0);
    const T *first[width], *second[width];
    for (int r = 0; r < width; ++r) {
      first[r] = x + pair.first[r] * n;
      second[r] = pair.second[r] < rows ? x + pair.second[r] * n : zeros.data();
    }
    Rows::load(first, n, buffer.data());
    Rows::load(second, n, buffer.data() + 1);
    line.template transform<V>(HostBuffer<V>{buffer.data()});

    for (index_t b = 0; b < column_blocks_; ++b) {
      separate<0>(buffer.data(), b * width, pair, blocks + b * block_step_, Lane{});
      separate<1>(buffer.data(), b * width, pair, blocks + b * block_step_, Lane{});
    }
  }

  /// Columns k0 ... of a block of spectra, from the real or the imaginary parts of packed lines. Lanes that repeat a
  /// pair write the same once more.
  template <int part, int... j>
  KOLMO_INLINE void separate(const V* z, index_t k0, const Pairs& pair, V* target,
                             std::integer_sequence<int, j...>) const {
    const index_t *up = up_.data() + k0, *down = down_.data() + k0;
    const T* weight = weights_.data() + k0;
    V sum[width], difference[width];
    if constexpr (part == 0)
      (FftPair::separate_real(weight[j], z[up[j]], z[down[j]], sum[j], difference[j]), ...);
    else
      (FftPair::separate_imaginary(weight[j], z[up[j] + 1], z[down[j] + 1], sum[j], difference[j]), ...);
    Lanes::transpose(sum);
    ((target[2 * (part == 0 ? pair.first[j] : pair.second[j])] = sum[j]), ...);
    Lanes::transpose(difference);
    ((target[2 * (part == 0 ? pair.second[j] : pair.first[j]) + 1] = difference[j]), ...);
  }

  /// Blocks of columns are taken some at a time, so that what is next to each other in memory is read and written in
  /// one go, where enough of them are left for every thread.
  using Columns = HostColumns<T, bytes, true>;
  using LastColumns = HostColumns<T, bytes, false>;
  index_t group_size(index_t batch) const {
    const index_t available = threads::available();
    if (batch >= available) return most_in_group;
    return smaller(most_in_group, divide_up(column_blocks_, available));
  }
  index_t column_groups() const { return divide_up(column_blocks_, column_group_); }

  KOLMO_NOINLINE void forward_columns(index_t group, V* blocks, T* y) const {
    const FftLine<T>& line = field_.along_columns;
    const index_t m = field_.columns, begin = group * column_group_;
    const index_t end = smaller(begin + column_group_, column_blocks_), whole = smaller(end, m / width);
    if (begin < whole)
      line.template transform_to<V>(HostColumnBlocks<V, Columns>{blocks + begin * block_step_,
                                                                 block_step_,
                                                                 {y + begin * width, 2 * m, m, 0},
                                                                 static_cast<int>(whole - begin)});
    if (whole < end)
      line.template transform_to<V>(HostColumnBlocks<V, LastColumns>{
          blocks + whole * block_step_, block_step_, {y + whole * width, 2 * m, m, m - whole * width}, 1});
  }

  KOLMO_NOINLINE void inverse_columns(index_t group, const T* y, V* blocks) const {
    const FftLine<T>& line = field_.along_columns;
    const index_t m = field_.columns, begin = group * column_group_;
    const index_t end = smaller(begin + column_group_, column_blocks_), whole = smaller(end, m / width);
    T* from = const_cast<T*>(y);
    if (begin < whole)
      line.template transform_from<V>(HostColumnBlocks<V, FftExchanged<Columns>>{blocks + begin * block_step_,
                                                                                 block_step_,
                                                                                 {{from + begin * width, 2 * m, m, 0}},
                                                                                 static_cast<int>(whole - begin)});
    if (whole < end)
      line.template transform_from<V>(HostColumnBlocks<V, FftExchanged<LastColumns>>{
          blocks + whole * block_step_, block_step_, {{from + whole * width, 2 * m, m, m - whole * width}}, 1});
    for (index_t b = begin; b < end; ++b) {
      V* const behind = blocks + b * block_step_ + 2 * line_end();
      behind[0] = behind[1] = V{};
    }
  }

  /// The blocks hold exchanged parts, by position.
  KOLMO_NOINLINE void inverse_rows(index_t block, const V* blocks, T* x) const {
    const index_t rows = field_.rows(), n = field_.points(), m = field_.columns;
    const FftLine<T>& line = field_.along_rows;
    const HostScratch<V> buffer(2 * (line.size + 1));
    V* z = buffer.data();
    const Pairs pair = pairs(block);
    index_t first[width], second[width];
    for (int r = 0; r < width; ++r) {
      first[r] = field_.along_columns.position[pair.first[r]];
      second[r] = pair.second[r] < rows ? field_.along_columns.position[pair.second[r]] : line_end();
    }
    for (index_t k = m; k <= n - m; ++k) z[2 * k] = z[2 * k + 1] = V{};
    for (index_t b = 0; b < column_blocks_; ++b) {
      const V* source = blocks + b * block_step_;
      if (b > 0 && (b + 1) * width <= m && 2 * (b + 1) * width < n + 2) {
        join<0, true>(source, b * width, first, second, z, Lane{});
        join<1, true>(source, b * width, first, second, z, Lane{});
      } else {
        join<0, false>(source, b * width, first, second, z, Lane{});
        join<1, false>(source, b * width, first, second, z, Lane{});
      }
    }
    line.template transform<V>(HostBuffer<V>{z});
    T* row[width];
    for (int r = 0; r < width; ++r) row[r] = x + pair.first[r] * n;
    Rows::store(row, pair.count, n, z + 1, FftByPosition{line.position});
    int count = pair.count;
    for (int r = 0; r < width; ++r) row[r] = x + pair.second[r] * n;
    if (pair.second[count - 1] >= rows) --count;
    Rows::store(row, count, n, z, FftByPosition{line.position});
  }

  /// The mirror of `separate`; parts are exchanged on both sides. The other part of a mode that is its own conjugate
  /// does not count.
  template <int part, bool plain, int... j>
  KOLMO_INLINE void join(const V* source, index_t k0, const index_t (&first)[width], const index_t (&second)[width],
                         V* z, std::integer_sequence<int, j...>) const {
    V one[width], other[width];
    ((one[j] = source[2 * (part == 0 ? first[j] : second[j]) + 1]), ...);
    Lanes::transpose(one);
    ((other[j] = source[2 * (part == 0 ? second[j] : first[j])]), ...);
    Lanes::transpose(other);
    if constexpr (!plain) ((other[j] = field_.is_interior(k0 + j) ? other[j] : V{}), ...);
    if constexpr (plain) {
      const T weight = field_.inverse_weight(k0);
      V *up = z + 2 * k0 + 1 - part, *down = z + 2 * (field_.points() - k0) + 1 - part;
      (join<part>(weight, one[j], other[j], up[2 * j], down[-2 * j]), ...);
    } else {
      const T* weight = weights_.data() + k0;
      const index_t *up = up_.data() + k0, *down = down_.data() + k0;
      V* to = z + 1 - part;
      (join<part>(weight[j], one[j], other[j], to[up[j]], to[down[j]]), ...);
    }
  }

  template <int part>
  KOLMO_INLINE static void join(T weight, const V& one, const V& other, V& up, V& down) {
    if constexpr (part == 0)
      FftPair::join_real(weight, one, other, up, down);
    else
      FftPair::join_imaginary(weight, one, other, up, down);
  }

  index_t line_end() const { return field_.along_columns.size; }

  const FieldFft<T>& field_;
  index_t half_, row_blocks_, column_blocks_, block_step_, column_group_;
  HostScratch<T> weights_;
  HostScratch<index_t> up_, down_;
};

// With KOLMO_COMPILED, and in CUDA files, which have no vector types, these come from the library kolmo::compiled.
template <class T>
void host_field_forward(const FieldFft<T>& field, index_t batch, const T* x, T* y);
template <class T>
void host_field_inverse(const FieldFft<T>& field, index_t batch, const T* y, T* x);
template <class T>
void host_field_sine(const FieldSine<T>& field, index_t batch, const T* x, T* y);

#if defined(KOLMO_COMPILING) || !(defined(KOLMO_COMPILED) || defined(KOLMO_CUDA_FILE))
template <class T>
void host_field_forward(const FieldFft<T>& field, index_t batch, const T* x, T* y) {
  HostFieldFft<T>::forward(field, batch, x, y);
}
template <class T>
void host_field_inverse(const FieldFft<T>& field, index_t batch, const T* y, T* x) {
  HostFieldFft<T>::inverse(field, batch, y, x);
}
template <class T>
void host_field_sine(const FieldSine<T>& field, index_t batch, const T* x, T* y) {
  HostFieldSine<T>::apply(field, batch, x, y);
}
#else
extern template void host_field_forward<float>(const FieldFft<float>&, index_t, const float*, float*);
extern template void host_field_forward<double>(const FieldFft<double>&, index_t, const double*, double*);
extern template void host_field_inverse<float>(const FieldFft<float>&, index_t, const float*, float*);
extern template void host_field_inverse<double>(const FieldFft<double>&, index_t, const double*, double*);
extern template void host_field_sine<float>(const FieldSine<float>&, index_t, const float*, float*);
extern template void host_field_sine<double>(const FieldSine<double>&, index_t, const double*, double*);
#endif

}  // namespace kolmo::detail
