#pragma once
// When the stages of a residual quantizer come into use. With s completed optimizer steps, iteration number s (from 0)
// runs with
//
//   A(s) = min(Q, 1 + floor(s / P)),   A(s) = Q when P = 0,
//
// stages. Inside one iteration the order is: (1) A(s); (2) stages that became active start from data; (3) forward,
// losses, backward, optimizer; (4) statistics of the active codebooks; (5) s grows by one; (6) evaluation and
// checkpoint. A file written after s completed iterations has therefore last been trained with A(s - 1) stages.

#include <cmath>
#include <span>
#include <string>

#include <kolmo/config.hpp>
#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

namespace kolmo::rvq {

namespace detail {

inline void check_schedule(index_t steps_completed, index_t every, index_t stages) {
  if (steps_completed < 0 || every < 0 || stages < 1)
    throw ArgumentError(
        "active_stages: expected completed steps >= 0, steps between stages >= 0 (0: all at once) and at least one "
        "stage, given " +
        std::to_string(steps_completed) + ", " + std::to_string(every) + " and " + std::to_string(stages));
}

}  // namespace detail

/// A(s): how many of `stages` stages the iteration after `steps_completed` steps uses when one more joins `every`
/// steps; 0 uses all from the start. Throws ArgumentError for a negative number or no stage.
inline index_t active_stages(index_t steps_completed, index_t every, index_t stages) {
  detail::check_schedule(steps_completed, every, stages);
  return every == 0 ? stages : smaller(stages, 1 + steps_completed / every);
}

/// How many stages the last completed step used: A(s - 1), and 0 before the first step. Throws likewise.
inline index_t active_trained(index_t steps_completed, index_t every, index_t stages) {
  detail::check_schedule(steps_completed, every, stages);
  return steps_completed == 0 ? 0 : active_stages(steps_completed - 1, every, stages);
}

/// The number of completed steps at which stage `stage` (from 0) joins. Other schedules, such as the ramp of an
/// adversarial loss, should neither begin nor end there.
inline index_t activation_step(index_t stage, index_t every) { return stage * every; }

/// Whether a stage other than the first joins at exactly this step.
inline bool joins_at(index_t step, index_t every, index_t stages) {
  return every > 0 && step > 0 && step % every == 0 && step / every < stages;
}

/// Bits in one frame of `used` stages: the sum of log2 K over them.
inline double bits_per_frame(std::span<const index_t> codes, index_t used) {
  double bits = 0;
  for (index_t q = 0; q < used; ++q) bits += std::log2(static_cast<double>(codes[static_cast<std::size_t>(q)]));
  return bits;
}

/// The largest number of stages, at least one, whose rate (frames a second times bits a frame) stays within
/// `bandwidth` bit/s. `codes` holds the number of codes of every stage. Throws ArgumentError unless the rates are
/// positive and there is a stage.
inline index_t stages_for_bandwidth(double bandwidth, double frames_per_second, std::span<const index_t> codes) {
  if (!(bandwidth > 0) || !(frames_per_second > 0) || codes.empty())
    throw ArgumentError(
        "stages_for_bandwidth: expected a positive bandwidth and frame rate and at least one stage, given " +
        std::to_string(bandwidth) + " bit/s, " + std::to_string(frames_per_second) + " frames/s and " +
        std::to_string(codes.size()) + " stages");
  const index_t stages = static_cast<index_t>(codes.size());
  index_t used = 1;
  while (used < stages && frames_per_second * bits_per_frame(codes, used + 1) <= bandwidth) ++used;
  return used;
}

}  // namespace kolmo::rvq
