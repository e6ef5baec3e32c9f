#pragma once
// The loops of the spectral solver: one pass over the modes or the points per stage, everything else fused into it.
// Spectra are [batch, fields, rows, 2, columns] (see ops/fft_plan.hpp); an item is a row of modes of one trajectory,
// all of its fields, or a row of points. Only rows |kx| <= cut are touched.

#include <kolmo/ad/items.hpp>
#include <kolmo/flow/spectral_steppers.hpp>
#include <kolmo/flow/spectral_terms.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow::detail {

/// Modes, tables and places of a spectral solver.
template <class T>
struct SpectralLayout {
  index_t size;             // rows of a field of a state
  index_t fields;           // of a state
  index_t grid;             // rows of the spectra of fields
  index_t cut;              // highest wave number
  index_t columns;          // cut + 1
  T step_x;                 // wave number of the longest wave along x
  const T* y;               // [columns]: ky
  const T* inverse_square;  // [columns, columns]: 1/|k|^2, zero for the mean and modes that are not kept
  const T* weight;          // [columns, columns], or one row for all: of the products' spectra
  index_t weight_stride;    // columns, or 0
  const T* forcing;         // [2, columns]: of row kx = 0 and of the others

  KOLMO_HD index_t rows() const { return 2 * cut + 1; }

  /// Row q of the kept ones of trajectory `item / rows()`.
  struct Row {
    index_t trajectory, kx_steps, distance, state, field;
  };
  KOLMO_HD KOLMO_INLINE Row row(index_t item) const {
    const index_t q = item % rows(), kx = q <= cut ? q : q - rows();
    return {item / rows(), kx, kx < 0 ? -kx : kx, kx < 0 ? size + kx : kx, kx < 0 ? grid + kx : kx};
  }
  /// Offset of a row of the first field of a state [batch, fields, size, 2, columns], and from one to the next.
  KOLMO_HD KOLMO_INLINE index_t state_offset(const Row& r) const {
    return (r.trajectory * fields * size + r.state) * 2 * columns;
  }
  KOLMO_HD KOLMO_INLINE index_t state_stride() const { return size * 2 * columns; }
  /// Offset of a row of the first of `count` spectra [batch, count, grid, 2, columns], and from one to the next.
  KOLMO_HD KOLMO_INLINE index_t field_offset(const Row& r, int count) const {
    return (r.trajectory * count * grid + r.field) * 2 * columns;
  }
  KOLMO_HD KOLMO_INLINE index_t field_stride() const { return grid * 2 * columns; }
};

/// What loops over the columns of one row read.
template <class T>
struct RowTables {
  T kx;
  const T *y, *inverse_square, *weight, *forcing;
  KOLMO_HD KOLMO_INLINE RowTables(const SpectralLayout<T>& l, const typename SpectralLayout<T>::Row& r)
      : kx(static_cast<T>(r.kx_steps) * l.step_x),
        y(l.y),
        inverse_square(l.inverse_square + r.distance * l.columns),
        weight(l.weight + r.distance * l.weight_stride),
        forcing(l.forcing + (r.kx_steps == 0 ? 0 : l.columns)) {}
  KOLMO_HD KOLMO_INLINE WaveNumber<T> wave(index_t j) const { return {kx, y[j], inverse_square[j]}; }
};

template <class Kernel>
struct WholeRows {
  Kernel kernel;
  index_t columns;
  KOLMO_HD void operator()(index_t item) const { kernel(item, index_t{0}, columns); }
};
template <class Kernel>
struct SingleColumns {
  Kernel kernel;
  index_t columns;
  KOLMO_HD void operator()(index_t i) const { kernel(i / columns, i % columns, i % columns + 1); }
};

struct NoItem {
  KOLMO_HD void operator()(index_t) const {}
};
/// Whether items are tasks of a host; otherwise loops belong to a device, which is not waited for inside a run.
template <class B>
inline constexpr bool runs_on_host = requires {
  B::for_each_item(index_t{0}, NoItem{});
};

