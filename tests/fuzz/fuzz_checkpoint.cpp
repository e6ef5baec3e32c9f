// Any bytes are refused by the checkpoint reader or read, and a checkpoint that is read is one that was written so.
// Since a mutation hardly ever repairs a checksum, every input is tried a second time with the checksum of its header
// set right.

#include <kolmo/io/checkpoint.hpp>
#include <optional>
#include <string>

#include "fuzz_support.hpp"

namespace {

void read_checkpoint(std::span<const std::byte> bytes) {
  using namespace kolmo;
  std::optional<io::Checkpoint> read;
  try {
    read = io::parse_checkpoint(bytes, "");
  } catch (const IoError&) {
    return;
  }
  const io::Checkpoint again = io::parse_checkpoint(io::to_checkpoint_bytes(*read), read->kind);
  fuzz::require(again.kind == read->kind && again.step == read->step && again.state == read->state &&
                again.metric.has_value() == read->metric.has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kolmo;
  const auto bytes = fuzz::bytes_of(data, size);
  read_checkpoint(bytes);
  if (size < 8) return 0;
  const auto length = io::detail::load_unaligned<std::uint64_t>(bytes.data());
  if (length > size - 8) return 0;
  std::string text(io::detail::as_text(bytes));
  const auto header = static_cast<std::size_t>(8 + length);
  const std::size_t digits = io::detail::header_checksum_position(std::string_view(text).substr(0, header));
  if (digits == std::string::npos) return 0;
  text.replace(digits, 16, 16, '0');
  text.replace(digits, 16,
               io::detail::hex16(io::hash64(io::detail::as_bytes(std::string_view(text).substr(0, header)))));
  read_checkpoint(io::detail::as_bytes(text));
  return 0;
}
