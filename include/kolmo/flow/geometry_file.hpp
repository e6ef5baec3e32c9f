#pragma once
// Geometry files of the reference program of the immersed-boundary projection method (cwrowley/ibpm): bodies with their
// points and motions, one command a line, # begins a comment.
//
//   body NAME                           a body, to `end`
//     point X Y
//     line X1 Y1 X2 Y2 SPACING          line_n X1 Y1 X2 Y2 N          line_aoa LENGTH XC YC DEGREES N
//     circle XC YC RADIUS SPACING       circle_n XC YC RADIUS N
//     raw FILE                          N, then N lines of X Y
//     center X Y                        what rotations turn about; 0 0 unless given (line_aoa sets its own)
//     motion fixed X Y ANGLE            motion fixedvel U V RATE
//     motion pitchplunge A F PHASE  A F PHASE                          radians, then lengths
//     motion sigmoidalstep DEGREES DURATION START
//     motion lagstep1 DEGREES WIDTH CONSTANT START                     lagstep2 likewise
//     motion eldredge DEGREES A T1 T2 T3 T4                            eldredge1: amplitude of y; eldredge2: its speed
//     motion eldredgecombined2 V A T1 T2 T3 T4  DEGREES B T1 T2 T3 T4
//     motion motionfile FILE                                           motionfileperiodic FILE PERIOD
//   end
//
// A motion file has N and then N lines of T X Y ANGLE U V RATE. As in the reference, circle takes round(2 pi r/SPACING
// + 1) points, one more than would be SPACING apart. Files named inside are looked for beside the geometry file.

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <kolmo/flow/body.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/number_text.hpp>

namespace kolmo::flow {

namespace detail {

inline constexpr double geometry_degree = 3.14159265358979323846 / 180;
/// More points than any grid has room for.
inline constexpr index_t most_body_points = 1000000;

/// One line: its words, and where it stands for messages.
class GeometryLine {
 public:
  GeometryLine(std::string_view text, const std::string& source, std::size_t number)
      : source_(source), number_(number) {
    text = text.substr(0, text.find('#'));
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t begin = text.find_first_not_of(" \t\r", at);
      if (begin == std::string_view::npos) break;
      at = text.find_first_of(" \t\r", begin);
      if (at == std::string_view::npos) at = text.size();
      words_.push_back(text.substr(begin, at - begin));
      rest_begin_.push_back(begin);
    }
    text_ = text;
  }

  bool empty() const { return words_.empty(); }
  std::size_t count() const { return words_.size(); }
  std::string_view word(std::size_t i) const { return words_[i]; }
  /// Word i in lower case.
  std::string command(std::size_t i) const {
    std::string name;
    for (const char c : words_[i]) name += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return name;
  }
  /// Everything from word i on.
  std::string rest(std::size_t i) const {
    if (i >= words_.size()) return "";
    const std::string_view tail = text_.substr(rest_begin_[i]);
    return std::string(tail.substr(0, tail.find_last_not_of(" \t\r") + 1));
  }

  /// Numbers from word `first` on, exactly `count` of them.
  std::vector<double> numbers(std::size_t first, std::size_t count, const char* expected) const {
    if (words_.size() != first + count) fail(expected);
    std::vector<double> result;
    for (std::size_t i = first; i < words_.size(); ++i) {
      double value = 0;
      if (!io::detail::parse_whole(words_[i], value) || !is_finite(value)) fail(expected);
      result.push_back(value);
    }
    return result;
  }
  index_t count_of(double value, const char* expected) const {
    if (!(value >= 1) || value > static_cast<double>(most_body_points) || value != std::floor(value)) fail(expected);
    return static_cast<index_t>(value);
  }
  [[noreturn]] void fail(const std::string& expected) const {
    throw IoError(source_ + ": line " + std::to_string(number_) + ": '" + rest(0) + "': expected " + expected);
  }

