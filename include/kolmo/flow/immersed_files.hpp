#pragma once
// States of the immersed-boundary solver in the files of the reference program (cwrowley/ibpm): its binary restart
// files, and its snapshots as Tecplot text, which most flow viewers read.
//
// A restart file is little-endian without padding: int32 nx, ny, levels; float64 spacing, corner x, corner y; int32
// points; for each level all fluxes (qx[i, j] with j fastest, then qy); for each level the vorticity at interior nodes,
// j fastest; the points' pairs of forces; int32 step; float64 time. It holds neither the shift of the levels nor the
// explicit term of the step before, so a run goes on from it with an Euler step.

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/flow/immersed_state.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/number_text.hpp>

namespace kolmo::flow {

namespace detail {

/// Numbers one after the other from a file whose length is known to suffice.
class RestartReader {
 public:
  RestartReader(std::span<const std::byte> bytes, std::string source) : bytes_(bytes), source_(std::move(source)) {}

  template <class N>
  N next() {
    if (bytes_.size() - at_ < sizeof(N)) fail("it ends after " + std::to_string(bytes_.size()) + " bytes");
    N value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(N));
    at_ += sizeof(N);
    return value;
  }
  template <class T>
  std::vector<T> numbers(index_t count) {
    std::vector<T> result(static_cast<std::size_t>(count));
    for (T& value : result) value = static_cast<T>(next<double>());
    return result;
  }
  std::size_t left() const { return bytes_.size() - at_; }
  [[noreturn]] void fail(const std::string& why) const { throw IoError("restart file " + source_ + ": " + why); }

 private:
  std::span<const std::byte> bytes_;
  std::string source_;
  std::size_t at_ = 0;
};

inline void check_little_endian() {
  static_assert(std::endian::native == std::endian::little, "restart files are read on little-endian machines only");
}

}  // namespace detail

/// The state in the bytes of a restart file. The grid must be the one the file was written for and have `points`
/// boundary points in all. Throws IoError which says in what they differ, or that the file is cut off, too long or not
/// finite.
template <class T, class B = Cpu>
ImmersedState<Tensor<T, B>> parse_restart(std::span<const std::byte> bytes, const ImmersedGrid& grid, index_t points,
                                          const std::string& source = "restart file") {
  detail::check_little_endian();
  using V = Tensor<T, B>;
  detail::RestartReader in(bytes, source);
  const auto nx = in.next<std::int32_t>(), ny = in.next<std::int32_t>(), levels = in.next<std::int32_t>();
  const auto spacing = in.next<double>(), x = in.next<double>(), y = in.next<double>();
  const auto stored = in.next<std::int32_t>();
  const auto near = [&](double a, double b) { return std::abs(a - b) <= 1e-9 * (std::abs(b) + grid.spacing()); };
  if (nx != grid.nx || ny != grid.ny || levels != grid.levels || !near(spacing, grid.spacing()) ||
      !near(x, grid.corner_x) || !near(y, grid.corner_y))
    in.fail("it is for " + std::to_string(nx) + " x " + std::to_string(ny) + " cells of " + io::to_text(spacing) +
            " on " + std::to_string(levels) + " levels from (" + io::to_text(x) + ", " + io::to_text(y) +
            "), this run has " + std::to_string(grid.nx) + " x " + std::to_string(grid.ny) + " of " +
            io::to_text(grid.spacing()) + " on " + std::to_string(grid.levels) + " from (" +
            io::to_text(grid.corner_x) + ", " + io::to_text(grid.corner_y) + ")");
  if (stored != points)
    in.fail("it has " + std::to_string(stored) + " boundary points, the bodies of this run have " +
            std::to_string(points));
  const auto wanted = static_cast<std::size_t>(grid.levels * (grid.fluxes() + grid.nodes()) + 2 * points + 1) * 8 + 4;
  if (in.left() != wanted)
    in.fail("it has " + std::to_string(in.left()) + " bytes after its header where " + std::to_string(wanted) +
            " belong");

  ImmersedState<V> state;
  const std::vector<T> flux = in.numbers<T>(grid.levels * grid.fluxes());
  const std::vector<T> vorticity = in.numbers<T>(grid.levels * grid.nodes());
  const std::vector<T> pairs = in.numbers<T>(2 * points);
  std::vector<T> forces(pairs.size());
  for (std::size_t k = 0; k < static_cast<std::size_t>(points); ++k) {
    forces[k] = pairs[2 * k];
    forces[static_cast<std::size_t>(points) + k] = pairs[2 * k + 1];
  }
  for (const std::vector<T>* values : std::initializer_list<const std::vector<T>*>{&flux, &vorticity, &forces})
    for (const T value : *values)
      if (!is_finite(value)) in.fail("it holds numbers that are not finite");
  state.flux = V::from(std::span<const T>(flux), grid.flux_shape());
  state.vorticity = V::from(std::span<const T>(vorticity), grid.node_shape());
  state.forces = V::from(std::span<const T>(forces), Shape{2, points});
  state.step = in.next<std::int32_t>();
  state.time = in.next<double>();
  if (state.step < 0 || !is_finite(state.time)) in.fail("step and time at its end are no such numbers");
  return state;
}

