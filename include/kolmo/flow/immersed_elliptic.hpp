#pragma once
// Elliptic problems on nested grids, (1 + alpha L) u = K g and L u = K g with the 5-point Laplacian L: the outermost
// level has zero on its border, every finer one takes its border from the level just solved. One level is two sine
// transforms, whose eigenvalues are lambda = 2 (cos(pi i/nx) + cos(pi j/ny) - 2)/d^2.

#include <cmath>
#include <vector>

#include <kolmo/flow/immersed_operators.hpp>
#include <kolmo/ops/fft_plan.hpp>

namespace kolmo::flow::detail {

/// The operator constant + factor d^2 L on one level.
template <class T>
struct Symbol {
  T constant, factor;
};

/// Divides the sine coefficients of one row by the symbol. An item is a row of one case.
template <class S>
struct SymbolKernel {
  using T = BaseScalar<S>;
  const T* cosines_x;  // 2 cos(pi k/nx) - 2, k = 1 ...
  const T* cosines_y;
  index_t rows, columns;
  Symbol<T> symbol;
  T scale;
  S* coefficients;
  KOLMO_HD void operator()(index_t item) const {
    S* c = coefficients + item * columns;
    const T add = symbol.constant + symbol.factor * cosines_x[item % rows], factor = symbol.factor, s = scale;
    const T* cosines = cosines_y;
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < columns; ++j) c[j] = c[j] * (s / (add + factor * cosines[j]));
  }
};

/// On one level, all as sine coefficients: omega <- scale (1 - alpha L)^-1 omega, or with `change`
/// omega <- omega - scale (1 - alpha L)^-1 change; psi <- -L^-1 omega. An item is a row of one case.
template <class S>
struct SpectralStepKernel {
  using T = BaseScalar<S>;
  const T* cosines_x;
  const T* cosines_y;
  index_t rows, columns;
  T alpha;   // over d^2, times -1
  T square;  // d^2
  T scale;
  const S* change;
  S* omega;
  S* psi;
  KOLMO_HD void operator()(index_t item) const {
    S* w = omega + item * columns;
    S* p = psi + item * columns;
    const T across = cosines_x[item % rows], a = alpha, s = scale, to_psi = -square;
    const T* cosines = cosines_y;
    if (change == nullptr) {
      KOLMO_INDEPENDENT
      for (index_t j = 0; j < columns; ++j) {
        const T lambda = across + cosines[j], implicit = T(1) + a * lambda, both = T(1) / (implicit * lambda);
        const S value = w[j] * (s * lambda * both);
        p[j] = value * (to_psi * implicit * both);
        w[j] = value;
      }
    } else {
      const S* c = change + item * columns;
      KOLMO_INDEPENDENT
      for (index_t j = 0; j < columns; ++j) {
        const T lambda = across + cosines[j], implicit = T(1) + a * lambda, both = T(1) / (implicit * lambda);
        const S value = w[j] - c[j] * (s * lambda * both);
        p[j] = value * (to_psi * implicit * both);
        w[j] = value;
      }
    }
  }
};

/// Takes `factor` times the border values from the nodes next to the border: west and east lines (ny-1 each), then
/// south and north without their corners (nx-3 each). An item is a node of one case.
template <class S>
struct BorderKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* rings;  // of the level
  T factor;
  S* field;
  KOLMO_HD static index_t nodes(const GridShape& g) { return 2 * (g.ny - 1) + 2 * (g.nx - 3); }
  KOLMO_HD void operator()(index_t item) const {
    const index_t one_case = item / nodes(g), up = g.ny - 1, across = g.nx - 3;
    const index_t k = item - one_case * nodes(g), rest = k - 2 * up;
    index_t i, j;
    if (rest < 0) {
      i = k < up ? 1 : g.nx - 1;
      j = (k < up ? k : k - up) + 1;
    } else {
      i = (rest < across ? rest : rest - across) + 2;
      j = rest < across ? 1 : g.ny - 1;
    }
    const S *west = rings + one_case * g.ring(), *east = west + (g.ny + 1), *south = east + (g.ny + 1),
            *north = south + (g.nx + 1);
    S& value = field[one_case * g.nodes() + g.node(i, j)];
    if (i == 1) value = value - factor * west[j];
    if (i == g.nx - 1) value = value - factor * east[j];
    if (j == 1) value = value - factor * south[i];
    if (j == g.ny - 1) value = value - factor * north[i];
  }
};

/// The transpose of BorderKernel: the border's part of a gradient. One item: a level.
template <class S>
struct BorderTransposeKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* field;
  T factor;
  S* ring;
  KOLMO_HD void operator()(index_t) const {
    S *west = ring, *east = ring + (g.ny + 1), *south = ring + 2 * (g.ny + 1), *north = south + (g.nx + 1);
    for (index_t j = 0; j <= g.ny; ++j) {
      const bool inner = j > 0 && j < g.ny;
      west[j] = inner ? -(factor * field[g.node(1, j)]) : S(T(0));
      east[j] = inner ? -(factor * field[g.node(g.nx - 1, j)]) : S(T(0));
    }
    for (index_t i = 0; i <= g.nx; ++i) {
      const bool inner = i > 0 && i < g.nx;
      south[i] = inner ? -(factor * field[g.node(i, 1)]) : S(T(0));
      north[i] = inner ? -(factor * field[g.node(i, g.ny - 1)]) : S(T(0));
    }
  }
};

