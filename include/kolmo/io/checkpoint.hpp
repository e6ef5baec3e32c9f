#pragma once
// A training checkpoint: a safetensors file whose metadata carry a format version, the kind of model, the step, a
// 64-bit checksum of every array and one of the whole header. PyTorch and safetensors open it like any other file;
// load_checkpoint accepts it only when every checksum holds, so that truncation and every flipped bit are seen.

#include <cstdint>
#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/checksum.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/host_array.hpp>
#include <kolmo/io/number_text.hpp>
#include <kolmo/io/safetensors.hpp>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kolmo::io {

/// Versions of the checkpoint format that this library reads; it writes the newest.
inline constexpr int checkpoint_version = 1;

/// What a checkpoint holds. `metadata` keys that start with "kolmo." are reserved.
struct Checkpoint {
  std::string kind;              ///< name of the model; a checkpoint of another kind is refused on loading
  std::int64_t step = 0;         ///< completed steps
  std::optional<double> metric;  ///< value by which the best checkpoint is chosen
  NamedArrays state;
  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};

namespace detail {

inline constexpr std::string_view header_checksum_key = "kolmo.checksum";
inline constexpr std::string_view array_checksum_prefix = "kolmo.checksum:";

inline std::string hex16(std::uint64_t value) {
  std::string out(16, '0');
  for (std::size_t i = 0; i < 16; ++i) out[15 - i] = "0123456789abcdef"[(value >> (4 * i)) & 15];
  return out;
}

/// Where the 16 digits of the header's own checksum stand, or npos. An unescaped quote inside a name or text cannot
/// occur, so the pattern is found only as a key.
inline std::size_t header_checksum_position(std::string_view header) {
  const std::string pattern = "\"" + std::string(header_checksum_key) + "\":\"";
  const std::size_t at = header.find(pattern);
  if (at == std::string_view::npos || header.find(pattern, at + 1) != std::string_view::npos)
    return std::string_view::npos;
  const std::size_t digits = at + pattern.size();
  return digits + 17 <= header.size() && header[digits + 16] == '"' ? digits : std::string_view::npos;
}

/// The layout of a checkpoint's file, with all checksums filled in.
inline SafetensorsLayout lay_out_checkpoint(const Checkpoint& checkpoint) {
  std::map<std::string, std::string> metadata = checkpoint.state.metadata;
  for (const auto& [key, text] : metadata) {
    if (key.starts_with("kolmo."))
      throw ArgumentError("metadata key " + in_quotes(key) + ": names with \"kolmo.\" are reserved");
  }
  if (checkpoint.kind.empty()) throw ArgumentError("a checkpoint needs the kind of its model, found an empty text");
  metadata["kolmo.version"] = to_text(checkpoint_version);
  metadata["kolmo.kind"] = checkpoint.kind;
  metadata["kolmo.step"] = to_text(checkpoint.step);
  if (checkpoint.metric) metadata["kolmo.metric"] = to_text(*checkpoint.metric);
  for (const auto& [name, array] : checkpoint.state.arrays) {
    metadata[std::string(array_checksum_prefix) + name] = hex16(hash64(array.data));
  }
  metadata[std::string(header_checksum_key)] = std::string(16, '0');
  SafetensorsLayout layout = lay_out_safetensors(checkpoint.state.arrays, metadata);
  // Digits are zeros while the header is hashed.
  const std::size_t digits = header_checksum_position(layout.header);
  layout.header.replace(digits, 16, hex16(hash64(as_bytes(layout.header))));
  return layout;
}

}  // namespace detail

/// The bytes of a checkpoint's file. Throws ArgumentError for an empty kind or reserved metadata, and as
/// to_safetensors.
inline std::vector<std::byte> to_checkpoint_bytes(const Checkpoint& checkpoint) {
  const detail::SafetensorsLayout layout = detail::lay_out_checkpoint(checkpoint);
  const auto header = detail::as_bytes(layout.header);
  std::vector<std::byte> bytes(header.begin(), header.end());
  for (const std::size_t i : layout.order) {
    const auto& data = checkpoint.state.arrays[i].second.data;
    bytes.insert(bytes.end(), data.begin(), data.end());
  }
  return bytes;
}

