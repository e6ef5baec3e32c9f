// Any text is refused by the JSON reader or read, and what is read is written and read again unchanged.

#include <optional>
#include <string_view>

#include "fuzz_support.hpp"
#include <kolmo/io/json.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kolmo;
  std::optional<io::JsonValue> read;
  try {
    read = io::parse_json(std::string_view(reinterpret_cast<const char*>(data), size));
  } catch (const IoError&) {
    return 0;
  }
  fuzz::require(io::parse_json(io::to_json(*read)) == *read);
  return 0;
}
