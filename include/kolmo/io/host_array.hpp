#pragma once
// Arrays as files hold them: a runtime element type, a shape and bytes, and a list of them with names. Every reader
// returns and every writer takes these types, so that no file format depends on the tensor types.

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <kolmo/core/bfloat16.hpp>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kolmo::io {

/// Element type of a stored array.
enum class DType : std::uint8_t { f32, f64, f16, bf16, i8, i16, i32, i64, u8, u16, u32, u64, bool_ };

/// IEEE 754 half precision as stored bits; no arithmetic.
struct Half {
  std::uint16_t bits = 0;
  friend bool operator==(const Half&, const Half&) = default;
};

using kolmo::BFloat16;

/// The exact single-precision value of a half.
inline float to_float(Half h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (h.bits >> 10) & 0x1fu;
  const std::uint32_t fraction = h.bits & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide_exponent = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | (wide_exponent << 23) | (fraction << 13));
}

/// The exact single-precision value of a bfloat16.
inline float to_float(BFloat16 b) { return b; }

namespace detail {

template <class T>
inline constexpr int dtype_code = -1;
template <>
inline constexpr int dtype_code<float> = static_cast<int>(DType::f32);
template <>
inline constexpr int dtype_code<double> = static_cast<int>(DType::f64);
template <>
inline constexpr int dtype_code<Half> = static_cast<int>(DType::f16);
template <>
inline constexpr int dtype_code<BFloat16> = static_cast<int>(DType::bf16);
template <>
inline constexpr int dtype_code<std::int8_t> = static_cast<int>(DType::i8);
template <>
inline constexpr int dtype_code<std::int16_t> = static_cast<int>(DType::i16);
template <>
inline constexpr int dtype_code<std::int32_t> = static_cast<int>(DType::i32);
template <>
inline constexpr int dtype_code<std::int64_t> = static_cast<int>(DType::i64);
template <>
inline constexpr int dtype_code<std::uint8_t> = static_cast<int>(DType::u8);
template <>
inline constexpr int dtype_code<std::uint16_t> = static_cast<int>(DType::u16);
template <>
inline constexpr int dtype_code<std::uint32_t> = static_cast<int>(DType::u32);
template <>
inline constexpr int dtype_code<std::uint64_t> = static_cast<int>(DType::u64);
template <>
inline constexpr int dtype_code<bool> = static_cast<int>(DType::bool_);

}  // namespace detail

/// Types an array can hold.
template <class T>
concept Storable = detail::dtype_code<std::remove_cv_t<T>>
>= 0;

template <Storable T>
inline constexpr DType dtype_of = static_cast<DType>(detail::dtype_code<std::remove_cv_t<T>>);

/// Calls `f` with a value-initialised object of the element type: `visit_dtype(d, [](auto zero) { ... })`.
template <class F>
decltype(auto) visit_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::f16:
      return f(Half{});
    case DType::bf16:
      return f(BFloat16{});
    case DType::i8:
      return f(std::int8_t{});
    case DType::i16:
      return f(std::int16_t{});
    case DType::i32:
      return f(std::int32_t{});
    case DType::i64:
      return f(std::int64_t{});
    case DType::u8:
      return f(std::uint8_t{});
    case DType::u16:
      return f(std::uint16_t{});
    case DType::u32:
      return f(std::uint32_t{});
    case DType::u64:
      return f(std::uint64_t{});
    case DType::bool_:
      return f(bool{});
  }
  throw ArgumentError("element type with code " + std::to_string(static_cast<int>(dtype)) + " does not exist");
}

/// Bytes of one element.
inline std::size_t size_of(DType dtype) {
  return visit_dtype(dtype, [](auto zero) { return sizeof(zero); });
}

/// Name as in the library's messages: "f32", "i64", "bool", ...
inline std::string_view name_of(DType dtype) {
  constexpr std::string_view names[] = {"f32", "f64", "f16", "bf16", "i8",  "i16", "i32",
                                        "i64", "u8",  "u16", "u32",  "u64", "bool"};
  return names[static_cast<std::size_t>(dtype)];
}

