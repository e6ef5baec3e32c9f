#pragma once
// The transpose of the derivative of the explicit part of a finite-volume step (flow/advection.hpp), with the one-sided
// derivatives of the branch that a limiter took. On the host a kernel takes a whole trajectory and evaluates every
// face once, adding to the cells around it; on a device a cell gathers from the faces that it touches.

#include <kolmo/flow/advection.hpp>

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow::detail {

/// Cotangents of a face's five arguments from the cotangents g of the component that its flux changes: the flux leaves
/// the cell here and enters the next. The cotangent of the Courant number is that of a velocity at the face's ends.
template <class T, class S, class Flux>
struct FaceAdjoints {
  T half_courant;

  KOLMO_HD KOLMO_INLINE FluxAdjoint<S> operator()(S g_here, S g_next, S velocities, S before, S here, S next,
                                                  S after) const {
    auto result = Flux{}.adjoint(S(g_next - g_here), S(half_courant * velocities), before, here, next, after);
    result.courant = result.courant * half_courant;
    return result;
  }
};

/// Rows of scratch of AdvectAdjointFields, per trajectory.
inline constexpr index_t advection_adjoint_work_rows = 9;

/// gx = J^T g, where y = keep x + changes(x). An item is a trajectory.
template <class T, class S, class Flux>
struct AdvectAdjointFields {
  PaddedGrid grid;
  StepConstants<T> constants;
  const S* x;
  const S* g;  // padded, closed
  S* gx;       // padded; not closed
  S* work;     // advection_adjoint_work_rows rows per item
  T keep;

  KOLMO_HD void operator()(index_t item) const {
    const index_t velocity = item * 2 * grid.field();
    const S *u = x + velocity, *g_u = g + velocity;
    S* target = gx + velocity;
    for (index_t row = 0; row < 2 * grid.n; ++row) linear_row(g_u, target, row);
    for (index_t i = 0; i < grid.n; ++i) {
      along_x(u, u + grid.field(), g_u, g_u + grid.field(), target, target + grid.field(), i, buffer(item, 0));
      along_y(u, u + grid.field(), g_u, g_u + grid.field(), target, target + grid.field(), i, item);
    }
  }

  KOLMO_HD KOLMO_INLINE S* buffer(index_t item, index_t k) const {
    return work + (item * advection_adjoint_work_rows + k) * grid.row + grid.left;
  }

  KOLMO_HD KOLMO_INLINE void linear_row(const S* from, S* to, index_t row) const {
    const index_t component = row / grid.n, i = row - component * grid.n;
    const S *field = from + component * grid.field(), *here = field + grid.at(i);
    const S *before = field + grid.wrapped(i - 1), *next = field + grid.wrapped(i + 1);
    S* target = to + component * grid.field() + grid.at(i);
    const T diffusion = constants.diffusion, centre = keep - T(4) * diffusion - constants.drag;
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j)
      target[j] = here[j] * centre + ((before[j] + next[j]) + (here[j - 1] + here[j + 1])) * diffusion;
  }

  /// Faces between row i and the next one.
  KOLMO_HD KOLMO_INLINE void along_x(const S* u, const S* v, const S* g_u, const S* g_v, S* to_u, S* to_v, index_t i,
                                     S* courant) const {
    const FaceAdjoints<T, S, Flux> adjoint{constants.half_courant};
    const index_t before = grid.wrapped(i - 1), here = grid.at(i), next = grid.wrapped(i + 1),
                  after = grid.wrapped(i + 2);
    const S *u0 = u + before, *u1 = u + here, *u2 = u + next, *u3 = u + after;
    const S *v0 = v + before, *v1 = v + here, *v2 = v + next, *v3 = v + after;
    const S *g_u1 = g_u + here, *g_u2 = g_u + next, *g_v1 = g_v + here, *g_v2 = g_v + next;
    S *to_u0 = to_u + before, *to_u1 = to_u + here, *to_u2 = to_u + next, *to_u3 = to_u + after;
    S *to_v0 = to_v + before, *to_v1 = to_v + here, *to_v2 = to_v + next, *to_v3 = to_v + after;
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) {
      const auto a = adjoint(g_u1[j], g_u2[j], S(u1[j] + u2[j]), u0[j], u1[j], u2[j], u3[j]);
      to_u0[j] = to_u0[j] + a.before;
      to_u1[j] = to_u1[j] + (a.here + a.courant);
      to_u2[j] = to_u2[j] + (a.next + a.courant);
      to_u3[j] = to_u3[j] + a.after;
    }
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) {
      const auto a = adjoint(g_v1[j], g_v2[j], S(u1[j] + u1[j + 1]), v0[j], v1[j], v2[j], v3[j]);
      to_v0[j] = to_v0[j] + a.before;
      to_v1[j] = to_v1[j] + a.here;
      to_v2[j] = to_v2[j] + a.next;
      to_v3[j] = to_v3[j] + a.after;
      courant[j] = a.courant;
    }
    courant[-1] = courant[grid.n - 1];
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) to_u1[j] = to_u1[j] + (courant[j] + courant[j - 1]);
  }

  /// Faces within row i.
  KOLMO_HD KOLMO_INLINE void along_y(const S* u, const S* v, const S* g_u, const S* g_v, S* to_u, S* to_v, index_t i,
                                     index_t item) const {
    const FaceAdjoints<T, S, Flux> adjoint{constants.half_courant};
    const index_t here = grid.at(i), next = grid.wrapped(i + 1);
    const S *u1 = u + here, *v1 = v + here, *v2 = v + next, *g_u1 = g_u + here, *g_v1 = g_v + here;
    S *u_before = buffer(item, 1), *u_here = buffer(item, 2), *u_next = buffer(item, 3), *u_after = buffer(item, 4);
    S *v_before = buffer(item, 5), *v_here = buffer(item, 6), *v_next = buffer(item, 7), *v_after = buffer(item, 8);
    S *to_u1 = to_u + here, *to_v1 = to_v + here, *to_v2 = to_v + next;
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) {
      const auto a = adjoint(g_u1[j], g_u1[j + 1], S(v1[j] + v2[j]), u1[j - 1], u1[j], u1[j + 1], u1[j + 2]);
      u_before[j] = a.before;
      u_here[j] = a.here;
      u_next[j] = a.next;
      u_after[j] = a.after;
      to_v1[j] = to_v1[j] + a.courant;
      to_v2[j] = to_v2[j] + a.courant;
    }
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) {
      const auto a = adjoint(g_v1[j], g_v1[j + 1], S(v1[j] + v1[j + 1]), v1[j - 1], v1[j], v1[j + 1], v1[j + 2]);
      v_before[j] = a.before;
      v_here[j] = a.here + a.courant;
      v_next[j] = a.next + a.courant;
      v_after[j] = a.after;
    }
    for (index_t k = 1; k < advection_adjoint_work_rows; ++k) grid.close(buffer(item, k));
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) {
      to_u1[j] = to_u1[j] + ((u_before[j + 1] + u_here[j]) + (u_next[j - 1] + u_after[j - 2]));
      to_v1[j] = to_v1[j] + ((v_before[j + 1] + v_here[j]) + (v_next[j - 1] + v_after[j - 2]));
    }
  }
};

