#pragma once
// The safetensors format: 8 bytes little-endian header length, a JSON header, and one buffer of array data.
// https://github.com/huggingface/safetensors
//
// The reader enforces more than the format asks for, so that no file is read in two ways: the arrays cover the buffer
// without holes or overlap, no key is unknown or appears twice, lengths are checked before anything is allocated.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/host_array.hpp>
#include <kolmo/io/json.hpp>
#include <map>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kolmo::io {

/// Limits that the reader and the writer share.
inline constexpr std::size_t safetensors_header_limit = 100'000'000;
inline constexpr std::size_t safetensors_count_limit = 1'000'000;
inline constexpr std::size_t safetensors_name_limit = 512;
inline constexpr std::size_t safetensors_rank_limit = 64;

namespace detail {

inline std::string_view safetensors_name(DType dtype) {
  constexpr std::string_view names[] = {"F32", "F64", "F16", "BF16", "I8",  "I16", "I32",
                                        "I64", "U8",  "U16", "U32",  "U64", "BOOL"};
  return names[static_cast<std::size_t>(dtype)];
}

inline std::optional<DType> safetensors_dtype(std::string_view name) {
  for (int code = 0; code <= static_cast<int>(DType::bool_); ++code) {
    if (safetensors_name(static_cast<DType>(code)) == name) return static_cast<DType>(code);
  }
  return std::nullopt;
}

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::f32;
  std::vector<index_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Reads {"dtype": ..., "shape": ..., "data_offsets": ...}.
inline SafetensorsEntry read_safetensors_entry(JsonReader& reader, const std::string& name) {
  SafetensorsEntry entry;
  entry.name = name;
  int fields = 0;
  const auto fail = [&](const std::string& rule) { reader.fail("array " + in_quotes(name) + ": " + rule); };
  reader.object([&](const std::string& key) {
    ++fields;
    if (key == "dtype") {
      const std::string text = reader.string();
      const auto dtype = safetensors_dtype(text);
      if (!dtype) fail("element type " + in_quotes(text) + " is not supported");
      entry.dtype = *dtype;
    } else if (key == "shape") {
      reader.array([&] {
        const std::uint64_t extent = reader.unsigned_integer();
        if (extent > static_cast<std::uint64_t>(INT64_MAX)) fail("an extent is above 2^63 - 1");
        if (entry.shape.size() == safetensors_rank_limit) fail("more than 64 dimensions");
        entry.shape.push_back(static_cast<index_t>(extent));
      });
    } else if (key == "data_offsets") {
      int count = 0;
      reader.array([&] {
        const std::uint64_t offset = reader.unsigned_integer();
        if (count < 2) (count == 0 ? entry.begin : entry.end) = offset;
        ++count;
      });
      if (count != 2) fail("data_offsets must be two numbers");
    } else {
      fail("unknown field " + in_quotes(key));
    }
  });
  if (fields != 3) fail("dtype, shape and data_offsets are needed");
  return entry;
}

/// The header of a file and the order of the arrays in its buffer.
struct SafetensorsLayout {
  std::string header;              ///< with the 8 bytes of length
  std::vector<std::size_t> order;  ///< arrays by falling element size, so that each starts at a multiple of its size
};

inline SafetensorsLayout lay_out_safetensors(const std::vector<std::pair<std::string, HostArray>>& arrays,
                                             const std::map<std::string, std::string>& metadata) {
  if (arrays.size() > safetensors_count_limit) {
    throw ArgumentError(std::to_string(arrays.size()) + " arrays, a file holds at most 1000000");
  }
  std::vector<std::string_view> names;
  names.reserve(arrays.size());
  for (const auto& [name, array] : arrays) {
    if (name.size() > safetensors_name_limit || name == "__metadata__" || !is_valid_utf8(name)) {
      throw ArgumentError("array name " + in_quotes(name) + " is reserved, not UTF-8 or longer than 512 bytes");
    }
    const auto bytes = static_cast<std::uint64_t>(element_count(array.shape)) * size_of(array.dtype);
    if (bytes != array.data.size() || array.shape.size() > safetensors_rank_limit) {
      throw ShapeError("array " + in_quotes(name) + " of shape " + shape_text(array.shape) + " and type " +
                       std::string(name_of(array.dtype)) + " holds " + std::to_string(array.data.size()) + " bytes");
    }
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) throw ArgumentError("array name " + in_quotes(*twice) + " is used twice");

  SafetensorsLayout layout;
  layout.order.resize(arrays.size());
  std::iota(layout.order.begin(), layout.order.end(), std::size_t{0});
  std::stable_sort(layout.order.begin(), layout.order.end(), [&](std::size_t a, std::size_t b) {
    return size_of(arrays[a].second.dtype) > size_of(arrays[b].second.dtype);
  });
  std::vector<std::uint64_t> begin(arrays.size());
  std::uint64_t offset = 0;
  for (const std::size_t i : layout.order) {
    begin[i] = offset;
    offset += arrays[i].second.data.size();
  }

  std::string json = "{";
  const auto separate = [&] {
    if (json.size() > 1) json += ',';
  };
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    bool first = true;
    for (const auto& [key, text] : metadata) {
      if (!first) json += ',';
      first = false;
      append_json_string(json, key);
      json += ':';
      append_json_string(json, text);
    }
    json += '}';
  }
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const auto& [name, array] = arrays[i];
    separate();
    append_json_string(json, name);
    json += ":{\"dtype\":\"" + std::string(safetensors_name(array.dtype)) + "\",\"shape\":[";
    for (std::size_t d = 0; d < array.shape.size(); ++d) json += (d > 0 ? "," : "") + std::to_string(array.shape[d]);
    json +=
        "],\"data_offsets\":[" + std::to_string(begin[i]) + ',' + std::to_string(begin[i] + array.data.size()) + "]}";
  }
  json += '}';
  json.append((8 - json.size() % 8) % 8, ' ');
  if (json.size() > safetensors_header_limit) {
    throw ArgumentError("the header would have " + std::to_string(json.size()) + " bytes, the format allows 100000000");
  }
  append_little_endian(layout.header, static_cast<std::uint64_t>(json.size()));
  layout.header += json;
  return layout;
}

}  // namespace detail

