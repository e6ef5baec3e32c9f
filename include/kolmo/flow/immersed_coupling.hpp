#pragma once
// What couples body points and grid: E interpolates fluxes to velocities at the points, H spreads point forces to
// fluxes, H = d^2 E^T. Composed with the curl C, E C is a sparse matrix P from the streamfunction of the finest level
// to velocities (12 nodes per velocity), and C^T H is its transpose.

#include <algorithm>
#include <cmath>
#include <vector>

#include <kolmo/flow/body.hpp>
#include <kolmo/flow/immersed_operators.hpp>
#include <kolmo/flow/regularised_delta.hpp>

namespace kolmo::flow::detail {

/// Edges of one velocity component around a point: 3 x 3 from (i, j) on, separable weights.
struct EdgeStencil {
  index_t i = 0, j = 0;
  double weight_x[3]{}, weight_y[3]{};
};

/// `a`, `b`: distances from the first edge of this component, in cells.
inline EdgeStencil edge_stencil(double a, double b) {
  EdgeStencil s;
  // Midway between two edges either one may be the centre; the weights of the outermost are then 0.
  s.i = static_cast<index_t>(std::floor(a + 0.5)) - 1;
  s.j = static_cast<index_t>(std::floor(b + 0.5)) - 1;
  for (int k = 0; k < 3; ++k) {
    s.weight_x[k] = regularised_delta(static_cast<double>(s.i + k) - a);
    s.weight_y[k] = regularised_delta(static_cast<double>(s.j + k) - b);
  }
  return s;
}

/// Stencils of all points: x components, then y.
inline std::vector<EdgeStencil> edge_stencils(const ImmersedGrid& grid, const std::vector<double>& x,
                                              const std::vector<double>& y) {
  std::vector<EdgeStencil> result;
  const double scale = 1 / grid.spacing();
  for (std::size_t k = 0; k < x.size(); ++k)
    result.push_back(edge_stencil((x[k] - grid.corner_x) * scale, (y[k] - grid.corner_y) * scale - 0.5));
  for (std::size_t k = 0; k < x.size(); ++k)
    result.push_back(edge_stencil((x[k] - grid.corner_x) * scale - 0.5, (y[k] - grid.corner_y) * scale));
  return result;
}

/// Rows and columns of inner nodes, counted from 0.
struct NodeBox {
  index_t row_begin = 0, row_end = 0, column_begin = 0, column_end = 0;
};

/// The matrix P: 12 nodes and weights per velocity, and the same by nodes for its transpose.
struct CouplingLists {
  static constexpr int width = 12;
  std::vector<std::int32_t> node;  // [velocities, 12]
  std::vector<double> weight;
  std::vector<std::int32_t> touched;  // nodes with entries, ascending
  std::vector<std::int32_t> begin;    // [touched + 1]
  std::vector<std::int32_t> velocity;
  std::vector<double> transposed_weight;
  NodeBox box;

  /// Points must keep two cells from the edge of the finest domain (checked by Immersed).
  CouplingLists(const ImmersedGrid& grid, const std::vector<EdgeStencil>& stencils) {
    const GridShape g(grid);
    const double scale = 1 / grid.spacing();
    const std::size_t half = stencils.size() / 2;
    std::vector<std::vector<std::pair<std::int32_t, double>>> rows;
    for (std::size_t k = 0; k < stencils.size(); ++k) {
      const EdgeStencil& s = stencils[k];
      // qx[i, j] = psi[i, j+1] - psi[i, j]: 3 x 4 nodes; qy[i, j] = psi[i, j] - psi[i+1, j]: 4 x 3.
      const bool first = k < half;
      const int across = first ? 3 : 4, up = first ? 4 : 3;
      for (int a = 0; a < across; ++a)
        for (int b = 0; b < up; ++b) {
          double w;
          if (first)
            w = s.weight_x[a] * ((b > 0 ? s.weight_y[b - 1] : 0) - (b < 3 ? s.weight_y[b] : 0));
          else
            w = s.weight_y[b] * ((a < 3 ? s.weight_x[a] : 0) - (a > 0 ? s.weight_x[a - 1] : 0));
          const index_t i = std::clamp<index_t>(s.i + a, 1, g.nx - 1), j = std::clamp<index_t>(s.j + b, 1, g.ny - 1);
          node.push_back(static_cast<std::int32_t>(g.node(i, j)));
          weight.push_back(scale * w);
        }
    }
    transpose();
    if (touched.empty()) return;
    box = {touched.front() / g.columns(), touched.back() / g.columns() + 1, g.columns(), 0};
    for (const std::int32_t at : node) {
      box.row_begin = smaller<index_t>(box.row_begin, at / g.columns());
      box.row_end = larger<index_t>(box.row_end, at / g.columns() + 1);
      box.column_begin = smaller<index_t>(box.column_begin, at % g.columns());
      box.column_end = larger<index_t>(box.column_end, at % g.columns() + 1);
    }
  }

