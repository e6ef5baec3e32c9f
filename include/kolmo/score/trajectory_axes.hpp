#pragma once
// The names of the axes of a set of trajectories. Every set in memory is [sample, time, channel, space...]; a file
// whose names say another order, or say nothing, is refused: read in the wrong order, different samples at one instant
// look like a trajectory, and nothing but the results would ever tell.

#include <cstddef>
#include <string>
#include <vector>

#include <kolmo/error.hpp>

namespace kolmo::score {

/// Names of axes in the order of the extents, such as {"sample", "time", "channel", "y", "x"}. "trajectory" and "chain"
/// mean sample, "component" means channel; whatever else there is are the axes of space, one to three.
using AxisNames = std::vector<std::string>;

/// What a name stands for.
enum class AxisRole { sample, time, channel, space };

inline AxisRole axis_role(const std::string& name) {
  if (name == "sample" || name == "trajectory" || name == "chain") return AxisRole::sample;
  if (name == "time") return AxisRole::time;
  if (name == "channel" || name == "component") return AxisRole::channel;
  return AxisRole::space;
}

/// "(sample, time, channel)"
inline std::string to_text(const AxisNames& names) {
  std::string text = "(";
  for (std::size_t i = 0; i < names.size(); ++i) text += (i > 0 ? ", " : "") + names[i];
  return text + ")";
}

/// The names of a set: those of `found`, with "sample" before them when a file holds one trajectory (time, channel,
/// ...). Throws ArgumentError, naming `source`, for names that are missing, doubled or in another order.
inline AxisNames checked_axes(const AxisNames& found, std::size_t rank, const std::string& source) {
  const std::string expected = "expected (sample, time, channel) and up to three axes of space";
  if (found.empty())
    throw ArgumentError(source + " does not name its axes; " + expected +
                        ". Say which they are, in the order in which they are stored");
  if (found.size() != rank)
    throw ArgumentError(source + ": " + std::to_string(found.size()) + " names " + to_text(found) + " for " +
                        std::to_string(rank) + " axes; " + expected);
  AxisNames names = found;
  bool has_samples = false;
  for (const std::string& name : names) has_samples = has_samples || axis_role(name) == AxisRole::sample;
  if (!has_samples && axis_role(names[0]) == AxisRole::time) names.insert(names.begin(), "sample");
  const auto refuse = [&](const std::string& why) {
    throw ArgumentError(source + ": the axes are " + to_text(found) + "; " + why + ". " + expected +
                        "; transpose the array and its names, do not rename the axes");
  };
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) refuse("one has no name");
    for (std::size_t j = 0; j < i; ++j)
      if (names[i] == names[j] ||
          (axis_role(names[i]) != AxisRole::space && axis_role(names[i]) == axis_role(names[j])))
        refuse("'" + names[j] + "' and '" + names[i] + "' are the same");
  }
  constexpr AxisRole order[] = {AxisRole::sample, AxisRole::time, AxisRole::channel};
  constexpr const char* role_names[] = {"sample", "time", "channel"};
  for (std::size_t i = 0; i < 3; ++i) {
    bool present = false;
    for (const std::string& name : names) present = present || axis_role(name) == order[i];
    if (!present) refuse("none is the " + std::string(role_names[i]));
  }
  for (std::size_t i = 0; i < 3; ++i)
    if (axis_role(names[i]) != order[i]) refuse("their order is another");
  if (names.size() > 6) refuse("they are too many");
  return names;
}

}  // namespace kolmo::score
