// Any bytes are refused as a code stream or read, and a whole stream that is read is what is written of it. Since a
// mutation hardly ever repairs a checksum, every input is tried a second time with its checksums set right.

#include <kolmo/rvq/bitstream.hpp>
#include <optional>
#include <string>
#include <vector>

#include "fuzz_support.hpp"

namespace {

using namespace kolmo;

/// Falling frequencies for codes of up to 8 bits.
std::vector<rvq::FrequencyTable> tables_for(std::span<const std::byte> bytes) {
  std::vector<rvq::FrequencyTable> tables;
  if (bytes.size() < rvq::detail::code_header_start) return tables;
  for (std::size_t q = 0; q < std::to_integer<std::size_t>(bytes[13]); ++q) {
    const std::size_t at = rvq::detail::code_header_start + q;
    if (at >= bytes.size()) break;
    std::vector<double> weights;
    const int bits = std::to_integer<int>(bytes[at]) % 9;
    for (int k = 0; k < (1 << bits); ++k) weights.push_back(1.0 / (k + 1));
    tables.push_back(rvq::frequency_table(weights));
  }
  return tables;
}

void read_stream(std::span<const std::byte> bytes) {
  const auto tables = tables_for(bytes);
  std::optional<rvq::CodeStream> read;
  try {
    read = rvq::parse_code_stream(bytes, "input", tables);
  } catch (const IoError&) {
    return;
  } catch (const ArgumentError&) {
    return;
  }
  for (const rvq::CodePacket& packet : read->packets) {
    fuzz::require(packet.codes.size() == static_cast<std::size_t>(packet.rows) * read->header.bits.size());
    for (const rvq::Code code : packet.codes) fuzz::require(code >= (read->cut ? -1 : 0));
  }
  if (read->cut || !read->header.samples) return;
  const bool coded = read->header.layout == rvq::CodeLayout::range_coded;
  const auto needed = coded ? tables : std::vector<rvq::FrequencyTable>();
  const std::string written = rvq::to_code_stream(read->header, read->packets, needed);
  if (!coded) {
    fuzz::require(written == io::detail::as_text(bytes));
  } else {
    // A coder of ranges reads several texts as the same codes and writes one of them.
    const auto again = rvq::parse_code_stream(io::detail::as_bytes(written), "again", tables);
    fuzz::require(again.packets == read->packets);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  read_stream(bytes);
  if (size < rvq::detail::code_header_start) return 0;
  const std::size_t header = rvq::detail::code_header_size(data[13]);
  if (size < header) return 0;
  std::string text(io::detail::as_text(bytes)), sums;
  io::detail::append_little_endian(sums, io::crc32(bytes.subspan(header)));
  text.replace(header - 8, 4, sums);
  sums.clear();
  io::detail::append_little_endian(sums, io::crc32(io::detail::as_bytes(std::string_view(text).substr(0, header - 4))));
  text.replace(header - 4, 4, sums);
  read_stream(io::detail::as_bytes(text));
  return 0;
}
