// The files of the reference program for the immersed-boundary method: geometries, restart files, snapshots.

#include "catch.hpp"
#include "io_support.hpp"

#include <cmath>
#include <cstring>
#include <string>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/flow/geometry_file.hpp>
#include <kolmo/flow/geometry_writer.hpp>
#include <kolmo/flow/immersed_files.hpp>

using namespace kolmo;
using namespace kolmo::flow;
using kolmo::io::test::TemporaryDirectory;
using V = Tensor<double, Cpu>;

namespace {

std::string message_of(const std::string& text) {
  try {
    parse_geometry(text, "g");
  } catch (const IoError& error) {
    return error.what();
  }
  return "";
}

ImmersedState<V> some_state(const ImmersedGrid& grid, index_t points) {
  ImmersedState<V> state;
  state.flux = V::arange(grid.levels * grid.fluxes(), 0.5, 0.25).reshaped(grid.flux_shape());
  state.vorticity = V::arange(grid.levels * grid.nodes(), -3, 0.125).reshaped(grid.node_shape());
  state.forces = V::arange(2 * points, 7, 1).reshaped(Shape{2, points});
  state.step = 15000;
  state.time = 300.25;
  return state;
}

}  // namespace

TEST_CASE("a geometry file has bodies with points, centres and motions") {
  const auto bodies = parse_geometry(
      "# two bodies\n"
      "body Flat Plate  # at quarter chord\n"
      "  LINE 0 0 1 0 0.1\n"
      "  center 0.25 0\n"
      "  motion fixed 0 0 0.3\n"
      "end\n"
      "body Cylinder\r\n"
      "\tcircle_n 2 3 0.5 160\r\n"
      "\tmotion PitchPlunge 0 0 0.5 0.2 #plunging\r\n"
      "end\r\n");
  REQUIRE(bodies.size() == 2);
  CHECK(bodies[0].name == "Flat Plate");
  CHECK(bodies[0].size() == 11);
  CHECK(bodies[0].centre_x == 0.25);
  CHECK(std::get<FixedPosition>(bodies[0].motion).angle == 0.3);
  CHECK(bodies[1].size() == 160);
  CHECK(std::get<PitchPlunge>(bodies[1].motion).plunge_frequency == 0.2);
  CHECK(std::get<PitchPlunge>(bodies[1].motion).plunge_amplitude == 0.5);
}

TEST_CASE("a circle by its spacing has one point more than expected, as in the reference") {
  const auto bodies = parse_geometry("body c\ncircle 0 0 0.5 0.02\nend\n");
  CHECK(bodies[0].size() == 158);  // 2 pi 0.5 / 0.02 = 157.08, and one
}

TEST_CASE("line_aoa turns a plate about a centre, in degrees") {
  const auto bodies = parse_geometry("body p\nline_aoa 1 0.5 0 90 3\nend\n");
  CHECK(bodies[0].x[0] == Approx(0.5));
  CHECK(bodies[0].y[0] == Approx(-0.5));
  CHECK(bodies[0].y[2] == Approx(0.5));
  CHECK(bodies[0].centre_x == 0.5);
}

TEST_CASE("every motion of the format is read and written back") {
  const std::string text =
      "body a\n  point 0.1 0.2\n  center 0 0\n  motion fixedvel 1 -2 0.5\nend\n"
      "body b\n  point 0.1 0.2\n  center 0 0\n  motion pitchplunge 0.1 0.2 0.3 0.4 0.5 0.6\nend\n"
      "body c\n  point 0.1 0.2\n  center 0 0\n  motion sigmoidalstep 45 2 1\nend\n"
      "body d\n  point 0.1 0.2\n  center 0 0\n  motion lagstep1 45 2 0.1 1\nend\n"
      "body e\n  point 0.1 0.2\n  center 0 0\n  motion lagstep2 45 2 0.1 1\nend\n"
      "body f\n  point 0.1 0.2\n  center 0 0\n  motion eldredge 45 11 1 2 3 4\nend\n"
      "body g\n  point 0.1 0.2\n  center 0 0\n  motion eldredge1 0.25 11 1 2 3 4\nend\n"
      "body h\n  point 0.1 0.2\n  center 0 0\n  motion eldredgecombined2 0.25 11 1 2 3 4 45 9 1.5 2 3 4\nend\n";
  const auto bodies = parse_geometry(text);
  REQUIRE(bodies.size() == 8);
  CHECK(to_geometry(bodies) == text);
  CHECK(placement(bodies[5].motion, 2.5).angle == Approx(std::atan(1.0)));
  CHECK(placement(bodies[6].motion, 2.5).y == Approx(0.25));
  CHECK(placement(bodies[7].motion, 2.5).velocity_y == Approx(0.25));
}