 private:
  const std::string& source_;
  std::size_t number_;
  std::string_view text_;
  std::vector<std::string_view> words_;
  std::vector<std::size_t> rest_begin_;
};

/// N, then N rows of `columns` numbers, over any number of lines.
inline std::vector<std::vector<double>> read_geometry_table(const std::filesystem::path& path, std::size_t columns) {
  const std::string text = io::read_text_file(path, std::uint64_t{1} << 28);
  std::vector<double> values;
  for (std::size_t at = 0;;) {
    const std::size_t begin = text.find_first_not_of(" \t\r\n", at);
    if (begin == std::string::npos) break;
    at = std::min(text.find_first_of(" \t\r\n", begin), text.size());
    double value = 0;
    if (!io::detail::parse_whole(std::string_view(text).substr(begin, at - begin), value) || !is_finite(value))
      throw IoError(path.string() + ": number " + std::to_string(values.size() + 1) + " is '" +
                    text.substr(begin, std::min<std::size_t>(at - begin, 40)) + "'");
    values.push_back(value);
  }
  const std::size_t rows = values.empty() ? 0 : (values.size() - 1) / columns;
  if (values.size() < 2 || values[0] != static_cast<double>(rows) || rows * columns + 1 != values.size())
    throw IoError(path.string() + ": expected the number of rows and then rows of " + std::to_string(columns) +
                  " numbers, found " + std::to_string(values.size()) + " numbers in all" +
                  (values.empty() ? std::string() : ", the first " + io::to_text(values[0])));
  std::vector<std::vector<double>> result(rows);
  for (std::size_t r = 0; r < rows; ++r)
    result[r].assign(values.begin() + static_cast<std::ptrdiff_t>(1 + r * columns),
                     values.begin() + static_cast<std::ptrdiff_t>(1 + (r + 1) * columns));
  return result;
}

inline EldredgeManoeuvre eldredge(const std::vector<double>& n, std::size_t at) {
  EldredgeManoeuvre m;
  m.sharpness = n[at];
  m.t1 = n[at + 1];
  m.t2 = n[at + 2];
  m.t3 = n[at + 3];
  m.t4 = n[at + 4];
  return m;
}

inline Motion parse_motion(const GeometryLine& line, const std::filesystem::path& folder) {
  if (line.count() < 2) line.fail("motion KIND and its numbers");
  const std::string kind = line.command(1);
  if (kind == "fixed") {
    const auto n = line.numbers(2, 3, "motion fixed X Y ANGLE");
    return FixedPosition{n[0], n[1], n[2]};
  }
  if (kind == "fixedvel") {
    const auto n = line.numbers(2, 3, "motion fixedvel U V RATE");
    return FixedVelocity{n[0], n[1], n[2]};
  }
  if (kind == "pitchplunge") {
    // Before phases were added to the format it had four numbers.
    if (line.count() == 6) {
      const auto n = line.numbers(2, 4, "motion pitchplunge A F A F");
      return PitchPlunge{n[0], n[1], n[2], n[3], 0, 0};
    }
    const auto n = line.numbers(2, 6, "motion pitchplunge A F PHASE A F PHASE, or A F A F");
    return PitchPlunge{n[0], n[1], n[3], n[4], n[2], n[5]};
  }
  if (kind == "sigmoidalstep") {
    const auto n = line.numbers(2, 3, "motion sigmoidalstep DEGREES DURATION START");
    return SigmoidalStep{0, 0, n[0] * geometry_degree, n[1], n[2]};
  }
  if (kind == "lagstep1" || kind == "lagstep2") {
    const auto n = line.numbers(2, 4, "motion lagstep1 DEGREES WIDTH CONSTANT START");
    return LaggedStep{0, 0, n[0] * geometry_degree, n[1], n[2], n[3], kind == "lagstep1" ? 1 : 2};
  }
  if (kind == "eldredge" || kind == "eldredge1" || kind == "eldredge2") {
    const auto n = line.numbers(2, 6, "motion eldredge AMPLITUDE A T1 T2 T3 T4");
    EldredgeManoeuvre m = eldredge(n, 1);
    (kind == "eldredge" ? m.angle : m.y) = kind == "eldredge" ? n[0] * geometry_degree : n[0];
    if (kind == "eldredge2") return EldredgePitchPlunge{EldredgeManoeuvre{}, m};
    return m;
  }
  if (kind == "eldredgecombined2") {
    const auto n = line.numbers(2, 12, "motion eldredgecombined2 V A T1 T2 T3 T4 DEGREES B T1 T2 T3 T4");
    EldredgePitchPlunge m{eldredge(n, 7), eldredge(n, 1)};
    m.speed.y = n[0];
    m.pitch.angle = n[6] * geometry_degree;
    return m;
  }
  if (kind == "motionfile" || kind == "motionfileperiodic") {
    const bool periodic = kind == "motionfileperiodic";
    if (line.count() != (periodic ? 4u : 3u))
      line.fail(periodic ? "motion motionfileperiodic FILE PERIOD" : "motion motionfile FILE");
    std::vector<double> times;
    std::vector<Placement> rows;
    for (const auto& row : read_geometry_table(folder / std::string(line.word(2)), 7)) {
      times.push_back(row[0]);
      rows.push_back({row[1], row[2], row[3], row[4], row[5], row[6]});
    }
    const double period = periodic ? line.numbers(3, 1, "motion motionfileperiodic FILE PERIOD")[0] : 0;
    if (periodic && !(period > 0)) line.fail("a positive period");
    try {
      return MotionTable(std::move(times), std::move(rows), period);
    } catch (const ArgumentError& error) {
      line.fail(std::string("a usable table: ") + error.what());
    }
  }
  line.fail(
      "one of the motions fixed, fixedvel, pitchplunge, sigmoidalstep, lagstep1, lagstep2, eldredge, eldredge1, "
      "eldredge2, eldredgecombined2, motionfile, motionfileperiodic");
}

inline void add_points(Body& body, const Body& part, const GeometryLine& line) {
  if (body.size() + part.size() > most_body_points) line.fail("at most a million points");
  body.x.insert(body.x.end(), part.x.begin(), part.x.end());
  body.y.insert(body.y.end(), part.y.begin(), part.y.end());
}

inline index_t points_of_spacing(const GeometryLine& line, double length, double spacing, const char* expected) {
  if (!(spacing > 0) || !(length >= 0)) line.fail(expected);
  return line.count_of(std::floor(length / spacing + 1.5), expected);
}

/// One command inside a body; false for one that is not known.
inline bool body_command(Body& body, const GeometryLine& line, const std::filesystem::path& folder) {
  const std::string command = line.command(0);
  if (command == "point") {
    const auto n = line.numbers(1, 2, "point X Y");
    Body part;
    part.x = {n[0]};
    part.y = {n[1]};
    add_points(body, part, line);
  } else if (command == "line" || command == "line_n") {
    const bool by_number = command == "line_n";
    const char* expected =
        by_number ? "line_n X1 Y1 X2 Y2 N with N >= 2" : "line X1 Y1 X2 Y2 SPACING with two different ends";
    const auto n = line.numbers(1, 5, expected);
    const index_t count = by_number ? line.count_of(n[4], expected)
                                    : points_of_spacing(line, std::hypot(n[2] - n[0], n[3] - n[1]), n[4], expected);
    if (count < 2 || (n[0] == n[2] && n[1] == n[3])) line.fail(expected);
    add_points(body, flow::line(n[0], n[1], n[2], n[3], count), line);
  } else if (command == "line_aoa") {
    const char* expected = "line_aoa LENGTH XC YC DEGREES N with LENGTH > 0 and N >= 2";
    const auto n = line.numbers(1, 5, expected);
    const index_t count = line.count_of(n[4], expected);
    if (count < 2 || !(n[0] > 0)) line.fail(expected);
    const double c = std::cos(n[3] * geometry_degree), s = std::sin(n[3] * geometry_degree);
    Body part = flow::line(0, 0, n[0], 0, count);
    for (std::size_t k = 0; k < part.x.size(); ++k) {
      const double dx = part.x[k] - n[1], dy = -n[2];
      part.x[k] = n[1] + c * dx - s * dy;
      part.y[k] = n[2] + s * dx + c * dy;
    }
    add_points(body, part, line);
    body.centre_x = n[1];
    body.centre_y = n[2];
  } else if (command == "circle" || command == "circle_n") {
    const bool by_number = command == "circle_n";
    const char* expected =
        by_number ? "circle_n XC YC RADIUS N with RADIUS > 0 and N >= 3" : "circle XC YC RADIUS SPACING, both positive";
    const auto n = line.numbers(1, 4, expected);
    if (!(n[2] > 0)) line.fail(expected);
    const index_t count = by_number ? line.count_of(n[3], expected)
                                    : points_of_spacing(line, 6.283185307179586477 * n[2], n[3], expected);
    if (count < 3) line.fail(expected);
    add_points(body, flow::circle(n[0], n[1], n[2], count), line);
  } else if (command == "raw") {
    if (line.count() != 2) line.fail("raw FILE");
    Body part;
    for (const auto& row : read_geometry_table(folder / std::string(line.word(1)), 2)) {
      part.x.push_back(row[0]);
      part.y.push_back(row[1]);
    }
    add_points(body, part, line);
  } else if (command == "center" || command == "centre") {
    const auto n = line.numbers(1, 2, "center X Y");
    body.centre_x = n[0];
    body.centre_y = n[1];
  } else if (command == "motion") {
    body.motion = parse_motion(line, folder);
  } else if (command == "name") {
    body.name = line.rest(1);
  } else {
    return false;
  }
  return true;
}

}  // namespace detail

