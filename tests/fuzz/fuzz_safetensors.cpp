// Any bytes are refused by the safetensors reader or read, and what is read is written and read again unchanged.

#include <kolmo/io/safetensors.hpp>
#include <optional>

#include "fuzz_support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kolmo;
  std::optional<io::NamedArrays> read;
  try {
    read = io::parse_safetensors(fuzz::bytes_of(data, size));
  } catch (const IoError&) {
    return 0;
  }
  io::find_non_finite(*read);
  fuzz::require(io::parse_safetensors(io::to_safetensors(*read)) == *read);
  return 0;
}
