#pragma once
// Numbers as text and back, independent of the locale: the shortest text that reads back as the same number.

#include <charconv>
#include <cstdint>
#include <kolmo/io/bits.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>

namespace kolmo::io {

/// The shortest decimal text that reads back as `value`; "nan", "inf" and "-inf" for what is not finite.
template <class T>
requires std::is_arithmetic_v<T> std::string to_text(T value) {
  char text[40];
  if constexpr (std::is_floating_point_v<T>) {
    if (detail::is_nan(static_cast<double>(value))) return "nan";
  }
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

/// `value` rounded to `digits` significant digits, in fixed or scientific notation, whichever is shorter.
inline std::string to_text(double value, int digits) {
  if (detail::is_nan(value)) return "nan";
  char text[64];
  return std::string(text, std::to_chars(text, text + sizeof text, value, std::chars_format::general, digits).ptr);
}

/// Why a text is not the number that was asked for.
enum class NumberProblem { none, not_a_number_text, out_of_range, not_finite };

namespace detail {

/// Reads a whole text as a decimal number: an optional sign, digits with an optional point and exponent. "nan" and
/// "inf" in any spelling are read when `allow_non_finite`. Spaces and tabs around the number are skipped.
inline NumberProblem parse_number(std::string_view text, double& value, bool allow_non_finite = false) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  if (text.size() > 1 && text.front() == '+' && text[1] != '-' && text[1] != '+') text.remove_prefix(1);
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code == std::errc::invalid_argument || end != text.data() + text.size()) return NumberProblem::not_a_number_text;
  if (code == std::errc::result_out_of_range) return NumberProblem::out_of_range;
  // from_chars reads "nan(text)", which is nobody's number in a table.
  if (text.back() == ')') return NumberProblem::not_a_number_text;
  if (!allow_non_finite && !is_finite(value)) return NumberProblem::not_finite;
  return NumberProblem::none;
}

/// Reads a whole text as T without skipping anything; false when it is not exactly one.
template <class T>
bool parse_whole(std::string_view text, T& value) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

}  // namespace detail
}  // namespace kolmo::io
