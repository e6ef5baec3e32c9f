#pragma once
// Between the spectrum of the vorticity and those of the velocity, at the points or at the staggered places of the
// finite-volume solver.

#include <kolmo/flow/spectral_layout.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow::detail {

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