/// The bodies in a text; files it names are looked for in `folder`. Throws IoError with the line and what was expected.
inline std::vector<Body> parse_geometry(const std::string& text, const std::string& source = "geometry",
                                        const std::filesystem::path& folder = ".") {
  std::vector<Body> bodies;
  bool inside = false;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const detail::GeometryLine line(std::string_view(text).substr(begin, end - begin), source, ++number);
    begin = end + 1;
    if (line.empty()) continue;
    const std::string command = line.command(0);
    if (!inside) {
      if (command == "body") {
        inside = true;
        bodies.emplace_back();
        bodies.back().name = line.rest(1);
      } else if (command != "name" && command != "end") {
        line.fail("body NAME");
      }
    } else if (command == "end") {
      inside = false;
      if (bodies.back().x.empty()) line.fail("points in the body before its end");
    } else if (!detail::body_command(bodies.back(), line, folder)) {
      line.fail("point, line, line_n, line_aoa, circle, circle_n, raw, center, motion, name or end");
    }
  }
  if (inside) throw IoError(source + ": the body '" + bodies.back().name + "' has no end");
  if (bodies.empty()) throw IoError(source + ": no body in it; expected body NAME, points, and end");
  return bodies;
}

/// The bodies of a file.
inline std::vector<Body> read_geometry(const std::filesystem::path& path) {
  return parse_geometry(io::read_text_file(path, std::uint64_t{1} << 26), path.string(), path.parent_path());
}

}  // namespace kolmo::flow
