#pragma once
// The times a sampler visits, from noise to data. What a step costs in accuracy depends on how far the ratio of noise
// to signal, rho, falls, not on how far t does: for Gaussian data a grid uniform in log rho errs equally at every
// variance, one uniform in t needs many times as many steps (docs/score_scaling.md).

#include <cmath>
#include <kolmo/score/schedule.hpp>
#include <vector>

namespace kolmo::score {

/// Between the start and the end of a run,
///   uniform_time  t in equal steps, as in the paper on score-based data assimilation
///   power_time    t = s^power, s in equal steps: denser towards the data for power > 1
///   log_rho       log rho in equal steps
///   power_rho     rho^(1 / power) in equal steps (Karras et al. 2022 with power 7)
enum class GridPolicy { uniform_time, power_time, log_rho, power_rho };

struct TimeGrid {
  GridPolicy policy = GridPolicy::log_rho;
  double power = 7;         ///< of power_time and power_rho
  double start_time = 1;    ///< in (0, 1]
  double end_time = 0;      ///< in [0, start_time)
  double least_rho = 1e-3;  ///< log_rho: where the last but one point lies for a schedule without noise at the end
};

/// steps + 1 times, decreasing from grid.start_time to grid.end_time. Throws ArgumentError for steps < 1, times outside
/// [0, 1] or in the wrong order, or a power that is not positive.
inline std::vector<double> time_points(const Schedule& schedule, const TimeGrid& grid, index_t steps) {
  const double start = grid.start_time, end = grid.end_time;
  if (steps < 1) throw ArgumentError("time_points: expected at least one step, given " + std::to_string(steps));
  if (!(end >= 0 && end < start && start <= 1))
    throw ArgumentError("time_points: expected 0 <= end_time < start_time <= 1, given start_time " +
                        io::to_text(start) + " and end_time " + io::to_text(end));
  const bool power = grid.policy == GridPolicy::power_time || grid.policy == GridPolicy::power_rho;
  if (power && (!(grid.power > 0) || !is_finite(grid.power)))
    throw ArgumentError("time_points: the power must be positive and finite, given " + io::to_text(grid.power));
  if (!(grid.least_rho > 0))
    throw ArgumentError("time_points: least_rho must be positive, given " + io::to_text(grid.least_rho));
  const double n = static_cast<double>(steps), p = grid.power;
  const double high = schedule.rho(start), low = schedule.rho(end);
  // Without noise at the end log rho has no end: the last step is the one to zero.
  const bool to_zero = grid.policy == GridPolicy::log_rho && !(low > 0) && steps > 1 && high > grid.least_rho;
  const double log_steps = to_zero ? n - 1 : n, log_low = std::log(to_zero ? grid.least_rho : low);
  std::vector<double> times(static_cast<std::size_t>(steps) + 1);
  for (index_t i = 1; i < steps; ++i) {
    const double f = static_cast<double>(i) / n;
    double& t = times[static_cast<std::size_t>(i)];
    switch (grid.policy) {
      case GridPolicy::uniform_time:
        t = start - (start - end) * f;
        break;
      case GridPolicy::power_time:
        t = std::pow(std::pow(start, 1 / p) + f * (std::pow(end, 1 / p) - std::pow(start, 1 / p)), p);
        break;
      case GridPolicy::log_rho:
        t = schedule.time_of_rho(
            std::exp(std::log(high) + static_cast<double>(i) / log_steps * (log_low - std::log(high))));
        break;
      case GridPolicy::power_rho:
        t = schedule.time_of_rho(
            std::pow(std::pow(high, 1 / p) + f * (std::pow(low, 1 / p) - std::pow(high, 1 / p)), p));
        break;
    }
  }
  times.front() = start;
  times.back() = end;
  for (std::size_t i = 1; i < times.size(); ++i)
    if (!(times[i] < times[i - 1]))
      throw ArgumentError("time_points: " + std::to_string(steps) + " steps cannot be told apart near t = " +
                          io::to_text(times[i]) + "; take fewer steps or another policy");
  return times;
}

}  // namespace kolmo::score
