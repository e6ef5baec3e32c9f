#pragma once
// A small dense linear programme and its solution; gmm/simplex.hpp solves it.

#include <span>
#include <string>
#include <vector>

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

namespace kolmo::gmm {

enum class RowKind { at_most, equal, at_least };

/// A linear programme in variables x >= 0.
struct LinearProgram {
  index_t variables = 0;
  std::vector<double> cost;    ///< [variables]
  std::vector<double> matrix;  ///< [rows, variables]
  std::vector<double> right;   ///< [rows]
  std::vector<RowKind> kinds;  ///< [rows]

  index_t rows() const { return static_cast<index_t>(right.size()); }
  /// Throws ShapeError unless there is a coefficient for each variable.
  void add_row(std::span<const double> coefficients, RowKind kind, double bound) {
    if (static_cast<index_t>(coefficients.size()) != variables)
      throw ShapeError("LinearProgram: a row has " + std::to_string(coefficients.size()) + " coefficients for " +
                       std::to_string(variables) + " variables");
    matrix.insert(matrix.end(), coefficients.begin(), coefficients.end());
    right.push_back(bound);
    kinds.push_back(kind);
  }
};

enum class LinearOutcome { optimal, infeasible, unbounded, iteration_limit };

/// One phrase for reports.
constexpr const char* describe(LinearOutcome outcome) {
  switch (outcome) {
    case LinearOutcome::optimal:
      return "optimal";
    case LinearOutcome::infeasible:
      return "no point satisfies the constraints";
    case LinearOutcome::unbounded:
      return "the objective has no lower bound";
    case LinearOutcome::iteration_limit:
      return "stopped at the iteration limit";
  }
  return "unknown outcome";
}

struct LinearSolution {
  LinearOutcome outcome = LinearOutcome::iteration_limit;
  double objective = 0.0;
  std::vector<double> x;            ///< [variables]; empty unless optimal
  std::vector<double> multipliers;  ///< [rows], derivative of the objective in `right`; empty unless optimal
  double violation = 0.0;           ///< largest violation of a row, in its own units; also of x >= 0
  index_t iterations = 0;           ///< pivots
};

struct SimplexOptions {
  /// Of pivots; 0 for 50 (rows + variables).
  index_t max_iterations = 0;
  /// Of violations and of reduced costs, in rows and columns scaled to one.
  double tolerance = 1e-9;
};

}  // namespace kolmo::gmm