TEST_CASE("files named in a geometry lie beside it") {
  const TemporaryDirectory folder;
  io::write_atomically(folder / "square.raw", "4\n0 0\n 1 0\n1 1\n0 1\n");
  io::write_atomically(folder / "path.motion", "2\n0 0 0 0 0 0 0\n1 0.5 0 0 0 0 0\n");
  io::write_atomically(folder / "a.geom", "body s\nraw square.raw\nmotion motionfileperiodic path.motion 2\nend\n");
  const auto bodies = read_geometry(folder / "a.geom");
  CHECK(bodies[0].size() == 4);
  CHECK(placement(bodies[0].motion, 3.0).x == Approx(0.5));
  io::write_atomically(folder / "square.raw", "5\n0 0\n 1 0\n1 1\n0 1\n");
  CHECK_THROWS_AS(read_geometry(folder / "a.geom"), IoError);
}

TEST_CASE("what is wrong with a geometry is said with its line") {
  using kolmo_test::contains;
  CHECK_THAT(message_of("body a\ncircle_n 0 0 0.5\nend\n"), contains("line 2"));
  CHECK_THAT(message_of("body a\npoint 0 x\nend\n"), contains("expected point X Y"));
  CHECK_THAT(message_of("body a\npoint 0 0\n"), contains("no end"));
  CHECK_THAT(message_of("body a\nend\n"), contains("line 2"));
  CHECK_THAT(message_of("square\n"), contains("body NAME"));
  CHECK_THAT(message_of("body a\nsquare 1\nend\n"), contains("circle_n"));
  CHECK_THAT(message_of("body a\npoint 0 0\nmotion jump 1\nend\n"), contains("pitchplunge"));
  CHECK_THAT(message_of("body a\ncircle 0 0 1 1e-9\nend\n"), contains("line 2"));
  CHECK_THAT(message_of("body a\npoint 0 nan\nend\n"), contains("line 2"));
  CHECK_THAT(message_of(""), contains("no body"));
}

TEST_CASE("a restart file gives back the state, and only for its own grid and bodies") {
  const ImmersedGrid grid{16, 8, 2, 4, -1, -1, 0, 0};
  const auto state = some_state(grid, 5);
  const std::string text = to_restart(grid, state);
  CHECK(text.size() ==
        3 * 4 + 3 * 8 + 4 + 8 * static_cast<std::size_t>(2 * (grid.fluxes() + grid.nodes()) + 10) + 4 + 8);
  const auto bytes = std::as_bytes(std::span<const char>(text));
  const auto back = parse_restart<double>(bytes, grid, 5);
  CHECK(back.flux.to_vector() == state.flux.to_vector());
  CHECK(back.vorticity.to_vector() == state.vorticity.to_vector());
  CHECK(back.forces.to_vector() == state.forces.to_vector());
  CHECK(back.step == 15000);
  CHECK(back.time == 300.25);
  CHECK_FALSE(back.nonlinear.has_value());
  ImmersedGrid other = grid;
  other.corner_x = -2;
  CHECK_THROWS_AS(parse_restart<double>(bytes, other, 5), IoError);
  CHECK_THROWS_AS(parse_restart<double>(bytes, grid, 6), IoError);
  for (const std::size_t length : {std::size_t{0}, std::size_t{11}, std::size_t{40}, text.size() - 1})
    CHECK_THROWS_AS(parse_restart<double>(bytes.first(length), grid, 5), IoError);
  const std::string longer = text + "x";
  CHECK_THROWS_AS(parse_restart<double>(std::as_bytes(std::span<const char>(longer)), grid, 5), IoError);
}

TEST_CASE("a snapshot of a uniform flow is uniform, and survives as Tecplot text") {
  const ImmersedGrid grid{16, 8, 2, 4, -1, -1, 0, 0};
  auto state = some_state(grid, 1);
  std::vector<double> q;
  for (index_t level = 0; level < 2; ++level)
    for (index_t k = 0; k < grid.fluxes(); ++k) q.push_back((k < grid.fluxes_x() ? 1.5 : -0.25) * grid.spacing(level));
  state.flux = V::from(q).reshaped(grid.flux_shape());
  for (index_t level = 0; level < 2; ++level) {
    const ImmersedSnapshot s = snapshot(grid, state, level);
    CHECK(s.columns == 15);
    for (std::size_t k = 0; k < s.u.size(); ++k) {
      CHECK(s.u[k] == Approx(1.5));
      CHECK(s.v[k] == Approx(-0.25));
    }
    CHECK(s.x[0] == Approx(grid.x(level, 1)));
    CHECK(s.x[1] > s.x[0]);
    const std::string text = to_tecplot(s);
    const ImmersedSnapshot back = parse_tecplot(text);
    CHECK(back.rows == 7);
    CHECK(to_tecplot(back) == text);
    CHECK_THROWS_AS(parse_tecplot(text.substr(0, text.size() / 2)), IoError);
    CHECK_THROWS_AS(parse_tecplot(text + "1 2 3 4 5\n"), IoError);
  }
  CHECK_THROWS_AS(snapshot(grid, state, 2), ArgumentError);
  CHECK_THROWS_AS(parse_tecplot("a\nb\nc\nI=99999, J=99999\ne\nf\n1 2 3 4 5\n"), IoError);
}

