#pragma once
// Configurations in JSON: a struct that visits its members by name, static void visit(C& c, const F& f) with
// f("name", c.member), is read, checked for unknown names and other types, and written.

#include <cstdint>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <kolmo/io/file.hpp>
#include <kolmo/io/json.hpp>

namespace config_file {

using namespace kolmo;

inline io::JsonValue to_value(bool x) { return {x}; }
inline io::JsonValue to_value(index_t x) { return {static_cast<std::int64_t>(x)}; }
inline io::JsonValue to_value(double x) { return {x}; }
inline io::JsonValue to_value(const std::string& x) { return {x}; }
template <class X>
io::JsonValue to_value(const std::vector<X>& list) {
  io::JsonValue::Array array;
  for (const X& x : list) array.push_back(to_value(x));
  return {array};
}

inline bool from_value(const io::JsonValue& value, index_t& x) {
  const auto* integer = std::get_if<std::int64_t>(&value.value);
  if (integer) x = static_cast<index_t>(*integer);
  return integer != nullptr;
}
inline bool from_value(const io::JsonValue& value, double& x) {
  if (const auto* real = std::get_if<double>(&value.value))
    x = *real;
  else if (const auto* integer = std::get_if<std::int64_t>(&value.value))
    x = static_cast<double>(*integer);
  else
    return false;
  return true;
}
inline bool from_value(const io::JsonValue& value, bool& x) {
  const auto* truth = std::get_if<bool>(&value.value);
  if (truth) x = *truth;
  return truth != nullptr;
}
inline bool from_value(const io::JsonValue& value, std::string& x) {
  const auto* text = std::get_if<std::string>(&value.value);
  if (text) x = *text;
  return text != nullptr;
}
template <class X>
bool from_value(const io::JsonValue& value, std::vector<X>& list) {
  const auto* array = std::get_if<io::JsonValue::Array>(&value.value);
  if (!array) return false;
  list.assign(array->size(), X());
  for (std::size_t i = 0; i < list.size(); ++i)
    if (!from_value((*array)[i], list[i])) return false;
  return true;
}

/// Throws ArgumentError: "configuration: WHAT".
[[noreturn]] inline void refuse(const std::string& what) { throw ArgumentError("configuration: " + what); }

/// Throws unless a text is one of the choices.
inline void require_one_of(const char* name, const std::string& text, const std::vector<std::string>& choices) {
  std::string known;
  for (const std::string& choice : choices) {
    if (text == choice) return;
    known += (known.empty() ? "" : ", ") + choice;
  }
  refuse(std::string(name) + " is '" + text + "'; expected one of " + known);
}

template <class X>
const char* kind_of(const X&) {
  if constexpr (std::is_same_v<X, index_t>) return "a whole number";
  if constexpr (std::is_same_v<X, double>) return "a number";
  if constexpr (std::is_same_v<X, bool>) return "true or false";
  if constexpr (std::is_same_v<X, std::string>) return "a text";
  if constexpr (std::is_same_v<X, std::vector<double>>) return "a list of numbers";
  return "a list of whole numbers";
}

template <class C>
io::JsonValue to_json(const C& config) {
  io::JsonValue::Object members;
  C::visit(config, [&](const char* name, const auto& x) { members.emplace_back(name, to_value(x)); });
  return {members};
}

/// Replaces what the object names. Throws ArgumentError for unknown names and other types, with the names there are.
template <class C>
void read_config(const io::JsonValue& json, C& config, const std::string& source) {
  const auto* members = std::get_if<io::JsonValue::Object>(&json.value);
  if (!members) throw ArgumentError(source + ": expected a JSON object, { \"name\": value, ... }");
  for (const auto& member : *members) {
    const auto& key = member.first;
    const auto& value = member.second;
    bool found = false;
    std::string names;
    C::visit(config, [&](const char* name, auto& x) {
      names += (names.empty() ? "" : ", ") + std::string(name);
      if (key != name) return;
      found = true;
      if (!from_value(value, x))
        throw ArgumentError(source + ": " + key + " must be " + kind_of(x) + ", given " + io::to_json(value));
    });
    if (!found) throw ArgumentError(source + ": unknown entry '" + key + "'; there are " + names);
  }
}

template <class C>
void read_config_file(const std::string& path, C& config) {
  read_config(io::parse_json(io::read_text_file(path), path), config, path);
}

/// One entry a line, as people write it.
template <class C>
std::string config_text(const C& config) {
  std::string text = "{\n";
  bool first = true;
  C::visit(config, [&](const char* name, const auto& x) {
    text += (first ? "  \"" : ",\n  \"") + std::string(name) + "\": " + io::to_json(to_value(x));
    first = false;
  });
  return text + "\n}\n";
}

}  // namespace config_file