/// The arrays and texts of a file in memory. Throws IoError with `source`, the byte offset and the rule that is broken.
/// Array values are not judged; see find_non_finite.
inline NamedArrays parse_safetensors(std::span<const std::byte> bytes, const std::string& source = "safetensors data") {
  const auto fail = [&](std::uint64_t offset, const std::string& rule) {
    throw IoError(source + ", byte " + std::to_string(offset) + ": " + rule);
  };
  if (bytes.size() < 8) fail(0, "a safetensors file has at least 8 bytes, found " + std::to_string(bytes.size()));
  const auto length = detail::load_unaligned<std::uint64_t>(bytes.data());
  if (length > safetensors_header_limit) fail(0, "header length " + std::to_string(length) + " is above 100000000; this is not a safetensors file");
  if (length > bytes.size() - 8) {
    fail(0, "header length " + std::to_string(length) + " exceeds the " + std::to_string(bytes.size() - 8) +
                " bytes that follow");
  }
  const std::string_view header = detail::as_text(bytes.subspan(8, static_cast<std::size_t>(length)));
  if (header.empty() || header.front() != '{') fail(8, "the header must start with '{'");
  const std::size_t last = header.find_last_not_of(' ');
  if (header[last] != '}') fail(8 + last, "the header must end with '}' and spaces");

  JsonReader reader(header, source, 8, 3);
  NamedArrays result;
  std::vector<detail::SafetensorsEntry> entries;
  reader.object([&](const std::string& key) {
    if (key == "__metadata__") {
      reader.object([&](const std::string& name) {
        if (reader.peek() != '"') reader.fail("__metadata__ maps texts to texts");
        std::string value = reader.string();
        result.metadata.emplace(name, std::move(value));
      });
      return;
    }
    if (key.size() > safetensors_name_limit)
      reader.fail("array name " + detail::in_quotes(key) + " is longer than 512 bytes");
    if (entries.size() == safetensors_count_limit) reader.fail("more than 1000000 arrays");
    if (reader.peek() != '{') reader.fail("array " + detail::in_quotes(key) + ": an object expected");
    entries.push_back(detail::read_safetensors_entry(reader, key));
  });
  reader.end();

  const std::span<const std::byte> buffer = bytes.subspan(8 + static_cast<std::size_t>(length));
  for (const auto& entry : entries) {
    const auto refuse = [&](const std::string& rule) {
      fail(8, "array " + detail::in_quotes(entry.name) + " of shape " + shape_text(entry.shape) + ": " + rule);
    };
    std::uint64_t size = size_of(entry.dtype);
    bool empty = false;
    for (const index_t extent : entry.shape) {
      empty = empty || extent == 0;
      if (extent != 0 && __builtin_mul_overflow(size, static_cast<std::uint64_t>(extent), &size)) size = UINT64_MAX;
      if (size > static_cast<std::uint64_t>(INT64_MAX)) refuse("its size overflows");
    }
    if (empty) size = 0;
    if (entry.begin > entry.end || entry.end > buffer.size()) {
      refuse("data_offsets [" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) +
             "] leave the buffer of " + std::to_string(buffer.size()) + " bytes");
    }
    if (entry.end - entry.begin != size) {
      refuse("data_offsets span " + std::to_string(entry.end - entry.begin) + " bytes, the shape needs " +
             std::to_string(size));
    }
  }
  std::vector<std::size_t> order(entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(entries[a].begin, entries[a].end) < std::pair(entries[b].begin, entries[b].end);
  });
  std::uint64_t covered = 0;
  for (const std::size_t i : order) {
    if (entries[i].begin != covered) {
      fail(8 + length + covered, std::string(entries[i].begin > covered ? "a hole" : "an overlap") +
                                     " in the data before array " + detail::in_quotes(entries[i].name));
    }
    covered = entries[i].end;
  }
  if (covered != buffer.size()) {
    fail(8 + length + covered, std::to_string(buffer.size() - covered) + " bytes after the last array");
  }

  result.arrays.reserve(entries.size());
  for (auto& entry : entries) {
    HostArray array;
    array.dtype = entry.dtype;
    array.shape = std::move(entry.shape);
    const auto data =
        buffer.subspan(static_cast<std::size_t>(entry.begin), static_cast<std::size_t>(entry.end - entry.begin));
    array.data.assign(data.begin(), data.end());
    if (array.dtype == DType::bool_) {
      const auto bad = std::find_if(data.begin(), data.end(), [](std::byte b) { return std::to_integer<int>(b) > 1; });
      if (bad != data.end()) {
        fail(8 + length + entry.begin + static_cast<std::uint64_t>(bad - data.begin()),
             "array " + detail::in_quotes(entry.name) + ": a bool that is neither 0 nor 1");
      }
    }
    result.add(std::move(entry.name), std::move(array));
  }
  return result;
}