TEST_CASE("the motions of a file follow the formulas of the reference") {
  const auto motion_of = [](const std::string& words) {
    return parse_geometry("body a\npoint 0 0\nmotion " + words + "\nend\n").at(0).motion;
  };
  const Motion sigmoid = motion_of("sigmoidalstep 30 2 1"), first = motion_of("lagstep1 30 2 0.1 1"),
               second = motion_of("lagstep2 30 2 0.1 1");
  const double radians = 3.14159265358979323846 / 6;
  for (int i = 0; i <= 60; ++i) {
    const double t = 0.11 * i, s = t - 1, on = std::exp(-s / 0.1), off = std::exp(-(s - 2) / 0.1);
    CHECK(placement(sigmoid, t).angle == Approx(0.5 * radians * (1 + std::erf(6 * s - 6))).margin(1e-12));
    const double one = s <= 0 ? 0 : s <= 2 ? s + 0.1 * on - 0.1 : 2 + 0.1 * on - 0.1 * off;
    const double two = s <= 0 ? 0 : s <= 2 ? s + (0.2 + s) * on - 0.2 : 2 + (0.2 + s) * on + (1.8 - s) * off;
    CHECK(placement(first, t).angle == Approx(one * radians / 2).margin(1e-12));
    CHECK(placement(second, t).angle == Approx(two * radians / 2).margin(1e-12));
  }
}

TEST_CASE("a restart file has pairs of forces after all fluxes and vorticities") {
  const ImmersedGrid grid{12, 8, 2, 3, -1, -0.5, 0, 0};
  const auto state = some_state(grid, 3);
  const std::string text = to_restart(grid, state);
  const auto number = [&](std::size_t at) {
    double value = 0;
    std::memcpy(&value, text.data() + at, sizeof value);
    return value;
  };
  // 13 x 8 fluxes qx and 12 x 9 fluxes qy, 11 x 7 nodes.
  const std::size_t fluxes = 13 * 8 + 12 * 9, forces = 40 + 16 * (fluxes + 77);
  CHECK(number(12) == 0.25);
  CHECK(number(20) == -1);
  CHECK(number(40 + 8 * (fluxes + 104)) == state.flux.to_vector()[fluxes + 104]);
  CHECK(number(forces) == state.forces.to_vector()[0]);
  CHECK(number(forces + 8) == state.forces.to_vector()[3]);
  CHECK(number(forces + 16) == state.forces.to_vector()[1]);
}

TEST_CASE("Tecplot text is that of the reference, and another layout is not read as this one") {
  ImmersedSnapshot s;
  s.columns = 2;
  s.rows = 1;
  s.x = {-1.5, -1};
  s.y = {0, 0};
  s.u = {1, 0.1234567};
  s.v = {-2, 1e-100};
  s.vorticity = {-7, 12345678};
  const std::string text = to_tecplot(s, "a title");
  CHECK(text ==
        "TITLE = \"a title\"\nVARIABLES = \"x\" \"y\" \"u\" \"v\" \"Vorticity\" \nZONE T=\"Rectangular zone\"\n"
        "I=2, J=1, K=1, ZONETYPE=Ordered\nDATAPACKING=POINT\nDT=(SINGLE SINGLE SINGLE SINGLE SINGLE )\n"
        "-1.50000e+00 0.00000e+00 1.00000e+00 -2.00000e+00 -7.00000e+00 \n"
        "-1.00000e+00 0.00000e+00 1.23457e-01 1.00000e-100 1.23457e+07 \n");
  for (const auto& [from, to] :
       {std::pair("POINT", "BLOCK"), std::pair("\"v\"", "\"w\""), std::pair("1.23457e-01", "1 2")}) {
    std::string changed = text;
    changed.replace(changed.find(from), std::string(from).size(), to);
    CHECK_THROWS_AS(parse_tecplot(changed), IoError);
  }
}

TEST_CASE("a table of motion that cannot be used is an error of its line") {
  const TemporaryDirectory folder;
  io::write_atomically(folder / "path.motion", "2\n1 0 0 0 0 0 0\n0 0.5 0 0 0 0 0\n");
  io::write_atomically(folder / "a.geom", "body s\npoint 0 0\nmotion motionfile path.motion\nend\n");
  CHECK_THROWS_AS(read_geometry(folder / "a.geom"), IoError);
}