/// The checkpoint in `bytes`, with every checksum verified. Throws IoError when it is damaged, incomplete, of a newer
/// version, or of another kind than `kind` (an empty `kind` accepts any).
inline Checkpoint parse_checkpoint(std::span<const std::byte> bytes, std::string_view kind,
                                   const std::string& source = "checkpoint") {
  NamedArrays file = parse_safetensors(bytes, source);
  const auto fail = [&](const std::string& why) { throw IoError(source + ": " + why); };
  const auto take = [&](const std::string& key) {
    const auto found = file.metadata.find(key);
    if (found == file.metadata.end())
      fail("field " + detail::in_quotes(key) + " is missing; this is no complete kolmo checkpoint");
    std::string text = std::move(found->second);
    file.metadata.erase(found);
    return text;
  };
  Checkpoint result;
  int version = 0;
  const std::string version_text = take("kolmo.version");
  if (!detail::parse_whole(version_text, version) || version < 1 || version > checkpoint_version) {
    fail("checkpoint version " + detail::in_quotes(version_text) + " found, this library reads 1 to " +
         std::to_string(checkpoint_version) + "; use a newer kolmo");
  }
  const std::string stored = take(std::string(detail::header_checksum_key));
  const auto header_size = static_cast<std::size_t>(8 + detail::load_unaligned<std::uint64_t>(bytes.data()));
  std::string header(detail::as_text(bytes.first(header_size)));
  const std::size_t digits = detail::header_checksum_position(header);
  if (digits == std::string::npos)
    fail("field " + detail::in_quotes(detail::header_checksum_key) + " has no 16 digits");
  header.replace(digits, 16, 16, '0');
  if (stored != detail::hex16(hash64(detail::as_bytes(header))))
    fail("the header does not match its checksum; the file is damaged");

  result.kind = take("kolmo.kind");
  if (result.kind.empty()) fail("field 'kolmo.kind' is empty");
  if (!kind.empty() && result.kind != kind) {
    fail("holds a checkpoint of " + detail::in_quotes(result.kind) + ", expected one of " + detail::in_quotes(kind));
  }
  if (!detail::parse_whole(take("kolmo.step"), result.step)) fail("field 'kolmo.step' is no integer");
  if (file.metadata.contains("kolmo.metric")) {
    double metric = 0;
    if (!detail::parse_whole(take("kolmo.metric"), metric)) fail("field 'kolmo.metric' is no number");
    result.metric = metric;
  }
  for (const auto& [name, array] : file.arrays) {
    if (take(std::string(detail::array_checksum_prefix) + name) != detail::hex16(hash64(array.data))) {
      fail("array " + detail::in_quotes(name) + " does not match its checksum; the file is damaged");
    }
  }
  for (const auto& [key, text] : file.metadata) {
    if (key.starts_with("kolmo.")) fail("field " + detail::in_quotes(key) + " belongs to no array of the file");
  }
  result.state = std::move(file);
  return result;
}

/// Writes a checkpoint atomically; throws as to_checkpoint_bytes and write_atomically do.
template <class Calls = SystemCalls>
void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint) {
  const detail::SafetensorsLayout layout = detail::lay_out_checkpoint(checkpoint);
  write_atomically<Calls>(path, [&](FileSink<Calls>& sink) {
    sink.write(layout.header);
    for (const std::size_t i : layout.order) sink.write(checkpoint.state.arrays[i].second.data);
  });
}

/// Reads and verifies a checkpoint; throws IoError as parse_checkpoint does.
inline Checkpoint load_checkpoint(const std::filesystem::path& path, std::string_view kind,
                                  std::uint64_t limit = default_file_limit) {
  return parse_checkpoint(read_file(path, limit), kind, path.string());
}

}  // namespace kolmo::io