/// The transpose of ExtendKernel, added to the coarser level's interior. One item: a level.
template <class S>
struct ExtendTransposeKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* ring;
  S* coarse;  // of the coarser level
  KOLMO_HD void operator()(index_t) const {
    for (index_t k = 0; k < g.ring(); ++k) {
      index_t i = 0, j = 0;
      g.ring_node(k, i, j);
      S* target = coarse + g.node(g.inner_x + i / 2, g.inner_y + j / 2);
      const index_t step = i % 2 == 1 ? g.columns() : 1;
      if (i % 2 == 1 || j % 2 == 1) {
        target[0] = target[0] + T(0.5) * ring[k];
        target[step] = target[step] + T(0.5) * ring[k];
      } else {
        target[0] = target[0] + ring[k];
      }
    }
  }
};

/// The transpose of CoarsenKernel: what the finer level receives. An item is a row p - 1 of the finer level.
template <class S>
struct CoarsenTransposeKernel {
  using T = BaseScalar<S>;
  GridShape g;
  const S* coarse;
  S* fine;
  KOLMO_HD void operator()(index_t item) const {
    const index_t p = item + 1, low = p / 2, high = (p + 1) / 2;
    S* row = fine + item * g.columns();
    for (index_t q = 1; q < g.ny; ++q) {
      const index_t left = q / 2, right = (q + 1) / 2;
      // An even index meets one coarse node with weight 1/2, an odd one two with 1/4 each: twice 1/4 in both cases.
      row[q - 1] = row[q - 1] + T(0.0625) * ((at(low, left) + at(low, right)) + (at(high, left) + at(high, right)));
    }
  }
  KOLMO_HD S at(index_t i, index_t j) const {
    const bool inside = i > 0 && i < g.nx / 2 && j > 0 && j < g.ny / 2;
    return inside ? coarse[g.node(g.inner_x + i, g.inner_y + j)] : S(T(0));
  }
};

/// Zeros strictly inside the finer domain. An item is a row of them.
template <class S>
struct ClearInsideKernel {
  GridShape g;
  S* field;  // of the level
  KOLMO_HD void operator()(index_t item) const {
    S* row = field + g.node(g.inner_x + 1 + item, g.inner_y + 1);
    for (index_t j = 0; j < g.ny / 2 - 1; ++j) row[j] = S(BaseScalar<S>(0));
  }
};

template <class S>
struct AddKernel {
  const S* x;
  S* y;
  BaseScalar<S> factor;
  KOLMO_HD void operator()(index_t i) const { y[i] = y[i] + factor * x[i]; }
};

template <class T, class B>
class NestedElliptic {
 public:
  NestedElliptic() : sine_(2, 2) {}
  explicit NestedElliptic(const ImmersedGrid& grid) : g_(grid), sine_(grid.nx, grid.ny) {
    std::vector<T> x, y;
    for (index_t k = 1; k < grid.nx; ++k) x.push_back(static_cast<T>(two_cosines(k, grid.nx)));
    for (index_t k = 1; k < grid.ny; ++k) y.push_back(static_cast<T>(two_cosines(k, grid.ny)));
    cosines_x_ = Tensor<T, B>::from(x);
    cosines_y_ = Tensor<T, B>::from(y);
    for (index_t l = 0; l < grid.levels; ++l) inverse_square_.push_back(1 / (grid.spacing(l) * grid.spacing(l)));
  }

  /// 2 cos(pi k/n) - 2 without cancellation.
  static double two_cosines(index_t k, index_t n) {
    const double s = std::sin(1.57079632679489661923 * static_cast<double>(k) / static_cast<double>(n));
    return -4 * s * s;
  }

  const GridShape& shape() const { return g_; }

  /// The same for `cases` cases at once.
  NestedElliptic for_cases(index_t cases) const {
    NestedElliptic result = *this;
    result.g_.cases = cases;
    return result;
  }

  /// The sine transform of one level, in place; of a part of its rows and columns.
  template <class S>
  void transform(S* u) const {
    sine_.template apply<B>(g_.cases, u, u, T(1));
  }
  template <class S>
  void transform_part(S* u, const typename SineTransform2<T>::Part& part) const {
    sine_.template apply_part<B>(g_.cases, static_cast<const S*>(u), u, part);
  }

  /// 1 + alpha L, or factor L.
  Symbol<T> helmholtz(double alpha, index_t level) const {
    return {T(1), static_cast<T>(alpha * inverse_square_[static_cast<std::size_t>(level)])};
  }
  Symbol<T> laplace(double factor, index_t level) const {
    return {T(0), static_cast<T>(factor * inverse_square_[static_cast<std::size_t>(level)])};
  }

