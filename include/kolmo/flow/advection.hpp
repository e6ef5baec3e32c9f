#pragma once
// The explicit part of a finite-volume step on a staggered grid, in units where it is a change of the velocity:
// advection of each component over the control volume around it, diffusion by the 5-point Laplacian, forcing
// and drag.
//
//   u at the right face of cell (i, j), v at its top face; x along rows' index i, y along j.
//
// On the host a kernel takes a whole trajectory row by row and computes every flux once; on a device it takes a strip
// of a few columns (flow/advection_strips.hpp).

#include <kolmo/flow/advection_strips.hpp>
#include <kolmo/flow/padded.hpp>
#include <kolmo/flow/projection.hpp>
#include <kolmo/flow/van_leer.hpp>

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow {

/// How the value of a velocity on the faces between two cells is made from those at the cells.
enum class Advection {
  van_leer,  ///< limited: no new extrema, second order where the flow is smooth, as in the data set
  central    ///< linear interpolation: second order, conserves energy, for resolved flows. With forward Euler waves
             ///< grow unless the steps are shorter than about 2 nu / (u^2 + v^2); the other schemes are more patient
};

}  // namespace kolmo::flow

namespace kolmo::flow::detail {

/// What the explicit part needs to know besides the velocity, times the time step.
template <class T>
struct StepConstants {
  T half_courant;    ///< dt/(2h)
  T diffusion;       ///< nu dt/h^2
  T drag;            ///< mu dt
  const T* forcing;  ///< dt A sin(k_f (j + 1/2) h), one number per column
};

/// The velocities of the faces of both components' control volumes, as Courant numbers times 2, and their fluxes.
/// `u` and `v` point to a cell; neighbours in y are one apart, in x at the offsets of the rows.
template <class T, class S, class Flux>
struct FaceFluxes {
  T half_courant;

  KOLMO_HD KOLMO_INLINE S u_along_x(const S* before, const S* here, const S* next, const S* after, index_t j) const {
    return Flux{}(half_courant * (here[j] + next[j]), before[j], here[j], next[j], after[j]);
  }
  KOLMO_HD KOLMO_INLINE S v_along_x(const S* u_here, const S* before, const S* here, const S* next, const S* after,
                                    index_t j) const {
    return Flux{}(half_courant * (u_here[j] + u_here[j + 1]), before[j], here[j], next[j], after[j]);
  }
  KOLMO_HD KOLMO_INLINE S u_along_y(const S* v_here, const S* v_next, const S* u, index_t j) const {
    return Flux{}(half_courant * (v_here[j] + v_next[j]), u[j - 1], u[j], u[j + 1], u[j + 2]);
  }
  KOLMO_HD KOLMO_INLINE S v_along_y(const S* v, index_t j) const {
    return Flux{}(half_courant * (v[j] + v[j + 1]), v[j - 1], v[j], v[j + 1], v[j + 2]);
  }
};

/// Rows of scratch of AdvectFields, per trajectory.
inline constexpr index_t advection_work_rows = 6;

/// y = x + changes and the divergence of y times h, or the changes alone. An item is a trajectory.
template <class T, class S, class Flux>
struct AdvectFields {
  PaddedGrid grid;
  StepConstants<T> constants;
  const S* x;
  S* y;
  S* divergence;  // [fields, n, n]; null: y is the changes alone
  S* work;        // advection_work_rows rows per item

  KOLMO_HD void operator()(index_t item) const {
    const index_t n = grid.n;
    const S *u = x + item * 2 * grid.field(), *v = u + grid.field();
    S* scratch = work + item * advection_work_rows * grid.row + grid.left;
    S *u_x = scratch, *v_x = scratch + grid.row, *u_x_before = scratch + 2 * grid.row,
      *v_x_before = scratch + 3 * grid.row, *u_y = scratch + 4 * grid.row, *v_y = scratch + 5 * grid.row;
    faces_along_x(u, v, n - 1, u_x_before, v_x_before);
    for (index_t i = 0; i < n; ++i) {
      faces_along_x(u, v, i, u_x, v_x);
      faces_along_y(u + grid.at(i), v + grid.at(i), v + grid.wrapped(i + 1), u_y, v_y);
      update_row(item, i, u, v, u_x, u_x_before, u_y, v_x, v_x_before, v_y);
      if (divergence != nullptr && i > 0) divergence_row(item, i);
      swap_pointers(u_x, u_x_before);
      swap_pointers(v_x, v_x_before);
    }
    if (divergence != nullptr) divergence_row(item, 0);
  }

  KOLMO_HD KOLMO_INLINE static void swap_pointers(S*& a, S*& b) {
    S* c = a;
    a = b;
    b = c;
  }

  KOLMO_HD KOLMO_INLINE void faces_along_x(const S* u, const S* v, index_t i, S* u_x, S* v_x) const {
    const FaceFluxes<T, S, Flux> fluxes{constants.half_courant};
    const index_t before = grid.wrapped(i - 1), here = grid.at(i), next = grid.wrapped(i + 1),
                  after = grid.wrapped(i + 2);
    const S *u_before = u + before, *u_here = u + here, *u_next = u + next, *u_after = u + after;
    const S *v_before = v + before, *v_here = v + here, *v_next = v + next, *v_after = v + after;
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) {
      u_x[j] = fluxes.u_along_x(u_before, u_here, u_next, u_after, j);
      v_x[j] = fluxes.v_along_x(u_here, v_before, v_here, v_next, v_after, j);
    }
  }

