#pragma once
// Distances between sets of points: the exact Wasserstein-1 distance and the maximum mean discrepancy. For numbers
// there is wasserstein_distance, of sets of any sizes.
//
// Between two sets of n equally weighted points the transport problem is an assignment problem, solved here by shortest
// augmenting paths (Jonker and Volgenant 1987, Computing 38, 325): a start from cheap partial assignments, then a
// shortest path for each row that is left. Everything is computed in double on the host.

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/backend/threads.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/core/wasserstein.hpp>

namespace kolmo::score {

/// A cheapest one-to-one map of rows to columns.
struct Assignment {
  std::vector<index_t> column_of_row;
  double cost = 0;
};

namespace detail {

/// Solves an assignment problem of n x n costs. Dual prices of the columns, v, keep cost - v smallest in each assigned
/// row at its column.
class AssignmentSolver {
 public:
  AssignmentSolver(std::span<const double> cost, index_t n)
      : cost_(cost.data()), n_(static_cast<std::size_t>(n)), column_(n_, none), row_(n_, none), price_(n_) {}

  Assignment solve() {
    std::vector<std::size_t> free = reduce_columns();
    for (int sweep = 0; sweep < 2; ++sweep) free = reduce_rows(std::move(free));
    for (const std::size_t row : free) augment(row);
    Assignment result;
    for (std::size_t i = 0; i < n_; ++i) {
      result.column_of_row.push_back(static_cast<index_t>(column_[i]));
      result.cost += at(i, column_[i]);
    }
    return result;
  }

 private:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  double at(std::size_t i, std::size_t j) const { return cost_[i * n_ + j]; }

  /// Each column's price is its cheapest cost; its row is assigned when it is free. The rows left over.
  std::vector<std::size_t> reduce_columns() {
    std::vector<std::size_t> cheapest(n_, 0);
    for (std::size_t j = 0; j < n_; ++j) price_[j] = at(0, j);
    for (std::size_t i = 1; i < n_; ++i)
      for (std::size_t j = 0; j < n_; ++j)
        if (at(i, j) < price_[j]) {
          price_[j] = at(i, j);
          cheapest[j] = i;
        }
    for (std::size_t j = 0; j < n_; ++j)
      if (column_[cheapest[j]] == none) assign(cheapest[j], j);
    std::vector<std::size_t> free;
    for (std::size_t i = 0; i < n_; ++i)
      if (column_[i] == none) free.push_back(i);
    return free;
  }

  /// Gives each free row its cheapest column and lowers the column's price until the second cheapest is as good; the
  /// row it takes the column from becomes free. The rows free afterwards.
  std::vector<std::size_t> reduce_rows(std::vector<std::size_t> free) {
    std::vector<std::size_t> later;
    // Rows that push each other out could lower prices by ever smaller amounts; what is not settled soon is left to
    // the shortest paths.
    std::size_t budget = 4 * n_;
    for (std::size_t k = 0; k < free.size(); ++k) {
      const std::size_t i = free[k];
      double first = std::numeric_limits<double>::infinity(), second = first;
      std::size_t j1 = 0, j2 = 0;
      for (std::size_t j = 0; j < n_; ++j) {
        const double reduced = at(i, j) - price_[j];
        if (reduced < first) {
          second = std::exchange(first, reduced);
          j2 = std::exchange(j1, j);
        } else if (reduced < second) {
          second = reduced;
          j2 = j;
        }
      }
      const bool lowers = n_ > 1 && first < second;
      if (lowers)
        price_[j1] -= second - first;
      else if (row_[j1] != none)
        j1 = j2;
      const std::size_t before = row_[j1];
      if (before != none) column_[before] = none;
      assign(i, j1);
      if (before == none) continue;
      if (lowers && budget > 0) {
        --budget;
        free[k--] = before;
      } else {
        later.push_back(before);
      }
    }
    return later;
  }

  /// Assigns a free row along a shortest path of reduced costs to a free column.
  void augment(std::size_t free_row) {
    const double infinity = std::numeric_limits<double>::infinity();
    std::vector<double> distance(n_, infinity);
    std::vector<std::size_t> reached_from(n_, free_row), scanned;
    std::vector<unsigned> done(n_, 0u);
    std::size_t row = free_row, end = none;
    double length = 0;
    while (end == none) {
      // Relax the columns from `row`, which lies at `length`, and take the nearest that is not done.
      const double offset = row == free_row ? 0 : length - (at(row, column_[row]) - price_[column_[row]]);
      double nearest = infinity;
      std::size_t next = none;
      for (std::size_t j = 0; j < n_; ++j) {
        if (done[j] != 0) continue;
        const double through = at(row, j) - price_[j] + offset;
        if (through < distance[j]) {
          distance[j] = through;
          reached_from[j] = row;
        }
        if (distance[j] < nearest ||
            (distance[j] == nearest && next != none && row_[j] == none && row_[next] != none)) {
          nearest = distance[j];
          next = j;
        }
      }
      length = nearest;
      done[next] = 1;
      if (row_[next] == none) {
        end = next;
      } else {
        scanned.push_back(next);
        row = row_[next];
      }
    }
    for (const std::size_t j : scanned) price_[j] += distance[j] - length;
    for (std::size_t j = end;;) {
      const std::size_t i = reached_from[j];
      const std::size_t before = column_[i];
      assign(i, j);
      if (i == free_row) break;
      j = before;
    }
  }

