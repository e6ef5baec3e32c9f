#pragma once
// L-BFGS (Nocedal and Wright 2006, algorithms 7.4, 7.5) with a line search that satisfies the strong Wolfe conditions
// (algorithms 3.5, 3.6, cubic interpolation). Full batch: the loss is a deterministic function of the model.

#include <deque>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/optim/tree.hpp>

namespace kolmo::optim {

struct LbfgsOptions {
  index_t max_iterations = 200;
  double gradient_tolerance = 1e-8;  ///< ends when the gradient's norm is below
  double value_tolerance = 0;        ///< ends when an iteration lowers the loss by less, relative to max(1, |loss|)
  int memory = 10;                   ///< pairs of differences kept
  int max_evaluations = 25;          ///< of one line search
  double sufficient_decrease = 1e-4;
  double curvature = 0.9;
};

enum class LbfgsStatus {
  converged,           ///< the gradient is below its tolerance
  small_change,        ///< the loss changes by less than its tolerance
  iteration_limit,     ///< max_iterations were made
  line_search_failed,  ///< no lower point along the direction: the loss is at its rounding error, or not smooth
  not_finite           ///< loss or gradient is not finite at the start
};

template <class M>
struct LbfgsResult {
  M model;
  double value = 0;
  double gradient_norm = 0;
  index_t iterations = 0;
  index_t evaluations = 0;
  LbfgsStatus status = LbfgsStatus::converged;
};

}  // namespace kolmo::optim

namespace kolmo::detail {

/// A point of the line search: position along the direction, loss, its derivative, gradient.
template <class M>
struct LinePoint {
  double at = 0, value = 0, slope = 0;
  M gradient{};
  bool finite() const { return is_finite(value) && is_finite(slope); }
};

/// Minimiser of the cubic through values and slopes at two points, kept inside the inner 80 % of the interval.
template <class M>
double cubic_step(const LinePoint<M>& a, const LinePoint<M>& b) {
  const double low = smaller(a.at, b.at), width = larger(a.at, b.at) - low;
  double step = low + 0.5 * width;
  if (b.finite()) {
    const double d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.at - b.at);
    const double square = d1 * d1 - a.slope * b.slope;
    if (square >= 0) {
      const double d2 = (b.at > a.at ? 1 : -1) * std::sqrt(square);
      const double denominator = b.slope - a.slope + 2 * d2;
      const double cubic = b.at - (b.at - a.at) * (b.slope + d2 - d1) / denominator;
      if (is_finite(cubic)) step = cubic;
    }
  }
  return larger(low + 0.1 * width, smaller(low + 0.9 * width, step));
}

}  // namespace kolmo::detail