/// Runs kernel(item, begin, end) over rows: whole ones on the host, column by column on a device.
template <class B, class Kernel>
void for_each_row(index_t rows, index_t columns, const Kernel& kernel) {
  if constexpr (runs_on_host<B>)
    B::for_each_item(rows, WholeRows<Kernel>{kernel, columns});
  else
    B::for_each(rows * columns, SingleColumns<Kernel>{kernel, columns});
}

template <class S>
KOLMO_HD KOLMO_INLINE const S& plain(const S& x) {
  return x;
}
template <class S, int N>
KOLMO_HD KOLMO_INLINE const S& plain(const Dual<S, N>& x) {
  return x.v;
}

template <int fields, class S>
KOLMO_HD KOLMO_INLINE void load_waves(const S* row, index_t stride, index_t columns, index_t j, Wave<S> (&x)[fields]) {
  for (int f = 0; f < fields; ++f) x[f] = {row[f * stride + j], row[f * stride + columns + j]};
}
template <int fields, class S>
KOLMO_HD KOLMO_INLINE void store_waves(const Wave<S> (&x)[fields], S* row, index_t stride, index_t columns, index_t j) {
  for (int f = 0; f < fields; ++f) {
    row[f * stride + j] = x[f].re;
    row[f * stride + columns + j] = x[f].im;
  }
}

/// The rows kept of a state from another one; zeros in the rest. An item is a row of a state.
template <class T, class S>
struct KeepRows {
  SpectralLayout<T> layout;
  const S* x;
  S* y;
  KOLMO_HD void operator()(index_t item, index_t begin, index_t end) const {
    const index_t row = item % layout.size, m = layout.columns;
    const bool kept = row <= layout.cut || row >= layout.size - layout.cut;
    const S* from = x + item * 2 * m;
    S* to = y + item * 2 * m;
    for (index_t j = begin; j < end; ++j) {
      to[j] = kept ? from[j] : S(T(0));
      to[m + j] = kept ? from[m + j] : S(T(0));
    }
  }
};

/// The spectra of the factors from the vorticity.
template <class Form, class T, class S>
struct SpreadKernel {
  SpectralLayout<T> layout;
  Form form;
  const S* w;
  S* factors;
  KOLMO_HD void operator()(index_t item, index_t begin, index_t end) const {
    const auto row = layout.row(item);
    const RowTables<T> tables(layout, row);
    const index_t m = layout.columns, stride = layout.field_stride();
    const S* from = w + layout.state_offset(row);
    S* to = factors + layout.field_offset(row, Form::factors);
    KOLMO_INDEPENDENT
    for (index_t j = begin; j < end; ++j) {
      Wave<S> x[Form::fields], f[Form::factors];
      load_waves(from, layout.state_stride(), m, j, x);
      form.spread(tables.wave(j), x, f);
      store_waves(f, to, stride, m, j);
    }
  }
};

/// A stage: from the spectra of the products to the registers and the spectra of the next factors.
template <class Steps, class Form, class T, class S>
struct AdvanceKernel {
  SpectralLayout<T> layout;
  Form form;
  Array<Steps, Form::fields> steps;  // of each field
  int stage;
  const S* products;
  S *w, *a, *b;
  S* factors;  // null where no stage follows

  KOLMO_HD void operator()(index_t item, index_t begin, index_t end) const {
    switch (stage) {
      case 0:
        return run<0>(item, begin, end);
      case 1:
        return run<1>(item, begin, end);
      case 2:
        return run<2>(item, begin, end);
      case 3:
        return run<3>(item, begin, end);
      default:
        return run<4>(item, begin, end);
    }
  }

