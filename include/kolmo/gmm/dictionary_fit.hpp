#pragma once
// The weights of a dictionary of normals that are best for one sampled density, as a linear programme:
//
//   density              min t                            |Phi w - f| <= t
//   within_tolerance     min sum lambda_n t_n             |Phi w - f| <= tolerance,  |A w - b|_n <= t_n
//   density_and_moments  min lambda t + sum lambda_n t_n  |Phi w - f| <= t,          |A w - b|_n <= t_n
//
// subject to sum w = 1, w >= 0, with the moments b of order 1 to 4 of the density and A of the normals.

#include <kolmo/core/array.hpp>
#include <kolmo/gmm/dictionary.hpp>
#include <kolmo/gmm/mixture_functions.hpp>
#include <kolmo/gmm/simplex.hpp>

namespace kolmo::gmm {

/// What a linear programme minimises.
enum class LpObjective {
  density,              ///< the largest error of the density at the points
  within_tolerance,     ///< errors of moments, the density being kept within LpOptions::tolerance
  density_and_moments,  ///< a weighted sum of both
};

struct LpOptions {
  LpObjective objective = LpObjective::density;
  DictionaryOptions dictionary{};
  /// Smallest deviation of the dictionary, in spacings of the points: narrower normals hide between them.
  double floor_in_spacings = 0.5;
  /// Largest density error of LpObjective::within_tolerance, in density units of the input; required for it. Where it
  /// cannot be kept, ten and a hundred times as much is tried, and the result says so.
  double tolerance = 0.0;
  /// lambda of the density error and of the four moments.
  double density_weight = 1.0;
  Array<double, 4> moment_weights{{1.0, 1.0, 1.0, 1.0}};
  /// Moments, and the density error beside them, in coordinates of mean 0 and deviation 1; false: as they are.
  bool standardise = true;
  /// Lighter components are dropped.
  double least_weight = 1e-10;
  SimplexOptions simplex{};
};

/// Weights for a dictionary and how they do.
struct DictionaryFit {
  LinearOutcome outcome = LinearOutcome::iteration_limit;
  std::vector<double> weights;       ///< [m]; empty unless optimal
  double objective = 0.0;            ///< of the programme
  double density_error = 0.0;        ///< largest at the points, in units of the density given
  Array<double, 4> moment_errors{};  ///< absolute, of order 1 to 4; of standardised coordinates if so chosen
  double tolerance = 0.0;            ///< that was kept; zero for other objectives
  index_t iterations = 0;            ///< pivots
};

namespace detail {

inline void check_lp_options(const LpOptions& o) {
  (void)dictionary_size(o.dictionary);
  if (o.objective == LpObjective::within_tolerance && !(o.tolerance > 0.0))
    throw ArgumentError(
        "lp: the objective within_tolerance needs a positive tolerance; without one the density would not matter");
  bool good = o.density_weight >= 0.0 && o.least_weight >= 0.0 && o.least_weight < 1.0 && o.tolerance >= 0.0 &&
              o.tolerance < 1e300 && o.density_weight < 1e300 && o.floor_in_spacings >= 0.0;
  for (double weight : o.moment_weights) good = good && weight >= 0.0 && weight < 1e300;
  if (!good) throw ArgumentError("lp: weights, tolerances and the deviation floor must be finite and not negative");
}

/// The densities and moments that a programme speaks of, in its own coordinates.
struct DictionaryProblem {
  std::size_t points, size;
  double scale = 1.0;         // of the coordinates
  std::vector<double> basis;  // [points, size]
  std::vector<double> density;
  Array<std::vector<double>, 4> moments;
  Array<double, 4> target{};

  DictionaryProblem(std::span<const double> z, std::span<const double> f, const Dictionary& dictionary,
                    bool standardise)
      : points(z.size()), size(dictionary.size()) {
    const auto weight = [&](std::size_t i) { return 0.5 * (z[i + 1 < points ? i + 1 : i] - z[i > 0 ? i - 1 : 0]); };
    const SampledMoments sampled = sampled_moments(z, f);
    const double total = sampled.total, mean = standardise ? sampled.mean : 0.0;
    if (standardise) scale = sampled.deviation;
    for (std::size_t i = 0; i < points; ++i) {
      double power = f[i] * weight(i) / total;
      for (int n = 0; n < 4; ++n) target[n] += (power *= (z[i] - mean) / scale);
      density.push_back(f[i] / total * scale);
      for (std::size_t j = 0; j < size; ++j) {
        const double g = scale * normal_density(z[i], dictionary.means[j], dictionary.deviations[j]);
        // Far below every tolerance, and on the way to the subnormal numbers, which cost a hundred times as much.
        basis.push_back(g < 1e-25 ? 0.0 : g);
      }
    }
    for (std::size_t j = 0; j < size; ++j) {
      const double one = 1.0, u = (dictionary.means[j] - mean) / scale, s = dictionary.deviations[j] / scale;
      const auto m = mixture_raw_moments(&one, &u, &s, 1);
      for (int n = 0; n < 4; ++n) moments[n].push_back(m[n + 1]);
    }
  }