  KOLMO_HD KOLMO_INLINE void faces_along_y(const S* u, const S* v, const S* v_next, S* u_y, S* v_y) const {
    const FaceFluxes<T, S, Flux> fluxes{constants.half_courant};
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) {
      u_y[j] = fluxes.u_along_y(v, v_next, u, j);
      v_y[j] = fluxes.v_along_y(v, j);
    }
    u_y[-1] = u_y[grid.n - 1];
    v_y[-1] = v_y[grid.n - 1];
  }

  /// A call of its own: inlined, its last values serve the code after it, and clang does not vectorise the loop.
  KOLMO_HD KOLMO_NOINLINE void update_row(index_t item, index_t i, const S* u, const S* v, const S* u_x,
                                          const S* u_x_before, const S* u_y, const S* v_x, const S* v_x_before,
                                          const S* v_y) const {
    const index_t before = grid.wrapped(i - 1), here = grid.at(i), next = grid.wrapped(i + 1);
    const S *u_before = u + before, *u_here = u + here, *u_next = u + next;
    const S *v_before = v + before, *v_here = v + here, *v_next = v + next;
    S* u_new = y + item * 2 * grid.field() + here;
    S* v_new = u_new + grid.field();
    const T diffusion = constants.diffusion;
    const T keep = (divergence != nullptr ? T(1) : T(0)) - T(4) * diffusion - constants.drag;
    const T* forcing = constants.forcing;
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) {
      const S u_around = (u_before[j] + u_next[j]) + (u_here[j - 1] + u_here[j + 1]);
      const S v_around = (v_before[j] + v_next[j]) + (v_here[j - 1] + v_here[j + 1]);
      const S u_flux = (u_x[j] - u_x_before[j]) + (u_y[j] - u_y[j - 1]);
      const S v_flux = (v_x[j] - v_x_before[j]) + (v_y[j] - v_y[j - 1]);
      u_new[j] = (u_here[j] * keep + u_around * diffusion) + (forcing[j] - u_flux);
      v_new[j] = (v_here[j] * keep + v_around * diffusion) - v_flux;
    }
  }

  KOLMO_HD KOLMO_INLINE void divergence_row(index_t item, index_t i) const {
    const S *u_before = y + item * 2 * grid.field() + grid.wrapped(i - 1),
            *u = y + item * 2 * grid.field() + grid.at(i);
    const S* v = u + grid.field();
    S* target = divergence + (item * grid.n + i) * grid.n;
    target[0] = (u[0] - u_before[0]) + (v[0] - v[grid.n - 1]);
    KOLMO_INDEPENDENT
    for (index_t j = 1; j < grid.n; ++j) target[j] = (u[j] - u_before[j]) + (v[j] - v[j - 1]);
  }
};

/// Whether `advect` leaves the divergence too; else whoever needs it takes it from y.
template <class B>
inline constexpr bool advection_gives_divergence = takes_fields<B>;

/// Rows of a strip of a device: enough that the rows around it count little, and that there are many strips.
inline constexpr index_t advection_strip_rows = 8;

template <class B, class Flux, bool whole_groups, class T, class S>
void advect_strips(const PaddedGrid& grid, index_t batch, const StepConstants<T>& constants, const S* x, S* y,
                   bool keep) {
  using Strips = AdvectStrips<T, S, FaceFluxes<T, S, Flux>, whole_groups>;
  const auto strips = Strips::of(grid, advection_strip_rows, constants.diffusion, constants.drag, keep ? T(1) : T(0),
                                 constants.forcing, {constants.half_courant}, x, y);
  B::for_each(batch * strips.strips * strips.groups, strips);
}

/// y = x + change in one explicit step, padded, and where advection_gives_divergence, the divergence of y times h; rows
/// of y may be open. With `divergence` null y is the change alone.
template <class B, class Flux, class T, class S>
void advect_by(const PaddedGrid& grid, index_t batch, const StepConstants<T>& constants, const S* x, S* y,
               S* divergence, S* work) {
  if constexpr (takes_fields<B>) {
    kolmo::detail::for_each_item<B>(batch, AdvectFields<T, S, Flux>{grid, constants, x, y, divergence, work});
  } else {
    if (grid.n % 4 == 0)
      advect_strips<B, Flux, true>(grid, batch, constants, x, y, divergence != nullptr);
    else
      advect_strips<B, Flux, false>(grid, batch, constants, x, y, divergence != nullptr);
  }
}

template <class B, class T, class S>
void advect(Advection advection, const PaddedGrid& grid, index_t batch, const StepConstants<T>& constants, const S* x,
            S* y, S* divergence, S* work) {
  if (advection == Advection::central)
    advect_by<B, CentralFlux>(grid, batch, constants, x, y, divergence, work);
  else
    advect_by<B, VanLeerFlux>(grid, batch, constants, x, y, divergence, work);
}

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
