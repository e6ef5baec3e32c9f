// Any text is refused as a Tecplot snapshot or read, and what is written of it is read again.

#include <kolmo/backend/eigen.hpp>
#include <kolmo/flow/immersed_files.hpp>
#include <string>
#include <string_view>

#include "fuzz_support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kolmo;
  try {
    const auto snapshot = flow::parse_tecplot(std::string_view(reinterpret_cast<const char*>(data), size));
    const std::string written = flow::to_tecplot(snapshot);
    fuzz::require(flow::to_tecplot(flow::parse_tecplot(written)) == written);
  } catch (const IoError&) {
  }
  return 0;
}
