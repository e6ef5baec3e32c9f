#pragma once
// Transposes of the operators in immersed_operators.hpp and immersed_nonlinear.hpp: what the reverse sweep through a
// substep is made of, for one case. The elliptic solves are symmetric on a level; their nesting is transposed in
// immersed_elliptic.hpp.

#include <kolmo/flow/immersed_nonlinear.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow::detail {

/// FluxKernel's transpose at inner nodes. An item is a row of one level.
template <class S>
struct FluxTransposeKernel {
  GridShape g;
  const S* flux;
  S* psi;
  KOLMO_HD void operator()(index_t item) const {
    const index_t level = item / g.rows(), i = item % g.rows() + 1, n = g.columns();
    const S* q = flux + level * g.fluxes();
    const S *qx = q + g.flux_x(i, 0), *west = q + g.flux_y(i - 1, 1), *east = q + g.flux_y(i, 1);
    S* target = psi + item * n;
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < n; ++j) target[j] = (qx[j] - qx[j + 1]) + (east[j] - west[j]);
  }
};

/// FluxKernel's transpose on the border. An item is a level.
template <class S>
struct FluxRingTransposeKernel {
  GridShape g;
  const S* flux;
  S* rings;
  KOLMO_HD void operator()(index_t level) const {
    const S* q = flux + level * g.fluxes();
    const index_t nx = g.nx, ny = g.ny;
    S *west = rings + level * g.ring(), *east = west + (ny + 1), *south = east + (ny + 1), *north = south + (nx + 1);
    const S none = S(BaseScalar<S>(0));
    for (index_t j = 0; j <= ny; ++j) {
      const bool inner = j > 0 && j < ny;
      west[j] = inner ? (q[g.flux_x(0, j - 1)] - q[g.flux_x(0, j)]) + q[g.flux_y(0, j)] : none;
      east[j] = inner ? (q[g.flux_x(nx, j - 1)] - q[g.flux_x(nx, j)]) - q[g.flux_y(nx - 1, j)] : none;
    }
    for (index_t i = 0; i <= nx; ++i) {
      const S low = (i < nx ? q[g.flux_y(i, 0)] : none) - (i > 0 ? q[g.flux_y(i - 1, 0)] : none);
      const S high = (i < nx ? q[g.flux_y(i, ny)] : none) - (i > 0 ? q[g.flux_y(i - 1, ny)] : none);
      south[i] = low - q[g.flux_x(i, 0)];
      north[i] = high + q[g.flux_x(i, ny - 1)];
    }
  }
};

/// Transpose of the explicit side without its nonlinear term: omega += r + diffusion (sum of neighbours - 4 r) inside a
/// level. An item is a row.
template <class S>
struct DiffusionTransposeKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* r;
  const S* zero_rings;
  PerLevel<T> diffusion;
  S* omega;
  KOLMO_HD void operator()(index_t item) const {
    const index_t level = item / g.rows(), i = item % g.rows() + 1, n = g.columns();
    const NodeView<S> view(g, r, zero_rings, level);
    const S *here = view.line(i), *west = view.line(i - 1), *east = view.line(i + 1);
    S* target = omega + item * n - 1;
    const T spread = diffusion[level];
    for (index_t j = 1; j <= n; ++j) {
      const S south = j > 1 ? here[j - 1] : S(T(0)), north = j < n ? here[j + 1] : S(T(0));
      target[j] = target[j] + here[j] + spread * ((west[j] + east[j]) + (south + north) - T(4) * here[j]);
    }
  }
};

/// Gradients of the products X and Y from that of N (zero strictly inside the finer domain). An item is a row.
template <class S>
struct DivergenceTransposeKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* nonlinear;
  const S* zero_rings;
  PerLevel<T> half_inverse_spacing;
  S* x;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const index_t level = item / g.rows(), i = item % g.rows() + 1, n = g.columns();
    const NodeView<S> view(g, nonlinear, zero_rings, level);
    const S *here = view.line(i), *west = view.line(i - 1), *east = view.line(i + 1);
    const T scale = half_inverse_spacing[level];
    S *to_x = x + item * n - 1, *to_y = y + item * n - 1;
    for (index_t j = 1; j <= n; ++j) {
      const S south = j > 1 ? here[j - 1] : S(T(0)), north = j < n ? here[j + 1] : S(T(0));
      to_x[j] = scale * (north - south);
      to_y[j] = scale * (west[j] - east[j]);
    }
  }
};

/// The same on the border. An item is a level.
template <class S>
struct DivergenceRingTransposeKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* nonlinear;
  PerLevel<T> half_inverse_spacing;
  S* x_rings;
  S* y_rings;
  KOLMO_HD void operator()(index_t level) const {
    const S* f = nonlinear + level * g.nodes();
    const index_t nx = g.nx, ny = g.ny, upright = 2 * (ny + 1);
    S *x = x_rings + level * g.ring(), *y = y_rings + level * g.ring();
    const T scale = half_inverse_spacing[level];
    for (index_t k = 0; k < g.ring(); ++k) x[k] = y[k] = S(T(0));
    for (index_t j = 1; j < ny; ++j) {
      y[j] = -(scale * f[g.node(1, j)]);
      y[ny + 1 + j] = scale * f[g.node(nx - 1, j)];
    }
    for (index_t i = 1; i < nx; ++i) {
      x[upright + i] = scale * f[g.node(i, 1)];
      x[upright + nx + 1 + i] = -(scale * f[g.node(i, ny - 1)]);
    }
  }
};

