// Any text is refused as a geometry file, or gives bodies that are written and read again unchanged.

#include <kolmo/flow/geometry_writer.hpp>
#include <string>

#include "fuzz_support.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kolmo;
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const auto bodies = flow::parse_geometry(text, "input", "/no such folder");
    for (const flow::Body& body : bodies) fuzz::require(body.size() > 0 && body.x.size() == body.y.size());
    const auto again = flow::parse_geometry(flow::to_geometry(bodies));
    fuzz::require(again.size() == bodies.size());
    for (std::size_t b = 0; b < bodies.size(); ++b)
      fuzz::require(again[b].x == bodies[b].x && again[b].y == bodies[b].y &&
                    again[b].motion.index() == bodies[b].motion.index());
  } catch (const IoError&) {
  } catch (const ArgumentError&) {
  }
  return 0;
}