 private:
  template <int s>
  KOLMO_HD KOLMO_INLINE void run(index_t item, index_t begin, index_t end) const {
    if constexpr (s < Steps::max_stages) {
      if (factors != nullptr)
        advance<s, true>(item, begin, end);
      else
        advance<s, false>(item, begin, end);
    }
  }

  template <int s, bool spread>
  KOLMO_HD void advance(index_t item, index_t begin, index_t end) const {
    constexpr RegisterUse use = Steps::use(s);
    const auto row = layout.row(item);
    const RowTables<T> tables(layout, row);
    Array<typename Steps::Row, Form::fields> rates;
    for (int e = 0; e < Form::fields; ++e) rates[e] = steps[e].row(row.distance);
    const index_t m = layout.columns, stride = layout.field_stride(), at = layout.state_offset(row);
    const index_t field = layout.state_stride();
    const S* from = products + layout.field_offset(row, Form::products);
    S *w_row = w + at, *a_row = a + at, *b_row = b + at;
    S* to = factors + (spread ? layout.field_offset(row, Form::factors) : 0);
    constexpr bool leave = s + 1 == Steps::max_stages && !use.write_w;
    KOLMO_INDEPENDENT
    for (index_t j = begin; j < end; ++j) {
      const WaveNumber<T> k = tables.wave(j);
      Wave<S> p[Form::products], raw[Form::fields], next[Form::fields];
      load_waves(from, stride, m, j, p);
      form.tendency(k, p, raw);
      const T weight = tables.weight[j];
      for (int e = 0; e < Form::fields; ++e) {
        const index_t i = e * field + j;
        const auto mode = rates[e].mode(j);
        StepRegisters<S> re{}, im{};
        if constexpr (use.read_w) re.w = w_row[i], im.w = w_row[m + i];
        if constexpr (use.read_a) re.a = a_row[i], im.a = a_row[m + i];
        if constexpr (use.read_b) re.b = b_row[i], im.b = b_row[m + i];
        const T forcing = e == 0 ? tables.forcing[j] : T(0);
        steps[e].template advance<s>(mode, re, raw[e].re * weight + forcing, next[e].re);
        steps[e].template advance<s>(mode, im, raw[e].im * weight, next[e].im);
        if constexpr (use.write_w) w_row[i] = re.w, w_row[m + i] = im.w;
        if constexpr (use.write_a) a_row[i] = re.a, a_row[m + i] = im.a;
        if constexpr (use.write_b) b_row[i] = re.b, b_row[m + i] = im.b;
        if constexpr (leave) w_row[i] = next[e].re, w_row[m + i] = next[e].im;
      }
      if constexpr (spread) {
        Wave<S> f[Form::factors];
        form.spread(k, next, f);
        store_waves(f, to, stride, m, j);
      }
    }
  }
};

/// The adjoint of a stage: from the cotangents of the factors' spectra (of the new w, `next`, for the last stage) and
/// of the registers to those of the products' spectra.
template <class Steps, class Form, class T, class S>
struct StagePullKernel {
  SpectralLayout<T> layout;
  Form form;
  Array<Steps, Form::fields> steps;
  int stage;
  const S* next;     // [batch, size, 2, columns], for the last stage
  const S* factors;  // for the others
  S *w, *a, *b;
  S* products;

  KOLMO_HD void operator()(index_t item, index_t begin, index_t end) const {
    switch (stage) {
      case 0:
        return run<0>(item, begin, end);
      case 1:
        return run<1>(item, begin, end);
      case 2:
        return run<2>(item, begin, end);
      case 3:
        return run<3>(item, begin, end);
      default:
        return run<4>(item, begin, end);
    }
  }

 private:
  template <int s>
  KOLMO_HD KOLMO_INLINE void run(index_t item, index_t begin, index_t end) const {
    if constexpr (s < Steps::max_stages) {
      if (s + 1 == steps[0].stages())
        pull<s, true>(item, begin, end);
      else
        pull<s, false>(item, begin, end);
    }
  }

