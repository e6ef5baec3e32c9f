// Fields as images and animated PNG files: every frame holds its pixels, numbered as the specification asks.

#include <cmath>
#include <kolmo/io/apng.hpp>
#include <kolmo/io/field_image.hpp>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "io_support.hpp"
#include "png_support.hpp"

using namespace kolmo;
using namespace kolmo::io;
using namespace kolmo::io::test;
using Catch::Matchers::Contains;

namespace {

constexpr Colour white{247, 247, 247};

/// A wave on [n, n] as a flow shows it.
std::vector<float> wave(index_t n, double phase) {
  std::vector<float> values;
  for (index_t i = 0; i < n; ++i) {
    for (index_t j = 0; j < n; ++j) {
      const double x = 6.2831853 * static_cast<double>(i) / static_cast<double>(n);
      const double y = 6.2831853 * static_cast<double>(j) / static_cast<double>(n);
      values.push_back(static_cast<float>(std::sin(3 * x + phase) * std::cos(2 * y - phase) +
                                          0.3 * std::sin(9 * x - 7 * y + 3 * phase + std::sin(4 * x))));
    }
  }
  return values;
}

/// The frames of an animation, with the order of its chunks and their sequence numbers checked.
std::vector<Image> read_frames(const std::string& png, unsigned plays, unsigned milliseconds) {
  const auto chunks = png_chunks(png);
  const std::size_t width = big_endian(chunks.at(0).data, 0), height = big_endian(chunks.at(0).data, 4);
  std::string palette;
  std::vector<std::string> data;
  std::uint32_t sequence = 0;
  REQUIRE(chunks.at(0).type == "IHDR");
  REQUIRE(chunks.at(1).type == "acTL");
  CHECK(big_endian(chunks[1].data, 4) == plays);
  REQUIRE(chunks.back().type == "IEND");
  for (const PngChunk& chunk : chunks) {
    if (chunk.type == "PLTE") palette = chunk.data;
    if (chunk.type == "fcTL") {
      REQUIRE(chunk.data.size() == 26);
      CHECK(big_endian(chunk.data, 0) == sequence++);
      CHECK(big_endian(chunk.data, 4) == width);
      CHECK(big_endian(chunk.data, 8) == height);
      CHECK(big_endian(chunk.data, 12) == 0);
      CHECK(big_endian(chunk.data, 16) == 0);
      CHECK(big_endian(chunk.data, 20) == milliseconds * 65536u + 1000u);
      data.emplace_back();
    }
    if (chunk.type == "IDAT") {
      CHECK(data.size() == 1);
      data.back() += chunk.data;
    }
    if (chunk.type == "fdAT") {
      CHECK(data.size() > 1);
      CHECK(big_endian(chunk.data, 0) == sequence++);
      data.back() += chunk.data.substr(4);
    }
  }
  CHECK(big_endian(chunks[1].data, 0) == data.size());
  std::vector<Image> frames;
  for (const std::string& frame : data) frames.push_back(read_rows(frame, width, height, palette));
  return frames;
}

}  // namespace

TEST_CASE("a field is drawn with x to the right and y up") {
  // [2, 3]: the value at (x, y) = (1, 0) is the bottom right.
  const std::vector<double> values{0, 0, 1, -1, 0, 0};
  const Image image = field_image<double>(values, 2, 3, {.zoom = 2});
  CHECK(image.width == 4);
  CHECK(image.height == 6);
  const Colour highest = map_colour(ColourMap::diverging, 1), lowest = map_colour(ColourMap::diverging, 0);
  CHECK(image.at(0, 0) == highest);
  CHECK(image.at(1, 1) == highest);
  CHECK(image.at(2, 0) == white);
  CHECK(image.at(3, 5) == lowest);
  CHECK(image.at(0, 5) == white);
}

