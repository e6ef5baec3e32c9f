#pragma once
// Colours, the default palette (Okabe and Ito, distinguishable with every kind of colour vision) and colour maps.

#include <cstddef>
#include <cstdint>
#include <kolmo/io/bits.hpp>

namespace kolmo::io {

/// An sRGB colour.
struct Colour {
  std::uint8_t red = 0;
  std::uint8_t green = 0;
  std::uint8_t blue = 0;
  friend constexpr bool operator==(const Colour&, const Colour&) = default;
};

/// The n-th colour of the default palette; repeats after eight.
inline Colour palette_colour(std::size_t n) {
  constexpr Colour colours[] = {{0, 114, 178},  {213, 94, 0},  {0, 158, 115}, {204, 121, 167},
                                {86, 180, 233}, {230, 159, 0}, {90, 90, 90},  {148, 103, 189}};
  return colours[n % 8];
}

/// The colour a part in [0, 1] of the way from `a` to `b`.
inline Colour mix(Colour a, Colour b, double part) {
  const auto between = [part](std::uint8_t x, std::uint8_t y) {
    return static_cast<std::uint8_t>(static_cast<double>(x) + part * (static_cast<double>(y) - static_cast<double>(x)) +
                                     0.5);
  };
  return {between(a.red, b.red), between(a.green, b.green), between(a.blue, b.blue)};
}

/// How values become colours.
enum class ColourMap {
  viridis,    ///< dark violet to yellow, lightness grows evenly; for magnitudes
  diverging,  ///< blue over white to red; for signed values with a meaningful zero
  grey        ///< black to white
};

/// The colour of a value scaled to [0, 1]; clamps, and gives light grey for NaN.
inline Colour map_colour(ColourMap map, double value) {
  // Ten anchors of viridis (CC0), and a diverging scale whose halves have equal lightness steps.
  constexpr Colour viridis[] = {{68, 1, 84},    {72, 40, 120},  {62, 74, 137},  {49, 104, 142}, {38, 130, 142},
                                {31, 158, 137}, {53, 183, 121}, {109, 205, 89}, {180, 222, 44}, {253, 231, 37}};
  constexpr Colour diverging[] = {{16, 44, 100},   {33, 102, 172},  {67, 147, 195},  {146, 197, 222},
                                  {209, 229, 240}, {247, 247, 247}, {253, 219, 199}, {244, 165, 130},
                                  {214, 96, 77},   {178, 24, 43},   {98, 6, 30}};
  constexpr Colour grey[] = {{0, 0, 0}, {255, 255, 255}};
  if (detail::is_nan(value)) return {215, 215, 215};
  const auto pick = [value](const Colour* anchors, std::size_t count) {
    if (value <= 0) return anchors[0];
    if (value >= 1) return anchors[count - 1];
    const double place = value * static_cast<double>(count - 1);
    const auto below = static_cast<std::size_t>(place);
    return mix(anchors[below], anchors[below + 1], place - static_cast<double>(below));
  };
  switch (map) {
    case ColourMap::diverging:
      return pick(diverging, 11);
    case ColourMap::grey:
      return pick(grey, 2);
    default:
      return pick(viridis, 10);
  }
}

}  // namespace kolmo::io
