#pragma once
// A vector font of strokes for the texts of raster pictures: ASCII, common Greek letters and mathematical signs. The
// advance widths are close to Helvetica's, so that one layout serves SVG viewers too.

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/drawing.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace kolmo::io::detail {

/// Units of the glyph tables in one em; capitals are 14 units high, small letters 10.
inline constexpr double font_units = 20;

/// A glyph: its advance and its strokes. "M x,y" starts a stroke, "L x,y" draws a line, "A cx,cy,rx,ry,from,to" draws
/// an arc of an ellipse with angles in degrees, "B ..." starts a stroke with an arc.
struct Glyph {
  std::uint32_t code;
  double advance;
  const char* strokes;
};

inline const Glyph* find_glyph(std::uint32_t code) {
  static const Glyph glyphs[] = {
      {' ', 5.6, ""},
      {'!', 5.6, "M2.8,14L2.8,4.6 B2.8,0.4,0.35,0.35,0,360"},
      {'"', 7.1, "M2.2,14L2.2,10 M4.9,14L4.9,10"},
      {'#', 11.1, "M3.9,14L2.3,0 M8.6,14L7,0 M1.2,9.4L10.2,9.4 M0.8,4.6L9.8,4.6"},
      {'$', 11.1, "B5.5,10.3,3.7,2.9,35,270A5.5,3.9,3.9,3.4,90,-150 M5.5,15.6L5.5,-1.7"},
      {'%', 17.8, "B4.6,10.6,2.8,3.4,0,360 B13.2,3.4,2.8,3.4,0,360 M12.6,14L5.2,0"},
      {'&', 13.3, "M12.2,0L4,9.6A5.9,11.2,2.5,2.8,220,-40L3.7,6.6A5,3.7,3.6,3.7,130,270A5.6,4.5,5,4.5,270,350L11,6.8"},
      {'\'', 3.8, "M1.9,14L1.9,10"},
      {'(', 6.7, "B8.4,5.2,6.2,10.4,123,237"},
      {')', 6.7, "B-1.7,5.2,6.2,10.4,57,-57"},
      {'*', 7.8, "M3.9,14L3.9,8 M1.3,12.5L6.5,9.5 M6.5,12.5L1.3,9.5"},
      {'+', 11.7, "M5.85,10.4L5.85,1.6 M1.4,6L10.3,6"},
      {',', 5.6, "M3,0.6L2.1,-2.6"},
      {'-', 6.7, "M1.3,5L5.4,5"},
      {'.', 5.6, "B2.8,0.4,0.35,0.35,0,360"},
      {'/', 5.6, "M5.4,14L0.2,-0.6"},
      {'0', 11.1, "B5.55,7,3.9,7,0,360"},
      {'1', 11.1, "M2.4,11.2L5.9,14L5.9,0"},
      {'2', 11.1, "B5.5,10.1,3.8,3.9,165,-35L1.7,0L9.5,0"},
      {'3', 11.1, "B5.3,10.6,3.5,3.4,150,-90A5.3,3.6,4,3.6,90,-150"},
      {'4', 11.1, "M7.4,0L7.4,14L1.3,4L9.9,4"},
      {'5', 11.1, "M8.8,14L3,14L2.3,7.4A5.4,4.5,4.1,4.5,138,-150"},
      {'6', 11.1, "B5.6,4.4,3.9,4.4,0,360 B8.9,4.4,7.2,9.6,180,98"},
      {'7', 11.1, "M1.6,14L9.6,14L4.4,0"},
      {'8', 11.1, "B5.55,10.6,3.3,3.4,0,360 B5.55,3.6,3.9,3.6,0,360"},
      {'9', 11.1, "B5.5,9.6,3.9,4.4,0,360 B2.2,9.6,7.2,9.6,0,-82"},
      {':', 5.6, "B2.8,8.8,0.35,0.35,0,360 B2.8,0.4,0.35,0.35,0,360"},
      {';', 5.6, "B2.8,8.8,0.35,0.35,0,360 M3,0.6L2.1,-2.6"},
      {'<', 11.7, "M10.2,10.4L1.6,6L10.2,1.6"},
      {'=', 11.7, "M1.4,7.9L10.3,7.9 M1.4,4.1L10.3,4.1"},
      {'>', 11.7, "M1.5,10.4L10.1,6L1.5,1.6"},
      {'?', 11.1, "B5.5,10.4,3.6,3.6,165,-40L5.5,5.4L5.5,4.2 B5.5,0.4,0.35,0.35,0,360"},
      {'@', 20.3,
       "B9.8,5.4,3.6,4,0,360 M13.6,9.4L13.2,4.4A15.3,4,2.1,2.6,180,270A13,5.6,5.4,5.6,-60,60A10.1,5.6,8.6,8.6,35,300"},
      {'A', 13.3, "M0.8,0L6.65,14L12.5,0 M2.8,4.8L10.5,4.8"},
      {'B', 13.3, "M7,7.3L2,7.3L2,14L7,14A7,10.65,3.9,3.35,90,-90A7.2,3.65,4.4,3.65,90,-90L2,0L2,7.3"},
      {'C', 14.4, "B7.5,7,6.1,7,42,318"},
      {'D', 14.4, "M2,0L2,14L6.2,14A6.2,7,6.7,7,90,-90L2,0"},
      {'E', 13.3, "M11.4,14L2,14L2,0L11.7,0 M2,7.4L10.6,7.4"},
      {'F', 12.2, "M10.9,14L2,14L2,0 M2,7.2L9.8,7.2"},
      {'G', 15.6, "B7.8,7,6.3,7,45,340 M8.6,6.3L13.8,6.3L13.8,1.2"},
      {'H', 14.4, "M2,14L2,0 M12.4,14L12.4,0 M2,7.3L12.4,7.3"},
      {'I', 5.6, "M2.8,14L2.8,0"},
      {'J', 10.0, "M7.8,14L7.8,4A4.4,4,3.4,4,0,-175"},
      {'K', 13.3, "M2,14L2,0 M11.6,14L2,5 M5.6,8.4L12.2,0"},
      {'L', 11.1, "M2,14L2,0L10.3,0"},
      {'M', 16.7, "M2,0L2,14L8.35,1L14.7,14L14.7,0"},
      {'N', 14.4, "M2,0L2,14L12.4,0L12.4,14"},
      {'O', 15.6, "B7.8,7,6.4,7,0,360"},
      {'P', 13.3, "M2,0L2,14L7.3,14A7.3,10,4.3,4,90,-90L2,6"},
      {'Q', 15.6, "B7.8,7,6.4,7,0,360 M9.6,3.2L14.2,-0.8"},
      {'R', 14.4, "M2,0L2,14L8,14A8,10.2,4.2,3.8,90,-90L2,6.4 M8,6.4L12.6,0"},
      {'S', 13.3, "B6.6,10.4,4.4,3.6,30,255L8,6.9A6.6,3.6,4.8,3.6,70,-155"},
      {'T', 12.2, "M0.7,14L11.5,14 M6.1,14L6.1,0"},
      {'U', 14.4, "M2,14L2,5A7.2,5,5.2,5,180,360L12.4,14"},
      {'V', 13.3, "M0.8,14L6.65,0L12.5,14"},
      {'W', 18.9, "M0.8,14L5.1,0L9.45,13.4L13.8,0L18.1,14"},
      {'X', 13.3, "M1.4,14L11.9,0 M11.9,14L1.4,0"},
      {'Y', 13.3, "M0.9,14L6.65,6.4L12.4,14 M6.65,6.4L6.65,0"},
      {'Z', 12.2, "M1.3,14L10.9,14L1.2,0L11.1,0"},
      {'[', 5.6, "M4.6,14.6L2,14.6L2,-3.4L4.6,-3.4"},
      {'\\', 5.6, "M0.2,14L5.4,-0.6"},
      {']', 5.6, "M1,14.6L3.6,14.6L3.6,-3.4L1,-3.4"},
      {'^', 9.4, "M1.4,8L4.7,14L8,8"},
      {'_', 11.1, "M0,-2.6L11.1,-2.6"},
      {'`', 6.7, "M2,14L4.4,11.6"},
      {'a', 11.1, "B5.2,5,3.8,5,0,360 M9,10L9,0"},
      {'b', 11.1, "M1.9,14L1.9,0 B5.7,5,3.8,5,0,360"},
      {'c', 10.0, "B5.3,5,3.9,5,48,312"},
      {'d', 11.1, "B5.3,5,3.8,5,0,360 M9.1,14L9.1,0"},
      {'e', 11.1, "M1.6,5.2L9.4,5.2A5.5,5,3.95,5,3,318"},
      {'f', 5.6, "M2.4,0L2.4,11.2A5,11.2,2.6,2.9,180,85 M0.6,9.8L5,9.8"},
      {'g', 11.1, "B5.2,5,3.8,5,0,360 M9,10L9,-0.4A5.4,-0.4,3.6,3.7,0,-150"},
      {'h', 11.1, "M1.9,14L1.9,0 M1.9,6.2A5.4,6.2,3.5,3.8,180,0L8.9,0"},
      {'i', 4.4, "M2.2,10L2.2,0 B2.2,13.6,0.35,0.35,0,360"},
      {'j', 4.4, "M2.2,10L2.2,-1.4A0.2,-1.4,2,2.4,0,-85 B2.2,13.6,0.35,0.35,0,360"},
      {'k', 10.0, "M1.9,14L1.9,0 M8.4,10L1.9,3.8 M4.4,6.2L8.8,0"},
      {'l', 4.4, "M2.2,14L2.2,0"},
      {'m', 16.7, "M1.9,10L1.9,0 M1.9,6.6A5.1,6.6,3.2,3.4,180,0L8.3,0 M8.3,6.6A11.5,6.6,3.2,3.4,180,0L14.7,0"},
      {'n', 11.1, "M1.9,10L1.9,0 M1.9,6.2A5.4,6.2,3.5,3.8,180,0L8.9,0"},
      {'o', 11.1, "B5.55,5,4,5,0,360"},
      {'p', 11.1, "M1.9,10L1.9,-4 B5.7,5,3.8,5,0,360"},
      {'q', 11.1, "B5.3,5,3.8,5,0,360 M9.1,10L9.1,-4"},
      {'r', 6.7, "M1.9,10L1.9,0 M1.9,6A5.9,6,4,4,180,95"},
      {'s', 10.0, "B4.9,7.5,3.1,2.5,35,262L5.6,4.9A4.9,2.6,3.4,2.6,75,-152"},
      {'t', 5.6, "M2.6,13L2.6,2.4A4.6,2.4,2,2.4,180,275 M0.6,9.8L5,9.8"},
      {'u', 11.1, "M2,10L2,3.8A5.5,3.8,3.5,3.8,180,360 M9,10L9,0"},
      {'v', 10.0, "M0.9,10L5,0L9.1,10"},
      {'w', 14.4, "M0.8,10L3.9,0L7.2,9.6L10.5,0L13.6,10"},
      {'x', 10.0, "M1.2,10L8.8,0 M8.8,10L1.2,0"},
      {'y', 10.0, "M0.9,10L5,0 M9.1,10L4.3,-2.2A2.2,-1.4,2.2,2.6,-25,-95"},
      {'z', 10.0, "M1.3,10L8.6,10L1.1,0L8.8,0"},
      {'{', 6.7,
       "M5.6,14.6A5.4,12.4,2,2.2,90,180L3.4,8A1.4,8,2,2.4,0,-90A1.4,3.2,2,2.4,90,0L3.4,-1.2A5.4,-1.2,2,2.2,180,270"},
      {'|', 5.2, "M2.6,15L2.6,-4"},
      {'}', 6.7,
       "M1.1,14.6A1.3,12.4,2,2.2,90,0L3.3,8A5.3,8,2,2.4,180,270A5.3,3.2,2,2.4,90,180L3.3,-1.2A1.3,-1.2,2,2.2,0,-90"},
      {'~', 11.7, "B3.8,5.2,2.4,1.8,180,30A8,6.6,2.4,1.8,210,360"},
      {0xb0, 8.0, "B4,11.4,2.4,2.4,0,360"},
      {0xb1, 11.7, "M5.85,11.4L5.85,3.4 M1.4,7.4L10.3,7.4 M1.4,0.4L10.3,0.4"},
      {0xb7, 5.6, "B2.8,5.2,0.35,0.35,0,360"},
      {0xd7, 11.7, "M2.4,9.5L9.3,2.5 M9.3,9.5L2.4,2.5"},
      {0x394, 13.3, "M6.65,14L12.3,0L1,0L6.65,14L7,13"},
      {0x3a3, 12.4, "M10.8,14L1.8,14L6.8,7.2L1.6,0L11.2,0"},
      {0x3a9, 15.2, "M1.4,0L5.6,0L5.4,1.4A7.6,8,6,6,225,-45L9.6,0L13.8,0"},
      {0x3b1, 11.6, "M10.4,10L8.8,3.6A5.2,5,3.9,5,-20,-330 M8.4,7.4L9,3A11,1.8,1.9,1.8,160,270"},
      {0x3b2, 11.5, "M2,-4L2,10.8A5.2,10.8,3.2,3.2,180,-75L4.4,7.6 M5.6,7.6A5.6,3.8,3.8,3.8,90,-140"},
      {0x3b3, 10.0, "M0.8,8.6A2.6,8.4,1.8,1.6,170,45L5.4,0L5,-2A5,-3,0.9,1.4,160,-160 M9.2,10L5.4,0"},
      {0x3b4, 11.1, "B5.5,4.4,3.9,4.4,0,360 M8.6,13A5.8,11.8,2.8,2.2,35,225L7.6,7.9"},
      {0x3b5, 9.0, "B4.9,7.5,3.2,2.5,30,265L6,5L4.9,5A4.9,2.5,3.5,2.5,95,330"},
      {0x3b8, 11.1, "B5.5,7,3.6,7,0,360 M1.9,7L9.1,7"},
      {0x3bb, 10.0, "M1,13.6A2,11.6,1.6,2.2,100,20L9,0 M5,7.4L1,0"},
      {0x3bc, 11.5, "M2,10L2,-4 M2,3.4A5.4,3.6,3.4,3.6,190,360 M8.8,10L8.8,2A10.4,1.8,1.6,1.8,180,270"},
      {0x3bd, 10.0, "M0.8,10L2.2,10L4.6,0A3.4,8,5.8,8,-78,14"},
      {0x3c0, 13.2, "M0.8,8.2A3,8.2,2.2,1.8,180,90L12.4,10 M4.4,10L3.2,0 M9,10L8.8,2A10.4,1.8,1.6,1.8,180,280"},
      {0x3c1, 11.1, "B5.6,5,3.8,5,0,360 M1.8,5L1.8,-4"},
      {0x3c3, 12.0, "B5.4,4.6,3.9,4.6,0,360 M5.4,9.2L5.8,10L11.2,10"},
      {0x3c4, 9.4, "M0.8,8.2A2.8,8.2,2,1.8,180,90L8.8,10 M4.6,10L4.4,2A6,1.8,1.6,1.8,180,285"},
      {0x3c6, 13.0, "M6.5,14L6.5,-4 B6.5,5,4.9,4.6,0,360"},
      {0x3c9, 15.0, "M3.6,10A4.6,4.2,3.2,4.2,130,360L7.8,6.6 M7.8,4.2A11,4.2,3.2,4.2,180,410"},
      {0x2212, 11.7, "M1.4,6L10.3,6"},
      {0x221e, 14.0, "B4.2,6,3,3,20,340L7,6A9.8,6,3,3,200,520L7,6L6.9,6.3"},
      {0x2264, 11.7, "M10.2,12L1.8,8L10.2,4 M1.8,0.8L10.2,0.8"},
      {0x2265, 11.7, "M1.5,12L9.9,8L1.5,4 M1.5,0.8L9.9,0.8"},
  };
  if (code == 0xb5) code = 0x3bc;  // the micro sign looks like mu
  for (const Glyph& glyph : glyphs) {
    if (glyph.code == code) return &glyph;
  }
  return nullptr;
}

/// The box that stands for a character without a glyph.
inline const Glyph& missing_glyph() {
  static const Glyph box{0, 11.1, "M2,0L9.1,0L9.1,13L2,13L2,0L3,0"};
  return box;
}

inline const Glyph& glyph_of(std::uint32_t code) {
  const Glyph* found = find_glyph(code);
  return found != nullptr ? *found : missing_glyph();
}

/// Takes the first code point off a text; U+FFFD for each byte that is no UTF-8.
inline std::uint32_t take_code_point(std::string_view& text) {
  const std::size_t length = utf8_sequence_length(text);
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  std::uint32_t code = 0xfffd;
  if (length == 1) code = byte(0);
  if (length == 2) code = ((byte(0) & 31u) << 6) | (byte(1) & 63u);
  if (length == 3) code = ((byte(0) & 15u) << 12) | ((byte(1) & 63u) << 6) | (byte(2) & 63u);
  if (length == 4) code = ((byte(0) & 7u) << 18) | ((byte(1) & 63u) << 12) | ((byte(2) & 63u) << 6) | (byte(3) & 63u);
  text.remove_prefix(length == 0 ? 1 : length);
  return code;
}

/// The strokes of a glyph as point lists in font units, y up.
inline std::vector<std::vector<Point>> glyph_strokes(const Glyph& glyph) {
  std::vector<std::vector<Point>> strokes;
  const char* at = glyph.strokes;
  const char* const end = at + std::string_view(glyph.strokes).size();
  const auto number = [&] {
    double value = 0;
    at = std::from_chars(at, end, value).ptr;
    if (at < end && *at == ',') ++at;
    return value;
  };
  while (at < end) {
    const char command = *at++;
    if (command == ' ') continue;
    if (command == 'M' || command == 'B') strokes.emplace_back();
    if (command == 'M' || command == 'L') {
      const double x = number();
      strokes.back().push_back({x, number()});
      continue;
    }
    const double cx = number(), cy = number(), rx = number(), ry = number(), from = number(), to = number();
    const int steps = 4 + static_cast<int>(std::fabs(to - from) / 12);
    for (int i = 0; i <= steps; ++i) {
      const double angle = (from + (to - from) * i / steps) * 0.017453292519943295;
      strokes.back().push_back({cx + rx * std::cos(angle), cy + ry * std::sin(angle)});
    }
  }
  return strokes;
}

/// A part of a text in one size on one height.
struct TextRun {
  std::string text;
  double x = 0;      ///< from the start of the whole text
  double raise = 0;  ///< above the baseline
  double size = 0;
};

/// Splits a text at its raised and lowered parts; returns the total width.
inline double lay_out_text(std::string_view text, double size, std::vector<TextRun>& runs) {
  runs.clear();
  double x = 0;
  const auto put = [&](std::string_view part, double raise, double run_size) {
    if (part.empty()) return;
    runs.push_back({std::string(part), x, raise, run_size});
    while (!part.empty()) x += glyph_of(take_code_point(part)).advance / font_units * run_size;
  };
  while (!text.empty()) {
    std::size_t mark = 0;
    while (mark < text.size() && !((text[mark] == '^' || text[mark] == '_') && text.substr(mark + 1, 1) == "{")) ++mark;
    const std::size_t close = mark < text.size() ? text.find('}', mark) : std::string_view::npos;
    if (close == std::string_view::npos) {
      put(text, 0, size);
      break;
    }
    put(text.substr(0, mark), 0, size);
    put(text.substr(mark + 2, close - mark - 2), text[mark] == '^' ? 0.38 * size : -0.18 * size, 0.72 * size);
    text.remove_prefix(close + 1);
  }
  return x;
}

inline double text_width(std::string_view text, double size) {
  std::vector<TextRun> runs;
  return lay_out_text(text, size, runs);
}

}  // namespace kolmo::io::detail
