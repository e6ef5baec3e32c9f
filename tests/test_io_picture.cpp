// Pictures: the compressed stream, the PNG file and the drawn pixels are what was asked for; SVG is well-formed.

#include <cmath>
#include <cstdint>
#include <kolmo/io/picture.hpp>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "io_support.hpp"
#include "png_support.hpp"

using namespace kolmo;
using namespace kolmo::io;
using namespace kolmo::io::test;
using Catch::Matchers::Contains;

namespace {

bool is_dark(Colour c) { return c.red < 90 && c.green < 90 && c.blue < 90; }

/// Whether every tag of an XML text is closed in order.
bool is_balanced(const std::string& xml) {
  std::vector<std::string> open;
  for (std::size_t at = xml.find('<'); at != std::string::npos; at = xml.find('<', at + 1)) {
    const std::size_t end = xml.find('>', at);
    if (end == std::string::npos) return false;
    const std::string tag = xml.substr(at + 1, end - at - 1);
    if (tag[0] == '?' || tag.back() == '/') continue;
    const std::string name = tag.substr(tag[0] == '/' ? 1 : 0, tag.find(' ') - (tag[0] == '/' ? 1 : 0));
    if (tag[0] != '/') {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return false;
    } else {
      open.pop_back();
    }
  }
  return open.empty();
}

const std::vector<double> xs = {0, 1, 2, 3};

}  // namespace

TEST_CASE("compressed bytes are read back by the rules of RFC 1951") {
  std::vector<std::string> texts = {"", "a", "ab", "abc", std::string(100000, 'x'), "abcabcabcabcabcabc"};
  std::string mixed;
  std::uint32_t random = 1;
  for (int i = 0; i < 120000; ++i) {
    random = random * 1664525u + 1013904223u;
    mixed += static_cast<char>(i % 4000 < 2000 ? random >> 24 : (random >> 28) + 'a');
    // Repetitions at every distance up to beyond the window.
    if (random % 97 == 0 && mixed.size() > 40000)
      mixed += mixed.substr(mixed.size() - 1 - random % 40000, 3 + random % 300);
  }
  texts.push_back(mixed);
  for (const std::string& text : texts) CHECK(inflate(compress_zlib(io::detail::as_bytes(text))) == text);
  CHECK(compress_zlib(io::detail::as_bytes(std::string(100000, 'x'))).size() < 1000);
}

TEST_CASE("a PNG file holds the pixels of the image") {
  Image image(37, 23);
  for (std::size_t y = 0; y < 23; ++y) {
    for (std::size_t x = 0; x < 37; ++x) {
      image.set(
          x, y,
          {static_cast<std::uint8_t>(7 * x), static_cast<std::uint8_t>(11 * y), static_cast<std::uint8_t>(x * y)});
    }
  }
  CHECK(read_png(to_png(image)).rgb == image.rgb);
  CHECK(read_png(to_png(image, 192)).rgb == image.rgb);
  CHECK_THROWS_AS(to_png(Image()), ArgumentError);
  TemporaryDirectory dir;
  save_image(dir / "i.png", image);
  CHECK(read_text_file(dir / "i.png") == to_png(image));
  CHECK_THROWS_AS(save_image(dir / "i.svg", image), ArgumentError);
}

TEST_CASE("polygons cover pixels by their exact area") {
  Drawing drawing;
  drawing.width = 10;
  drawing.height = 10;
  drawing.add(FillShape{{{2, 2}, {5.5, 2}, {5.5, 4.25}, {2, 4.25}}, {0, 0, 0}, 1});
  drawing.add(FillShape{{{6, 6}, {10, 10}, {6, 10}}, {0, 0, 0}, 1});
  const Image image = render(drawing, 1);
  CHECK(image.at(1, 2).red == 255);
  CHECK(image.at(2, 2).red == 0);
  CHECK(std::abs(image.at(5, 3).red - 128) <= 1);
  CHECK(std::abs(image.at(3, 4).red - 191) <= 1);
  CHECK(std::abs(image.at(5, 4).red - 223) <= 1);
  CHECK(image.at(6, 9).red == 0);
  CHECK(std::abs(image.at(7, 7).red - 128) <= 1);
  CHECK(image.at(8, 7).red == 255);
}

TEST_CASE("strokes are as wide as asked, and a clip box cuts them") {
  Drawing drawing;
  drawing.width = 20;
  drawing.height = 10;
  drawing.add(StrokeShape{{{0, 5}, {20, 5}}, {0, 0, 0}, 4, 1, {}, true}, Box{0, 0, 10, 10});
  const Image image = render(drawing, 1);
  int dark = 0;
  for (std::size_t y = 0; y < 10; ++y) dark += 255 - image.at(5, y).red;
  CHECK(std::abs(dark - 4 * 255) <= 4);
  CHECK(image.at(9, 5).red == 0);
  CHECK(image.at(10, 5).red == 255);
}

