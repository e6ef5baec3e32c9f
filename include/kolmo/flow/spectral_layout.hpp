#pragma once
// Where the modes of the spectral solver lie, and how loops over them run. Spectra are [batch, fields, rows, 2,
// columns] (see ops/fft_plan.hpp); an item is a row of modes of one trajectory, all of its fields, or a row of points.
// Only rows |kx| <= cut are touched.

#include <kolmo/ad/items.hpp>
#include <kolmo/backend/team.hpp>
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
/// Columns of a row taken in turn by the threads of a team, to which what the row decides is common.
template <class Kernel>
struct SharedRows {
  static constexpr int team_threads = 32;
  Kernel kernel;
  index_t columns;
  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t item) const {
    for (index_t j = team.rank(); j < columns; j += team.size()) kernel(item, j, j + 1);
  }
};

struct NoItem {
  KOLMO_HD void operator()(index_t) const {}
};
/// Whether items are tasks of a host; otherwise loops belong to a device, which is not waited for inside a run.
template <class B>
inline constexpr bool runs_on_host = requires {
  B::for_each_item(index_t{0}, NoItem{});
};

/// Calls kernel.run<stage>(item, begin, end): the stages of a stepper are different code.
template <class Kernel>
KOLMO_HD KOLMO_INLINE void run_stage(const Kernel& kernel, int stage, index_t item, index_t begin, index_t end) {
  switch (stage) {
    case 0:
      return kernel.template run<0>(item, begin, end);
    case 1:
      return kernel.template run<1>(item, begin, end);
    case 2:
      return kernel.template run<2>(item, begin, end);
    case 3:
      return kernel.template run<3>(item, begin, end);
    default:
      return kernel.template run<4>(item, begin, end);
  }
}

/// Runs kernel(item, begin, end) over rows: whole ones on the host, shared by a team on a device.
template <class B, class Kernel>
void for_each_row(index_t rows, index_t columns, const Kernel& kernel) {
  if constexpr (runs_on_host<B>)
    B::for_each_item(rows, WholeRows<Kernel>{kernel, columns});
  else
    for_each_team<B>(rows, SharedRows<Kernel>{kernel, columns});
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

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
