// Any bytes are refused as a restart file of a grid or are what is written of them.

#include <cstring>
#include <kolmo/backend/eigen.hpp>
#include <kolmo/flow/immersed_files.hpp>
#include <string>

#include "fuzz_support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kolmo;
  flow::ImmersedGrid grid;
  grid.nx = grid.ny = 8;
  grid.length = 2;
  grid.corner_x = grid.corner_y = -1;
  try {
    const auto state = flow::parse_restart<double, Cpu>(fuzz::bytes_of(data, size), grid, 1);
    const std::string written = flow::to_restart(grid, state);
    // Spacing and corner may differ by rounding.
    fuzz::require(written.size() == size && std::memcmp(written.data() + 36, data + 36, size - 36) == 0);
  } catch (const IoError&) {
  }
  return 0;
}