template <class T, class B = Cpu>
ImmersedState<Tensor<T, B>> read_restart(const std::filesystem::path& path, const ImmersedGrid& grid, index_t points) {
  const std::vector<std::byte> bytes = io::read_file(path);
  return parse_restart<T, B>(bytes, grid, points, path.string());
}

/// The bytes of a restart file. Throws ArgumentError where a count does not fit into 32 bits.
template <class V>
std::string to_restart(const ImmersedGrid& grid, const ImmersedState<V>& state) {
  detail::check_little_endian();
  using T = typename V::Scalar;
  const index_t points = state.forces.size() / 2;
  if (state.step > INT32_MAX || points > INT32_MAX)
    throw ArgumentError("restart file: step " + std::to_string(state.step) + " and " + std::to_string(points) +
                        " points must fit into 32 bits");
  std::string out;
  const auto put = [&out](auto value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    out.append(bytes, sizeof value);
  };
  put(static_cast<std::int32_t>(grid.nx));
  put(static_cast<std::int32_t>(grid.ny));
  put(static_cast<std::int32_t>(grid.levels));
  put(grid.spacing());
  put(grid.corner_x);
  put(grid.corner_y);
  put(static_cast<std::int32_t>(points));
  for (const T value : state.flux.to_vector()) put(static_cast<double>(value));
  for (const T value : state.vorticity.to_vector()) put(static_cast<double>(value));
  const std::vector<T> forces = state.forces.to_vector();
  for (std::size_t k = 0; k < static_cast<std::size_t>(points); ++k) {
    put(static_cast<double>(forces[k]));
    put(static_cast<double>(forces[static_cast<std::size_t>(points) + k]));
  }
  put(static_cast<std::int32_t>(state.step));
  put(state.time);
  return out;
}

template <class V>
void write_restart(const std::filesystem::path& path, const ImmersedGrid& grid, const ImmersedState<V>& state) {
  io::write_atomically(path, to_restart(grid, state));
}

/// Velocity and vorticity at the interior nodes of one level; each [(ny-1) (nx-1)], x fastest.
struct ImmersedSnapshot {
  index_t columns = 0, rows = 0;  ///< nx - 1, ny - 1
  std::vector<double> x, y, u, v, vorticity;
};

/// The fields of a level at its nodes: means of the two fluxes beside them, over the spacing. Throws ArgumentError for
/// a level that is not there.
template <class V>
ImmersedSnapshot snapshot(const ImmersedGrid& grid, const ImmersedState<V>& state, index_t level = 0) {
  if (level < 0 || level >= grid.levels)
    throw ArgumentError("snapshot: level " + std::to_string(level) + " of a grid with " + std::to_string(grid.levels));
  const auto q = state.flux.to_vector();
  const auto omega = state.vorticity.to_vector();
  const index_t nx = grid.nx, ny = grid.ny, begin = level * grid.fluxes(), across = begin + grid.fluxes_x();
  const double half = 0.5 / grid.spacing(level);
  const auto at = [&](index_t i) { return static_cast<double>(q[static_cast<std::size_t>(i)]); };
  ImmersedSnapshot result{nx - 1, ny - 1, {}, {}, {}, {}, {}};
  for (index_t j = 1; j < ny; ++j)
    for (index_t i = 1; i < nx; ++i) {
      result.x.push_back(grid.x(level, static_cast<double>(i)));
      result.y.push_back(grid.y(level, static_cast<double>(j)));
      result.u.push_back(half * (at(begin + i * ny + j) + at(begin + i * ny + j - 1)));
      result.v.push_back(half * (at(across + (i - 1) * (ny + 1) + j) + at(across + i * (ny + 1) + j)));
      result.vorticity.push_back(
          static_cast<double>(omega[static_cast<std::size_t>(level * grid.nodes() + (i - 1) * (ny - 1) + j - 1)]));
    }
  return result;
}

