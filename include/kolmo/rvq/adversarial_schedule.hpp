#pragma once
// When adversarial losses join: not before step `begin`, then with a weight that grows linearly from 0 to 1 over `ramp`
// steps. The discriminators train from `begin` on. A stage of the quantizer that joins at the same step as either end
// would change the generator twice at once, and neither effect could be told from the other.

#include <string>

#include <kolmo/rvq/schedule.hpp>

namespace kolmo::rvq {

struct AdversarialSchedule {
  index_t begin = 1650;  ///< completed steps; -1: never
  index_t ramp = 500;    ///< steps from weight 0 to weight 1

  /// Whether discriminators train in the iteration after `steps_completed` steps.
  bool active(index_t steps_completed) const { return begin >= 0 && steps_completed >= begin; }
  /// The factor of the adversarial losses in that iteration.
  double weight(index_t steps_completed) const {
    if (!active(steps_completed)) return 0;
    if (steps_completed - begin >= ramp) return 1;
    return static_cast<double>(steps_completed - begin) / static_cast<double>(ramp);
  }

  /// Throws ArgumentError for negative numbers, and when the begin or the end of the ramp falls on the step at which
  /// one of the `stages` stages, one more every `every` steps, joins.
  void check(index_t every, index_t stages) const {
    if (begin < -1 || ramp < 0)
      throw ArgumentError("AdversarialSchedule: expected begin >= 0 (-1: never) and ramp >= 0, given " +
                          std::to_string(begin) + " and " + std::to_string(ramp));
    if (begin < 0) return;
    for (const index_t step : {begin, begin + ramp})
      if (joins_at(step, every, stages))
        throw ArgumentError(std::string("AdversarialSchedule: the adversarial losses ") +
                            (step == begin ? "begin" : "reach their full weight") + " at step " + std::to_string(step) +
                            ", where a stage of the quantizer joins, one every " + std::to_string(every) +
                            " steps; move either, for instance by half of " + std::to_string(every) + " steps");
  }
};

}  // namespace kolmo::rvq