/// The same; an item is a cell.
template <class T, class S, class Flux>
struct AdvectAdjointCells {
  PaddedGrid grid;
  StepConstants<T> constants;
  const S* x;
  const S* g;
  S* gx;
  T keep;

  /// The faces ahead of cell (i, j), for 0 <= i, j < n.
  struct Faces {
    PaddedGrid grid;
    FaceAdjoints<T, S, Flux> adjoint;
    const S *u, *v, *g_u, *g_v;

    KOLMO_HD FluxAdjoint<S> u_x(index_t i, index_t j) const {
      const index_t b = grid.wrapped(i - 1) + j, h = grid.at(i) + j, n = grid.wrapped(i + 1) + j,
                    a = grid.wrapped(i + 2) + j;
      return adjoint(g_u[h], g_u[n], S(u[h] + u[n]), u[b], u[h], u[n], u[a]);
    }
    KOLMO_HD FluxAdjoint<S> v_x(index_t i, index_t j) const {
      const index_t b = grid.wrapped(i - 1) + j, h = grid.at(i) + j, n = grid.wrapped(i + 1) + j,
                    a = grid.wrapped(i + 2) + j;
      return adjoint(g_v[h], g_v[n], S(u[h] + u[h + 1]), v[b], v[h], v[n], v[a]);
    }
    KOLMO_HD FluxAdjoint<S> u_y(index_t i, index_t j) const {
      const index_t h = grid.at(i) + j, n = grid.wrapped(i + 1) + j;
      return adjoint(g_u[h], g_u[h + 1], S(v[h] + v[n]), u[h - 1], u[h], u[h + 1], u[h + 2]);
    }
    KOLMO_HD FluxAdjoint<S> v_y(index_t i, index_t j) const {
      const index_t h = grid.at(i) + j;
      return adjoint(g_v[h], g_v[h + 1], S(v[h] + v[h + 1]), v[h - 1], v[h], v[h + 1], v[h + 2]);
    }
  };