/// The file's bytes. Throws ArgumentError for names used twice, reserved or not UTF-8, ShapeError for arrays whose
/// bytes do not fit their shape.
inline std::vector<std::byte> to_safetensors(const NamedArrays& named) {
  const detail::SafetensorsLayout layout = detail::lay_out_safetensors(named.arrays, named.metadata);
  const auto header = detail::as_bytes(layout.header);
  std::vector<std::byte> bytes(header.begin(), header.end());
  for (const std::size_t i : layout.order) {
    const auto& data = named.arrays[i].second.data;
    bytes.insert(bytes.end(), data.begin(), data.end());
  }
  return bytes;
}

/// Reads a file of at most `limit` bytes; throws IoError.
inline NamedArrays load_safetensors(const std::filesystem::path& path, std::uint64_t limit = default_file_limit) {
  return parse_safetensors(read_file(path, limit), path.string());
}

/// Writes a file atomically; throws as to_safetensors and write_atomically do.
template <class Calls = SystemCalls>
void save_safetensors(const std::filesystem::path& path, const NamedArrays& named) {
  const detail::SafetensorsLayout layout = detail::lay_out_safetensors(named.arrays, named.metadata);
  write_atomically<Calls>(path, [&](FileSink<Calls>& sink) {
    sink.write(layout.header);
    for (const std::size_t i : layout.order) sink.write(named.arrays[i].second.data);
  });
}

}  // namespace kolmo::io
