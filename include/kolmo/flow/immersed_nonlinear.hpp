#pragma once
// The explicit side of a substep of the immersed-boundary solver, with the nonlinear term
// N = C^T(q x omega) = -div(u omega): products at nodes, what holds where two levels meet, and their differences.

#include <kolmo/flow/immersed_operators.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow::detail {

/// X = omega v and Y = -omega u at nodes. An item is a row i - 1 of one slab.
template <class S>
struct ProductKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* omega;
  const S* flux;
  PerLevel<T> half_inverse_spacing;  // 1/(2 d)
  S* x;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const index_t slab = item / g.rows(), i = item % g.rows() + 1, n = g.columns();
    const T scale = half_inverse_spacing[g.level_of(slab)];
    const S* q = flux + slab * g.fluxes();
    const S* qx = q + g.flux_x(i, 0);
    const S* west = q + g.flux_y(i - 1, 1);
    const S* east = q + g.flux_y(i, 1);
    const S* w = omega + item * n;
    S* target_x = x + item * n;
    S* target_y = y + item * n;
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < n; ++j) {
      target_x[j] = w[j] * (west[j] + east[j]) * scale;
      target_y[j] = -(w[j] * (qx[j] + qx[j + 1]) * scale);
    }
  }
};

/// Weights of the node velocities where two levels meet: the transposes of how fluxes of the finer level enter the
/// coarser one's. Positions count from the start of all slabs' fluxes; unused entries have weight 0.
template <class T>
struct InterfaceStencil {
  index_t position[4];
  T weight[4];

  template <class S>
  KOLMO_HD S sum(const S* flux) const {
    return (flux[position[0]] * weight[0] + flux[position[1]] * weight[1]) +
           (flux[position[2]] * weight[2] + flux[position[3]] * weight[3]);
  }
};

/// Nodes of the coarse level's interface: bottom and top sides with corners, then left and right without.
struct InterfaceNodes {
  GridShape g;
  KOLMO_HD index_t count() const { return g.nx + g.ny; }

  /// (i, j) of node k on the coarse level, and which sides it lies on: -1 low, 1 high, 0 between.
  KOLMO_HD void node(index_t k, index_t& i, index_t& j, int& side_x, int& side_y) const {
    const index_t across = g.nx / 2 + 1, up = g.ny / 2 - 1;
    index_t fine_i, fine_j;
    if (k < 2 * across) {
      fine_i = k < across ? k : k - across;
      fine_j = k < across ? 0 : g.ny / 2;
    } else {
      const index_t m = k - 2 * across;
      fine_i = m < up ? 0 : g.nx / 2;
      fine_j = (m < up ? m : m - up) + 1;
    }
    i = g.inner_x + fine_i;
    j = g.inner_y + fine_j;
    side_x = fine_i == 0 ? -1 : fine_i == g.nx / 2 ? 1 : 0;
    side_y = fine_j == 0 ? -1 : fine_j == g.ny / 2 ? 1 : 0;
  }

  /// From an interface node, no corner, to the node next to it inside; positions in a nodal field.
  KOLMO_HD index_t inward(int side_x, int side_y) const { return side_x != 0 ? -side_x * g.columns() : -side_y; }
  /// The finer level's node next to it inside, counted from the start of all slabs.
  KOLMO_HD index_t first_fine(index_t slab, index_t i, index_t j, int side_x, int side_y) const {
    const index_t fine_i = side_x < 0 ? 1 : side_x > 0 ? g.nx - 1 : 2 * (i - g.inner_x);
    const index_t fine_j = side_y < 0 ? 1 : side_y > 0 ? g.ny - 1 : 2 * (j - g.inner_y);
    return (slab - g.cases) * g.nodes() + g.node(fine_i, fine_j);
  }

