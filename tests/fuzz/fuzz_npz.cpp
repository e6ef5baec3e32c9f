// Any bytes are refused by the NPZ reader or read, and what is read is written and read again unchanged. Since a
// mutation hardly ever repairs a checksum, every input is tried a second time with the checksums of its members set
// right.

#include <kolmo/io/npz.hpp>
#include <optional>
#include <vector>

#include "fuzz_support.hpp"

namespace {

void read_archive(std::span<const std::byte> bytes) {
  using namespace kolmo;
  std::optional<io::NamedArrays> read;
  try {
    read = io::parse_npz(bytes);
  } catch (const IoError&) {
    return;
  }
  fuzz::require(io::parse_npz(io::to_npz(*read)) == *read);
}

void put_u32(std::vector<std::byte>& bytes, std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

/// Writes the right CRC-32 into every directory entry and local header that lies inside the file.
void repair(std::vector<std::byte>& bytes) {
  using kolmo::io::detail::load_unaligned;
  for (std::size_t at = 0; at + 46 <= bytes.size(); ++at) {
    if (load_unaligned<std::uint32_t>(bytes.data() + at) != 0x02014b50u) continue;
    const std::uint64_t size = load_unaligned<std::uint32_t>(bytes.data() + at + 24);
    const std::uint64_t local = load_unaligned<std::uint32_t>(bytes.data() + at + 42);
    if (local + 30 > bytes.size()) continue;
    const std::uint64_t begin = local + 30 + load_unaligned<std::uint16_t>(bytes.data() + local + 26) +
                                load_unaligned<std::uint16_t>(bytes.data() + local + 28);
    if (begin + size > bytes.size()) continue;
    const std::uint32_t sum = kolmo::io::crc32(
        std::span<const std::byte>(bytes).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size)));
    put_u32(bytes, at + 16, sum);
    put_u32(bytes, static_cast<std::size_t>(local) + 14, sum);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = kolmo::fuzz::bytes_of(data, size);
  read_archive(bytes);
  std::vector<std::byte> repaired(bytes.begin(), bytes.end());
  repair(repaired);
  read_archive(repaired);
  return 0;
}
