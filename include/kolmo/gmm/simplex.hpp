#pragma once
// Small dense linear programmes: minimise c x subject to rows A x {<=, =, >=} b and x >= 0.
//
// Two phases on one tableau (Dantzig; dual simplex of Lemke). The dual simplex, with costs that are not negative,
// slightly perturbed against ties, finds a vertex or shows that there is none; where the true costs are not negative,
// as in a fit, it is nearly the whole work. The primal simplex then finishes with the true costs. Ratio tests are
// Harris's: among steps that are as good to a tolerance, the largest pivot. After steps that gain nothing, choices
// go by the lowest index (Bland), so that nothing cycles for ever. Results are checked on a tableau made anew.

#include <algorithm>
#include <string>

#include <kolmo/core/random.hpp>
#include <kolmo/gmm/linear_program.hpp>
#include <kolmo/gmm/simplex_tableau.hpp>

namespace kolmo::gmm {

namespace detail {

class Simplex {
 public:
  Simplex(const LinearProgram& program, const SimplexOptions& options)
      : program_(program), tolerance_(options.tolerance), scaling_(program), tableau_(scaling_.tableau(program)) {
    limit_ = options.max_iterations > 0 ? options.max_iterations : 50 * (program.rows() + program.variables);
    cost_.resize(size(program.variables));
    for (index_t j = 0; j < program.variables; ++j) cost_[size(j)] = program.cost[size(j)] * scaling_.column[size(j)];
    double largest = 0.0;
    for (double c : cost_) largest = larger(largest, abs(c));
    cost_scale_ = largest > 0.0 ? 1.0 / largest : 1.0;
    for (double& c : cost_) c *= cost_scale_;
  }

  LinearSolution run() {
    LinearSolution solution;
    std::vector<double> positive = cost_;
    for (index_t j = 0; j < program_.variables; ++j)
      positive[size(j)] =
          larger(positive[size(j)], 0.0) + 1e-6 * (0.5 + uniform<double>(Key{0x51e9}, static_cast<std::uint64_t>(j)));
    solution.outcome = dual(positive);
    // The primal phase ends at the optimum for bounds relaxed by the tolerance, the dual phase at a point that keeps
    // the true ones. Where the first is not the second already, one bounds the optimum from below and the other from
    // above.
    double least = -kolmo::detail::infinity<double>();
    for (int round = 0; round < 20 && solution.outcome == LinearOutcome::optimal; ++round) {
      if (round > 0 && objective() - least <= 10.0 * tolerance_ * (1.0 + abs(least)) && is_feasible())
        return report(solution);
      solution.outcome = primal();
      if (solution.outcome != LinearOutcome::optimal) break;
      least = larger(least, objective());
      tableau_.restore();
      tableau_.rebuild();
      if (is_feasible() && is_optimal()) return report(solution);
      solution.outcome = dual(is_optimal() ? cost_ : positive);
      tableau_.rebuild();
    }
    if (solution.outcome == LinearOutcome::optimal) solution.outcome = LinearOutcome::iteration_limit;
    solution.iterations = iterations_;
    return solution;
  }

 private:
  /// Powers of two that bring the largest element of every column and row near one.
  struct Scaling {
    std::vector<double> row, column;

