// Any bytes are refused by the NPY reader or read, and what is read is written and read again unchanged.

#include <kolmo/io/npy.hpp>
#include <optional>

#include "fuzz_support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kolmo;
  std::optional<io::HostArray> read;
  try {
    read = io::parse_npy(fuzz::bytes_of(data, size));
  } catch (const IoError&) {
    return 0;
  }
  fuzz::require(io::parse_npy(io::to_npy(*read)) == *read);
  fuzz::require(read->convert<double>().size() == static_cast<std::size_t>(read->size()));
  return 0;
}
