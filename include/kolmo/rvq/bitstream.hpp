#pragma once
// Streams of codes (rvq/code_packet.hpp has their format): written and read packet by packet, as they come, or as a
// whole. The bytes are the same either way.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/rvq/code_packet.hpp>

namespace kolmo::rvq {

/// Makes the bytes of a stream from rows of codes. The packets go out as they are made; the header, which knows the
/// length and the checksum, at the end, in front of them (a file) - or open_header() goes out first (a connection).
class CodeStreamWriter {
 public:
  /// Range-coded streams need the frequencies of every stage. Throws ArgumentError for fields that cannot be.
  explicit CodeStreamWriter(CodeStreamHeader header, std::vector<FrequencyTable> tables = {})
      : header_(std::move(header)), tables_(std::move(tables)) {
    header_.validate();
    detail::check_frequency_tables(header_, tables_);
  }

  /// The header of a stream whose end is not known.
  std::string open_header() const {
    CodeStreamHeader open = header_;
    open.samples.reset();
    return detail::code_header_bytes(open, 0);
  }

  /// The bytes of the next packet. Throws as to_packet_bytes; then the stream is as it was.
  std::string packet(const CodePacket& packet) {
    std::string bytes = to_packet_bytes(header_, packet, tables_);
    checksum_ = io::crc32(io::detail::as_bytes(bytes), checksum_);
    rows_ += static_cast<std::uint64_t>(packet.rows);
    return bytes;
  }
  std::string packet(std::vector<Code> codes, float scale = 1) {
    const index_t rows = detail::rows_of_codes(codes.size(), header_.bits.size(), "code stream");
    return packet(CodePacket{rows, std::move(codes), scale});
  }

  /// Rows so far.
  std::uint64_t rows() const { return rows_; }
  const CodeStreamHeader& fields() const { return header_; }

  /// The header of the finished stream of `samples` samples, as long as open_header(). Throws ArgumentError unless the
  /// rows so far are those of so many samples.
  std::string header(std::uint64_t samples) const {
    CodeStreamHeader finished = header_;
    finished.samples = samples;
    const std::string bytes = detail::code_header_bytes(finished, checksum_);
    if (*finished.rows() != rows_)
      throw ArgumentError("code stream: " + std::to_string(samples) + " samples have " +
                          std::to_string(*finished.rows()) + " rows of codes, written are " + std::to_string(rows_));
    return bytes;
  }

 private:
  CodeStreamHeader header_;
  std::vector<FrequencyTable> tables_;
  std::uint32_t checksum_ = 0;
  std::uint64_t rows_ = 0;
};

/// Takes packets off bytes that come in pieces of any size. Throws IoError with `source`, the place and the rule that
/// is broken; a damaged packet is known as such at the end, from the checksum. Throws ArgumentError for missing tables.
class CodeStreamReader {
 public:
  /// `tables` are the frequencies of every stage, which range-coded streams need and others do not look at.
  explicit CodeStreamReader(std::string source = "code stream", std::vector<FrequencyTable> tables = {})
      : source_(std::move(source)), tables_(std::move(tables)) {}

  void push(std::span<const std::byte> bytes) { held_ += io::detail::as_text(bytes); }

  /// The header, or nothing while bytes of it are missing.
  const std::optional<CodeStreamHeader>& header() {
    if (header_) return header_;
    if (const auto found = detail::parse_code_header(waiting(), source_)) {
      take(detail::code_header_size(found->first.bits.size()));
      header_ = found->first;
      expected_ = found->second;
      if (header_->layout != CodeLayout::range_coded) tables_.clear();
      detail::check_frequency_tables(*header_, tables_);
    }
    return header_;
  }

  /// The next packet, or nothing while bytes of it are missing.
  std::optional<CodePacket> next() {
    if (!header()) return std::nullopt;
    const auto size = detail::packet_size(*header_, waiting());
    if (complete() && !waiting().empty()) throw failure("there are bytes after the last packet");
    if (!size || waiting().size() < *size) return std::nullopt;
    const auto bytes = waiting().first(*size);
    CodePacket packet = parsed(bytes);
    checksum_ = io::crc32(bytes, checksum_);
    add_rows(packet.rows);
    take(*size);
    return packet;
  }

  /// Whether all rows that the header tells have come; false when it does not tell.
  bool complete() const { return header_ && header_->rows() && rows_ == *header_->rows(); }
  /// Whether finish() found a stage-major stream cut off.
  bool cut() const { return cut_; }
  std::uint64_t rows() const { return rows_; }

  /// Says that no more bytes will come, after next() has given all packets. Of a stage-major stream that was cut off
  /// inside a packet, gives what is there of it. Throws IoError when another stream ends too early, and when the
  /// checksum is not that of the packets; that of a cut stream, or one that was sent while it was made, cannot be
  /// checked.
  std::optional<CodePacket> finish() {
    if (!header()) throw failure("the stream ends inside its header");
    if (complete()) {
      if (checksum_ != expected_) throw failure("the codes are damaged: their checksum is another one");
      return std::nullopt;
    }
    if (!header_->samples && waiting().empty()) return std::nullopt;
    if (header_->layout != CodeLayout::stage_major)
      throw failure("the stream is cut off after " + std::to_string(rows_) +
                    (header_->samples ? " of " + std::to_string(*header_->rows()) : std::string()) +
                    " rows; only stage-major ones decode then");
    cut_ = true;
    if (waiting().size() < detail::packet_prefix(*header_)) return std::nullopt;
    CodePacket packet = parsed(waiting());
    add_rows(packet.rows);
    take(waiting().size());
    if (packet.rows == 0) return std::nullopt;
    return packet;
  }