    explicit Scaling(const LinearProgram& p) : row(size(p.rows()), 0.0), column(size(p.variables), 0.0) {
      for (index_t i = 0; i < p.rows(); ++i)
        for (index_t j = 0; j < p.variables; ++j)
          column[size(j)] = larger(column[size(j)], abs(p.matrix[size(i * p.variables + j)]));
      for (double& c : column) c = power(c);
      for (index_t i = 0; i < p.rows(); ++i) {
        for (index_t j = 0; j < p.variables; ++j)
          row[size(i)] = larger(row[size(i)], abs(p.matrix[size(i * p.variables + j)]) * column[size(j)]);
        row[size(i)] = power(row[size(i)]);
      }
    }
    static double power(double x) { return x > 0.0 ? std::exp2(-std::round(std::log2(larger(x, 1e-150)))) : 1.0; }
    Tableau tableau(const LinearProgram& p) const {
      std::vector<double> matrix(p.matrix.size()), right(p.right.size());
      std::vector<char> equation(p.right.size());
      for (index_t i = 0; i < p.rows(); ++i) {
        const double factor = p.kinds[size(i)] == RowKind::at_least ? -row[size(i)] : row[size(i)];
        for (index_t j = 0; j < p.variables; ++j)
          matrix[size(i * p.variables + j)] = p.matrix[size(i * p.variables + j)] * factor * column[size(j)];
        right[size(i)] = p.right[size(i)] * factor;
        equation[size(i)] = p.kinds[size(i)] == RowKind::equal ? 1 : 0;
      }
      return Tableau(std::move(matrix), std::move(right), std::move(equation), p.variables);
    }
  };

  static std::size_t size(index_t i) { return static_cast<std::size_t>(i); }
  static constexpr double smallest_pivot = 1e-9, safe_pivot = 1e-6;
  static constexpr index_t patience = 100, rebuild_every = 200;

  double objective() const {
    double sum = 0.0;
    for (index_t i = 0; i < tableau_.rows(); ++i)
      if (tableau_.basic(i) < program_.variables) sum += cost_[size(tableau_.basic(i))] * tableau_.right(i);
    return sum;
  }
  /// How far the basic variable of row i is from where it may be.
  double violation(index_t i) const {
    const double x = tableau_.right(i);
    return tableau_.is_fixed(tableau_.basic(i)) ? abs(x) : larger(-x, 0.0);
  }
  bool is_feasible() const {
    for (index_t i = 0; i < tableau_.rows(); ++i)
      if (violation(i) > 10.0 * tolerance_) return false;
    return true;
  }
  bool is_optimal() const {
    const std::vector<double> reduced = tableau_.reduced_costs(cost_);
    for (index_t j = 0; j < tableau_.columns(); ++j)
      if (!tableau_.is_fixed(tableau_.nonbasic(j)) && reduced[size(j)] < -10.0 * tolerance_) return false;
    return true;
  }

  void exchange(index_t p, index_t q, std::vector<double>& reduced, const std::vector<double>& cost) {
    tableau_.pivot(p, q);
    tableau_.update(reduced, p, q);
    ++iterations_;
    if (tableau_.pivots_since_rebuild() >= rebuild_every) refresh(reduced, cost);
  }
  void refresh(std::vector<double>& reduced, const std::vector<double>& cost) {
    tableau_.rebuild();
    reduced = tableau_.reduced_costs(cost);
  }

  /// From costs whose reduced costs are not negative to a vertex that satisfies the constraints.
  LinearOutcome dual(const std::vector<double>& given) {
    std::vector<double> cost = given;
    std::vector<double> reduced = tableau_.reduced_costs(cost);
    index_t idle = 0;
    for (;;) {
      // Costs that rounding has made negative are raised: the primal phase has the true ones.
      for (index_t j = 0; j < tableau_.columns(); ++j) {
        double& d = reduced[size(j)];
        if (d >= 0.0 || tableau_.is_fixed(tableau_.nonbasic(j))) continue;
        if (tableau_.nonbasic(j) < program_.variables) cost[size(tableau_.nonbasic(j))] -= d;
        d = 0.0;
      }
      const bool by_index = idle > patience;
      index_t p = -1;
      double best = 0.0;
      for (index_t i = 0; i < tableau_.rows(); ++i) {
        const double v = violation(i);
        if (!(v > tolerance_)) continue;
        const double gain = v * v / tableau_.row_weight(i);
        if (p < 0 || (by_index ? tableau_.basic(i) < tableau_.basic(p) : gain > best)) {
          p = i;
          best = gain;
        }
      }
      if (p < 0) return LinearOutcome::optimal;
      if (iterations_ >= limit_) return LinearOutcome::iteration_limit;
      const double sign = tableau_.right(p) < 0.0 ? -1.0 : 1.0;
      const index_t q = dual_entering(tableau_.row(p), sign, reduced, by_index);
      if (q < 0 || abs(tableau_.at(p, q)) < safe_pivot) {
        // Nothing is concluded from, and no small number trusted in, a worn tableau.
        if (tableau_.pivots_since_rebuild() > 0) {
          refresh(reduced, cost);
          continue;
        }
        if (q < 0) return LinearOutcome::infeasible;
      }
      idle = reduced[size(q)] > 1e-13 ? 0 : idle + 1;
      exchange(p, q, reduced, cost);
    }
  }

