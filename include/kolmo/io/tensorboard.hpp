#pragma once
// Event files for TensorBoard: scalars, pictures and texts by step.
//
// A file is a sequence of TFRecords (length, masked CRC-32C of it, bytes, masked CRC-32C of them), each the protocol
// buffer message Event of tensorflow/core/util/event.proto, written out here by hand. A record is one write, and
// readers stop before a record that a killed run left incomplete.

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <kolmo/error.hpp>
#include <kolmo/io/append_file.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/checksum.hpp>
#include <kolmo/io/png.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kolmo::io {

namespace detail {

/// A protocol buffer message, field by field (protobuf.dev/programming-guides/encoding).
class ProtocolMessage {
 public:
  ProtocolMessage& whole(int field, std::uint64_t value) {
    key(field, 0);
    varint(value);
    return *this;
  }
  ProtocolMessage& real64(int field, double value) {
    key(field, 1);
    append_little_endian(bytes_, std::bit_cast<std::uint64_t>(value));
    return *this;
  }
  ProtocolMessage& real32(int field, float value) {
    key(field, 5);
    append_little_endian(bytes_, std::bit_cast<std::uint32_t>(value));
    return *this;
  }
  ProtocolMessage& text(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  ProtocolMessage& message(int field, const ProtocolMessage& value) { return text(field, value.bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  void key(int field, unsigned type) { varint((static_cast<std::uint64_t>(field) << 3) | type); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7f) | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

/// The checksum of a TFRecord: rotated and shifted, so that the sum of data that hold sums is no special value.
inline std::uint32_t masked_crc32c(std::string_view bytes) {
  return std::rotr(crc32c(as_bytes(bytes)), 15) + 0xa282ead8u;
}

inline std::string tf_record(std::string_view data) {
  std::string record;
  append_little_endian(record, static_cast<std::uint64_t>(data.size()));
  append_little_endian(record, masked_crc32c(record));
  record += data;
  append_little_endian(record, masked_crc32c(data));
  return record;
}

inline double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace detail

/// Writes one event file into a folder, which TensorBoard shows as one run. Steps should grow.
template <class Calls = SystemCalls>
class TensorBoard {
 public:
  /// Seconds since 1970; a parameter so that a file can be the same twice.
  using Clock = std::function<double()>;

  /// Begins a run in a folder, which is made when there is none. Throws IoError when it holds event files.
  explicit TensorBoard(const std::filesystem::path& folder, Clock clock = detail::seconds_since_1970)
      : TensorBoard(folder, std::nullopt, std::move(clock)) {}

  /// Goes on with a run after `step`: a new file says that it starts at step + 1, on which TensorBoard drops what
  /// earlier files have of that step and later. Begins a run when there is none.
  static TensorBoard resume(const std::filesystem::path& folder, std::int64_t step,
                            Clock clock = detail::seconds_since_1970) {
    return TensorBoard(folder, std::optional<std::int64_t>(step), std::move(clock));
  }

  /// One number; the tag's part before the first "/" names its group.
  void scalar(std::string_view tag, std::int64_t step, double value) { scalars(step, {{std::string(tag), value}}); }

  /// Several numbers of one step, in one record.
  void scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& values) {
    detail::ProtocolMessage summary;
    for (const auto& [tag, value] : values)
      summary.message(1, detail::ProtocolMessage().text(1, tag).real32(2, static_cast<float>(value)));
    write(step, summary);
  }

  void picture(std::string_view tag, std::int64_t step, const Image& image) {
    detail::ProtocolMessage encoded;
    constexpr std::uint64_t rgb = 3;
    encoded.whole(1, image.height).whole(2, image.width).whole(3, rgb).text(4, to_png(image));
    write(step, detail::ProtocolMessage().message(1, detail::ProtocolMessage().text(1, tag).message(4, encoded)));
  }

  /// A text, shown as Markdown.
  void text(std::string_view tag, std::int64_t step, std::string_view markdown) {
    constexpr std::uint64_t string_type = 7, tensor_class = 2;
    detail::ProtocolMessage plugin, metadata, shape, tensor;
    plugin.text(1, "text");
    metadata.message(1, plugin).whole(4, tensor_class);
    shape.message(2, detail::ProtocolMessage().whole(1, 1));
    tensor.whole(1, string_type).message(2, shape).text(8, markdown);
    write(step, detail::ProtocolMessage().message(
                    1, detail::ProtocolMessage().text(1, tag).message(8, tensor).message(9, metadata)));
  }

  /// Makes the records durable; call before a checkpoint that counts on them. Throws IoError.
  void sync() { file_.sync(); }

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  TensorBoard(const std::filesystem::path& folder, std::optional<std::int64_t> after, Clock clock)
      : clock_(std::move(clock)) {
    namespace fs = std::filesystem;
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) throw IoError("cannot create the folder " + folder.string() + ": " + error.message());
    // Readers take the files of a run in the order of their names, which begin with a time.
    auto time = static_cast<long long>(clock_());
    bool any = false;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      long long there = 0;
      if (std::sscanf(name.c_str(), "events.out.tfevents.%lld", &there) != 1) continue;
      any = true;
      time = std::max(time, there + 1);
    }
    if (any && !after)
      throw IoError(folder.string() + " holds the events of another run; resume that run, or use another folder");
    char name[64];
    std::snprintf(name, sizeof name, "events.out.tfevents.%010lld.kolmo", time);
    file_ = AppendFile<Calls>(folder / name, O_CREAT | O_EXCL);
    const std::int64_t start = any ? *after + 1 : 0;
    file_.append(record(start, detail::ProtocolMessage().text(3, "brain.Event:2")));
    if (!any) return;
    constexpr std::uint64_t session_start = 1;
    file_.append(
        record(start, detail::ProtocolMessage().message(7, detail::ProtocolMessage().whole(1, session_start))));
  }

  void write(std::int64_t step, const detail::ProtocolMessage& summary) {
    file_.append(record(step, detail::ProtocolMessage().message(5, summary)));
  }

  /// The record of an event whose time and step come before the fields of `what`.
  std::span<const std::byte> record(std::int64_t step, const detail::ProtocolMessage& what) {
    detail::ProtocolMessage event;
    event.real64(1, clock_());
    if (step != 0) event.whole(2, static_cast<std::uint64_t>(step));
    record_ = detail::tf_record(event.bytes() + what.bytes());
    return detail::as_bytes(record_);
  }

  Clock clock_;
  AppendFile<Calls> file_;
  std::string record_;
};

}  // namespace kolmo::io