  template <int s, bool last>
  KOLMO_HD void pull(index_t item, index_t begin, index_t end) const {
    constexpr RegisterUse use = Steps::pull_use(s);
    const auto row = layout.row(item);
    const RowTables<T> tables(layout, row);
    Array<typename Steps::Row, Form::fields> rates;
    for (int e = 0; e < Form::fields; ++e) rates[e] = steps[e].row(row.distance);
    const index_t m = layout.columns, stride = layout.field_stride(), at = layout.state_offset(row);
    const index_t field = layout.state_stride();
    const S* from = last ? next + at : factors + layout.field_offset(row, Form::factors);
    S *w_row = w + at, *a_row = a + at, *b_row = b + at;
    S* to = products + layout.field_offset(row, Form::products);
    KOLMO_INDEPENDENT
    for (index_t j = begin; j < end; ++j) {
      const WaveNumber<T> k = tables.wave(j);
      Wave<S> p[Form::products], g[Form::fields], rate[Form::fields];
      if constexpr (last) {
        load_waves(from, field, m, j, g);
      } else {
        Wave<S> f[Form::factors];
        load_waves(from, stride, m, j, f);
        form.spread_pull(k, f, g);
      }
      const T weight = tables.weight[j];
      for (int e = 0; e < Form::fields; ++e) {
        const index_t i = e * field + j;
        const auto mode = rates[e].mode(j);
        StepRegisters<S> re{}, im{};
        if constexpr (use.read_w) re.w = w_row[i], im.w = w_row[m + i];
        if constexpr (use.read_a) re.a = a_row[i], im.a = a_row[m + i];
        if constexpr (use.read_b) re.b = b_row[i], im.b = b_row[m + i];
        steps[e].template pull<s>(mode, re, rate[e].re, g[e].re);
        steps[e].template pull<s>(mode, im, rate[e].im, g[e].im);
        if constexpr (use.write_w) w_row[i] = re.w, w_row[m + i] = im.w;
        if constexpr (use.write_a) a_row[i] = re.a, a_row[m + i] = im.a;
        if constexpr (use.write_b) b_row[i] = re.b, b_row[m + i] = im.b;
        rate[e] = {rate[e].re * weight, rate[e].im * weight};
      }
      form.tendency_pull(k, rate, p);
      store_waves(p, to, stride, m, j);
    }
  }
};

/// Adds the adjoint of `spread` to w.
template <class Form, class T, class S>
struct SpreadPullKernel {
  SpectralLayout<T> layout;
  Form form;
  const S* factors;
  S* w;
  KOLMO_HD void operator()(index_t item, index_t begin, index_t end) const {
    const auto row = layout.row(item);
    const RowTables<T> tables(layout, row);
    const index_t m = layout.columns, stride = layout.field_stride();
    const S* from = factors + layout.field_offset(row, Form::factors);
    S* to = w + layout.state_offset(row);
    KOLMO_INDEPENDENT
    for (index_t j = begin; j < end; ++j) {
      Wave<S> f[Form::factors];
      load_waves(from, stride, m, j, f);
      Wave<S> g[Form::fields];
      form.spread_pull(tables.wave(j), f, g);
      for (int e = 0; e < Form::fields; ++e) {
        const index_t i = e * layout.state_stride() + j;
        to[i] = to[i] + g[e].re;
        to[m + i] = to[m + i] + g[e].im;
      }
    }
  }
};