  /// u of node (i, j) of a slab, times the spacing of its level.
  template <class T>
  KOLMO_HD InterfaceStencil<T> u(index_t slab, index_t i, index_t j, int side_x, int side_y) const {
    const index_t coarse = slab * g.fluxes(), fine = coarse - g.cases * g.fluxes();
    const index_t below = coarse + g.flux_x(i, j - 1), above = coarse + g.flux_x(i, j);
    if (side_y == 0) return {{below, above, below, below}, {T(0.5), T(0.5), T(0), T(0)}};
    const index_t row = side_y < 0 ? 0 : g.ny - 1, outside = side_y < 0 ? below : above,
                  inside = side_y < 0 ? above : below;
    if (side_x != 0) return corner<T>(outside, inside, fine + g.flux_x(side_x < 0 ? 1 : g.nx - 1, row));
    return side<T>(outside, fine + g.flux_x(2 * (i - g.inner_x), row), g.ny);
  }
  template <class T>
  KOLMO_HD InterfaceStencil<T> v(index_t slab, index_t i, index_t j, int side_x, int side_y) const {
    const index_t coarse = slab * g.fluxes(), fine = coarse - g.cases * g.fluxes();
    const index_t left = coarse + g.flux_y(i - 1, j), right = coarse + g.flux_y(i, j);
    if (side_x == 0) return {{left, right, left, left}, {T(0.5), T(0.5), T(0), T(0)}};
    const index_t column = side_x < 0 ? 0 : g.nx - 1, outside = side_x < 0 ? left : right,
                  inside = side_x < 0 ? right : left;
    if (side_y != 0) return corner<T>(outside, inside, fine + g.flux_y(column, side_y < 0 ? 1 : g.ny - 1));
    return side<T>(outside, fine + g.flux_y(column, 2 * (j - g.inner_y)), 1);
  }

 private:
  template <class T>
  KOLMO_HD static InterfaceStencil<T> corner(index_t outside, index_t inside, index_t fine) {
    return {{outside, inside, fine, fine}, {T(8.0 / 15), T(6.0 / 15), T(2.0 / 15), T(0)}};
  }
  template <class T>
  KOLMO_HD static InterfaceStencil<T> side(index_t outside, index_t fine, index_t step) {
    return {{outside, fine, fine - step, fine + step}, {T(2.0 / 3), T(1.0 / 3), T(1.0 / 6), T(1.0 / 6)}};
  }
};

/// Products at interface nodes, with their own velocities. An item is an interface node of a slab from level 1 on.
template <class S>
struct InterfaceProductKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* omega;
  const S* flux;
  PerLevel<T> half_inverse_spacing;
  S* x;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const InterfaceNodes nodes{g};
    const index_t slab = item / nodes.count() + g.cases;
    index_t i, j;
    int side_x, side_y;
    nodes.node(item % nodes.count(), i, j, side_x, side_y);
    const index_t at = slab * g.nodes() + g.node(i, j);
    const T scale = T(2) * half_inverse_spacing[g.level_of(slab)];
    x[at] = omega[at] * nodes.v<T>(slab, i, j, side_x, side_y).sum(flux) * scale;
    y[at] = -(omega[at] * nodes.u<T>(slab, i, j, side_x, side_y).sum(flux) * scale);
  }
};

/// The products one node inside the interface that make a plain central difference at the interface use the finer
/// level's fluxes: X1 + (X2 - X0)/2 with X0 on the interface, X1 and X2 the next nodes of the finer level.
/// An item is an interface node of a slab from level 1 on; corners have nothing to do.
template <class S>
struct InterfaceInsideKernel {
  using T = BaseScalar<S>;
  GridShape g;
  S* x;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const InterfaceNodes nodes{g};
    const index_t slab = item / nodes.count() + g.cases;
    index_t i, j;
    int side_x, side_y;
    nodes.node(item % nodes.count(), i, j, side_x, side_y);
    if (side_x != 0 && side_y != 0) return;
    const index_t at = slab * g.nodes() + g.node(i, j);
    S* field = side_x != 0 ? y : x;
    const index_t step = nodes.inward(side_x, side_y), first = nodes.first_fine(slab, i, j, side_x, side_y);
    field[at + step] = field[first] + T(0.5) * (field[first + step] - field[at]);
  }
};

