#pragma once
// How the preparation or the fit of one density ended. A batch is never stopped by one bad item: every
// item carries its own status.

#include <cstdint>

#include <kolmo/config.hpp>

namespace kolmo::gmm {

/// Outcome of one density. Everything from `too_short` on means that there is no fit: the input was not a
/// density, did not fit on the model's grid, or the fitter failed.
enum class Status : std::int32_t {
  ok = 0,               ///< prepared, or fitted to convergence
  iteration_limit = 1,  ///< fitted, but stopped by the limit on iterations before the tolerance was met
  too_short = 2,        ///< fewer than three points
  non_finite = 3,       ///< a NaN or an infinity among the values
  negative_mass = 4,    ///< negative values beyond rounding
  zero_mass = 5,        ///< the integral is zero, or too small to normalise
  outside_grid = 6,     ///< most of the mass does not fit on the model's grid
  broken_fit = 7,       ///< the fitter returned numbers that are no mixture; its weights are damaged
  unsorted_points = 8,  ///< the points of the density do not strictly increase
  infeasible = 9,       ///< no mixture of the dictionary keeps the tolerance
  unsolved = 10,        ///< the linear programme was not solved within its limit on iterations
};

/// Whether there is something to use: a prepared density or fitted parameters.
KOLMO_HD constexpr bool is_valid(Status status) { return status == Status::ok || status == Status::iteration_limit; }

/// One phrase for reports.
constexpr const char* describe(Status status) {
  switch (status) {
    case Status::ok:
      return "ok";
    case Status::iteration_limit:
      return "stopped at the iteration limit";
    case Status::too_short:
      return "too short: fewer than three values";
    case Status::non_finite:
      return "a value is NaN or infinite";
    case Status::negative_mass:
      return "negative values";
    case Status::zero_mass:
      return "the density integrates to zero";
    case Status::outside_grid:
      return "the density is wider than the model's grid";
    case Status::broken_fit:
      return "the fitter returned no mixture; its weights may be damaged";
    case Status::unsorted_points:
      return "the points are not strictly increasing";
    case Status::infeasible:
      return "no mixture of the dictionary keeps the tolerance";
    case Status::unsolved:
      return "the linear programme was not solved within its limit on iterations";
  }
  return "unknown status";
}

}  // namespace kolmo::gmm