/// dw/dt = L w + N from the spectra of the products, and its adjoint. `damping` is -L, a sum over the axes.
template <class Form, class T, class S>
struct TendencyKernel {
  SpectralLayout<T> layout;
  Form form;
  Array<LowStorageSteps<T>, Form::fields> steps;  // for their rates of damping
  const S *products, *w;
  S* y;
  KOLMO_HD void operator()(index_t item, index_t begin, index_t end) const {
    const auto row = layout.row(item);
    const RowTables<T> tables(layout, row);
    const index_t m = layout.columns, at = layout.state_offset(row);
    const S* from = products + layout.field_offset(row, Form::products);
    for (index_t j = begin; j < end; ++j) {
      Wave<S> p[Form::products];
      load_waves(from, layout.field_stride(), m, j, p);
      Wave<S> raw[Form::fields];
      form.tendency(tables.wave(j), p, raw);
      const T weight = tables.weight[j];
      for (int e = 0; e < Form::fields; ++e) {
        const index_t i = at + e * layout.state_stride() + j;
        const T damping = steps[e].row(row.distance).mode(j).damping, forcing = e == 0 ? tables.forcing[j] : T(0);
        y[i] = raw[e].re * weight + forcing - w[i] * damping;
        y[i + m] = raw[e].im * weight - w[i + m] * damping;
      }
    }
  }
};
template <class Form, class T, class S>
struct TendencyPullKernel {
  SpectralLayout<T> layout;
  Form form;
  Array<LowStorageSteps<T>, Form::fields> steps;
  const S* y;
  S *products, *w;
  KOLMO_HD void operator()(index_t item, index_t begin, index_t end) const {
    const auto row = layout.row(item);
    const RowTables<T> tables(layout, row);
    const index_t m = layout.columns, at = layout.state_offset(row);
    S* to = products + layout.field_offset(row, Form::products);
    for (index_t j = begin; j < end; ++j) {
      Wave<S> p[Form::products], g[Form::fields];
      const T weight = tables.weight[j];
      for (int e = 0; e < Form::fields; ++e) {
        const index_t i = at + e * layout.state_stride() + j;
        const T damping = steps[e].row(row.distance).mode(j).damping;
        g[e] = {y[i] * weight, y[i + m] * weight};
        w[i] = y[i] * (-damping);
        w[i + m] = y[i + m] * (-damping);
      }
      form.tendency_pull(tables.wave(j), g, p);
      store_waves(p, to, layout.field_stride(), m, j);
    }
  }
};

/// The products of a row of points. Factors and products may be the same memory where they are as many. `rates`, when
/// given, gets each row's largest |u| reach_x + |v| reach_y, on the host.
template <class Form, class T, class S>
struct MultiplyKernel {
  index_t grid;
  Form form;
  const S* factors;
  S* products;
  T* rates;
  T reach_x, reach_y;

  KOLMO_HD void operator()(index_t item, index_t begin, index_t end) const {
    const index_t plane = grid * grid, trajectory = item / grid, row = item % grid;
    const S* from = factors + trajectory * Form::factors * plane + row * grid;
    S* to = products + trajectory * Form::products * plane + row * grid;
    if (rates == nullptr) {
      KOLMO_INDEPENDENT
      for (index_t j = begin; j < end; ++j) point(from + j, to + j, plane);
      return;
    }
    constexpr int lanes = 16;
    T largest[lanes];
    KOLMO_ROLLED
    for (int l = 0; l < lanes; ++l) largest[l] = T(0);
    index_t j = begin;
    for (; j + lanes <= end; j += lanes) {
      const S *u = from + j, *v = from + plane + j;
      KOLMO_ROLLED
      for (int l = 0; l < lanes; ++l) {
        const T rate = abs(plain(u[l])) * reach_x + abs(plain(v[l])) * reach_y;
        // Not a number stays.
        largest[l] = rate <= largest[l] ? largest[l] : rate;
      }
      KOLMO_INDEPENDENT
      for (int l = 0; l < lanes; ++l) point(from + j + l, to + j + l, plane);
    }
    for (; j < end; ++j) {
      const T rate = abs(plain(from[j])) * reach_x + abs(plain(from[plane + j])) * reach_y;
      largest[0] = rate <= largest[0] ? largest[0] : rate;
      point(from + j, to + j, plane);
    }
    T top = largest[0];
    for (int l = 1; l < lanes; ++l) top = largest[l] <= top ? top : largest[l];
    rates[item] = top;
  }