  void assign(std::size_t i, std::size_t j) {
    column_[i] = j;
    row_[j] = i;
  }

  const double* cost_;
  std::size_t n_;
  std::vector<std::size_t> column_, row_;
  std::vector<double> price_;
};

/// Points [n, d] on the host in double, from a tensor [n, event...].
struct PointSet {
  std::size_t n = 0, d = 0;
  std::vector<double> values;
};
template <PlainTensor V>
PointSet point_set(const V& x, const char* operation) {
  if (x.rank() < 1 || x.size() == 0)
    throw ShapeError(std::string(operation) + ": expected points [n, event...], given " + x.shape().to_string());
  const auto host = x.to_vector();
  PointSet points{static_cast<std::size_t>(x.shape()[0]), host.size() / static_cast<std::size_t>(x.shape()[0]), {}};
  points.values.assign(host.begin(), host.end());
  for (std::size_t e = 0; e < points.values.size(); ++e)
    if (!is_finite(points.values[e]))
      throw ArgumentError(std::string(operation) + ": point " + std::to_string(e / points.d) +
                          " is not finite in entry " + std::to_string(e % points.d));
  return points;
}

/// f(squared distance) for all pairs, [a.n, b.n].
template <class F>
std::vector<double> pair_values(const PointSet& a, const PointSet& b, const F& f) {
  // With the points of b side by side, the inner loop has no sum to reorder.
  std::vector<double> side_by_side(b.values.size());
  for (std::size_t j = 0; j < b.n; ++j)
    for (std::size_t k = 0; k < b.d; ++k) side_by_side[k * b.n + j] = b.values[j * b.d + k];
  std::vector<double> result(a.n * b.n, 0);
  threads::parallel_for(static_cast<index_t>(a.n), [&](index_t row) {
    const auto i = static_cast<std::size_t>(row);
    double* const out = result.data() + i * b.n;
    for (std::size_t k = 0; k < a.d; ++k) {
      const double value = a.values[i * a.d + k];
      const double* const from = side_by_side.data() + k * b.n;
      for (std::size_t j = 0; j < b.n; ++j) out[j] += (value - from[j]) * (value - from[j]);
    }
    for (std::size_t j = 0; j < b.n; ++j) out[j] = f(out[j]);
  });
  return result;
}

template <PlainTensor V>
std::pair<PointSet, PointSet> point_sets(const V& a, const V& b, const char* operation) {
  std::pair<PointSet, PointSet> sets{point_set(a, operation), point_set(b, operation)};
  if (sets.first.d != sets.second.d)
    throw ShapeError(std::string(operation) + ": points of " + std::to_string(sets.first.d) + " and of " +
                     std::to_string(sets.second.d) + " numbers, from " + a.shape().to_string() + " and " +
                     b.shape().to_string());
  return sets;
}

}  // namespace detail

/// Solves the assignment problem of n x n costs, row by row. Throws ShapeError for another number of costs and
/// ArgumentError for one that is not finite.
inline Assignment solve_assignment(std::span<const double> cost, index_t n) {
  if (n < 1 || static_cast<index_t>(cost.size()) / n != n || static_cast<index_t>(cost.size()) % n != 0)
    throw ShapeError("solve_assignment: " + std::to_string(cost.size()) + " costs are not those of " +
                     std::to_string(n) + " rows and as many columns");
  for (std::size_t e = 0; e < cost.size(); ++e)
    if (!is_finite(cost[e]))
      throw ArgumentError("solve_assignment: the cost of row " + std::to_string(static_cast<index_t>(e) / n) +
                          ", column " + std::to_string(static_cast<index_t>(e) % n) + " is not finite");
  return detail::AssignmentSolver(cost, n).solve();
}

/// The Wasserstein-1 distance, with Euclidean cost, between two sets of n equally likely points [n, event...]. Throws
/// ShapeError for sets of other sizes and ArgumentError for a point that is not finite.
template <PlainTensor V>
double wasserstein1(const V& a, const V& b) {
  const auto [x, y] = detail::point_sets(a, b, "wasserstein1");
  if (x.n != y.n)
    throw ShapeError("wasserstein1: " + std::to_string(x.n) + " and " + std::to_string(y.n) +
                     " points; expected as many of both. Leave some out");
  const auto cost = detail::pair_values(x, y, [](double square) { return std::sqrt(square); });
  return solve_assignment(cost, static_cast<index_t>(x.n)).cost / static_cast<double>(x.n);
}

/// The squared maximum mean discrepancy of two sets of points [n, event...] and [m, event...], with the sum of the
/// kernels exp(-d^2 / s), s = 0.001, 0.01, ..., 1000: mean k(a, a') + mean k(b, b') - 2 mean k(a, b), each point paired
/// with itself too. Throws as wasserstein1, but sizes may differ.
template <PlainTensor V>
double maximum_mean_discrepancy(const V& a, const V& b) {
  const auto [x, y] = detail::point_sets(a, b, "maximum_mean_discrepancy");
  const auto kernels = [](double square) {
    double sum = 0;
    for (double scale = 1e-3; scale < 2e3; scale *= 10) sum += std::exp(-square / scale);
    return sum;
  };
  const auto mean = [&](const auto& p, const auto& q) {
    double sum = 0;
    for (const double k : detail::pair_values(p, q, kernels)) sum += k;
    return sum / static_cast<double>(p.n * q.n);
  };
  return mean(x, x) + mean(y, y) - 2 * mean(x, y);
}

}  // namespace kolmo::score