 private:
  std::span<const std::byte> waiting() const { return io::detail::as_bytes(std::string_view(held_).substr(taken_)); }
  void take(std::size_t count) {
    taken_ += count;
    offset_ += count;
    if (taken_ > held_.size() / 2) {
      held_.erase(0, taken_);
      taken_ = 0;
    }
  }
  CodePacket parsed(std::span<const std::byte> bytes) const {
    try {
      return parse_packet(*header_, bytes, tables_);
    } catch (const IoError& error) {
      throw failure(error.what());
    }
  }
  void add_rows(index_t rows) {
    rows_ += static_cast<std::uint64_t>(rows);
    if (header_->rows() && rows_ > *header_->rows())
      throw failure("there are more than the " + std::to_string(*header_->rows()) + " rows that the header tells");
  }
  IoError failure(const std::string& why) const {
    return IoError(source_ + ", byte " + std::to_string(offset_) + ": " + why);
  }

  std::string source_, held_;
  std::vector<FrequencyTable> tables_;
  std::optional<CodeStreamHeader> header_;
  std::size_t taken_ = 0;
  std::uint64_t offset_ = 0, rows_ = 0;
  std::uint32_t checksum_ = 0, expected_ = 0;
  bool cut_ = false;
};

/// A whole stream.
struct CodeStream {
  CodeStreamHeader header;
  std::vector<CodePacket> packets;
  bool cut = false;  ///< its end is missing; -1 stands for the codes of its last packet that are

  index_t rows() const {
    index_t sum = 0;
    for (const CodePacket& packet : packets) sum += packet.rows;
    return sum;
  }
  /// All codes [rows, stages].
  Tensor<Code, Cpu> codes() const {
    auto result = Tensor<Code, Cpu>::uninitialized(Shape{rows(), header.stages()});
    Code* target = result.mutable_data();
    for (const CodePacket& packet : packets)
      for (const Code code : packet.codes) *target++ = code;
    return result;
  }
};

/// Codes [n, stages] in packets of at most `packet_rows` rows. Throws ShapeError for other codes, ArgumentError unless
/// 1 <= packet_rows <= 65535.
template <class B>
std::vector<CodePacket> code_packets(const Tensor<Code, B>& codes, index_t packet_rows = 1024) {
  if (codes.rank() != 2)
    throw ShapeError("code stream: expected codes [n, stages], given " + codes.shape().to_string());
  if (packet_rows < 1 || packet_rows > detail::code_packet_limit)
    throw ArgumentError("code stream: a packet has 1 to 65535 rows, given " + std::to_string(packet_rows));
  const std::vector<Code> values = codes.to_vector();
  const index_t n = codes.shape()[0], stages = codes.shape()[1];
  std::vector<CodePacket> packets;
  for (index_t first = 0; first < n; first += packet_rows) {
    const index_t rows = smaller(packet_rows, n - first);
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(first * stages);
    packets.push_back({rows, {begin, begin + static_cast<std::ptrdiff_t>(rows * stages)}, 1.0f});
  }
  return packets;
}

/// The bytes of a whole stream; its header must know the samples. Throws as CodeStreamWriter.
inline std::string to_code_stream(const CodeStreamHeader& header, std::span<const CodePacket> packets,
                                  const std::vector<FrequencyTable>& tables = {}) {
  if (!header.samples) throw ArgumentError("code stream: the number of samples of a whole stream must be given");
  CodeStreamWriter writer(header, tables);
  std::string bytes;
  for (const CodePacket& packet : packets) bytes += writer.packet(packet);
  return writer.header(*header.samples) + bytes;
}
template <class B>
std::string to_code_stream(const CodeStreamHeader& header, const Tensor<Code, B>& codes,
                           const std::vector<FrequencyTable>& tables = {}) {
  return to_code_stream(header, code_packets(codes), tables);
}

/// The stream in `bytes`; of a stage-major one that was cut off, what is there. Throws as CodeStreamReader.
inline CodeStream parse_code_stream(std::span<const std::byte> bytes, const std::string& source = "code stream",
                                    std::vector<FrequencyTable> tables = {}) {
  CodeStreamReader reader(source, std::move(tables));
  reader.push(bytes);
  CodeStream stream;
  while (auto packet = reader.next()) stream.packets.push_back(std::move(*packet));
  if (auto rest = reader.finish()) stream.packets.push_back(std::move(*rest));
  stream.header = *reader.header();
  stream.cut = reader.cut();
  return stream;
}

inline CodeStream load_code_stream(const std::filesystem::path& path, std::vector<FrequencyTable> tables = {}) {
  return parse_code_stream(io::read_file(path), path.string(), std::move(tables));
}

/// The same stream with its first `stages` stages alone: a lower rate without decoding. Throws ArgumentError unless
/// 1 <= stages <= those of the stream.
inline CodeStream with_stages(const CodeStream& stream, index_t stages) {
  const index_t all = stream.header.stages();
  if (stages < 1 || stages > all)
    throw ArgumentError("with_stages: the stream has " + std::to_string(all) + " stages, asked for " +
                        std::to_string(stages));
  CodeStream result = stream;
  result.header.bits.resize(static_cast<std::size_t>(stages));
  for (CodePacket& packet : result.packets) {
    std::vector<Code> kept;
    kept.reserve(static_cast<std::size_t>(packet.rows * stages));
    for (index_t row = 0; row < packet.rows; ++row)
      for (index_t q = 0; q < stages; ++q) kept.push_back(packet.codes[static_cast<std::size_t>(row * all + q)]);
    packet.codes = std::move(kept);
  }
  return result;
}

}  // namespace kolmo::rvq
