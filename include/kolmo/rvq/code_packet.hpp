#pragma once
// The parts of a code stream, all little endian. Its header:
//
//   magic "KRVQ"  version u8  layout u8  sample rate u32  channels u8  hop u16  stages u8  bits u8 of each stage
//   samples u64  gain f32  model u64  CRC-32 of the packets u32  CRC-32 of the header before it u32
//
// The low four bits of the layout are the CodeLayout, bit 4 says that every packet carries a scale, bit 5 that every
// channel is coded in rows of its own. A packet is
//
//   rows u16  [scale f32]  [bytes u32, in the range-coded layout]  codes
//
// A stream that is sent while it is made has 2^64 - 1 samples and a checksum of 0: its length is not known yet.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/checksum.hpp>
#include <kolmo/rvq/code_bits.hpp>
#include <kolmo/rvq/range_coder.hpp>

namespace kolmo::rvq {

enum class CodeLayout {
  frame_major = 0,  ///< least delay
  stage_major = 1,  ///< a packet that is cut decodes to fewer stages
  range_coded = 2,  ///< by frequencies that writer and reader know from the model
};

/// What a code stream says of itself.
struct CodeStreamHeader {
  CodeLayout layout = CodeLayout::frame_major;
  index_t rate = 0;                          ///< samples a second; 0 for vectors that are no sound
  index_t channels = 1;                      ///< 1 to 255
  index_t hop = 1;                           ///< samples behind one row of codes, 1 to 65535
  std::vector<int> bits;                     ///< of the code of every stage; 1 to 255 stages of 1 to 31 bits
  std::optional<std::uint64_t> samples = 0;  ///< of a channel; unknown while a stream is being made
  float gain = 1;                            ///< what the decoded sound is multiplied by
  std::uint64_t model = 0;                   ///< a hash of the model that made the codes
  bool packet_scales = false;                ///< every packet has a scale of its own
  bool separate_channels = false;            ///< the rows of the channels follow each other, frame by frame

  index_t stages() const { return static_cast<index_t>(bits.size()); }
  index_t rows_per_frame() const { return separate_channels ? channels : 1; }
  /// Rows of all packets; unknown as the samples are.
  std::optional<std::uint64_t> rows() const {
    if (!samples) return std::nullopt;
    const auto step = static_cast<std::uint64_t>(hop);
    return (*samples / step + (*samples % step != 0 ? 1 : 0)) * static_cast<std::uint64_t>(rows_per_frame());
  }
  /// Bit/s of packed codes, without headers; 0 without a sample rate.
  double bits_per_second() const {
    return static_cast<double>(rate) / static_cast<double>(hop) *
           static_cast<double>(rows_per_frame() * row_bits(bits));
  }

  /// Throws ArgumentError that names the field, its value and what it may be.
  void validate() const {
    const auto require = [](bool good, const char* field, const std::string& value, const char* expected) {
      if (!good)
        throw ArgumentError(std::string("code stream: ") + field + " must be " + expected + ", given " + value);
    };
    const auto code = static_cast<int>(layout);
    require(code >= 0 && code <= 2, "layout", std::to_string(code),
            "frame_major (0), stage_major (1) or range_coded (2)");
    require(rate >= 0 && rate <= 0xffffffffll, "rate", std::to_string(rate), "from 0 to 2^32 - 1");
    require(channels >= 1 && channels <= 255, "channels", std::to_string(channels), "from 1 to 255");
    require(hop >= 1 && hop <= 65535, "hop", std::to_string(hop), "from 1 to 65535");
    require(stages() >= 1 && stages() <= 255, "stages", std::to_string(stages()), "from 1 to 255");
    row_bits(bits);
    require(gain > 0 && is_finite(gain), "gain", std::to_string(gain), "positive and finite");
    // More rows than can be counted.
    require(!samples || *samples <= std::uint64_t{1} << 48, "samples", std::to_string(samples.value_or(0)),
            "at most 2^48");
  }