/// A snapshot as Tecplot text: six header lines, then "x y u v vorticity" with five digits for every node, x fastest.
inline std::string to_tecplot(const ImmersedSnapshot& s, const std::string& title = "kolmo") {
  std::string out = "TITLE = \"" + title +
                    "\"\nVARIABLES = \"x\" \"y\" \"u\" \"v\" \"Vorticity\" \nZONE T=\"Rectangular zone\"\nI=" +
                    std::to_string(s.columns) + ", J=" + std::to_string(s.rows) +
                    ", K=1, ZONETYPE=Ordered\nDATAPACKING=POINT\nDT=(SINGLE SINGLE SINGLE SINGLE SINGLE )\n";
  char number[32];
  for (std::size_t k = 0; k < s.x.size(); ++k) {
    for (const double value : {s.x[k], s.y[k], s.u[k], s.v[k], s.vorticity[k]}) {
      // What printf's %.5e gives without a locale.
      out.append(number, std::to_chars(number, number + sizeof number, value, std::chars_format::scientific, 5).ptr);
      out += ' ';
    }
    out += '\n';
  }
  return out;
}

/// The snapshot in a Tecplot text of this form. Throws IoError with what is wrong and, in the table, the line.
inline ImmersedSnapshot parse_tecplot(std::string_view text, const std::string& source = "Tecplot file") {
  const auto fail = [&](const std::string& why) { throw IoError(source + ": " + why); };
  std::size_t begin = 0;
  const auto next_line = [&]() {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(std::min(begin, text.size()), end - std::min(begin, end));
    begin = end + 1;
    return line;
  };
  ImmersedSnapshot s;
  for (int h = 0; h < 6; ++h) {
    if (begin >= text.size()) fail("it ends in its header of six lines");
    const std::string_view line = next_line();
    // Another layout, or other variables, must not be read as this one.
    constexpr std::string_view variables = "VARIABLES = \"x\" \"y\" \"u\" \"v\" \"Vorticity\"";
    if (h == 1 && !line.starts_with(variables)) fail("line 2: expected " + std::string(variables));
    if (h == 4 && !line.starts_with("DATAPACKING=POINT")) fail("line 5: expected DATAPACKING=POINT");
    if (h != 3) continue;
    const auto extent = [&](const char* name) {
      const std::size_t at = line.find(name);
      index_t value = 0;
      if (at == std::string_view::npos) fail("line 4 gives no " + std::string(name) + " of the zone");
      std::size_t k = at + 2;
      for (; k < line.size() && line[k] >= '0' && line[k] <= '9' && value < 100000000; ++k)
        value = 10 * value + (line[k] - '0');
      if (value < 1 || value >= 100000000) fail("line 4 gives no number for " + std::string(name));
      return value;
    };
    s.columns = extent("I=");
    s.rows = extent("J=");
  }
  // A row is at least ten bytes, so a header cannot ask for more memory than the file has.
  if (static_cast<double>(s.columns) * static_cast<double>(s.rows) * 10 > static_cast<double>(text.size()))
    fail("its header names " + std::to_string(s.columns) + " x " + std::to_string(s.rows) +
         " nodes, more than there is text for");
  const index_t count = s.columns * s.rows;
  for (index_t k = 0; k < count; ++k) {
    std::string_view line = next_line();
    double values[5];
    for (double& value : values) {
      const std::size_t from = line.find_first_not_of(" \t\r");
      const std::size_t to =
          from == std::string_view::npos ? from : std::min(line.find_first_of(" \t\r", from), line.size());
      if (from == std::string_view::npos || !io::detail::parse_whole(line.substr(from, to - from), value))
        fail("line " + std::to_string(k + 7) + ": expected five numbers");
      line.remove_prefix(to);
    }
    if (line.find_first_not_of(" \t\r") != std::string_view::npos)
      fail("line " + std::to_string(k + 7) + ": more than five numbers");
    s.x.push_back(values[0]);
    s.y.push_back(values[1]);
    s.u.push_back(values[2]);
    s.v.push_back(values[3]);
    s.vorticity.push_back(values[4]);
  }
  if (text.substr(std::min(begin, text.size())).find_first_not_of(" \t\r\n") != std::string_view::npos)
    fail("there is more after its " + std::to_string(count) + " nodes");
  return s;
}

}  // namespace kolmo::flow
