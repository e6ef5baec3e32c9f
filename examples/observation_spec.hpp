#pragma once
// Observations described by a text, "time=4,coarsen=8": what a sensor sees of a trajectory (B, L, channels, space...).

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kolmo/score/observation.hpp>
#include <kolmo/score/observations/pixels.hpp>
#include <kolmo/score/observations/sampling.hpp>
#include <kolmo/score/observations/sensors.hpp>

namespace score_program {

using namespace kolmo;

/// In this order: every `time`-th frame from `first_frame` on, one component, blocks of `coarsen` points averaged, the
/// vorticity, a saturating sensor, every `space`-th point, the window [crop_begin, crop_end) along each axis of space.
struct ObservationSpec {
  index_t time = 1, first_frame = 0, space = 1, coarsen = 1, space_axes = 2;
  std::optional<index_t> component;
  bool vorticity = false, saturate = false;
  std::optional<std::pair<index_t, index_t>> crop;
  /// Points of the flattened event instead of all of the above: where a measured array is not NaN.
  std::optional<score::Points> points;

  template <TensorLike X>
  auto operator()(const X& x) const {
    return seen(x);
  }

  /// Throws ArgumentError for a text that is no list of these names. `space_axes`: 0 for vectors, 2 for fields.
  static ObservationSpec parse(const std::string& text, index_t space_axes);
  /// The text of it, as parse reads it.
  std::string to_text() const;

 private:
  template <TensorLike X>
  X seen(const X& x) const {
    if (points) return as<X>((*points)(x));
    X y = x;
    if (time > 1 || first_frame > 0) y = as<X>(score::Subsample{.axis = 1, .step = time, .begin = first_frame}(y));
    if (component) y = as<X>(slice(y, 2, *component, *component + 1));
    const int axes = static_cast<int>(space_axes);
    if (coarsen > 1) y = as<X>(score::Coarsen{coarsen, axes}(y));
    if (vorticity) y = as<X>(score::Vorticity{}(y));
    if (saturate) y = as<X>(score::Saturation{}(y));
    if (space > 1) y = as<X>(score::SubsampleSpace{.step = space, .begin = 0, .dimensions = axes}(y));
    if (crop) y = as<X>(score::Crop{crop->first, crop->second}(y));
    return y;
  }
  template <class X, class Y>
  static X as(Y y) {
    static_assert(std::is_same_v<X, Y>);
    return y;
  }
};

inline ObservationSpec ObservationSpec::parse(const std::string& text, index_t space_axes) {
  ObservationSpec spec;
  spec.space_axes = space_axes;
  const std::string known = space_axes == 0 ? "time=N, first=N, component=I, saturate or all"
                                            : "time=N, first=N, component=I, coarsen=N, vorticity, saturate, space=N, "
                                              "crop=A:B or all";
  const auto refuse = [&](std::string_view term, const std::string& why) {
    throw ArgumentError("observations '" + text + "': " + std::string(term) + " " + why + "; expected a list like " +
                        (space_axes == 0 ? "time=8,component=0" : "time=4,coarsen=8") + " of " + known);
  };
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view term = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
    const std::size_t equals = term.find('=');
    const std::string_view name = term.substr(0, equals);
    std::string_view value = equals == std::string_view::npos ? std::string_view() : term.substr(equals + 1);
    const auto number = [&](std::string_view digits, index_t least) {
      index_t n = 0;
      const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), n);
      if (digits.empty() || result.ec != std::errc() || result.ptr != digits.data() + digits.size() || n < least)
        refuse(term, "is no whole number of at least " + std::to_string(least));
      return n;
    };
    const bool field = space_axes == 2;
    if (name == "all" && equals == std::string_view::npos) {
    } else if (name == "time") {
      spec.time = number(value, 1);
    } else if (name == "first") {
      spec.first_frame = number(value, 0);
    } else if (name == "component") {
      spec.component = number(value, 0);
    } else if (name == "space" && field) {
      spec.space = number(value, 1);
    } else if (name == "coarsen" && field) {
      spec.coarsen = number(value, 1);
    } else if (name == "vorticity" && field && equals == std::string_view::npos) {
      spec.vorticity = true;
    } else if (name == "saturate" && equals == std::string_view::npos) {
      spec.saturate = true;
    } else if (name == "crop" && field) {
      const std::size_t colon = value.find(':');
      if (colon == std::string_view::npos) refuse(term, "has no ':'");
      const index_t begin = number(value.substr(0, colon), 0), end = number(value.substr(colon + 1), 1);
      if (end <= begin) refuse(term, "is empty");
      spec.crop = std::pair(begin, end);
    } else {
      refuse(term, "is unknown");
    }
  }
  if (spec.vorticity && spec.component) refuse("vorticity", "needs both components");
  return spec;
}

inline std::string ObservationSpec::to_text() const {
  if (points) return std::to_string(points->positions().size()) + " measured points";
  std::string text;
  const auto add = [&](const std::string& term) { text += (text.empty() ? "" : ",") + term; };
  if (time > 1) add("time=" + std::to_string(time));
  if (first_frame > 0) add("first=" + std::to_string(first_frame));
  if (component) add("component=" + std::to_string(*component));
  if (coarsen > 1) add("coarsen=" + std::to_string(coarsen));
  if (vorticity) add("vorticity");
  if (saturate) add("saturate");
  if (space > 1) add("space=" + std::to_string(space));
  if (crop) add("crop=" + std::to_string(crop->first) + ":" + std::to_string(crop->second));
  return text.empty() ? "all" : text;
}

}  // namespace score_program
