#pragma once
// A strict JSON reader and writer (RFC 8259) for file headers. Beyond the standard: duplicate keys are refused, nesting
// is limited, text must be valid UTF-8, and a number must be in the range of a double.
//
// JsonReader pulls one token at a time, so that a format's own reader needs no tree; JsonValue is a small tree.

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

namespace kolmo::io {

/// Reads tokens from a text. Every error is an IoError with `source`, the byte offset (plus `base`) and the rule.
class JsonReader {
 public:
  explicit JsonReader(std::string_view text, std::string source = "JSON text", std::size_t base = 0, int max_depth = 16)
      : text_(text), source_(std::move(source)), base_(base), max_depth_(max_depth) {}

  [[noreturn]] void fail(const std::string& rule) const {
    throw IoError(source_ + ", byte " + std::to_string(base_ + position_) + ": " + rule);
  }

  /// Next significant character without consuming it; 0 at the end.
  char peek() {
    while (position_ < text_.size() && std::string_view(" \t\n\r").find(text_[position_]) != std::string_view::npos) {
      ++position_;
    }
    return position_ < text_.size() ? text_[position_] : '\0';
  }

  /// Consumes one punctuation character.
  void expect(char wanted) {
    if (peek() != wanted || position_ >= text_.size()) fail(std::string("'") + wanted + "' expected");
    ++position_;
  }

  /// Reads an object; calls `member(key)` before each value, and `member` must consume the value.
  template <class F>
  void object(F&& member) {
    enter('{');
    std::vector<std::string> keys;
    if (peek() != '}') {
      for (;;) {
        if (peek() != '"') fail("a key in double quotes expected");
        keys.push_back(string());
        expect(':');
        member(static_cast<const std::string&>(keys.back()));
        if (peek() != ',') break;
        ++position_;
      }
    }
    leave('}');
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end()) fail("key " + detail::in_quotes(*twice) + " appears twice in one object");
  }

  /// Reads an array; calls `element()` before each value, and `element` must consume the value.
  template <class F>
  void array(F&& element) {
    enter('[');
    if (peek() != ']') {
      for (;;) {
        element();
        if (peek() != ',') break;
        ++position_;
      }
    }
    leave(']');
  }

  std::string string() {
    expect('"');
    std::string out;
    for (;;) {
      if (position_ >= text_.size()) fail("the text ends inside a string");
      const auto c = static_cast<unsigned char>(text_[position_]);
      if (c == '"') break;
      if (c < 0x20) fail("control character inside a string");
      if (c == '\\') {
        ++position_;
        escape(out);
        continue;
      }
      const std::size_t length = detail::utf8_sequence_length(text_.substr(position_));
      if (length == 0) fail("invalid UTF-8 inside a string");
      out.append(text_.substr(position_, length));
      position_ += length;
    }
    ++position_;
    return out;
  }

  /// Reads the characters of a number, which follow the grammar of JSON.
  std::string_view number() {
    peek();
    const std::size_t start = position_;
    const auto digits = [&] {
      const std::size_t first = position_;
      while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') ++position_;
      if (position_ == first) fail("a digit expected");
      return position_ - first;
    };
    const auto next_is = [&](char c) { return position_ < text_.size() && text_[position_] == c; };
    if (next_is('-')) ++position_;
    const bool zero = next_is('0');
    if (digits() > 1 && zero) fail("a number starts with a superfluous 0");
    if (next_is('.')) {
      ++position_;
      digits();
    }
    if (next_is('e') || next_is('E')) {
      ++position_;
      if (next_is('+') || next_is('-')) ++position_;
      digits();
    }
    return text_.substr(start, position_ - start);
  }

  /// Reads a number without sign, fraction and exponent.
  std::uint64_t unsigned_integer() {
    const std::string_view digits = number();
    std::uint64_t value = 0;
    const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (code != std::errc() || end != digits.data() + digits.size()) {
      fail("an unsigned integer below 2^64 expected, found " + detail::in_quotes(digits));
    }
    return value;
  }

  /// Reads `true`, `false` or `null`.
  void word(std::string_view wanted) {
    peek();
    if (text_.substr(position_, wanted.size()) != wanted) fail("a value expected");
    position_ += wanted.size();
  }

  /// Fails unless only white space is left.
  void end() {
    peek();
    if (position_ < text_.size()) fail("text after the value");
  }

 private:
  void enter(char bracket) {
    expect(bracket);
    if (++depth_ > max_depth_) fail("nested deeper than " + std::to_string(max_depth_) + " levels");
  }
  void leave(char bracket) {
    expect(bracket);
    --depth_;
  }

  unsigned hex4() {
    unsigned code = 0;
    const std::string_view digits = text_.substr(position_, 4);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (error != std::errc() || digits.size() != 4 || end != digits.data() + 4)
      fail("four hexadecimal digits expected");
    position_ += 4;
    return code;
  }

