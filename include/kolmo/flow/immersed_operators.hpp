#pragma once
// Operators of the immersed-boundary solver on nested grids (see immersed_grid.hpp) as row kernels: extension to the
// border of a level, coarsening, fluxes of a streamfunction. The explicit side of a substep is in
// immersed_nonlinear.hpp.
//
// Fields of all levels lie one after the other; where several cases are advanced at once, every level holds those of
// all cases: [levels, cases, ...]. Level and case together are a slab. The border of a level is a ring of 2(nx+1) +
// 2(ny+1) values: west and east lines (ny+1 each), then south and north (nx+1 each), corners in both; its values come
// from the next coarser level, and are zero on the outermost.

#include <kolmo/ad/items.hpp>
#include <kolmo/flow/immersed_grid.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow::detail {

using kolmo::detail::for_each_item;

template <class S>
struct BaseScalarOf {
  using Type = S;
};
template <class S, int N>
struct BaseScalarOf<Dual<S, N>> : BaseScalarOf<S> {};
/// The scalar of tables and weights beside a state of scalar S.
template <class S>
using BaseScalar = typename BaseScalarOf<S>::Type;

/// The integers of an ImmersedGrid, for kernels.
struct GridShape {
  index_t nx, ny, levels, inner_x, inner_y;
  index_t cases = 1;

  GridShape() = default;
  explicit GridShape(const ImmersedGrid& grid)
      : nx(grid.nx), ny(grid.ny), levels(grid.levels), inner_x(grid.inner_x()), inner_y(grid.inner_y()) {}

  KOLMO_HD index_t slabs() const { return levels * cases; }
  KOLMO_HD index_t level_of(index_t slab) const { return slab / cases; }
  KOLMO_HD index_t rows() const { return nx - 1; }
  KOLMO_HD index_t columns() const { return ny - 1; }
  KOLMO_HD index_t nodes() const { return (nx - 1) * (ny - 1); }
  KOLMO_HD index_t node(index_t i, index_t j) const { return (i - 1) * (ny - 1) + j - 1; }
  KOLMO_HD index_t ring() const { return 2 * (nx + 1) + 2 * (ny + 1); }
  KOLMO_HD index_t fluxes_x() const { return (nx + 1) * ny; }
  KOLMO_HD index_t fluxes() const { return (nx + 1) * ny + nx * (ny + 1); }
  KOLMO_HD index_t flux_x(index_t i, index_t j) const { return i * ny + j; }
  KOLMO_HD index_t flux_y(index_t i, index_t j) const { return fluxes_x() + i * (ny + 1) + j; }
  /// Strictly inside the next finer domain.
  KOLMO_HD bool inside_x(index_t i) const { return i > inner_x && i < inner_x + nx / 2; }
  KOLMO_HD bool inside_y(index_t j) const { return j > inner_y && j < inner_y + ny / 2; }

  /// The ring position and the node it stands for: k -> (i, j).
  KOLMO_HD void ring_node(index_t k, index_t& i, index_t& j) const {
    if (k < 2 * (ny + 1)) {
      i = k < ny + 1 ? 0 : nx;
      j = k < ny + 1 ? k : k - (ny + 1);
    } else {
      const index_t m = k - 2 * (ny + 1);
      j = m < nx + 1 ? 0 : ny;
      i = m < nx + 1 ? m : m - (nx + 1);
    }
  }
};

/// A number for every level, held by value so that kernels need no table in memory.
template <class T>
struct PerLevel {
  static constexpr index_t most = 20;
  Array<T, most> values{};
  KOLMO_HD const T& operator[](index_t level) const { return values[level]; }
};

/// A nodal field of one slab with its border.
template <class S>
struct NodeView {
  const S* values;
  const S* ring;
  index_t nx, ny;

  KOLMO_HD NodeView(const GridShape& g, const S* field, const S* rings, index_t slab)
      : values(field + slab * g.nodes()), ring(rings + slab * g.ring()), nx(g.nx), ny(g.ny) {}

  /// p with p[j] the value at node (i, j) for 1 <= j <= ny-1.
  KOLMO_HD const S* line(index_t i) const {
    return i == 0 ? ring : i == nx ? ring + (ny + 1) : values + (i - 1) * (ny - 1) - 1;
  }
  /// Value at (i, 0) and (i, ny).
  KOLMO_HD S south(index_t i) const { return ring[2 * (ny + 1) + i]; }
  KOLMO_HD S north(index_t i) const { return ring[2 * (ny + 1) + (nx + 1) + i]; }
};

