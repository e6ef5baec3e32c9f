#pragma once
// Options of models as text and back, exactly: numbers, enumerations, texts, and lists of numbers.

#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <kolmo/io/number_text.hpp>

namespace kolmo::io {

namespace detail {

template <class X>
struct IsNumberList : std::false_type {};
template <class X>
struct IsNumberList<std::vector<X>> : std::bool_constant<std::is_arithmetic_v<X> || std::is_enum_v<X>> {};

}  // namespace detail

/// What an option of a model can be.
template <class X>
concept OptionValue =
    std::is_arithmetic_v<X> || std::is_enum_v<X> || std::is_same_v<X, std::string> || detail::IsNumberList<X>::value;

/// The text of an option: "0.5", "1" for true, the number of an enumerator, "[1, 2]".
template <OptionValue X>
std::string option_text(const X& x) {
  if constexpr (std::is_same_v<X, bool>) {
    return x ? "1" : "0";
  } else if constexpr (std::is_enum_v<X>) {
    return option_text(static_cast<std::underlying_type_t<X>>(x));
  } else if constexpr (std::is_arithmetic_v<X>) {
    return to_text(x);
  } else if constexpr (std::is_same_v<X, std::string>) {
    return x;
  } else {
    std::string text = "[";
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (i > 0) text += ", ";
      text += option_text(static_cast<typename X::value_type>(x[i]));
    }
    return text + "]";
  }
}

/// Reads what option_text wrote; false, with `x` unspecified, when the text is nothing else.
template <OptionValue X>
bool parse_option(std::string_view text, X& x) {
  if constexpr (std::is_same_v<X, bool>) {
    x = text == "1";
    return text == "1" || text == "0";
  } else if constexpr (std::is_enum_v<X>) {
    std::underlying_type_t<X> number{};
    const bool good = parse_option(text, number);
    x = static_cast<X>(number);
    return good;
  } else if constexpr (std::is_arithmetic_v<X>) {
    return detail::parse_whole(text, x);
  } else if constexpr (std::is_same_v<X, std::string>) {
    x = std::string(text);
    return true;
  } else {
    if (text.size() < 2 || text.front() != '[' || text.back() != ']') return false;
    text = text.substr(1, text.size() - 2);
    x.clear();
    while (!text.empty()) {
      const std::size_t comma = text.find(", ");
      typename X::value_type element{};
      if (!parse_option(text.substr(0, comma), element)) return false;
      x.push_back(element);
      if (comma == std::string_view::npos) break;
      text.remove_prefix(comma + 2);
      if (text.empty()) return false;
    }
    return true;
  }
}

}  // namespace kolmo::io
