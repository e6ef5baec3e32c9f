#pragma once
// Sine transforms of fields on the host, by lanes as in host_fft.hpp: two real lines are the parts of one complex line.

#include <kolmo/backend/host_fft_lines.hpp>

namespace kolmo::detail {

/// Two real columns as the parts of a complex one: part 0 goes to one place, part 1 to another.
template <class T, int bytes, bool whole>
struct HostSineColumns {
  using Lanes = FftLanes<T, bytes>;
  T *first, *second;  // row l - 1 is what index l means
  index_t row;
  index_t first_count, second_count;
  template <class V>
  KOLMO_INLINE void store(index_t l, const V& re, const V& im) const {
    if constexpr (whole) {
      Lanes::store(first + (l - 1) * row, re);
      Lanes::store(second + (l - 1) * row, im);
    } else {
      Lanes::store(first + (l - 1) * row, re, first_count);
      Lanes::store(second + (l - 1) * row, im, second_count);
    }
  }
};

template <class T, int bytes = fft_vector_bytes>
class HostFieldSine {
  using Lanes = FftLanes<T, bytes>;
  using Rows = HostRows<T, bytes>;
  using V = typename Lanes::Vector;
  static constexpr int width = Lanes::width;

 public:
  /// x[batch, rows, columns] -> y, which may be x.
  static void apply(const FieldSine<T>& field, index_t batch, const T* x, T* y) {
    const HostFieldSine f(field);
    host_fft_batch(batch, [&](index_t b) {
      const HostScratch<V> blocks(f.block_step_ * f.column_blocks_);
      const T* from = x + b * field.rows() * field.columns();
      T* to = y + b * field.rows() * field.columns();
      threads::parallel_for(f.row_blocks_, [&](index_t block) {
        if (meets(block, f.half_rows_, field.row_begin, field.row_end))
          f.transform_rows(block, from, blocks.data());
        else
          f.clear_rows(block, blocks.data());
      });
      threads::parallel_for(f.column_blocks_, [&](index_t block) {
        if (meets(block, f.half_columns_, field.column_begin, field.column_end))
          f.transform_columns(block, blocks.data(), to);
      });
    });
  }

 private:
  explicit HostFieldSine(const FieldSine<T>& field)
      : field_(field),
        half_rows_(divide_up(field.rows(), 2)),
        half_columns_(divide_up(field.columns(), 2)),
        row_blocks_(divide_up(half_rows_, width)),
        column_blocks_(divide_up(half_columns_, width)),
        block_step_(2 * field.along_columns.line.size) {}

  /// Whether a block of lines, in pairs p and p + half, has one of [begin, end).
  static bool meets(index_t block, index_t half, index_t begin, index_t end) {
    const index_t first = block * width, last = smaller(first + width, half);
    return (first < end && begin < last) || (first + half < end && begin < last + half);
  }

  void clear_rows(index_t block, V* blocks) const {
    const index_t first = block * width, last = smaller(first + width, half_rows_);
    for (index_t part = 0; part < 2; ++part)
      for (index_t row = first + part * half_rows_; row < smaller(last + part * half_rows_, field_.rows()); ++row)
        for (index_t b = 0; b < column_blocks_; ++b)
          for (index_t h = 0; h < 2; ++h) blocks[b * block_step_ + h + 2 * (row + 1)] = V{};
  }

  /// Row p with row p + half as parts. A row that is missing repeats the one before.
  KOLMO_NOINLINE void transform_rows(index_t block, const T* x, V* blocks) const {
    const index_t rows = field_.rows(), n = field_.columns();
    const FftLine<T>& line = field_.along_rows.line;
    const HostScratch<V> buffer(2 * line.size), sums(2 * (n + width));
    const T *first[width], *second[width];
    for (int r = 0; r < width; ++r) {
      const index_t p = smaller(block * width + r, half_rows_ - 1);
      first[r] = x + p * n;
      second[r] = x + smaller(p + half_rows_, rows - 1) * n;
    }
    Rows::load(first, n, buffer.data() + 2);
    Rows::load(second, n, buffer.data() + 3);
    const HostBuffer<V> z{buffer.data()};
    field_.along_rows.template prepare<V>(z, T(1));
    line.template transform<V>(z);
    // Sum l at l - 1.
    field_.along_rows.template finish<V>(z, HostBuffer<V>{sums.data() - 2});
    const index_t count = smaller<index_t>(width, half_rows_ - block * width);
    for (index_t h = 0; h < 2; ++h)
      for (index_t b = 0; b < column_blocks_; ++b) {
        V* target = blocks + b * block_step_ + h;
        for (int part = 0; part < 2; ++part) {
          V v[width];
          for (int j = 0; j < width; ++j)
            v[j] = sums.data()[2 * smaller(h * half_columns_ + b * width + j, n - 1) + part];
          Lanes::transpose(v);
          for (int r = 0; r < count; ++r) {
            const index_t row = block * width + r + (part == 0 ? 0 : half_rows_);
            if (row < rows) target[2 * (row + 1)] = v[r];
          }
        }
      }
  }

  /// Column p with column p + half as parts.
  KOLMO_NOINLINE void transform_columns(index_t block, V* blocks, T* y) const {
    const index_t n = field_.columns(), at = block * width;
    const HostBuffer<V> z{blocks + block * block_step_};
    field_.along_columns.template prepare<V>(z, field_.scale);
    field_.along_columns.line.template transform<V>(z);
    const index_t first = smaller<index_t>(width, half_columns_ - at);
    const index_t second = larger<index_t>(0, smaller<index_t>(width, n - half_columns_ - at));
    T* to = y + at;
    if (first == width && second == width)
      field_.along_columns.template finish<V>(z, HostSineColumns<T, bytes, true>{to, to + half_columns_, n, 0, 0});
    else
      field_.along_columns.template finish<V>(
          z, HostSineColumns<T, bytes, false>{to, to + half_columns_, n, first, second});
  }

  const FieldSine<T>& field_;
  index_t half_rows_, half_columns_, row_blocks_, column_blocks_, block_step_;
};

}  // namespace kolmo::detail