/// Border of a level from the interior of the next coarser one: its nodes, and means of two in between.
/// An item is a ring position of a slab, of any level but the last.
template <class S>
struct ExtendKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* field;
  S* rings;
  KOLMO_HD void operator()(index_t item) const {
    const index_t slab = item / g.ring(), k = item % g.ring();
    index_t i = 0, j = 0;
    g.ring_node(k, i, j);
    const S* coarse = field + (slab + g.cases) * g.nodes() + g.node(g.inner_x + i / 2, g.inner_y + j / 2);
    S value = coarse[0];
    if (i % 2 == 1) value = T(0.5) * (coarse[0] + coarse[g.columns()]);
    if (j % 2 == 1) value = T(0.5) * (coarse[0] + coarse[1]);
    rings[item] = value;
  }
};

/// Values of a coarse level strictly inside the finer domain become 9-point averages of the finer level's.
/// An item is a row of them on `level`, in one case.
template <class S>
struct CoarsenKernel {
  GridShape g;
  S* field;
  index_t level;
  KOLMO_HD void operator()(index_t item) const {
    using T = BaseScalar<S>;
    const index_t n = g.columns();
    const index_t slab = level * g.cases + item / (g.nx / 2 - 1), row = item % (g.nx / 2 - 1);
    const S* fine = field + (slab - g.cases) * g.nodes() + g.node(2 * (row + 1), 2);
    S* coarse = field + slab * g.nodes() + g.node(g.inner_x + row + 1, g.inner_y + 1);
    for (index_t j = 0; j < g.ny / 2 - 1; ++j) {
      const S* f = fine + 2 * j;
      coarse[j] = T(0.25) * f[0] + T(0.125) * (f[-1] + f[1] + f[-n] + f[n]) +
                  T(0.0625) * (f[-n - 1] + f[-n + 1] + f[n - 1] + f[n + 1]);
    }
  }
};

/// Base flow of one level as fluxes: qx[i, j] = x0 + xj j, qy[i, j] = y0 + yi i.
template <class T>
struct BaseFluxes {
  T x0 = 0, xj = 0, y0 = 0, yi = 0;
};

/// Fluxes of a streamfunction with its border, plus the base flow; also the largest |flux| of every row (NaN where one
/// is not finite). An item is a row i = 0 ... nx of one slab.
template <class S>
struct FluxKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* psi;
  const S* rings;
  PerLevel<BaseFluxes<T>> base;
  S* flux;
  T* largest;

  KOLMO_HD void operator()(index_t item) const {
    const index_t slab = item / (g.nx + 1), i = item % (g.nx + 1), ny = g.ny;
    const NodeView<S> view(g, psi, rings, slab);
    const BaseFluxes<T> b = base[g.level_of(slab)];
    const S* line = view.line(i);
    S* qx = flux + slab * g.fluxes() + g.flux_x(i, 0);
    T most = T(0);
    KOLMO_INDEPENDENT
    for (index_t j = 1; j < ny - 1; ++j) {
      const S q = line[j + 1] - line[j] + (b.x0 + b.xj * static_cast<T>(j));
      qx[j] = q;
    }
    qx[0] = line[1] - view.south(i) + b.x0;
    qx[ny - 1] = view.north(i) - line[ny - 1] + (b.x0 + b.xj * static_cast<T>(ny - 1));
    most = row_largest(qx, ny, most);
    if (i < g.nx) {
      const S* next = view.line(i + 1);
      S* qy = flux + slab * g.fluxes() + g.flux_y(i, 0);
      const T add = b.y0 + b.yi * static_cast<T>(i);
      KOLMO_INDEPENDENT
      for (index_t j = 1; j < ny; ++j) qy[j] = line[j] - next[j] + add;
      qy[0] = view.south(i) - view.south(i + 1) + add;
      qy[ny] = view.north(i) - view.north(i + 1) + add;
      most = row_largest(qy, ny + 1, most);
    }
    largest[item] = most;
  }

  /// The larger of `most` and all |q|. Infinities and NaN reach every flux by the transforms: one tells of all.
  KOLMO_HD static T row_largest(const S* q, index_t n, T most) {
    constexpr int lanes = 16;
    T lane[lanes];
    for (int k = 0; k < lanes; ++k) lane[k] = T(0);
    index_t j = 0;
    for (; j + lanes <= n; j += lanes) {
      KOLMO_INDEPENDENT KOLMO_ROLLED for (int k = 0; k < lanes; ++k) {
        const T a = primal_of(q[j + k]) * primal_of(q[j + k]);
        lane[k] = a > lane[k] ? a : lane[k];
      }
    }
    for (; j < n; ++j) {
      const T a = primal_of(q[j]) * primal_of(q[j]);
      lane[0] = a > lane[0] ? a : lane[0];
    }
    T square = most * most;
    for (int k = 0; k < lanes; ++k) square = lane[k] > square ? lane[k] : square;
    const T first = primal_of(q[0]);
    return first - first == T(0) ? sqrt(square) : first - first;
  }
  KOLMO_HD static T primal_of(T x) { return x; }
  template <int N>
  KOLMO_HD static T primal_of(const Dual<T, N>& x) {
    return x.v;
  }
};

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