/// "[2, 3]" for messages.
inline std::string shape_text(std::span<const index_t> shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

/// Number of elements of a shape. Throws ShapeError for a negative extent or a product above the range of index_t.
inline index_t element_count(std::span<const index_t> shape) {
  index_t count = 1;
  bool empty = false;
  bool overflow = false;
  for (const index_t extent : shape) {
    if (extent < 0) throw ShapeError("shape " + shape_text(shape) + " has a negative extent");
    empty = empty || extent == 0;
    overflow = overflow || (extent > 0 && __builtin_mul_overflow(count, extent, &count));
  }
  if (empty) return 0;
  if (overflow) throw ShapeError("shape " + shape_text(shape) + " has more elements than can be counted");
  return count;
}

namespace detail {

template <class To, class From>
To convert_element(From from, index_t index) {
  const auto refuse = [&](const char* why) -> To {
    throw ArgumentError("element " + std::to_string(index) + " of the " + std::string(name_of(dtype_of<From>)) +
                        " array " + why + " as " + std::string(name_of(dtype_of<To>)));
  };
  if constexpr (std::is_same_v<To, From>) {
    return from;
  } else if constexpr (std::is_same_v<From, Half> || std::is_same_v<From, BFloat16>) {
    return convert_element<To>(to_float(from), index);
  } else if constexpr (std::is_same_v<To, bool>) {
    return from != From{};
  } else if constexpr (std::is_same_v<To, BFloat16>) {
    const BFloat16 rounded(from);
    if constexpr (std::is_floating_point_v<From>) {
      if (is_finite(from) && !kolmo::is_finite(rounded)) return refuse("is too large");
    }
    return rounded;
  } else if constexpr (std::is_floating_point_v<To>) {
    if constexpr (std::is_same_v<From, double> && std::is_same_v<To, float>) {
      // The bound is where rounding to nearest would give infinity.
      if (is_finite(from) && (from >= 0x1.ffffffp127 || from <= -0x1.ffffffp127)) return refuse("is too large");
    }
    return static_cast<To>(from);
  } else if constexpr (std::is_floating_point_v<From>) {
    const From low = static_cast<From>(std::numeric_limits<To>::min());
    const From end = std::ldexp(From(1), std::numeric_limits<To>::digits);
    if (!is_finite(from) || from < low || from >= end || from != std::trunc(from))
      return refuse("is not representable");
    return static_cast<To>(from);
  } else if constexpr (std::is_same_v<From, bool>) {
    return static_cast<To>(from ? 1 : 0);
  } else {
    if (!std::in_range<To>(from)) return refuse("is not representable");
    return static_cast<To>(from);
  }
}

}  // namespace detail

/// An array in row-major order with a run-time element type.
struct HostArray {
  DType dtype = DType::f32;
  std::vector<index_t> shape;
  std::vector<std::byte> data;

  HostArray() : shape{0} {}

  /// Zeros of the given type and shape.
  HostArray(DType type, std::vector<index_t> extents)
      : dtype(type), shape(std::move(extents)), data(static_cast<std::size_t>(element_count(shape)) * size_of(type)) {}

  /// A copy of `values`; throws ShapeError unless their number is that of `extents`.
  template <Storable T>
  HostArray(std::span<const T> values, std::vector<index_t> extents) : dtype(dtype_of<T>), shape(std::move(extents)) {
    if (element_count(shape) != static_cast<index_t>(values.size())) {
      throw ShapeError(std::to_string(values.size()) + " values do not fill shape " + shape_text(shape));
    }
    data.resize(values.size_bytes());
    if (!values.empty()) std::memcpy(data.data(), values.data(), values.size_bytes());
  }
  template <Storable T>
  HostArray(const std::vector<T>& values, std::vector<index_t> extents)
      : HostArray(std::span<const T>(values), std::move(extents)) {}

  /// A copy of `values` as a vector of rank 1.
  template <Storable T>
  explicit HostArray(std::span<const T> values) : HostArray(values, {static_cast<index_t>(values.size())}) {}
  template <Storable T>
  explicit HostArray(const std::vector<T>& values) : HostArray(std::span<const T>(values)) {}

  /// An array of rank 0.
  template <Storable T>
  static HostArray scalar(T value) {
    return HostArray(std::span<const T>(&value, 1), {});
  }

  /// Number of elements.
  index_t size() const { return element_count(shape); }

  /// The elements in place. Throws ArgumentError when T is not the element type, or for bool when a byte is neither
  /// 0 nor 1, and ShapeError when `data` does not have the bytes of `shape`.
  template <Storable T>
  std::span<const T> as() const {
    check_access(dtype_of<T>);
    return {reinterpret_cast<const T*>(data.data()), data.size() / sizeof(T)};
  }
  template <Storable T>
  std::span<T> as() {
    check_access(dtype_of<T>);
    return {reinterpret_cast<T*>(data.data()), data.size() / sizeof(T)};
  }

  /// The elements converted to T. Rounding to a floating-point type is allowed; a number that T cannot hold (a
  /// fraction, a NaN or an overflow for integers, a finite overflow for f32 and bf16) throws ArgumentError with its
  /// index. Any non-zero value is true. Conversion to f16 is not provided.
  template <Storable T>
  std::vector<T> convert() const {
    static_assert(!std::is_same_v<T, Half>, "conversion to f16 is not provided");
    std::vector<T> out;
    visit_dtype(dtype, [&](auto zero) {
      const auto values = as<decltype(zero)>();
      out.reserve(values.size());
      for (const auto value : values)
        out.push_back(detail::convert_element<T>(value, static_cast<index_t>(out.size())));
    });
    return out;
  }

  friend bool operator==(const HostArray&, const HostArray&) = default;

 private:
  void check_access(DType wanted) const {
    if (wanted != dtype) {
      throw ArgumentError("the array holds " + std::string(name_of(dtype)) + " and was accessed as " +
                          std::string(name_of(wanted)) + "; use convert<T>() for a converted copy");
    }
    if (static_cast<std::size_t>(size()) != data.size() / size_of(dtype) || data.size() % size_of(dtype) != 0) {
      throw ShapeError("an array of shape " + shape_text(shape) + " and type " + std::string(name_of(dtype)) +
                       " holds " + std::to_string(data.size()) + " bytes");
    }
    if (dtype == DType::bool_) {
      for (const std::byte b : data) {
        if (std::to_integer<unsigned>(b) > 1) throw ArgumentError("a bool array holds a byte that is neither 0 nor 1");
      }
    }
  }
};

/// Arrays with names, in the order in which they were added, and a table of texts.
struct NamedArrays {
  std::vector<std::pair<std::string, HostArray>> arrays;
  std::map<std::string, std::string> metadata;

  /// The array, or a null pointer.
  const HostArray* find(std::string_view name) const {
    for (const auto& [key, array] : arrays) {
      if (key == name) return &array;
    }
    return nullptr;
  }

  /// The array; throws IoError that names what is missing and what is there.
  const HostArray& at(std::string_view name) const {
    if (const HostArray* found = find(name)) return *found;
    std::string present;
    for (std::size_t i = 0; i < arrays.size() && i < 12; ++i) present += (i > 0 ? ", " : "") + arrays[i].first;
    if (arrays.size() > 12) present += ", ...";
    throw IoError("array " + detail::in_quotes(name) + " is missing; present: " + (present.empty() ? "none" : present));
  }

  /// Appends an array; the writers refuse a name used twice.
  void add(std::string name, HostArray array) { arrays.emplace_back(std::move(name), std::move(array)); }

  friend bool operator==(const NamedArrays&, const NamedArrays&) = default;
};

/// NaN and infinities of one array.
struct NonFiniteCount {
  std::string name;
  index_t count = 0;
  index_t first_index = 0;
};

/// The arrays that hold NaN or infinities. File formats allow them; a model that is loaded should not have any.
inline std::vector<NonFiniteCount> find_non_finite(const NamedArrays& named) {
  std::vector<NonFiniteCount> found;
  for (const auto& [name, array] : named.arrays) {
    NonFiniteCount entry{name, 0, 0};
    const HostArray& values = array;
    visit_dtype(values.dtype, [&](auto zero) {
      using T = decltype(zero);
      if constexpr (!std::is_integral_v<T>) {
        index_t index = 0;
        for (const T value : values.as<T>()) {
          bool finite = true;
          if constexpr (std::is_floating_point_v<T>) {
            finite = detail::is_finite(value);
          } else {
            finite = detail::is_finite(to_float(value));
          }
          if (!finite && entry.count++ == 0) entry.first_index = index;
          ++index;
        }
      }
    });
    if (entry.count > 0) found.push_back(std::move(entry));
  }
  return found;
}

}  // namespace kolmo::io