  friend bool operator==(const CodeStreamHeader&, const CodeStreamHeader&) = default;
};

/// Rows of codes that were stored together.
struct CodePacket {
  index_t rows = 0;
  std::vector<Code> codes;  ///< [rows, stages]; -1 where a packet was cut
  float scale = 1;
  friend bool operator==(const CodePacket&, const CodePacket&) = default;
};

namespace detail {

inline constexpr std::string_view code_stream_magic = "KRVQ";
inline constexpr int code_stream_version = 1;
inline constexpr std::uint64_t unknown_samples = ~std::uint64_t{0};
inline constexpr index_t code_packet_limit = 65535;
inline constexpr std::size_t code_header_start = 14;  ///< bytes up to the number of stages

inline std::size_t code_header_size(std::size_t stages) { return code_header_start + stages + 8 + 4 + 8 + 4 + 4; }

inline std::string code_header_bytes(const CodeStreamHeader& header, std::uint32_t checksum) {
  using io::detail::append_little_endian;
  header.validate();
  std::string out(code_stream_magic);
  const auto put8 = [&](index_t value) { out += static_cast<char>(static_cast<std::uint8_t>(value)); };
  put8(code_stream_version);
  put8(static_cast<index_t>(header.layout) + (header.packet_scales ? 16 : 0) + (header.separate_channels ? 32 : 0));
  append_little_endian(out, static_cast<std::uint32_t>(header.rate));
  put8(header.channels);
  append_little_endian(out, static_cast<std::uint16_t>(header.hop));
  put8(header.stages());
  for (const int b : header.bits) put8(b);
  append_little_endian(out, header.samples.value_or(unknown_samples));
  append_little_endian(out, std::bit_cast<std::uint32_t>(header.gain));
  append_little_endian(out, header.model);
  append_little_endian(out, header.samples ? checksum : 0u);
  append_little_endian(out, io::crc32(io::detail::as_bytes(out)));
  return out;
}

/// The header at the start of `bytes` and the checksum of the packets, or nothing while bytes of it are missing. Throws
/// IoError with `source`, the place and the rule that is broken.
inline std::optional<std::pair<CodeStreamHeader, std::uint32_t>> parse_code_header(std::span<const std::byte> bytes,
                                                                                   const std::string& source) {
  using io::detail::load_unaligned;
  const auto fail = [&](std::size_t place, const std::string& why) {
    return IoError(source + ", byte " + std::to_string(place) + ": " + why);
  };
  const std::string_view start = io::detail::as_text(bytes.first(bytes.size() < 4 ? bytes.size() : 4));
  if (start != code_stream_magic.substr(0, start.size())) throw fail(0, "it is no code stream, which begins with KRVQ");
  if (bytes.size() > 4 && bytes[4] != std::byte{code_stream_version})
    throw fail(4, "a code stream of version " + std::to_string(std::to_integer<int>(bytes[4])) +
                      ", this reads version " + std::to_string(code_stream_version));
  if (bytes.size() < code_header_start) return std::nullopt;
  const std::size_t stages = std::to_integer<std::size_t>(bytes[13]), size = code_header_size(stages);
  if (bytes.size() < size) return std::nullopt;
  if (io::crc32(bytes.first(size - 4)) != load_unaligned<std::uint32_t>(bytes.data() + size - 4))
    throw fail(size - 4, "the header is damaged: its checksum is another one");
  CodeStreamHeader header;
  const auto layout = std::to_integer<int>(bytes[5]);
  if ((layout & 15) > 2 || layout > 63) throw fail(5, "layout " + std::to_string(layout) + " is not known");
  header.layout = static_cast<CodeLayout>(layout & 15);
  header.packet_scales = (layout & 16) != 0;
  header.separate_channels = (layout & 32) != 0;
  header.rate = load_unaligned<std::uint32_t>(bytes.data() + 6);
  header.channels = std::to_integer<index_t>(bytes[10]);
  header.hop = load_unaligned<std::uint16_t>(bytes.data() + 11);
  for (std::size_t q = 0; q < stages; ++q) header.bits.push_back(std::to_integer<int>(bytes[code_header_start + q]));
  const std::byte* rest = bytes.data() + code_header_start + stages;
  const auto samples = load_unaligned<std::uint64_t>(rest);
  header.samples = samples;
  if (samples == unknown_samples) header.samples.reset();
  header.gain = load_unaligned<float>(rest + 8);
  header.model = load_unaligned<std::uint64_t>(rest + 12);
  const auto checksum = load_unaligned<std::uint32_t>(rest + 20);
  try {
    header.validate();
  } catch (const ArgumentError& error) {
    throw fail(0, error.what());
  }
  if (!header.samples && checksum != 0)
    throw fail(size - 8, "a stream of unknown length has a checksum of its packets");
  return std::pair{std::move(header), checksum};
}

/// Throws ArgumentError unless the layout has just the tables that it needs.
inline void check_frequency_tables(const CodeStreamHeader& header, std::span<const FrequencyTable> tables) {
  const bool coded = header.layout == CodeLayout::range_coded;
  if (tables.size() != (coded ? header.bits.size() : 0))
    throw ArgumentError(coded ? "the codes are range-coded and need the frequencies of " +
                                    std::to_string(header.stages()) + " stages from the model, given " +
                                    std::to_string(tables.size())
                              : std::string("frequencies are given for codes that are not range-coded"));
  for (std::size_t q = 0; q < tables.size(); ++q) {
    if (code_bits(tables[q].codes()) != header.bits[q])
      throw ArgumentError("stage " + std::to_string(q) + " has codes of " + std::to_string(header.bits[q]) +
                          " bits and a table of " + std::to_string(tables[q].codes()) + " frequencies");
  }
}

/// Bytes of a packet before its codes.
inline std::size_t packet_prefix(const CodeStreamHeader& header) {
  return 2 + (header.packet_scales ? 4 : 0) + (header.layout == CodeLayout::range_coded ? 4 : 0);
}

}  // namespace detail

/// The bytes of one packet. Throws ShapeError unless there are whole rows, 1 to 65535; ArgumentError for a code that
/// does not fit, -1 among them, a scale that is not finite, or one where the header has none; and for tables other than
/// the layout needs.
inline std::string to_packet_bytes(const CodeStreamHeader& header, const CodePacket& packet,
                                   std::span<const FrequencyTable> tables = {}) {
  detail::check_frequency_tables(header, tables);
  const index_t rows = detail::rows_of_codes(packet.codes.size(), header.bits.size(), "code packet");
  if (rows != packet.rows || rows < 1 || rows > detail::code_packet_limit)
    throw ShapeError("a packet has 1 to 65535 rows, given " + std::to_string(packet.rows) + " with the codes of " +
                     std::to_string(rows));
  if (!is_finite(packet.scale) || (!header.packet_scales && packet.scale != 1))
    throw ArgumentError("the scale of a packet must be finite, and 1 unless packets carry scales; given " +
                        std::to_string(packet.scale));
  std::string codes;
  if (header.layout == CodeLayout::range_coded) {
    RangeEncoder encoder(codes);
    for (std::size_t i = 0; i < packet.codes.size(); ++i) {
      const std::size_t stage = i % tables.size();
      detail::check_code(packet.codes[i], header.bits[stage], i / tables.size(), stage);
      encoder.put(tables[stage], packet.codes[i]);
    }
    encoder.finish();
  } else {
    const bool frames = header.layout == CodeLayout::frame_major;
    codes = pack_codes(packet.codes, header.bits, frames ? CodeOrder::frame_major : CodeOrder::stage_major);
  }
  std::string out;
  io::detail::append_little_endian(out, static_cast<std::uint16_t>(rows));
  if (header.packet_scales) io::detail::append_little_endian(out, std::bit_cast<std::uint32_t>(packet.scale));
  if (header.layout == CodeLayout::range_coded)
    io::detail::append_little_endian(out, static_cast<std::uint32_t>(codes.size()));
  return out + codes;
}

namespace detail {

/// Bytes of the whole packet that begins with `bytes`, or nothing while its prefix is not there.
inline std::optional<std::size_t> packet_size(const CodeStreamHeader& header, std::span<const std::byte> bytes) {
  const std::size_t prefix = packet_prefix(header);
  if (bytes.size() < prefix) return std::nullopt;
  if (header.layout == CodeLayout::range_coded)
    return prefix + io::detail::load_unaligned<std::uint32_t>(bytes.data() + prefix - 4);
  return prefix +
         static_cast<std::size_t>(packed_size(io::detail::load_unaligned<std::uint16_t>(bytes.data()), header.bits));
}

}  // namespace detail

/// The packet in `bytes`, all of which belong to it. A stage-major packet may be cut at its end: its rows are then
/// those whose first stage is there, and codes that are missing are -1. Throws IoError for any other packet that is not
/// whole, ArgumentError for tables other than the layout needs.
inline CodePacket parse_packet(const CodeStreamHeader& header, std::span<const std::byte> bytes,
                               std::span<const FrequencyTable> tables = {}) {
  detail::check_frequency_tables(header, tables);
  const std::size_t prefix = detail::packet_prefix(header);
  const auto size = detail::packet_size(header, bytes);
  const bool may_be_cut = header.layout == CodeLayout::stage_major;
  if (!size || bytes.size() > *size || (bytes.size() < *size && !may_be_cut))
    throw IoError("a packet of " + (size ? std::to_string(*size) : "at least " + std::to_string(prefix)) +
                  " bytes is cut off or followed by others: " + std::to_string(bytes.size()) + " are there");
  CodePacket packet;
  const index_t rows = io::detail::load_unaligned<std::uint16_t>(bytes.data());
  if (rows == 0) throw IoError("a packet has no rows");
  if (header.packet_scales) packet.scale = io::detail::load_unaligned<float>(bytes.data() + 2);
  if (!is_finite(packet.scale)) throw IoError("the scale of a packet is not finite");
  const auto codes = bytes.subspan(prefix);
  if (header.layout == CodeLayout::range_coded) {
    // Few bytes cannot tell many codes, however frequent the likeliest are.
    double least = 0;
    for (const FrequencyTable& table : tables) {
      std::uint32_t most = 0;
      for (index_t k = 0; k < table.codes(); ++k) most = larger(most, table.frequency(k));
      least += 24 - log(static_cast<double>(most)) / log(2.0);
    }
    if (static_cast<double>(rows) * least > 8 * static_cast<double>(codes.size()) + 64)
      throw IoError(std::to_string(rows) + " rows of codes cannot be in " + std::to_string(codes.size()) + " bytes");
    RangeDecoder decoder(codes);
    packet.codes.reserve(static_cast<std::size_t>(rows) * tables.size());
    for (index_t row = 0; row < rows; ++row)
      for (const FrequencyTable& table : tables) packet.codes.push_back(decoder.take(table));
  } else if (may_be_cut) {
    packet.codes = unpack_prefix(codes, rows, header.bits);
  } else {
    packet.codes = unpack_codes(codes, rows, header.bits, CodeOrder::frame_major);
  }
  packet.rows = static_cast<index_t>(packet.codes.size() / header.bits.size());
  return packet;
}

}  // namespace kolmo::rvq