  std::size_t velocities() const { return node.size() / width; }

 private:
  void transpose() {
    struct Entry {
      std::int32_t node, velocity;
      double weight;
    };
    std::vector<Entry> entries;
    for (std::size_t e = 0; e < node.size(); ++e)
      if (weight[e] != 0) entries.push_back({node[e], static_cast<std::int32_t>(e / width), weight[e]});
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return a.node != b.node ? a.node < b.node : a.velocity < b.velocity;
    });
    for (const Entry& e : entries) {
      if (touched.empty() || touched.back() != e.node) {
        touched.push_back(e.node);
        begin.push_back(static_cast<std::int32_t>(velocity.size()));
      }
      velocity.push_back(e.velocity);
      transposed_weight.push_back(e.weight);
    }
    begin.push_back(static_cast<std::int32_t>(velocity.size()));
  }
};

/// An item is a velocity of one case.
template <class S>
struct CouplingKernel {
  index_t velocities, nodes;
  const std::int32_t* node;
  const BaseScalar<S>* weight;
  const S* psi;
  S* velocity;
  KOLMO_HD void operator()(index_t item) const {
    const index_t k = item % velocities;
    const S* field = psi + item / velocities * nodes;
    S sum = S(BaseScalar<S>(0));
    for (int e = 0; e < CouplingLists::width; ++e)
      sum = sum + weight[k * CouplingLists::width + e] * field[node[k * CouplingLists::width + e]];
    velocity[item] = sum;
  }
};

/// An item is a node with entries, of one case.
template <class S>
struct CouplingTransposeKernel {
  index_t velocities, nodes, count;
  const std::int32_t* touched;
  const std::int32_t* begin;
  const std::int32_t* velocity;
  const BaseScalar<S>* weight;
  const S* forces;
  BaseScalar<S> factor;
  S* field;
  KOLMO_HD void operator()(index_t item) const {
    const index_t k = item % count, one_case = item / count;
    const S* force = forces + one_case * velocities;
    S& target = field[one_case * nodes + touched[k]];
    S sum = S(BaseScalar<S>(0));
    for (std::int32_t e = begin[k]; e < begin[k + 1]; ++e) sum = sum + weight[e] * force[velocity[e]];
    target = target + factor * sum;
  }
};

/// P and its transpose in the memory of a backend.
template <class T, class B>
class Coupling {
 public:
  Coupling() = default;
  explicit Coupling(const CouplingLists& lists)
      : velocities_(static_cast<index_t>(lists.velocities())),
        box_(lists.box),
        node_(Tensor<std::int32_t, B>::from(lists.node)),
        touched_(Tensor<std::int32_t, B>::from(lists.touched)),
        begin_(Tensor<std::int32_t, B>::from(lists.begin)),
        velocity_(Tensor<std::int32_t, B>::from(lists.velocity)),
        weight_(Tensor<T, B>::from(std::vector<T>(lists.weight.begin(), lists.weight.end()))),
        transposed_weight_(
            Tensor<T, B>::from(std::vector<T>(lists.transposed_weight.begin(), lists.transposed_weight.end()))) {}

  index_t velocities() const { return velocities_; }
  /// The nodes with entries lie in rows and columns [begin, end), counted from 0.
  const NodeBox& box() const { return box_; }

  /// velocity [cases, velocities] = P psi, of the finest level.
  template <class S>
  void interpolate(const GridShape& g, const S* psi, S* velocity) const {
    B::for_each(g.cases * velocities_,
                CouplingKernel<S>{velocities_, g.nodes(), node_.data(), weight_.data(), psi, velocity});
  }
  /// field += factor P^T forces, on the finest level.
  template <class S>
  void spread(const GridShape& g, const S* forces, T factor, S* field) const {
    B::for_each(g.cases * touched_.size(),
                CouplingTransposeKernel<S>{velocities_, g.nodes(), touched_.size(), touched_.data(), begin_.data(),
                                           velocity_.data(), transposed_weight_.data(), forces, factor, field});
  }

 private:
  index_t velocities_ = 0;
  NodeBox box_;
  Tensor<std::int32_t, B> node_, touched_, begin_, velocity_;
  Tensor<T, B> weight_, transposed_weight_;
};

}  // namespace kolmo::flow::detail