TEST_CASE("a line is drawn where its data are, and the format follows the file's name") {
  TemporaryDirectory dir;
  Figure figure;
  figure.panel().x.range(0, 1);
  figure.panel().y.range(0, 1);
  figure.panel().grid = false;
  figure.panel().line(std::vector<double>{0, 1}, std::vector<double>{0.5, 0.5},
                      {.colour = Colour{255, 0, 0}, .width = 6});
  save_picture(dir / "f.png", figure, 1);
  const Image image = read_png(read_text_file(dir / "f.png"));
  CHECK(image.width == 620);
  CHECK(image.height == 400);
  // In the middle column exactly one run of red pixels, in the middle of the axes.
  std::vector<std::size_t> red;
  for (std::size_t y = 0; y < image.height; ++y) {
    if (image.at(300, y) == Colour{255, 0, 0}) red.push_back(y);
  }
  REQUIRE(red.size() >= 5);
  CHECK(red.back() - red.front() + 1 == red.size());
  CHECK(red.front() > 150);
  CHECK(red.back() < 230);
  save_picture(dir / "f.SVG", figure);
  CHECK_THAT(read_text_file(dir / "f.SVG"), Contains("<svg") && Contains("stroke=\"#ff0000\" stroke-width=\"6\""));
  CHECK_THAT(error_of([&] { save_picture(dir / "f.pdf", figure); }), Contains("f.pdf") && Contains(".svg or .png"));
  CHECK_THROWS_AS(picture_format("noextension"), ArgumentError);
}

TEST_CASE("a heat map has its first row at the bottom and its colours from the map") {
  Figure figure;
  Panel& panel = figure.panel();
  panel.heat_map(std::vector<double>{0, 1, 2, 3}, 2, 2, {.colour_bar = false});
  panel.x.ticks = panel.y.ticks = false;
  const Image image = render(lay_out(figure), 1);
  CHECK(image.at(100, 350) == map_colour(ColourMap::viridis, 0));
  CHECK(image.at(500, 50) == map_colour(ColourMap::viridis, 1));
  CHECK_THROWS_AS(panel.heat_map(xs, 3, 2), ShapeError);
  CHECK(map_colour(ColourMap::diverging, 0.5) == Colour{247, 247, 247});
  CHECK(map_colour(ColourMap::grey, -1) == Colour{0, 0, 0});
  CHECK(map_colour(ColourMap::grey, std::nan("")) == Colour{215, 215, 215});
}

TEST_CASE("texts are drawn, and every printable character has a glyph") {
  for (std::uint32_t code = 33; code < 127; ++code) {
    INFO(code);
    REQUIRE(io::detail::find_glyph(code) != nullptr);
    CHECK_FALSE(io::detail::glyph_strokes(*io::detail::find_glyph(code)).empty());
  }
  CHECK(io::detail::find_glyph(0x4e2d) == nullptr);
  Drawing drawing;
  drawing.width = 100;
  drawing.height = 30;
  drawing.add(TextShape{"I", {50, 25}, 20, TextAnchor::middle, false, false, {0, 0, 0}});
  const Image image = render(drawing, 1);
  int dark = 0;
  for (std::size_t y = 0; y < 30; ++y) {
    for (std::size_t x = 0; x < 100; ++x) {
      if (is_dark(image.at(x, y))) {
        ++dark;
        CHECK(x >= 48);
        CHECK(x <= 51);
        CHECK(y >= 10);
      }
    }
  }
  CHECK(dark >= 12);
  CHECK(io::detail::text_width("ab", 20) == Approx(22.2));
  CHECK(io::detail::text_width("a^{2}", 20) < io::detail::text_width("a2", 20));
}

TEST_CASE("SVG is well-formed whatever the texts hold") {
  Figure figure(1, 2);
  figure.title = "<&>\"'\x01\xff ^{unclosed";
  figure.panel(0, 0).line(xs, xs, {.label = "x_{1}^{2}", .dash = Dash::dashed});
  figure.panel(0, 0).band(xs, xs, xs, {.label = "band"}).area(xs, xs).note(1, 1, "note");
  figure.panel(0, 1).heat_map(xs, 2, 2, {.map = ColourMap::diverging, .bar_label = "ω"});
  const std::string svg = to_svg(lay_out(figure));
  CHECK(is_balanced(svg));
  CHECK_THAT(svg, Contains("&lt;&amp;&gt;&quot;'\xef\xbf\xbd\xef\xbf\xbd ^{unclosed"));
  CHECK_THAT(svg, Contains("data:image/png;base64,iVBORw0KGgo"));
  CHECK(svg.find("nan") == std::string::npos);
  CHECK(svg.find("inf") == std::string::npos);
}