  KOLMO_HD index_t around(index_t k) const { return k < 0 ? k + grid.n : k >= grid.n ? k - grid.n : k; }

  KOLMO_HD S linear_part(const S* field, index_t i, index_t j) const {
    const T diffusion = constants.diffusion, centre = keep - T(4) * diffusion - constants.drag;
    const S* here = field + grid.at(i) + j;
    return here[0] * centre +
           ((field[grid.wrapped(i - 1) + j] + field[grid.wrapped(i + 1) + j]) + (here[-1] + here[1])) * diffusion;
  }

  KOLMO_HD void operator()(index_t item) const {
    const index_t n = grid.n, row = item / n, j = item - row * n, field = row / n, i = row - field * n;
    const S *u = x + field * 2 * grid.field(), *g_u = g + field * 2 * grid.field();
    const Faces f{grid, {constants.half_courant}, u, u + grid.field(), g_u, g_u + grid.field()};
    const auto u_x = f.u_x(i, j), u_x_before = f.u_x(around(i - 1), j), u_y = f.u_y(i, j), v_x = f.v_x(i, j),
               v_y = f.v_y(i, j), v_y_before = f.v_y(i, around(j - 1));
    S to_u = linear_part(f.g_u, i, j), to_v = linear_part(f.g_v, i, j);
    to_u = to_u + ((f.u_x(around(i + 1), j).before + (u_x.here + u_x.courant)) +
                   ((u_x_before.next + u_x_before.courant) + f.u_x(around(i - 2), j).after));
    to_u = to_u + ((f.u_y(i, around(j + 1)).before + u_y.here) +
                   (f.u_y(i, around(j - 1)).next + f.u_y(i, around(j - 2)).after));
    to_u = to_u + (v_x.courant + f.v_x(i, around(j - 1)).courant);
    to_v = to_v + ((f.v_x(around(i + 1), j).before + v_x.here) +
                   (f.v_x(around(i - 1), j).next + f.v_x(around(i - 2), j).after));
    to_v = to_v + ((f.v_y(i, around(j + 1)).before + (v_y.here + v_y.courant)) +
                   ((v_y_before.next + v_y_before.courant) + f.v_y(i, around(j - 2)).after));
    to_v = to_v + (u_y.courant + f.u_y(around(i - 1), j).courant);
    S* target = gx + field * 2 * grid.field() + grid.at(i) + j;
    target[0] = to_u;
    target[grid.field()] = to_v;
  }
};

/// gx = J^T g of y = keep x + changes(x); g must be closed, gx is not. `work` has advection_adjoint_work_rows rows per
/// trajectory.
template <class B, class Flux, class T, class S>
void advect_adjoint_by(const PaddedGrid& grid, index_t batch, const StepConstants<T>& constants, const S* x, const S* g,
                       S* gx, S* work, T keep) {
  if constexpr (takes_fields<B>)
    kolmo::detail::for_each_item<B>(batch, AdvectAdjointFields<T, S, Flux>{grid, constants, x, g, gx, work, keep});
  else
    B::for_each(batch * grid.n * grid.n, AdvectAdjointCells<T, S, Flux>{grid, constants, x, g, gx, keep});
}

template <class B, class T, class S>
void advect_adjoint(Advection advection, const PaddedGrid& grid, index_t batch, const StepConstants<T>& constants,
                    const S* x, const S* g, S* gx, S* work, T keep) {
  if (advection == Advection::central)
    advect_adjoint_by<B, CentralFlux>(grid, batch, constants, x, g, gx, work, keep);
  else
    advect_adjoint_by<B, VanLeerFlux>(grid, batch, constants, x, g, gx, work, keep);
}

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