namespace kolmo::optim {

/// Minimises loss(model), which returns one element and is generic in the tensor kind.
template <class M, class Loss>
LbfgsResult<M> lbfgs(const M& start, const Loss& loss, const LbfgsOptions& options = {}) {
  using Point = kolmo::detail::LinePoint<M>;
  if (options.memory < 1 || options.max_evaluations < 1 || options.max_iterations < 0)
    throw ArgumentError("lbfgs: expected memory, max_evaluations >= 1 and max_iterations >= 0, given " +
                        std::to_string(options.memory) + ", " + std::to_string(options.max_evaluations) + ", " +
                        std::to_string(options.max_iterations));
  struct Pair {
    M change, gradient_change;
    double inverse_curvature;
  };
  LbfgsResult<M> result{start, 0, 0, 0, 0, LbfgsStatus::iteration_limit};
  M direction = start;

  const auto evaluate = [&](double at) {
    M point = result.model;
    add_scaled(point, at, direction);
    auto [value, gradient] = value_and_grad(point, loss);
    ++result.evaluations;
    Point p{at, static_cast<double>(value.item()), 0, std::move(gradient)};
    p.slope = inner_product(p.gradient, direction);
    return p;
  };

  // The strong Wolfe search; returns false when no point satisfies the sufficient decrease.
  const auto search = [&](const Point& origin, double first, Point& accepted) {
    const auto decreases = [&](const Point& p) {
      return p.finite() && p.value <= origin.value + options.sufficient_decrease * p.at * origin.slope;
    };
    const auto flat = [&](const Point& p) {
      return kolmo::larger(p.slope, -p.slope) <= -options.curvature * origin.slope;
    };
    Point low = origin, high;
    bool bracketed = false;
    double at = first;
    for (int evaluation = 0; evaluation < options.max_evaluations; ++evaluation) {
      Point p = evaluate(bracketed ? kolmo::detail::cubic_step(low, high) : at);
      if (!decreases(p) || p.value >= low.value) {
        high = std::move(p);
        bracketed = true;
      } else {
        if (flat(p)) {
          accepted = std::move(p);
          return true;
        }
        if (!bracketed) {
          if (p.slope >= 0) {
            high = std::move(low);
            bracketed = true;
          } else {
            at = 2 * p.at;
          }
        } else if (p.slope * (high.at - low.at) >= 0) {
          high = std::move(low);
        }
        low = std::move(p);
      }
      if (bracketed && kolmo::larger(high.at - low.at, low.at - high.at) <= 1e-14 * kolmo::larger(low.at, high.at))
        break;
    }
    accepted = std::move(low);
    return accepted.at > 0;
  };

  auto [first_value, gradient] = value_and_grad(start, loss);
  ++result.evaluations;
  result.value = static_cast<double>(first_value.item());
  result.gradient_norm = global_norm(gradient);
  if (!is_finite(result.value) || !is_finite(result.gradient_norm)) {
    result.status = LbfgsStatus::not_finite;
    return result;
  }
  std::deque<Pair> pairs;
  while (true) {
    if (result.gradient_norm <= options.gradient_tolerance) {
      result.status = LbfgsStatus::converged;
      return result;
    }
    if (result.iterations == options.max_iterations) {
      result.status = LbfgsStatus::iteration_limit;
      return result;
    }
    direction = gradient;
    scale(direction, -1);
    std::vector<double> alpha(pairs.size());
    for (std::size_t i = pairs.size(); i-- > 0;) {
      alpha[i] = pairs[i].inverse_curvature * inner_product(pairs[i].change, direction);
      add_scaled(direction, -alpha[i], pairs[i].gradient_change);
    }
    if (!pairs.empty()) {
      const Pair& last = pairs.back();
      scale(direction, 1 / (last.inverse_curvature * inner_product(last.gradient_change, last.gradient_change)));
    }
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      const double beta = pairs[i].inverse_curvature * inner_product(pairs[i].gradient_change, direction);
      add_scaled(direction, alpha[i] - beta, pairs[i].change);
    }
    Point origin{0, result.value, inner_product(gradient, direction), gradient};
    if (!(origin.slope < 0)) {
      // Rounding has spoilt the memory: start again from the steepest descent.
      pairs.clear();
      direction = gradient;
      scale(direction, -1);
      origin.slope = -result.gradient_norm * result.gradient_norm;
    }
    const double first = pairs.empty() ? kolmo::smaller(1.0, 1 / result.gradient_norm) : 1.0;
    Point next;
    if (!search(origin, first, next)) {
      if (pairs.empty()) {
        result.status = LbfgsStatus::line_search_failed;
        return result;
      }
      pairs.clear();
      continue;
    }
    ++result.iterations;
    Pair pair{direction, next.gradient, 0};
    scale(pair.change, next.at);
    add_scaled(pair.gradient_change, -1, gradient);
    add_scaled(result.model, 1, pair.change);
    const double curvature = inner_product(pair.change, pair.gradient_change);
    const double before = result.value;
    result.value = next.value;
    gradient = std::move(next.gradient);
    result.gradient_norm = global_norm(gradient);
    if (curvature > 0) {
      pair.inverse_curvature = 1 / curvature;
      pairs.push_back(std::move(pair));
      if (pairs.size() > static_cast<std::size_t>(options.memory)) pairs.pop_front();
    }
    const double size = kolmo::larger(1.0, kolmo::larger(before, -before));
    if (options.value_tolerance > 0 && before - result.value <= options.value_tolerance * size) {
      result.status = LbfgsStatus::small_change;
      return result;
    }
  }
}

}  // namespace kolmo::optim
