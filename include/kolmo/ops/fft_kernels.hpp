#pragma once
// Transforms of fields in the memory of any backend, as passes over sets of lines (ops/fft_sets.hpp). The operations on
// a line are those of the host's loops.

#include <memory>
#include <mutex>
#include <type_traits>
#include <vector>

#include <kolmo/ad/items.hpp>
#include <kolmo/backend/fft_tables.hpp>
#include <kolmo/backend/host_loops.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/ops/fft_sets.hpp>

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

/// Result k of a transformed buffer. Points are in order where they were transformed back.
template <class Buffer>
struct FftWaves {
  Buffer buffer;
  const index_t* position;
  template <class T>
  KOLMO_HD KOLMO_INLINE void load(index_t k, T& re, T& im) const {
    buffer.load(position == nullptr ? k : position[k], re, im);
  }
};

/// One line of a set, in scalars. The lines lie side by side, so that neighbouring items read neighbouring values.
template <class T, class Set>
struct RunFftLine {
  FftLine<T> fft;
  Set set;
  T* memory;
  index_t count;
  KOLMO_HD void operator()(index_t item) const {
    const auto line = set.line(item / set.lines, item % set.lines);
    const FftSpacedBuffer<T> buffer{memory + item, count};
    for (index_t i = 0; i < fft.points; ++i) {
      T re, im;
      line.load(i, re, im);
      buffer.store(i, re, im);
    }
    if constexpr (Set::filters)
      fft.template filter<T>(buffer, line);
    else
      fft.template transform<T>(buffer);
    const FftWaves<FftSpacedBuffer<T>> z{buffer, Set::filters ? nullptr : fft.position};
    if constexpr (Set::accumulates) {
      T sum_re = T(0), sum_im = T(0);
      for (index_t k = 0; k < set.stored; ++k) {
        T re, im;
        line.term(z, k, re, im);
        sum_re = sum_re + re;
        sum_im = sum_im + im;
        line.store(z, k, sum_re, sum_im);
      }
    } else {
      for (index_t k = 0; k < set.stored; ++k) line.store(z, k);
    }
  }
};

/// Transforms the lines of a set (ops/fft_sets.hpp). A backend's own fft_lines says whether it has done it.
template <class B, class T, class Set>
void fft_lines(const FftLine<T>& fft, const Set& set) {
  if constexpr (requires { B::fft_lines(fft, set); })
    if (B::fft_lines(fft, set)) return;
  const index_t count = set.fields * set.lines;
  auto memory = Tensor<T, B>::uninitialized(Shape{2 * count * fft.size});
  for_each_item<B>(count, RunFftLine<T, Set>{fft, set, memory.mutable_data(), count});
}

template <class B, class T, class Source>
void rows_forward(const FieldFft<T>& field, index_t batch, const Source& source, const SpectrumRows<T>& spectra) {
  const index_t half = divide_up(field.rows(), index_t{2});
  fft_lines<B>(field.along_rows,
               RealRowsForward<T, Source>{{}, batch, half, field.columns, field.weights(), source, spectra});
}
template <class B, class T>
void rows_inverse(const FieldFft<T>& field, index_t batch, const SpectrumRows<T>& spectra, T* x) {
  const index_t half = divide_up(field.rows(), index_t{2});
  fft_lines<B>(field.along_rows, RealRowsInverse<T>{{}, batch, half, field.points(), field.weights(), field.columns,
                                                    spectra, x});
}

template <class B, class T>
void columns_fft(const FftLine<T>& line, bool inverse, index_t batch, index_t columns, const T* x, T* y) {
  const SpectrumRows<const T> from{x, line.points, columns};
  const SpectrumRows<T> to{y, line.points, columns};
  if (inverse)
    fft_lines<B>(line, ComplexColumns<T, true>{{}, batch, columns, line.points, from, to});
  else
    fft_lines<B>(line, ComplexColumns<T, false>{{}, batch, columns, line.points, from, to});
}

template <class B, class T>
void field_forward(const FieldFft<T>& field, index_t batch, const T* x, T* y) {
  rows_forward<B>(field, batch, FieldRows<T>{x, field.rows(), field.points()},
                  SpectrumRows<T>{y, field.rows(), field.columns});
  columns_fft<B>(field.along_columns, false, batch, field.columns, static_cast<const T*>(y), y);
}

