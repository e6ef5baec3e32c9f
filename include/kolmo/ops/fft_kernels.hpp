#pragma once
// Transforms of fields in the memory of any backend: one item is one line of a pass, in scalars. The lines lie side by
// side, so that neighbouring items read neighbouring values. The operations on a line are those of the host's loops.

#include <memory>
#include <mutex>
#include <type_traits>
#include <vector>

#include <kolmo/ad/items.hpp>
#include <kolmo/backend/fft_field.hpp>
#include <kolmo/backend/fft_tables.hpp>
#include <kolmo/backend/host_loops.hpp>
#include <kolmo/core/tensor.hpp>

namespace kolmo::detail {

/// The tables of a line in the memory of backend B.
template <class T, class B>
class FftTablesOn {
 public:
  explicit FftTablesOn(const FftTables<T>& tables)
      : line_(tables.line()),
        roots_(Tensor<T, B>::from(tables.roots())),
        chirp_(Tensor<T, B>::from(tables.chirp())),
        kernel_(Tensor<T, B>::from(tables.kernel())),
        position_(Tensor<index_t, B>::from(tables.position())),
        wave_(Tensor<index_t, B>::from(tables.wave())) {
    line_.roots = roots_.data();
    line_.position = position_.data();
    line_.wave = wave_.data();
    if (line_.convolves()) {
      line_.chirp = chirp_.data();
      line_.kernel = kernel_.data();
    }
  }
  const FftLine<T>& line() const { return line_; }

 private:
  FftLine<T> line_;
  Tensor<T, B> roots_, chirp_, kernel_;
  Tensor<index_t, B> position_, wave_;
};

template <class T, class B>
class SineTablesOn {
 public:
  explicit SineTablesOn(const SineTables<T>& tables)
      : transform_(tables.transform()), sine_(Tensor<T, B>::from(tables.sine())) {}
  SineLine<T> sine_line() const { return {transform_.line(), sine_.data()}; }

 private:
  FftTablesOn<T, B> transform_;
  Tensor<T, B> sine_;
};

/// What a plan has made for the backends it has met: one object of each type, made on first use. Copies share it.
class FftCache {
 public:
  template <class X, class Make>
  const X& get(const Make& make) const {
    static const char key = 0;
    const std::lock_guard lock(shared_->mutex);
    for (const auto& [known, object] : shared_->objects)
      if (known == &key) return *static_cast<const X*>(object.get());
    shared_->objects.emplace_back(&key, std::make_shared<const X>(make()));
    return *static_cast<const X*>(shared_->objects.back().second.get());
  }

