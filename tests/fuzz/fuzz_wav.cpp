// Any bytes are refused by the WAV reader or read as finite samples, which are written and read again unchanged.

#include <kolmo/io/wav.hpp>
#include <optional>

#include "fuzz_support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kolmo;
  std::optional<io::Wave> read;
  try {
    read = io::parse_wav(fuzz::bytes_of(data, size));
  } catch (const IoError&) {
    return 0;
  }
  fuzz::require(read->rate > 0 && read->channels > 0);
  // A header may tell more channels than the writer's width of 4 bytes lets it.
  try {
    const auto file = io::to_wav(*read, io::WavEncoding::float32);
    fuzz::require(file.clipped == 0 && io::parse_wav(io::detail::as_bytes(file.bytes)) == *read);
  } catch (const ArgumentError&) {
    fuzz::require(read->channels > 16383 || read->rate * read->channels > 1073741823);
  }
  return 0;
}
