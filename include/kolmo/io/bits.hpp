#pragma once
// Bit-level helpers of the file formats: little-endian fields, byte order, finiteness by bits.
//
// Finiteness is read from the exponent bits because a user's compiler flags may turn std::isfinite into
// a constant.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace kolmo::io::detail {

static_assert(std::endian::native == std::endian::little,
              "kolmo's file formats are written for little-endian machines");

/// True unless x is an infinity or NaN.
inline bool is_finite(double x) {
  return (std::bit_cast<std::uint64_t>(x) & 0x7ff0000000000000ull) != 0x7ff0000000000000ull;
}
inline bool is_finite(float x) { return (std::bit_cast<std::uint32_t>(x) & 0x7f800000u) != 0x7f800000u; }

/// True for NaN.
inline bool is_nan(double x) {
  return (std::bit_cast<std::uint64_t>(x) & 0x7fffffffffffffffull) > 0x7ff0000000000000ull;
}

/// The trivially copyable value stored at `bytes`, which need not be aligned.
template <class T>
T load_unaligned(const std::byte* bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

/// Appends the little-endian bytes of an integer.
template <class T>
void append_little_endian(std::string& out, T value) {
  static_assert(std::is_integral_v<T>);
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out.append(raw, sizeof(T));
}

/// Reverses the bytes of every element of `size` bytes.
inline void swap_byte_order(std::span<std::byte> bytes, std::size_t size) {
  for (std::size_t i = 0; i + size <= bytes.size(); i += size) {
    for (std::size_t a = i, b = i + size - 1; a < b; ++a, --b) {
      const std::byte kept = bytes[a];
      bytes[a] = bytes[b];
      bytes[b] = kept;
    }
  }
}

/// The characters of a text as bytes, without a copy.
inline std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// Bytes as characters, without a copy.
inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Length of the valid UTF-8 sequence at the start of `text` (1 to 4), or 0 when there is none. Overlong forms,
/// surrogates and code points above U+10FFFF are not valid.
inline std::size_t utf8_sequence_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned second = at(1);
  if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f)) return 0;
  if ((lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) return 0;
  return length;
}

inline bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

/// A text from a file made fit for an error message: quoted, at most 60 characters, unprintable bytes as \xHH.
inline std::string in_quotes(std::string_view text) {
  constexpr std::size_t limit = 60;
  constexpr const char* digits = "0123456789abcdef";
  std::string out = "'";
  for (std::size_t i = 0; i < text.size();) {
    if (out.size() > limit) return out + "...'";
    const std::size_t length = utf8_sequence_length(text.substr(i));
    const auto c = static_cast<unsigned char>(text[i]);
    if (length == 0 || c < 0x20 || c == 0x7f) {
      out += "\\x";
      out += digits[c >> 4];
      out += digits[c & 15];
      i += 1;
    } else {
      out.append(text.substr(i, length));
      i += length;
    }
  }
  return out + "'";
}

}  // namespace kolmo::io::detail