 private:
  struct Shared {
    std::mutex mutex;
    std::vector<std::pair<const void*, std::shared_ptr<const void>>> objects;
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

/// Complex values in rows, as `in` and `out` of a line.
template <class T>
struct FftColumn {
  T* data;
  index_t row, part;
  KOLMO_HD KOLMO_INLINE void load(index_t i, T& re, T& im) const {
    re = data[i * row];
    im = data[i * row + part];
  }
  KOLMO_HD KOLMO_INLINE void store(index_t i, T re, T im) const {
    data[i * row] = re;
    data[i * row + part] = im;
  }
};

template <class T, class Buffer, class In>
KOLMO_HD void fft_load(const Buffer& buffer, const In& in, index_t points) {
  for (index_t i = 0; i < points; ++i) {
    T re, im;
    in.load(i, re, im);
    buffer.store(i, re, im);
  }
}

/// Two real rows to their half spectra. An item is a pair of rows of one field.
template <class T>
struct FieldForwardRows {
  FieldFft<T> field;
  const T* x;
  T* y;
  T* memory;
  index_t lines;
  KOLMO_HD void operator()(index_t item) const {
    const index_t rows = field.rows(), n = field.points(), m = field.columns, half = divide_up(rows, 2);
    const index_t first = item / half * rows + item % half, second = first + half;
    const bool lonely = item % half + half >= rows;
    const FftSpacedBuffer<T> z{memory + item, lines};
    for (index_t i = 0; i < n; ++i) z.store(i, x[first * n + i], lonely ? T(0) : x[second * n + i]);
    field.along_rows.template transform<T>(z);
    for (index_t k = 0; k < m; ++k) {
      T up_re, up_im, down_re, down_im, a_re, a_im, b_re, b_im;
      z.load(field.along_rows.position[k], up_re, up_im);
      z.load(field.along_rows.position[k == 0 ? 0 : n - k], down_re, down_im);
      const T weight = field.forward_weight(k);
      FftPair::separate_real(weight, up_re, down_re, a_re, b_im);
      FftPair::separate_imaginary(weight, up_im, down_im, b_re, a_im);
      y[2 * first * m + k] = a_re;
      y[(2 * first + 1) * m + k] = a_im;
      if (lonely) continue;
      y[2 * second * m + k] = b_re;
      y[(2 * second + 1) * m + k] = b_im;
    }
  }
};

/// Half spectra to two real rows.
template <class T>
struct FieldInverseRows {
  FieldFft<T> field;
  const T* y;
  T* x;
  T* memory;
  index_t lines;
  KOLMO_HD void operator()(index_t item) const {
    const index_t rows = field.rows(), n = field.points(), m = field.columns, half = divide_up(rows, 2);
    const index_t first = item / half * rows + item % half, second = first + half;
    const bool lonely = item % half + half >= rows;
    const FftSpacedBuffer<T> z{memory + item, lines};
    for (index_t k = m; k <= n - m; ++k) z.store(k, T(0), T(0));
    for (index_t k = 0; k < m; ++k) {
      const T a_re = y[2 * first * m + k], a_im = y[(2 * first + 1) * m + k];
      const T b_re = lonely ? T(0) : y[2 * second * m + k], b_im = lonely ? T(0) : y[(2 * second + 1) * m + k];
      const T weight = field.inverse_weight(k);
      if (!field.is_interior(k)) {
        z.store(k, weight * b_re, weight * a_re);
        continue;
      }
      T up_re, up_im, down_re, down_im;
      FftPair::join_real(weight, a_re, b_im, up_re, down_re);
      FftPair::join_imaginary(weight, b_re, a_im, up_im, down_im);
      z.store(k, up_im, up_re);
      z.store(n - k, down_im, down_re);
    }
    field.along_rows.template transform<T>(z);
    for (index_t i = 0; i < n; ++i) {
      T a, b;
      z.load(field.along_rows.position[i], b, a);
      x[first * n + i] = a;
      if (!lonely) x[second * n + i] = b;
    }
  }
};

/// The complex transform along columns of [batch, n, 2, columns]. An item is a column.
template <class T, bool inverse>
struct ComplexColumns {
  FftLine<T> line;
  index_t columns;
  const T* x;
  T* y;
  T* memory;
  index_t lines;
  KOLMO_HD void operator()(index_t item) const {
    const index_t m = columns, at = item / m * line.points * 2 * m + item % m;
    const FftColumn<T> in{const_cast<T*>(x) + at, 2 * m, m}, out{y + at, 2 * m, m};
    const FftSpacedBuffer<T> z{memory + item, lines};
    if constexpr (inverse) {
      fft_load<T>(z, FftExchanged<FftColumn<T>>{in}, line.points);
      line.template transform_to<T>(FftLinePair<FftSpacedBuffer<T>, FftExchanged<FftColumn<T>>>{z, {out}});
    } else {
      fft_load<T>(z, in, line.points);
      line.template transform_to<T>(FftLinePair<FftSpacedBuffer<T>, FftColumn<T>>{z, out});
    }
  }
};

/// One row. An item is a row.
template <class T>
struct FftRowKernel {
  RowsFft<T> f;
  const T* x;
  T* y;
  T* memory;
  index_t lines;
  KOLMO_HD void operator()(index_t row) const {
    const index_t given = f.in_columns(), kept = f.out_columns();
    const T* from = x + row * (f.real_in ? given : 2 * given);
    T* to = y + row * (f.real_out ? kept : 2 * kept);
    const FftSpacedBuffer<T> z{memory + row, lines};
    for (index_t j = 0; j < given; ++j) {
      const T re = from[j], im = f.real_in ? T(0) : from[given + j];
      z.store(j, f.inverse ? im : re, f.inverse ? re : im);
    }
    if (f.completes()) f.template complete<T>(z);
    f.line.template transform<T>(z);
    if (f.weighs()) f.template weigh<T>(z);
    for (index_t k = 0; k < kept; ++k) {
      T a, b;
      z.load(f.line.position[k], a, b);
      to[k] = f.inverse ? b : a;
      if (!f.real_out) to[kept + k] = f.inverse ? a : b;
    }
  }
};

/// Places of the sums of two lines; `second` is null where there is one line only.
template <class T>
struct SineSums {
  T *first, *second;
  index_t step;
  KOLMO_HD void store(index_t l, T re, T im) const {
    first[(l - 1) * step] = re;
    if (second != nullptr) second[(l - 1) * step] = im;
  }
};

/// Sine sums of two lines, `half` lines apart. An item is such a pair.
template <class T>
struct SinePairs {
  SineLine<T> sine;
  T scale;
  const T* x;
  T* y;
  T* memory;
  index_t items;
  index_t count;              // lines of a field
  index_t field, line, step;  // distances of fields, of lines, and of points of a line
  KOLMO_HD void operator()(index_t item) const {
    const index_t half = divide_up(count, 2), n = sine.line.points, p = item % half;
    const index_t first = item / half * field + p * line;
    // A line that is missing repeats the last one: what becomes of it is not stored.
    const index_t second = item / half * field + smaller(p + half, count - 1) * line;
    const FftSpacedBuffer<T> z{memory + item, items};
    for (index_t j = 1; j < n; ++j) z.store(j, x[first + (j - 1) * step], x[second + (j - 1) * step]);
    sine.template prepare<T>(z, scale);
    sine.line.template transform<T>(z);
    sine.template finish<T>(z, SineSums<T>{y + first, p + half < count ? y + second : nullptr, step});
  }
};

template <class B, class T>
void field_forward(const FieldFft<T>& field, index_t batch, const T* x, T* y) {
  const index_t pairs = batch * divide_up(field.rows(), 2), columns = batch * field.columns;
  auto memory = Tensor<T, B>::uninitialized(
      Shape{larger(2 * pairs * field.along_rows.size, 2 * columns * field.along_columns.size)});
  T* const z = memory.mutable_data();
  for_each_item<B>(pairs, FieldForwardRows<T>{field, x, y, z, pairs});
  for_each_item<B>(columns, ComplexColumns<T, false>{field.along_columns, field.columns, y, y, z, columns});
}

template <class B, class T>
void field_inverse(const FieldFft<T>& field, index_t batch, const T* y, T* x) {
  const index_t pairs = batch * divide_up(field.rows(), 2), columns = batch * field.columns;
  auto memory = Tensor<T, B>::uninitialized(
      Shape{larger(2 * pairs * field.along_rows.size, 2 * columns * field.along_columns.size)});
  auto spectra = Tensor<T, B>::uninitialized(Shape{batch, field.rows(), 2, field.columns});
  T* const z = memory.mutable_data();
  for_each_item<B>(columns,
                   ComplexColumns<T, true>{field.along_columns, field.columns, y, spectra.mutable_data(), z, columns});
  for_each_item<B>(pairs, FieldInverseRows<T>{field, spectra.data(), x, z, pairs});
}

template <class B, class T>
void field_sine(const FieldSine<T>& field, index_t batch, const T* x, T* y) {
  const index_t rows = field.rows(), columns = field.columns();
  const index_t row_pairs = batch * divide_up(rows, 2), column_pairs = batch * divide_up(columns, 2);
  auto memory = Tensor<T, B>::uninitialized(
      Shape{larger(2 * row_pairs * field.along_rows.line.size, 2 * column_pairs * field.along_columns.line.size)});
  auto sums = Tensor<T, B>::uninitialized(Shape{batch, rows, columns});
  T* const z = memory.mutable_data();
  for_each_item<B>(row_pairs, SinePairs<T>{field.along_rows, T(1), x, sums.mutable_data(), z, row_pairs, rows,
                                           rows * columns, columns, 1});
  for_each_item<B>(column_pairs, SinePairs<T>{field.along_columns, field.scale, sums.data(), y, z, column_pairs,
                                              columns, rows * columns, 1, columns});
}

template <class B, class T>
void rows_fft(const RowsFft<T>& f, index_t rows, const T* x, T* y) {
  auto memory = Tensor<T, B>::uninitialized(Shape{2 * rows * f.line.size});
  for_each_item<B>(rows, FftRowKernel<T>{f, x, y, memory.mutable_data(), rows});
}

template <class B, class T>
void rows_sine(const SineLine<T>& f, T scale, index_t rows, const T* x, T* y) {
  auto memory = Tensor<T, B>::uninitialized(Shape{2 * rows * f.line.size});
  for_each_item<B>(
      rows, SinePairs<T>{f, scale, x, y, memory.mutable_data(), rows, 1, f.line.points - 1, f.line.points - 1, 1});
}

template <class B, class T>
void columns_fft(const FftLine<T>& line, bool inverse, index_t batch, index_t columns, const T* x, T* y) {
  const index_t lines = batch * columns;
  auto memory = Tensor<T, B>::uninitialized(Shape{2 * lines * line.size});
  T* const z = memory.mutable_data();
  if (inverse)
    for_each_item<B>(lines, ComplexColumns<T, true>{line, columns, x, y, z, lines});
  else
    for_each_item<B>(lines, ComplexColumns<T, false>{line, columns, x, y, z, lines});
}

/// Takes apart scalars made of several real numbers: y[c, i] = component c of x[i].
template <class T>
struct SplitComponents {
  const T* x;
  T* y;
  index_t count, components;
  KOLMO_HD void operator()(index_t i) const {
    for (index_t c = 0; c < components; ++c) y[c * count + i] = x[i * components + c];
  }
};
template <class T>
struct JoinComponents {
  const T* x;
  T* y;
  index_t count, components;
  KOLMO_HD void operator()(index_t i) const {
    for (index_t c = 0; c < components; ++c) y[i * components + c] = x[c * count + i];
  }
};

/// Runs transform(batch, x, y) on scalars S that are several numbers T side by side, such as duals: a real linear
/// operation acts on each component alone. `in` and `out` are the sizes of one item.
template <class B, class T, class S, class F>
void by_components(index_t batch, index_t in, index_t out, const S* x, S* y, const F& transform) {
  if constexpr (std::is_same_v<S, T>) {
    transform(batch, x, y);
  } else {
    static_assert(sizeof(S) % sizeof(T) == 0, "the scalar must consist of the plan's real numbers");
    constexpr index_t components = sizeof(S) / sizeof(T);
    auto parts = Tensor<T, B>::uninitialized(Shape{components, batch * in});
    auto results = Tensor<T, B>::uninitialized(Shape{components, batch * out});
    B::for_each(batch * in,
                SplitComponents<T>{reinterpret_cast<const T*>(x), parts.mutable_data(), batch * in, components});
    transform(components * batch, parts.data(), results.mutable_data());
    B::for_each(batch * out, JoinComponents<T>{results.data(), reinterpret_cast<T*>(y), batch * out, components});
  }
}

}  // namespace kolmo::detail