/// InterfaceInsideKernel's transpose on one level. An item is an interface node.
template <class S>
struct InterfaceInsideTransposeKernel {
  using T = BaseScalar<S>;
  GridShape g;
  index_t level;
  S* x;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const InterfaceNodes nodes{g};
    index_t i, j;
    int side_x, side_y;
    nodes.node(item, i, j, side_x, side_y);
    if (side_x != 0 && side_y != 0) return;
    const index_t at = level * g.nodes() + g.node(i, j);
    S* field = side_x != 0 ? y : x;
    const index_t step = nodes.inward(side_x, side_y), first = nodes.first_fine(level, i, j, side_x, side_y);
    const S value = field[at + step];
    field[at + step] = S(T(0));
    field[first] = field[first] + value;
    field[first + step] = field[first + step] + T(0.5) * value;
    field[at] = field[at] - T(0.5) * value;
  }
};

/// Transpose of the products: omega += X v - Y u, and Y <- gradient of u, X <- gradient of v. An item is a row.
template <class S>
struct ProductTransposeKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* omega;
  const S* flux;
  PerLevel<T> half_inverse_spacing;
  S* x;
  S* y;
  S* omega_gradient;
  KOLMO_HD void operator()(index_t item) const {
    const index_t level = item / g.rows(), i = item % g.rows() + 1, n = g.columns();
    const T scale = half_inverse_spacing[level];
    const S* q = flux + level * g.fluxes();
    const S *qx = q + g.flux_x(i, 0), *west = q + g.flux_y(i - 1, 1), *east = q + g.flux_y(i, 1);
    const S* w = omega + item * n;
    S *gx = x + item * n, *gy = y + item * n, *target = omega_gradient + item * n;
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < n; ++j) {
      const S to_v = gx[j], to_u = gy[j];
      target[j] = target[j] + scale * (to_v * (west[j] + east[j]) - to_u * (qx[j] + qx[j + 1]));
      gx[j] = to_v * w[j];
      gy[j] = -(to_u * w[j]);
    }
  }
};

/// The same at interface nodes: their products' gradients are taken, and left zero for ProductTransposeKernel.
/// An item is an interface node of one level from 1 on.
template <class S>
struct InterfaceProductTransposeKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* omega;
  const S* flux;
  PerLevel<T> half_inverse_spacing;
  S* x;
  S* y;
  S* omega_gradient;
  S* velocity_gradients;  // [levels - 1, nodes, 2]
  KOLMO_HD void operator()(index_t item) const {
    const InterfaceNodes nodes{g};
    const index_t level = item / nodes.count() + 1;
    index_t i, j;
    int side_x, side_y;
    nodes.node(item % nodes.count(), i, j, side_x, side_y);
    const index_t at = level * g.nodes() + g.node(i, j);
    const T scale = T(2) * half_inverse_spacing[level];
    const S to_v = x[at], to_u = y[at];
    const S v = nodes.v<T>(level, i, j, side_x, side_y).sum(flux),
            u = nodes.u<T>(level, i, j, side_x, side_y).sum(flux);
    omega_gradient[at] = omega_gradient[at] + scale * (to_v * v - to_u * u);
    velocity_gradients[2 * item] = -(scale * to_u * omega[at]);
    velocity_gradients[2 * item + 1] = scale * to_v * omega[at];
    x[at] = y[at] = S(T(0));
  }
};

/// Gradients of fluxes from those of node velocities. An item is a row i = 0 ... nx of one level.
template <class S>
struct VelocityTransposeKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* v;
  const S* u;
  const S* zero_rings;
  PerLevel<T> half_inverse_spacing;
  S* flux;
  KOLMO_HD void operator()(index_t item) const {
    const index_t level = item / (g.nx + 1), i = item % (g.nx + 1), ny = g.ny;
    const NodeView<S> view_u(g, u, zero_rings, level), view_v(g, v, zero_rings, level);
    const T scale = half_inverse_spacing[level];
    S* qx = flux + level * g.fluxes() + g.flux_x(i, 0);
    const S* line = view_u.line(i);
    for (index_t j = 1; j < ny - 1; ++j) qx[j] = scale * (line[j] + line[j + 1]);
    qx[0] = scale * line[1];
    qx[ny - 1] = scale * line[ny - 1];
    if (i == g.nx) return;
    S* qy = flux + level * g.fluxes() + g.flux_y(i, 0);
    const S *here = view_v.line(i), *next = view_v.line(i + 1);
    for (index_t j = 1; j < ny; ++j) qy[j] = scale * (here[j] + next[j]);
    qy[0] = qy[ny] = S(T(0));
  }
};

/// Adds what the interface nodes' velocities give to fluxes of two levels. One item, as positions meet.
template <class S>
struct InterfaceVelocityTransposeKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* velocity_gradients;
  S* flux;
  KOLMO_HD void operator()(index_t) const {
    const InterfaceNodes nodes{g};
    for (index_t item = 0; item < (g.levels - 1) * nodes.count(); ++item) {
      const index_t level = item / nodes.count() + 1;
      index_t i, j;
      int side_x, side_y;
      nodes.node(item % nodes.count(), i, j, side_x, side_y);
      add(nodes.u<T>(level, i, j, side_x, side_y), velocity_gradients[2 * item]);
      add(nodes.v<T>(level, i, j, side_x, side_y), velocity_gradients[2 * item + 1]);
    }
  }
  KOLMO_HD void add(const InterfaceStencil<T>& s, const S& value) const {
    for (int k = 0; k < 4; ++k) flux[s.position[k]] = flux[s.position[k]] + s.weight[k] * value;
  }
};

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
