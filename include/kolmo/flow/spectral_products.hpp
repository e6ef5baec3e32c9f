#pragma once
// The passes of the spectral solver over its points: products of the factors of the nonlinear term, their adjoint, and
// the largest rate of advection, which bounds the step.

#include <kolmo/flow/spectral_layout.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow::detail {

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

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