TEST_CASE("limits, constant fields and values that are no numbers") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const std::vector<double> values{-5, 0, nan, inf};
  const Image image = field_image<double>(values, 4, 1, {.low = -1.0, .high = 1.0});
  CHECK(image.at(0, 0) == map_colour(ColourMap::diverging, 0));
  CHECK(image.at(1, 0) == white);
  CHECK(image.at(2, 0) == map_colour(ColourMap::diverging, nan));
  CHECK(image.at(3, 0) == map_colour(ColourMap::diverging, 1));
  const std::vector<double> zeros(4, 0.0), extremes{1e308, -1e308, nan, 0}, unknown(4, nan);
  CHECK(field_image<double>(zeros, 2, 2).at(0, 0) == white);
  CHECK(field_image<double>(extremes, 4, 1).at(3, 0) == white);
  CHECK(field_image<double>(unknown, 2, 2).at(0, 0) == map_colour(ColourMap::diverging, nan));
  CHECK_THROWS_AS(field_image<double>(values, 3, 1), ShapeError);
  CHECK_THROWS_AS(field_image<double>(values, 4, 1, {.low = 1.0, .high = 1.0}), ArgumentError);
  CHECK_THROWS_AS(field_image<double>(values, 4, 1, {.low = nan}), ArgumentError);
  CHECK_THROWS_AS(field_image<double>(values, 4, 1, {.zoom = 0}), ArgumentError);
}

TEST_CASE("a strip holds its images one beside the other") {
  const std::vector<Image> images{Image(2, 3, {1, 0, 0}), Image(4, 1, {2, 0, 0}), Image(1, 1, {3, 0, 0})};
  const Image strip = montage(images, 2, 1);
  CHECK(strip.width == 1 + 2 + 1 + 4 + 1);
  CHECK(strip.height == 1 + 3 + 1 + 1 + 1);
  CHECK(strip.at(1, 1) == Colour{1, 0, 0});
  CHECK(strip.at(7, 1) == Colour{2, 0, 0});
  CHECK(strip.at(7, 2) == Colour{255, 255, 255});
  CHECK(strip.at(1, 5) == Colour{3, 0, 0});
  CHECK_THROWS_AS(montage({}, 2), ArgumentError);
  CHECK_THROWS_AS(montage(images, 0), ArgumentError);
}

TEST_CASE("an animation holds every frame, with a palette where the colours allow it") {
  std::vector<Image> fields, photographs;
  for (int f = 0; f < 3; ++f) {
    fields.push_back(field_image<float>(wave(20, 0.1 * f), 20, 20, {.low = -1.3, .high = 1.3}));
    Image many(20, 30);
    for (std::size_t i = 0; i < many.rgb.size(); ++i) many.rgb[i] = static_cast<std::uint8_t>(i * i / 7 + i * 31);
    photographs.push_back(many);
  }
  for (const auto& frames : {fields, photographs}) {
    const std::string png = to_apng(frames, {.seconds_per_frame = 0.25, .plays = 3});
    const std::vector<Image> back = read_frames(png, 3, 250);
    REQUIRE(back.size() == 3);
    for (std::size_t f = 0; f < 3; ++f) CHECK(back[f].rgb == frames[f].rgb);
    CHECK(read_png(png).rgb == frames[0].rgb);
  }
  CHECK(to_apng(fields)[25] == 3);
  CHECK(to_apng(photographs)[25] == 2);
  const std::vector<Image> one_colour(2, Image(3, 3));
  CHECK(read_frames(to_apng(one_colour), 0, 100)[1].rgb == one_colour[1].rgb);
}

TEST_CASE("an animation of a flow is a file of moderate size") {
  std::vector<Image> frames;
  for (int f = 0; f < 8; ++f) frames.push_back(field_image<float>(wave(256, 0.1 * f), 256, 256));
  const double bytes_per_frame = static_cast<double>(to_apng(frames).size()) / 8;
  INFO(bytes_per_frame);
  CHECK(bytes_per_frame < 32000);
}

TEST_CASE("animations that cannot be written are refused") {
  const std::vector<Image> uneven{Image(2, 3), Image(3, 2)};
  CHECK_THAT(error_of([&] { to_apng({}); }), Contains("at least one frame"));
  CHECK_THAT(error_of([&] { to_apng(uneven); }), Contains("frame 1") && Contains("3 x 2"));
  CHECK_THAT(error_of([&] { to_apng(std::span(uneven).first(1), {.seconds_per_frame = 66}); }), Contains("0 to 65"));
  TemporaryDirectory dir;
  CHECK_THROWS_AS(save_animation(dir / "a.gif", std::span(uneven).first(1)), ArgumentError);
  save_animation(dir / "a.png", std::span(uneven).first(1));
  CHECK(dir.files() == std::vector<std::string>{"a.png"});
}