template <class B, class T>
void field_inverse(const FieldFft<T>& field, index_t batch, const T* y, T* x) {
  auto spectra = Tensor<T, B>::uninitialized(Shape{batch, field.rows(), 2, field.columns});
  T* const between = spectra.mutable_data();
  columns_fft<B>(field.along_columns, true, batch, field.columns, y, between);
  rows_inverse<B>(field, batch, SpectrumRows<T>{between, field.rows(), field.columns}, x);
}

/// Multiplies a spectrum by factor(kx, ky). An item is a mode.
template <class T, class Factor>
struct ScaleModes {
  SpectrumRows<T> spectra;
  index_t columns;
  Factor by;
  KOLMO_HD void operator()(index_t item) const {
    const index_t row = item / columns, l = item % columns;
    T* const at = spectra.data + row * 2 * spectra.pitch + l;
    const T factor = by(row % spectra.rows, l);
    at[0] = at[0] * factor;
    at[spectra.pitch] = at[spectra.pitch] * factor;
  }
};

/// Points of a source. An item is a point.
template <class T, class Source>
struct WriteRows {
  Source source;
  index_t rows, points;
  T* y;
  KOLMO_HD void operator()(index_t item) const {
    const index_t row = item / points;
    y[item] = source.row(row / rows, row % rows).at(item % points);
  }
};

/// x = the inverse of factor(kx, ky) times the transform of `source`, in three passes; the spectra are scratch.
template <class B, class T, class Source, class Factor>
void field_filter(const FieldFft<T>& field, index_t batch, const Source& source, const SpectrumRows<T>& spectra,
                  const Factor& factor, T* x) {
  const index_t m = field.columns;
  // Forwards a mode stands for itself, backwards for its conjugate too.
  FieldFft<T> forward = field;
  forward.interior = T(1);
  rows_forward<B>(forward, batch, source, spectra);
  if (field.along_columns.convolves()) {
    const SpectrumRows<const T> same{spectra.data, spectra.rows, spectra.pitch};
    fft_lines<B>(field.along_columns, ComplexColumns<T, false>{{}, batch, m, field.rows(), same, spectra});
    B::for_each(batch * field.rows() * m, ScaleModes<T, Factor>{spectra, m, factor});
    fft_lines<B>(field.along_columns, ComplexColumns<T, true>{{}, batch, m, field.rows(), same, spectra});
  } else {
    fft_lines<B>(field.along_columns, FilteredColumns<T, Factor>{{}, batch, m, field.rows(), spectra, factor});
  }
  FieldFft<T> inverse = field;
  inverse.interior = T(2);
  rows_inverse<B>(inverse, batch, spectra, x);
}

template <class T, bool columns>
SinePairs<T, columns> sine_pairs(const SineLine<T>& f, T scale, index_t fields, index_t count, bool paired, index_t row,
                                 const T* x, T* y) {
  const index_t n = f.line.points, lines = paired ? divide_up(count, index_t{2}) : count;
  return {{}, fields, lines, divide_up(n, index_t{2}), n, f.sine, scale, x, y, count, paired, count * (n - 1), row};
}

template <class B, class T>
void field_sine(const FieldSine<T>& field, index_t batch, const T* x, T* y) {
  const index_t rows = field.rows(), columns = field.columns();
  auto between = Tensor<T, B>::uninitialized(Shape{batch, rows, columns});
  T* const sums = between.mutable_data();
  fft_lines<B>(field.along_rows.line, sine_pairs<T, false>(field.along_rows, T(1), batch, rows, true, columns, x, sums));
  fft_lines<B>(field.along_columns.line,
               sine_pairs<T, true>(field.along_columns, field.scale, batch, columns, true, columns, sums, y));
}

template <class B, class T>
void rows_fft(const RowsFft<T>& f, index_t rows, const T* x, T* y) {
  fft_lines<B>(f.line, SingleRows<T>{{}, 1, rows, f.out_columns(), f.form(), x, y});
}

template <class B, class T>
void rows_sine(const SineLine<T>& f, T scale, index_t rows, const T* x, T* y) {
  fft_lines<B>(f.line, sine_pairs<T, false>(f, scale, 1, rows, false, f.line.points - 1, x, y));
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