/// N = (Y[i+1] - Y[i-1] + X[j-1] - X[j+1]) / (2 d), zero strictly inside the finer domain, and the explicit side
/// r = omega + diffusion (sum of neighbours - 4 omega) + now N + before N_before. An item is a row of one slab.
template <class S>
struct ExplicitKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* omega;
  const S* omega_rings;
  const S* x;
  const S* x_rings;
  const S* y;
  const S* y_rings;
  const S* before;  // may be null where `weight_before` is 0
  PerLevel<T> half_inverse_spacing, diffusion;
  T weight_now, weight_before;
  S* nonlinear;
  S* r;

  KOLMO_HD void operator()(index_t item) const {
    const index_t slab = item / g.rows(), level = g.level_of(slab), i = item % g.rows() + 1, n = g.columns();
    const NodeView<S> w(g, omega, omega_rings, slab), view_x(g, x, x_rings, slab), view_y(g, y, y_rings, slab);
    const T scale = half_inverse_spacing[level], spread = diffusion[level];
    const S *here = w.line(i), *west = w.line(i - 1), *east = w.line(i + 1);
    const S *px = view_x.line(i), *y_west = view_y.line(i - 1), *y_east = view_y.line(i + 1);
    const index_t row = item * n - 1;
    S* target = nonlinear + row;
    S* result = r + row;
    KOLMO_INDEPENDENT
    for (index_t j = 2; j < n; ++j) {
      target[j] = scale * ((y_east[j] - y_west[j]) + (px[j - 1] - px[j + 1]));
      result[j] = here[j] + spread * ((west[j] + east[j]) + (here[j - 1] + here[j + 1]) - T(4) * here[j]);
    }
    target[1] = scale * ((y_east[1] - y_west[1]) + (view_x.south(i) - px[2]));
    result[1] = here[1] + spread * ((west[1] + east[1]) + (w.south(i) + here[2]) - T(4) * here[1]);
    target[n] = scale * ((y_east[n] - y_west[n]) + (px[n - 1] - view_x.north(i)));
    result[n] = here[n] + spread * ((west[n] + east[n]) + (here[n - 1] + w.north(i)) - T(4) * here[n]);
    if (level > 0 && g.inside_x(i))
      for (index_t j = g.inner_y + 1; j < g.inner_y + g.ny / 2; ++j) target[j] = S(T(0));
    if (weight_before == T(0)) {
      KOLMO_INDEPENDENT
      for (index_t j = 1; j <= n; ++j) result[j] = result[j] + weight_now * target[j];
    } else {
      const S* last = before + row;
      KOLMO_INDEPENDENT
      for (index_t j = 1; j <= n; ++j) result[j] = result[j] + (weight_now * target[j] + weight_before * last[j]);
    }
  }
};

/// ExplicitKernel on one level, products included: omega is zero on the border. An item is a row of one case.
template <class S>
struct ExplicitOneLevelKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* omega;
  const S* zeros;  // at least ny + 1
  const S* flux;
  const S* before;  // may be null where `weight_before` is 0
  T advection;      // 1/(2 d)^2
  T diffusion, weight_now, weight_before;
  S* nonlinear;
  S* r;

  KOLMO_HD void operator()(index_t item) const {
    const index_t i = item % g.rows() + 1, n = g.columns();
    const S* here = omega + item * n - 1;
    const S* west = i == 1 ? zeros : here - n;
    const S* east = i == g.nx - 1 ? zeros : here + n;
    const S* q = flux + item / g.rows() * g.fluxes();
    const S* qx_west = q + g.flux_x(i - 1, 0);
    const S* qx_east = q + g.flux_x(i + 1, 0);
    const S* qy_west = q + g.flux_y(i - 1, 0);
    const S* qy_east = q + g.flux_y(i, 0);
    const S none = S(T(0));
    S* target = nonlinear + item * n - 1;
    S* result = r + item * n - 1;
    const S* last = weight_before == T(0) ? here : before + item * n - 1;
    edge(1, here, west, east, qx_west, qx_east, qy_west, qy_east, last, none, here[2], target, result);
    const T a = advection, spread = diffusion, now = weight_now, previous = weight_before;
    KOLMO_INDEPENDENT
    for (index_t j = 2; j < n; ++j) {
      const S value =
          a * ((west[j] * (qx_west[j - 1] + qx_west[j]) - east[j] * (qx_east[j - 1] + qx_east[j])) +
               (here[j - 1] * (qy_west[j - 1] + qy_east[j - 1]) - here[j + 1] * (qy_west[j + 1] + qy_east[j + 1])));
      const S sum = (west[j] + east[j]) + (here[j - 1] + here[j + 1]) - T(4) * here[j];
      const S old = last[j];
      target[j] = value;
      result[j] = here[j] + spread * sum + (now * value + previous * old);
    }
    edge(n, here, west, east, qx_west, qx_east, qy_west, qy_east, last, here[n - 1], none, target, result);
  }

 private:
  KOLMO_HD void edge(index_t j, const S* here, const S* west, const S* east, const S* qx_west, const S* qx_east,
                     const S* qy_west, const S* qy_east, const S* last, S south, S north, S* target, S* result) const {
    const S value =
        advection * ((west[j] * (qx_west[j - 1] + qx_west[j]) - east[j] * (qx_east[j - 1] + qx_east[j])) +
                     (south * (qy_west[j - 1] + qy_east[j - 1]) - north * (qy_west[j + 1] + qy_east[j + 1])));
    const S sum = (west[j] + east[j]) + (south + north) - T(4) * here[j];
    const S old = last[j];
    target[j] = value;
    result[j] = here[j] + diffusion * sum + (weight_now * value + weight_before * old);
  }
};

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