  index_t dual_entering(const double* row, double sign, const std::vector<double>& reduced, bool by_index) const {
    double most = kolmo::detail::infinity<double>();
    const double slack = by_index ? 0.0 : tolerance_;
    for (index_t j = 0; j < tableau_.columns(); ++j) {
      const double a = sign * row[j];
      if (a > smallest_pivot && !tableau_.is_fixed(tableau_.nonbasic(j)))
        most = smaller(most, (reduced[size(j)] + slack) / a);
    }
    index_t q = -1;
    double largest = 0.0;
    for (index_t j = 0; j < tableau_.columns(); ++j) {
      const double a = sign * row[j];
      if (!(a > smallest_pivot) || tableau_.is_fixed(tableau_.nonbasic(j)) || reduced[size(j)] > most * a) continue;
      if (q < 0 || (by_index ? tableau_.nonbasic(j) < tableau_.nonbasic(q) : a > largest)) {
        q = j;
        largest = a;
      }
    }
    return q;
  }

  /// From a vertex to the best one.
  LinearOutcome primal() {
    // Bounds are relaxed by numbers of the size of the tolerance, each by another, so that no two are met at once.
    for (index_t i = 0; i < tableau_.rows(); ++i)
      if (program_.kinds[size(i)] != RowKind::equal)
        tableau_.relax_row(i, tolerance_ * (0.5 + uniform<double>(Key{0x7a3f}, static_cast<std::uint64_t>(i))));
    tableau_.rebuild();
    std::vector<double> reduced = tableau_.reduced_costs(cost_);
    index_t idle = 0;
    for (;;) {
      const bool by_index = idle > patience;
      index_t q = -1;
      double best = 0.0;
      for (index_t j = 0; j < tableau_.columns(); ++j) {
        const double d = reduced[size(j)];
        if (!(d < -tolerance_) || tableau_.is_fixed(tableau_.nonbasic(j))) continue;
        const double gain = d * d / tableau_.column_weight(j);
        if (q < 0 || (by_index ? tableau_.nonbasic(j) < tableau_.nonbasic(q) : gain > best)) {
          q = j;
          best = gain;
        }
      }
      if (q < 0) return LinearOutcome::optimal;
      if (iterations_ >= limit_) return LinearOutcome::iteration_limit;
      const index_t p = primal_leaving(q, by_index);
      if (p < 0 || abs(tableau_.at(p, q)) < safe_pivot) {
        if (tableau_.pivots_since_rebuild() > 0) {
          refresh(reduced, cost_);
          continue;
        }
        if (p < 0) return LinearOutcome::unbounded;
      }
      // A bound passed within the tolerance is moved to where the variable is: no step goes back.
      if (tableau_.right(p) < 0.0) tableau_.lift_basic(p);
      idle = tableau_.right(p) > 1e-13 ? 0 : idle + 1;
      exchange(p, q, reduced, cost_);
    }
  }

