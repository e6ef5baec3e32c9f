#pragma once
// Where an axis has its marks and what stands at them.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/number_text.hpp>
#include <string>
#include <vector>

namespace kolmo::io::detail {

struct Tick {
  double at = 0;
  std::string label;  ///< empty for a minor tick
};

/// The marks of an axis and, when the labels are to be multiplied, the factor's text.
struct Ticks {
  std::vector<Tick> marks;
  std::string factor;
};

/// A number with a real minus sign.
inline std::string signed_text(std::string text) {
  if (text.starts_with('-')) text = "\xe2\x88\x92" + text.substr(1);
  return text;
}

inline std::string power_text(int exponent) { return "10^{" + signed_text(std::to_string(exponent)) + "}"; }

/// The smallest of 1, 2, 5 times a power of ten that is at least four fifths of `step`.
inline double nice_step(double step) {
  const double power = std::pow(10.0, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= 0.8 * step) return factor * power;
  }
  return 10 * power;
}

/// About `count` marks at round numbers in [low, high]; low < high.
inline Ticks linear_ticks(double low, double high, int count) {
  Ticks ticks;
  const double step = nice_step((high - low) / std::max(1, count));
  const double largest = std::max(std::fabs(low), std::fabs(high));
  int exponent = static_cast<int>(std::floor(std::log10(largest) + 1e-9));
  if (exponent > -4 && exponent < 5) exponent = 0;
  if (exponent != 0) ticks.factor = "\xc3\x97 " + power_text(exponent);
  const double unit = std::pow(10.0, exponent);
  const int decimals = std::clamp(static_cast<int>(-std::floor(std::log10(step / unit) + 1e-9)), 0, 15);
  const double first = std::ceil(low / step - 1e-9);
  for (int i = 0; i < 200; ++i) {
    const double at = (first + i) * step;
    if (at > high + 1e-9 * step) break;
    char text[64];
    const double shown = std::fabs(at) < 1e-9 * step ? 0.0 : at / unit;
    const auto result = std::to_chars(text, text + sizeof text, shown, std::chars_format::fixed, decimals);
    ticks.marks.push_back({at, signed_text(std::string(text, result.ptr))});
  }
  return ticks;
}

/// Marks at powers of ten in [low, high], 0 < low < high, with minor marks between; an axis of less than two decades
/// gets labels at 2 and 5 too.
inline Ticks log_ticks(double low, double high, int count) {
  Ticks ticks;
  const int first = static_cast<int>(std::floor(std::log10(low) + 1e-9)) - 1;
  const int last = static_cast<int>(std::ceil(std::log10(high) - 1e-9)) + 1;
  const int decades = last - first - 2;
  const int every = std::max(1, (decades + count - 1) / std::max(1, count));
  const bool plain = std::log10(low) > -3.5 && std::log10(high) < 4.5;
  const auto label = [&](int exponent, int factor) -> std::string {
    if (plain) {
      const double value = factor * std::pow(10.0, exponent);
      return to_text(value, 6);
    }
    return (factor == 1 ? "" : std::to_string(factor) + "\xc2\xb7") + power_text(exponent);
  };
  for (int exponent = first; exponent <= last; ++exponent) {
    for (int factor = 1; factor < 10; ++factor) {
      const double at = factor * std::pow(10.0, exponent);
      if (at < low * (1 - 1e-9) || at > high * (1 + 1e-9)) continue;
      const bool whole = factor == 1 && ((exponent % every) + every) % every == 0;
      const bool between = decades < 2 && (factor == 2 || factor == 5);
      if (whole || between) {
        ticks.marks.push_back({at, label(exponent, factor)});
      } else if (every <= 2) {
        ticks.marks.push_back({at, ""});
      }
    }
  }
  return ticks;
}

}  // namespace kolmo::io::detail