  void escape(std::string& out) {
    constexpr std::string_view names = "\"\\/bfnrt";
    constexpr std::string_view values = "\"\\/\b\f\n\r\t";
    const char c = position_ < text_.size() ? text_[position_] : '\0';
    const std::size_t simple = c == '\0' ? std::string_view::npos : names.find(c);
    if (simple != std::string_view::npos) {
      out += values[simple];
      ++position_;
      return;
    }
    if (c != 'u') fail("unknown escape in a string");
    ++position_;
    unsigned code = hex4();
    if (code >= 0xdc00 && code <= 0xdfff) fail("a low surrogate without a high one");
    if (code >= 0xd800 && code <= 0xdbff) {
      if (text_.substr(position_, 2) != "\\u") fail("a high surrogate without a low one");
      position_ += 2;
      const unsigned low = hex4();
      if (low < 0xdc00 || low > 0xdfff) fail("a high surrogate without a low one");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    const auto put = [&](unsigned byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xc0 | (code >> 6));
      put(0x80 | (code & 63));
    } else if (code < 0x10000) {
      put(0xe0 | (code >> 12));
      put(0x80 | ((code >> 6) & 63));
      put(0x80 | (code & 63));
    } else {
      put(0xf0 | (code >> 18));
      put(0x80 | ((code >> 12) & 63));
      put(0x80 | ((code >> 6) & 63));
      put(0x80 | (code & 63));
    }
  }

  std::string_view text_;
  std::string source_;
  std::size_t base_;
  int max_depth_;
  std::size_t position_ = 0;
  int depth_ = 0;
};

/// Appends `text` as a JSON string. Throws ArgumentError when it is not valid UTF-8.
inline void append_json_string(std::string& out, std::string_view text) {
  if (!detail::is_valid_utf8(text)) throw ArgumentError("text " + detail::in_quotes(text) + " is not valid UTF-8");
  constexpr const char* digits = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (code < 0x20) {
      out += "\\u00";
      out += digits[code >> 4];
      out += digits[code & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

/// A JSON value. Integers that fit are held exactly; every other number as a double.
struct JsonValue {
  using Array = std::vector<JsonValue>;
  using Object = std::vector<std::pair<std::string, JsonValue>>;
  std::variant<std::nullptr_t, bool, std::int64_t, double, std::string, Array, Object> value = nullptr;

  /// The member of an object, or a null pointer.
  const JsonValue* find(std::string_view key) const {
    const auto* members = std::get_if<Object>(&value);
    if (members == nullptr) return nullptr;
    for (const auto& [name, member] : *members) {
      if (name == key) return &member;
    }
    return nullptr;
  }

  // Not defaulted: nvcc would look into the vectors while the type is incomplete.
  friend bool operator==(const JsonValue& a, const JsonValue& b) { return a.value == b.value; }
};

namespace detail {

inline JsonValue read_json_value(JsonReader& reader) {
  switch (reader.peek()) {
    case '{': {
      JsonValue::Object members;
      reader.object([&](const std::string& key) {
        std::string name = key;
        members.emplace_back(std::move(name), read_json_value(reader));
      });
      return {std::move(members)};
    }
    case '[': {
      JsonValue::Array elements;
      reader.array([&] { elements.push_back(read_json_value(reader)); });
      return {std::move(elements)};
    }
    case '"':
      return {reader.string()};
    case 't':
      reader.word("true");
      return {true};
    case 'f':
      reader.word("false");
      return {false};
    case 'n':
      reader.word("null");
      return {};
    default: {
      const std::string_view text = reader.number();
      const char* const end = text.data() + text.size();
      std::int64_t integer = 0;
      // "-0" is the double: an integer would lose the sign.
      if (text != "-0") {
        const auto result = std::from_chars(text.data(), end, integer);
        if (result.ec == std::errc() && result.ptr == end) return {integer};
      }
      double real = 0;
      if (std::from_chars(text.data(), end, real).ec != std::errc()) {
        reader.fail("number " + in_quotes(text) + " is outside the range of a double");
      }
      return {real};
    }
  }
}

inline void append_json_value(std::string& out, const JsonValue& json) {
  char digits[32];
  if (std::holds_alternative<std::nullptr_t>(json.value)) {
    out += "null";
  } else if (const auto* flag = std::get_if<bool>(&json.value)) {
    out += *flag ? "true" : "false";
  } else if (const auto* integer = std::get_if<std::int64_t>(&json.value)) {
    out += std::to_string(*integer);
  } else if (const auto* real = std::get_if<double>(&json.value)) {
    if (!is_finite(*real)) throw ArgumentError("JSON cannot hold infinity or NaN");
    const std::string_view text(digits,
                                static_cast<std::size_t>(std::to_chars(digits, digits + 32, *real).ptr - digits));
    out += text;
    // Keeps a whole number a double when it is read back.
    if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
  } else if (const auto* text = std::get_if<std::string>(&json.value)) {
    append_json_string(out, *text);
  } else if (const auto* elements = std::get_if<JsonValue::Array>(&json.value)) {
    out += '[';
    for (std::size_t i = 0; i < elements->size(); ++i) {
      if (i > 0) out += ',';
      append_json_value(out, (*elements)[i]);
    }
    out += ']';
  } else {
    const auto& members = std::get<JsonValue::Object>(json.value);
    out += '{';
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, members[i].first);
      out += ':';
      append_json_value(out, members[i].second);
    }
    out += '}';
  }
}

}  // namespace detail

/// The value of a whole text. Throws IoError with the byte offset and the rule that is broken.
inline JsonValue parse_json(std::string_view text, std::string source = "JSON text", int max_depth = 16) {
  JsonReader reader(text, std::move(source), 0, max_depth);
  JsonValue value = detail::read_json_value(reader);
  reader.end();
  return value;
}

/// The shortest text that parse_json reads back as an equal value.
inline std::string to_json(const JsonValue& value) {
  std::string out;
  detail::append_json_value(out, value);
  return out;
}

}  // namespace kolmo::io