  index_t primal_leaving(index_t q, bool by_index) const {
    double most = kolmo::detail::infinity<double>();
    const double slack = by_index ? 0.0 : tolerance_;
    for (index_t i = 0; i < tableau_.rows(); ++i) {
      const bool fixed = tableau_.is_fixed(tableau_.basic(i));
      const double a = fixed ? abs(tableau_.at(i, q)) : tableau_.at(i, q);
      if (a > smallest_pivot) most = smaller(most, ((fixed ? 0.0 : larger(tableau_.right(i), 0.0)) + slack) / a);
    }
    index_t p = -1;
    double largest = 0.0;
    for (index_t i = 0; i < tableau_.rows(); ++i) {
      const bool fixed = tableau_.is_fixed(tableau_.basic(i));
      const double a = fixed ? abs(tableau_.at(i, q)) : tableau_.at(i, q);
      if (!(a > smallest_pivot) || (fixed ? 0.0 : larger(tableau_.right(i), 0.0)) > most * a) continue;
      if (p < 0 || (by_index ? tableau_.basic(i) < tableau_.basic(p) : a > largest)) {
        p = i;
        largest = a;
      }
    }
    return p;
  }

  LinearSolution& report(LinearSolution& s) {
    s.iterations = iterations_;
    s.x.assign(size(program_.variables), 0.0);
    s.multipliers.assign(size(program_.rows()), 0.0);
    for (index_t i = 0; i < tableau_.rows(); ++i)
      if (tableau_.basic(i) < program_.variables) {
        const double value = tableau_.right(i) * scaling_.column[size(tableau_.basic(i))];
        s.x[size(tableau_.basic(i))] = larger(value, 0.0);
        s.violation = larger(s.violation, -value);
      }
    const std::vector<double> reduced = tableau_.reduced_costs(cost_);
    for (index_t j = 0; j < tableau_.columns(); ++j) {
      const index_t i = tableau_.nonbasic(j) - program_.variables;
      if (i < 0) continue;
      const double sign = program_.kinds[size(i)] == RowKind::at_least ? 1.0 : -1.0;
      s.multipliers[size(i)] = sign * reduced[size(j)] * scaling_.row[size(i)] / cost_scale_;
    }
    for (index_t j = 0; j < program_.variables; ++j) s.objective += program_.cost[size(j)] * s.x[size(j)];
    for (index_t i = 0; i < program_.rows(); ++i) {
      double excess = -program_.right[size(i)];
      for (index_t j = 0; j < program_.variables; ++j)
        excess += program_.matrix[size(i * program_.variables + j)] * s.x[size(j)];
      const RowKind kind = program_.kinds[size(i)];
      s.violation = larger(s.violation, kind == RowKind::at_most ? excess
                                        : kind == RowKind::equal ? abs(excess)
                                                                 : -excess);
    }
    return s;
  }

  const LinearProgram& program_;
  double tolerance_;
  Scaling scaling_;
  Tableau tableau_;
  std::vector<double> cost_;
  double cost_scale_ = 1.0;
  index_t limit_ = 0, iterations_ = 0;
};

}  // namespace detail

/// Solves a linear programme. That there is no solution, or that the limit was reached, is an outcome. Throws
/// ShapeError when the parts do not fit, ArgumentError for a number that is not finite or a tolerance that is not
/// positive.
inline LinearSolution solve(const LinearProgram& program, const SimplexOptions& options = {}) {
  const std::size_t n = static_cast<std::size_t>(program.variables), rows = program.right.size();
  if (program.variables < 1 || program.cost.size() != n || program.matrix.size() != n * rows ||
      program.kinds.size() != rows)
    throw ShapeError("solve: a linear programme in " + std::to_string(program.variables) + " variables with " +
                     std::to_string(rows) + " rows has " + std::to_string(program.cost.size()) + " costs, " +
                     std::to_string(program.matrix.size()) + " coefficients and " +
                     std::to_string(program.kinds.size()) + " kinds");
  bool finite = true;
  for (const std::vector<double>* part : {&program.cost, &program.matrix, &program.right})
    for (double x : *part) finite = finite && is_finite(x);
  if (!finite || !(options.tolerance > 0.0) || options.max_iterations < 0)
    throw ArgumentError("solve: the numbers of a linear programme must be finite and the tolerance positive");
  return detail::Simplex(program, options).run();
}

}  // namespace kolmo::gmm