  LinearProgram program(const LpOptions& o, double tolerance) const {
    const bool bound = o.objective == LpObjective::within_tolerance;
    const bool with_moments = o.objective != LpObjective::density;
    const std::size_t t = size, first = bound ? size : size + 1;
    LinearProgram p;
    p.cost.assign(first + (with_moments ? 4 : 0), 0.0);
    p.variables = static_cast<index_t>(p.cost.size());
    if (!bound) p.cost[t] = with_moments ? o.density_weight : 1.0;
    std::vector<double> row(p.cost.size(), 0.0);
    for (std::size_t i = 0; i < points; ++i)
      for (int side = 0; side < 2; ++side) {
        std::copy_n(basis.begin() + static_cast<std::ptrdiff_t>(i * size), size, row.begin());
        if (!bound) row[t] = side == 0 ? -1.0 : 1.0;
        const double shift = bound ? (side == 0 ? tolerance : -tolerance) : 0.0;
        p.add_row(row, side == 0 ? RowKind::at_most : RowKind::at_least, density[i] + shift);
      }
    std::fill(row.begin(), row.end(), 0.0);
    if (with_moments)
      for (int n = 0; n < 4; ++n) {
        const std::size_t own = first + static_cast<std::size_t>(n);
        p.cost[own] = o.moment_weights[n];
        std::copy(moments[n].begin(), moments[n].end(), row.begin());
        for (int side = 0; side < 2; ++side) {
          row[own] = side == 0 ? -1.0 : 1.0;
          p.add_row(row, side == 0 ? RowKind::at_most : RowKind::at_least, target[n]);
        }
        row[own] = 0.0;
      }
    std::fill(row.begin(), row.end(), 0.0);
    std::fill_n(row.begin(), size, 1.0);
    p.add_row(row, RowKind::equal, 1.0);
    return p;
  }
};

}  // namespace detail

/// The best weights of a dictionary for a density at increasing points. Density values must not be negative and need
/// not be normalised. Weights up to `least_weight` become zero, the others sum to one. That there is no solution is an
/// outcome. Throws ArgumentError for impossible options, ShapeError when points and values do not match.
inline DictionaryFit fit_dictionary(std::span<const double> points, std::span<const double> density,
                                    const Dictionary& dictionary, const LpOptions& o) {
  detail::check_lp_options(o);
  if (points.size() < 3 || density.size() != points.size() || dictionary.size() < 1 ||
      dictionary.deviations.size() != dictionary.size())
    throw ShapeError("fit_dictionary: expected three or more points with a value each and a dictionary, given " +
                     std::to_string(points.size()) + " points, " + std::to_string(density.size()) + " values and " +
                     std::to_string(dictionary.size()) + " normals");
  const detail::DictionaryProblem problem(points, density, dictionary, o.standardise);
  DictionaryFit fit;
  LinearSolution solution;
  const bool bound = o.objective == LpObjective::within_tolerance;
  for (double factor = 1.0; factor <= (bound ? 100.0 : 1.0); factor *= 10.0) {
    fit.tolerance = bound ? factor * o.tolerance : 0.0;
    solution = solve(problem.program(o, fit.tolerance * problem.scale), o.simplex);
    fit.iterations += solution.iterations;
    if (solution.outcome != LinearOutcome::infeasible) break;
  }
  fit.outcome = solution.outcome;
  if (fit.outcome != LinearOutcome::optimal) return fit;
  fit.objective = solution.objective;
  fit.weights.assign(solution.x.begin(), solution.x.begin() + static_cast<std::ptrdiff_t>(problem.size));
  double total = 0.0;
  for (double& w : fit.weights) {
    if (!(w > o.least_weight)) w = 0.0;
    total += w;
  }
  for (double& w : fit.weights) w /= total;
  for (std::size_t i = 0; i < problem.points; ++i) {
    double g = 0.0;
    for (std::size_t j = 0; j < problem.size; ++j) g += fit.weights[j] * problem.basis[i * problem.size + j];
    fit.density_error = larger(fit.density_error, abs(g - problem.density[i]) / problem.scale);
  }
  for (int n = 0; n < 4; ++n) {
    double error = -problem.target[n];
    for (std::size_t j = 0; j < problem.size; ++j) error += fit.weights[j] * problem.moments[n][j];
    fit.moment_errors[n] = abs(error);
  }
  return fit;
}

}  // namespace kolmo::gmm