  template <class S>
  void coarsen(S* field) const {
    for (index_t l = 1; l < g_.levels; ++l)
      for_each_item<B>(g_.cases * (g_.nx / 2 - 1), CoarsenKernel<S>{g_, field, l});
  }

  /// field <- K^T field, of one case.
  template <class S>
  void coarsen_transpose(S* field) const {
    for (index_t l = g_.levels - 1; l > 0; --l) {
      S* coarse = field + l * g_.nodes();
      for_each_item<B>(g_.rows(), CoarsenTransposeKernel<S>{g_, coarse, coarse - g_.nodes()});
      for_each_item<B>(g_.nx / 2 - 1, ClearInsideKernel<S>{g_, coarse});
    }
  }

  /// Borders of all levels but the last of a field; the last stays as it is (zero).
  template <class S>
  void extend(const S* field, S* rings) const {
    B::for_each((g_.levels - 1) * g_.cases * g_.ring(), ExtendKernel<S>{g_, field, rings});
  }
  template <class S>
  void extend_level(const S* field, S* rings, index_t level) const {
    const index_t slab = level * g_.cases;
    B::for_each(g_.cases * g_.ring(), ExtendKernel<S>{g_, field + slab * g_.nodes(), rings + slab * g_.ring()});
  }
  /// Adds the transpose, of one case: interiors of coarser levels receive what their finer neighbours' borders have.
  template <class S>
  void extend_transpose(const S* rings, S* field) const {
    for (index_t l = 0; l + 1 < g_.levels; ++l) extend_level_transpose(rings, field, l);
  }
  template <class S>
  void extend_level_transpose(const S* rings, S* field, index_t l) const {
    for_each_item<B>(1, ExtendTransposeKernel<S>{g_, rings + l * g_.ring(), field + (l + 1) * g_.nodes()});
  }

  /// u <- solution for the right-hand side u, which is coarsened first; `rings` receives the borders of u.
  /// symbols(level) gives the operator.
  template <class S, class Symbols>
  void solve(const Symbols& symbols, S* u, S* rings) const {
    coarsen(u);
    for (index_t l = g_.levels - 1; l >= 0; --l) {
      S* level = u + l * g_.cases * g_.nodes();
      const Symbol<T> symbol = symbols(l);
      if (l + 1 < g_.levels) {
        extend_level(u, rings, l);
        B::for_each(g_.cases * BorderKernel<S>::nodes(g_),
                    BorderKernel<S>{g_, rings + l * g_.cases * g_.ring(), symbol.factor, level});
      }
      divide(symbol, level);
    }
  }

  /// u <- transpose of solve, applied to u, of one case; with `ring_gradients` (may be null) the gradients of the
  /// borders that solve returned, which are used up.
  template <class S, class Symbols>
  void solve_transpose(const Symbols& symbols, S* u, S* ring_gradients) const {
    auto rings = Tensor<S, B>::uninitialized(Shape{g_.ring()});
    for (index_t l = 0; l < g_.levels; ++l) {
      S* level = u + l * g_.nodes();
      const Symbol<T> symbol = symbols(l);
      divide(symbol, level);
      if (l + 1 == g_.levels) break;
      S* ring = rings.mutable_data();
      for_each_item<B>(1, BorderTransposeKernel<S>{g_, level, symbol.factor, ring});
      if (ring_gradients != nullptr) B::for_each(g_.ring(), AddKernel<S>{ring_gradients + l * g_.ring(), ring, T(1)});
      for_each_item<B>(1, ExtendTransposeKernel<S>{g_, ring, level + g_.nodes()});
    }
    coarsen_transpose(u);
  }

  /// One level with zero border, all cases: u <- symbol^-1 u.
  template <class S>
  void divide(const Symbol<T>& symbol, S* u) const {
    transform(u);
    const T scale = T(1) / static_cast<T>(4 * g_.nx * g_.ny);
    for_each_item<B>(g_.cases * g_.rows(),
                     SymbolKernel<S>{cosines_x_.data(), cosines_y_.data(), g_.rows(), g_.columns(), symbol, scale, u});
    transform(u);
  }

  /// See SpectralStepKernel; `change` may be null.
  template <class S>
  void spectral_step(double alpha, const S* change, S* omega, S* psi) const {
    const T scale = T(1) / static_cast<T>(4 * g_.nx * g_.ny);
    for_each_item<B>(g_.cases * g_.rows(),
                     SpectralStepKernel<S>{cosines_x_.data(), cosines_y_.data(), g_.rows(), g_.columns(),
                                           static_cast<T>(-alpha * inverse_square_[0]),
                                           static_cast<T>(1 / inverse_square_[0]), scale, change, omega, psi});
  }

  const T* cosines_x() const { return cosines_x_.data(); }
  const T* cosines_y() const { return cosines_y_.data(); }

 private:
  GridShape g_;
  SineTransform2<T> sine_;
  Tensor<T, B> cosines_x_, cosines_y_;
  std::vector<double> inverse_square_;
};

}  // namespace kolmo::flow::detail
