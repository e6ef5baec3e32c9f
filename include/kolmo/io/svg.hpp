#pragma once
// A drawing as SVG 1.1 text, with real texts, and images embedded as PNG.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/drawing.hpp>
#include <kolmo/io/font.hpp>
#include <kolmo/io/number_text.hpp>
#include <kolmo/io/png.hpp>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

namespace kolmo::io {

namespace detail {

inline std::string base64(std::string_view bytes) {
  constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = (group << 8) | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += i + k <= bytes.size() ? digits[(group >> (18 - 6 * k)) & 63] : '=';
    }
  }
  return out;
}

/// Text for XML: markup is escaped; bytes that are no UTF-8 and characters XML forbids become U+FFFD.
inline std::string xml_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = utf8_sequence_length(text);
    const char c = text[0];
    if (length == 0 || (length == 1 && static_cast<unsigned char>(c) < 0x20) || text.starts_with("\xef\xbf\xbe") ||
        text.starts_with("\xef\xbf\xbf")) {
      out += "\xef\xbf\xbd";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

/// Builds the document.
class SvgWriter {
 public:
  explicit SvgWriter(const Drawing& drawing) {
    const std::string width = number(drawing.width), height = number(drawing.height);
    body_ = "<rect width=\"" + width + "\" height=\"" + height + "\" fill=\"#ffffff\"/>\n";
    for (const Drawing::Item& item : drawing.items) {
      if (item.clip) body_ += "<g clip-path=\"url(#" + clip_id(*item.clip) + ")\">";
      std::visit([&](const auto& shape) { write(shape); }, item.shape);
      if (item.clip) body_ += "</g>";
      body_ += '\n';
    }
    text_ =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" "
        "xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"" +
        width + "\" height=\"" + height + "\" viewBox=\"0 0 " + width + " " + height +
        "\" font-family=\"Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif\">\n";
    if (!definitions_.empty()) text_ += "<defs>" + definitions_ + "</defs>\n";
    text_ += body_ + "</svg>\n";
  }
  const std::string& text() const { return text_; }

 private:
  static std::string number(double x) {
    if (!is_finite(x)) return "0";
    const double rounded = std::round(x * 100) / 100;
    return to_text(rounded == 0 ? 0.0 : rounded);
  }
  static std::string colour(Colour c) {
    constexpr const char* digits = "0123456789abcdef";
    std::string out = "#";
    for (const std::uint8_t part : {c.red, c.green, c.blue}) {
      out += digits[part >> 4];
      out += digits[part & 15];
    }
    return out;
  }
  static std::string opacity(const char* what, double value) {
    return value < 1 ? std::string(" ") + what + "-opacity=\"" + number(value) + "\"" : "";
  }
  static std::string path(const std::vector<Point>& points) {
    std::string out;
    for (const Point& p : points) out += (out.empty() ? "M" : "L") + number(p.x) + "," + number(p.y);
    return out;
  }

  std::string clip_id(const Box& box) {
    const auto key = std::make_tuple(box.left, box.top, box.right, box.bottom);
    const auto found = clips_.find(key);
    if (found != clips_.end()) return found->second;
    const std::string id = "clip" + std::to_string(clips_.size());
    clips_[key] = id;
    definitions_ += "<clipPath id=\"" + id + "\"><rect x=\"" + number(box.left) + "\" y=\"" + number(box.top) +
                    "\" width=\"" + number(box.width()) + "\" height=\"" + number(box.height()) + "\"/></clipPath>";
    return id;
  }

  void write(const StrokeShape& shape) {
    body_ += "<path d=\"" + path(shape.points) + "\" fill=\"none\" stroke=\"" + colour(shape.colour) +
             "\" stroke-width=\"" + number(shape.width) + "\" stroke-linejoin=\"round\"" +
             opacity("stroke", shape.opacity);
    if (!shape.butt && shape.dashes.empty()) body_ += " stroke-linecap=\"round\"";
    if (!shape.dashes.empty()) {
      body_ += " stroke-dasharray=\"";
      for (std::size_t i = 0; i < shape.dashes.size(); ++i) body_ += (i > 0 ? "," : "") + number(shape.dashes[i]);
      body_ += '"';
    }
    body_ += "/>";
  }

  void write(const FillShape& shape) {
    body_ += "<path d=\"" + path(shape.points) + "Z\" fill=\"" + colour(shape.colour) + "\"" +
             opacity("fill", shape.opacity) + "/>";
  }

  void write(const DotsShape& shape) {
    body_ += "<g fill=\"" + colour(shape.colour) + "\"" + opacity("fill", shape.opacity) + ">";
    for (const Point& p : shape.centres) {
      body_ += "<circle cx=\"" + number(p.x) + "\" cy=\"" + number(p.y) + "\" r=\"" + number(shape.radius) + "\"/>";
    }
    body_ += "</g>";
  }

  void write(const ImageShape& shape) {
    // Viewers smooth small images; repeated pixels keep the cells sharp in all of them.
    const Image& image = shape.image;
    const auto repeat = [](double extent, std::size_t pixels) {
      return pixels > 0 ? std::max<std::size_t>(1, static_cast<std::size_t>(2 * extent / static_cast<double>(pixels)))
                        : 1;
    };
    const std::size_t across = repeat(shape.box.width(), image.width), down = repeat(shape.box.height(), image.height);
    Image enlarged(image.width * across, image.height * down);
    for (std::size_t y = 0; y < enlarged.height; ++y) {
      for (std::size_t x = 0; x < enlarged.width; ++x) enlarged.set(x, y, image.at(x / across, y / down));
    }
    body_ += "<image x=\"" + number(shape.box.left) + "\" y=\"" + number(shape.box.top) + "\" width=\"" +
             number(shape.box.width()) + "\" height=\"" + number(shape.box.height()) +
             "\" preserveAspectRatio=\"none\" xlink:href=\"data:image/png;base64," + base64(to_png(enlarged)) + "\"/>";
  }

  void write(const TextShape& shape) {
    std::vector<TextRun> runs;
    lay_out_text(shape.text, shape.size, runs);
    body_ += "<text xml:space=\"preserve\" x=\"" + number(shape.at.x) + "\" y=\"" + number(shape.at.y) +
             "\" font-size=\"" + number(shape.size) + "\" fill=\"" + colour(shape.colour) + "\"";
    if (shape.anchor != TextAnchor::start) {
      body_ += std::string(" text-anchor=\"") + (shape.anchor == TextAnchor::middle ? "middle" : "end") + "\"";
    }
    if (shape.bold) body_ += " font-weight=\"bold\"";
    if (shape.upright) body_ += " transform=\"rotate(-90 " + number(shape.at.x) + " " + number(shape.at.y) + ")\"";
    body_ += '>';
    double height = 0;
    for (const TextRun& run : runs) {
      const bool plain = run.size == shape.size && run.raise == height;
      if (!plain) body_ += "<tspan dy=\"" + number(height - run.raise) + "\" font-size=\"" + number(run.size) + "\">";
      body_ += xml_text(run.text);
      if (!plain) body_ += "</tspan>";
      height = run.raise;
    }
    body_ += "</text>";
  }

  std::string text_, body_, definitions_;
  std::map<std::tuple<double, double, double, double>, std::string> clips_;
};

}  // namespace detail

/// The SVG document of a drawing.
inline std::string to_svg(const Drawing& drawing) { return detail::SvgWriter(drawing).text(); }

}  // namespace kolmo::io
