#pragma once
// The passes of the spectral solver over its modes: one per stage of a step, with everything between two transforms
// fused into it, and their adjoints.

#include <kolmo/flow/spectral_layout.hpp>
#include <kolmo/flow/spectral_steppers.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow::detail {

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
    run_stage(*this, stage, item, begin, end);
  }

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
    run_stage(*this, stage, item, begin, end);
  }

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

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