TEST_CASE("empty panels, gaps, constant and extreme data are drawn") {
  const double inf = std::numeric_limits<double>::infinity();
  const double huge = std::numeric_limits<double>::max();
  const std::vector<std::vector<double>> data = {
      {0, 0, 0, 0},      {1e300, 1e300, 1e300, 1e300}, {-huge, huge, 0, 1}, {std::nan(""), 1, inf, 2},
      {1e-320, 0, 0, 0}, {1, 1 + 1e-15, 1, 1},         {-5, -5, -5, -5},    {std::nan(""), inf, -inf, inf}};
  for (const bool log : {false, true}) {
    for (const auto& values : data) {
      Figure figure;
      Panel& panel = figure.panel();
      panel.y.log = log;
      panel.line(xs, values, {.label = "line"}).area(xs, values).scatter(xs, values).horizontal_line(values[0]);
      const Drawing drawing = lay_out(figure);
      CHECK(to_svg(drawing).size() > 500);
      CHECK(render(drawing, 1).width == 620);
    }
  }
  Figure empty(2, 3);
  CHECK_NOTHROW(render(lay_out(empty), 1));
}

TEST_CASE("ranges that cannot be drawn and sizes without room are refused") {
  Figure figure;
  figure.panel().x.range(1, 1);
  CHECK_THAT(error_of([&] { lay_out(figure); }), Contains("range of the x axis is 1 to 1"));
  figure.panel().x.range(-1, 1);
  figure.panel().x.log = true;
  CHECK_THAT(error_of([&] { lay_out(figure); }), Contains("positive on a logarithmic axis"));
  figure.panel().x.range(std::nan(""), 1);
  CHECK_THROWS_AS(lay_out(figure), ArgumentError);
  figure.panel().x.range(1, 2);
  figure.width = 30;
  CHECK_THAT(error_of([&] { lay_out(figure); }), Contains("no room"));
  figure.width = 1e9;
  CHECK_THROWS_AS(render(lay_out(figure)), ArgumentError);
  CHECK_THROWS_AS(Figure(0, 1), ArgumentError);
  CHECK_THROWS_AS(figure.panel(0, 1), ArgumentError);
  CHECK_THROWS_AS(figure.panel().line(xs, std::vector<double>{1}), ShapeError);
}

TEST_CASE("ticks stand at round numbers with just the digits they need") {
  const auto labels = [](const io::detail::Ticks& ticks) {
    std::string out;
    for (const auto& tick : ticks.marks) out += tick.label.empty() ? "" : tick.label + " ";
    return out + ticks.factor;
  };
  CHECK(labels(io::detail::linear_ticks(0, 1, 5)) == "0.0 0.2 0.4 0.6 0.8 1.0 ");
  CHECK(labels(io::detail::linear_ticks(-1.1, 1.1, 5)) == "−1.0 −0.5 0.0 0.5 1.0 ");
  CHECK(labels(io::detail::linear_ticks(0, 95, 5)) == "0 20 40 60 80 ");
  CHECK(labels(io::detail::linear_ticks(0, 3e6, 3)) == "0 1 2 3 × 10^{6}");
  CHECK(labels(io::detail::linear_ticks(1e-7, 3e-7, 3)) == "1 2 3 × 10^{−7}");
  CHECK(labels(io::detail::log_ticks(0.5, 2000, 6)) == "1 10 100 1000 ");
  CHECK(labels(io::detail::log_ticks(1e-6, 1, 8)) == "10^{−6} 10^{−5} 10^{−4} 10^{−3} 10^{−2} 10^{−1} 10^{0} ");
  CHECK(labels(io::detail::log_ticks(1e-12, 1, 4)) == "10^{−12} 10^{−9} 10^{−6} 10^{−3} 10^{0} ");
  CHECK(labels(io::detail::log_ticks(10, 60, 4)) == "10 20 50 ");
}

TEST_CASE("a long line is thinned without losing its extremes") {
  std::vector<Point> points;
  for (int i = 0; i < 100000; ++i) points.push_back({i * 0.004, std::sin(i * 0.7) + (i == 54321 ? 50.0 : 0.0)});
  const auto thin = io::detail::thinned(points);
  CHECK(thin.size() < 4000);
  double highest = 0;
  for (const Point& p : thin) highest = std::max(highest, p.y);
  CHECK(highest > 49);
}

TEST_CASE("the same figure gives the same bytes") {
  const auto draw = [] {
    Figure figure;
    figure.panel().line(xs, xs, {.label = "a"}).scatter(xs, xs);
    return to_png(render(lay_out(figure))) + to_svg(lay_out(figure));
  };
  CHECK(draw() == draw());
}