 private:
  KOLMO_HD KOLMO_INLINE void point(const S* from, S* to, index_t plane) const {
    S f[Form::factors], p[Form::products];
    for (int i = 0; i < Form::factors; ++i) f[i] = from[i * plane];
    form.multiply(f, p);
    for (int i = 0; i < Form::products; ++i) to[i * plane] = p[i];
  }
};

/// Overwrites the factors with their cotangents, given those of the products.
template <class Form, class T, class S>
struct MultiplyPullKernel {
  index_t grid;
  Form form;
  S* factors;
  const S* products;
  KOLMO_HD void operator()(index_t item, index_t begin, index_t end) const {
    const index_t plane = grid * grid, trajectory = item / grid, row = item % grid;
    S* f_row = factors + trajectory * Form::factors * plane + row * grid;
    const S* p_row = products + trajectory * Form::products * plane + row * grid;
    KOLMO_INDEPENDENT
    for (index_t j = begin; j < end; ++j) {
      S f[Form::factors], p[Form::products], g[Form::factors];
      for (int i = 0; i < Form::factors; ++i) f[i] = f_row[i * plane + j];
      for (int i = 0; i < Form::products; ++i) p[i] = p_row[i * plane + j];
      form.multiply_pull(f, p, g);
      for (int i = 0; i < Form::factors; ++i) f_row[i * plane + j] = g[i];
    }
  }
};

/// Rates of advection of a row of points by a reduction, for devices.
template <class T, class S>
struct LoadRate {
  index_t grid, factors;
  const S* fields;
  T reach_x, reach_y;
  KOLMO_HD T operator()(index_t row, index_t column) const {
    const index_t plane = grid * grid;
    const S* u = fields + row / grid * factors * plane + row % grid * grid + column;
    return abs(plain(u[0])) * reach_x + abs(plain(u[plane])) * reach_y;
  }
};
template <class T, class S>
struct LoadMagnitude {
  const S* x;
  index_t columns;
  KOLMO_HD T operator()(index_t row, index_t column) const { return abs(plain(x[row * columns + column])); }
};
struct LargestOrNan {
  template <class T>
  KOLMO_HD T operator()(T a, T b) const {
    return a != a ? a : (b <= a ? a : b);
  }
};
/// Keeps what was larger before.
template <class T>
struct StoreLargest {
  T* y;
  KOLMO_HD void operator()(index_t row, T x) const { y[row] = LargestOrNan{}(y[row], x); }
};

/// Values of fields at the staggered places of section "finite volume": u half a cell up and a cell right of the corner
/// where vorticity is, v a cell up and half a cell right.
template <class T>
struct StaggeredPhases {
  const T *half,
      *whole;  // [2, columns]: cosines, then sines of pi k / n and 2 pi k / n; null where fields are at corners
  index_t columns;
  KOLMO_HD KOLMO_INLINE void phases(index_t kx, index_t ky, Wave<T>& u, Wave<T>& v) const {
    if (half == nullptr) {
      u = v = {T(1), T(0)};
      return;
    }
    const index_t x = kx < 0 ? -kx : kx;
    const T sign = kx < 0 ? T(-1) : T(1);
    const Wave<T> half_x{half[x], sign * half[columns + x]}, whole_x{whole[x], sign * whole[columns + x]};
    const Wave<T> half_y{half[ky], half[columns + ky]}, whole_y{whole[ky], whole[columns + ky]};
    u = {whole_x.re * half_y.re - whole_x.im * half_y.im, whole_x.re * half_y.im + whole_x.im * half_y.re};
    v = {half_x.re * whole_y.re - half_x.im * whole_y.im, half_x.re * whole_y.im + half_x.im * whole_y.re};
  }
};

template <class T, class S>
KOLMO_HD KOLMO_INLINE Wave<S> turned(const Wave<T>& phase, const Wave<S>& x) {
  return {x.re * phase.re - x.im * phase.im, x.re * phase.im + x.im * phase.re};
}
template <class T, class S>
KOLMO_HD KOLMO_INLINE Wave<S> turned_back(const Wave<T>& phase, const Wave<S>& x) {
  return {x.re * phase.re + x.im * phase.im, x.im * phase.re - x.re * phase.im};
}

enum class Conversion {
  velocity,           ///< from vorticity to u and v
  velocity_adjoint,   ///< from cotangents of u and v to that of the vorticity
  vorticity,          ///< from u and v to the vorticity
  vorticity_adjoint,  ///< from the cotangent of the vorticity to those of u and v
};

/// Between the vorticity [batch, size, 2, columns] and velocity spectra [batch, 2, size, 2, columns].
template <class T, class S>
struct VelocityKernel {
  SpectralLayout<T> layout;  // grid = size
  StaggeredPhases<T> places;
  Conversion conversion;
  S *w, *velocity;
  KOLMO_HD void operator()(index_t item, index_t begin, index_t end) const {
    const auto row = layout.row(item);
    const RowTables<T> tables(layout, row);
    const index_t m = layout.columns;
    S* w_row = w + layout.state_offset(row);
    S* u_row = velocity + layout.field_offset(row, 2);
    for (index_t j = begin; j < end; ++j) {
      const WaveNumber<T> k = tables.wave(j);
      const T kept = k.inverse_square > T(0) ? T(1) : T(0);
      Wave<T> phase_u, phase_v;
      places.phases(row.kx_steps, j, phase_u, phase_v);
      Wave<S> f[2];
      if (conversion == Conversion::velocity) {
        velocity_of(k, Wave<S>{w_row[j], w_row[m + j]}, f[0], f[1]);
        f[0] = turned(phase_u, f[0]);
        f[1] = turned(phase_v, f[1]);
        store_waves(f, u_row, layout.field_stride(), m, j);
      } else if (conversion == Conversion::velocity_adjoint) {
        load_waves(u_row, layout.field_stride(), m, j, f);
        const Wave<S> g = velocity_pull(k, turned_back(phase_u, f[0]), turned_back(phase_v, f[1]));
        w_row[j] = g.re;
        w_row[m + j] = g.im;
      } else if (conversion == Conversion::vorticity) {
        load_waves(u_row, layout.field_stride(), m, j, f);
        const Wave<S> dv = times_i(kept * k.x, turned_back(phase_v, f[1]));
        const Wave<S> du = times_i(kept * k.y, turned_back(phase_u, f[0]));
        w_row[j] = dv.re - du.re;
        w_row[m + j] = dv.im - du.im;
      } else {
        const Wave<S> g{w_row[j], w_row[m + j]};
        f[0] = turned(phase_u, times_i(kept * k.y, g));
        f[1] = turned(phase_v, times_i(-(kept * k.x), g));
        store_waves(f, u_row, layout.field_stride(), m, j);
      }
    }
  }
};

/// Zeros for modes that are not kept, and for the mean of the vorticity. An item is a kept row of a state.
template <class T, class S>
struct KeepModes {
  SpectralLayout<T> layout;
  S* w;
  KOLMO_HD void operator()(index_t item, index_t begin, index_t end) const {
    const auto row = layout.row(item);
    const T* inverse_square = layout.inverse_square + row.distance * layout.columns;
    S* to = w + layout.state_offset(row);
    for (index_t j = begin; j < end; ++j) {
      if (inverse_square[j] > T(0)) continue;
      const bool mean = j == 0 && row.kx_steps == 0;
      for (index_t e = mean ? layout.fields : 0; e < layout.fields; ++e)
        to[e * layout.state_stride() + j] = to[e * layout.state_stride() + layout.columns + j] = S(T(0));
      if (mean) to[0] = to[layout.columns] = S(T(0));
    }
  }
};

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
