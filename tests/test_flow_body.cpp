// Bodies, their motions, and the grid around them.

#include <kolmo/flow/body.hpp>
#include <kolmo/flow/immersed_grid.hpp>
#include <kolmo/flow/immersed_state.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::flow;

namespace {

void check_rates(const Motion& motion, double from, double to) {
  const double h = 1e-5;
  for (int k = 0; k <= 40; ++k) {
    const double t = from + (to - from) * k / 40;
    const Placement before = placement(motion, t - h), at = placement(motion, t), after = placement(motion, t + h);
    CHECK(at.velocity_x == Approx((after.x - before.x) / (2 * h)).margin(2e-5));
    CHECK(at.velocity_y == Approx((after.y - before.y) / (2 * h)).margin(2e-5));
    CHECK(at.angular_velocity == Approx((after.angle - before.angle) / (2 * h)).margin(2e-5));
  }
}

}  // namespace

TEST_CASE("the velocities of every motion are the derivatives of its positions") {
  check_rates(FixedVelocity{1, -2, 0.5}, 0, 2);
  check_rates(PitchPlunge{0.3, 0.7, 0.2, 0.4, 0.1, 1.2}, 0, 3);
  check_rates(SigmoidalStep{1, 2, -0.5, 2, 1}, 0, 4);
  check_rates(LaggedStep{1, 0, 1, 1.5, 0.5, 1, 1}, 0, 5);
  check_rates(LaggedStep{1, 0, 1, 1.5, 0.5, 1, 2}, 0, 5);
  check_rates(EldredgeManoeuvre{0.1, 0, 0.7, 11, 1, 2, 3, 4}, 0, 5);
  check_rates(EldredgePitchPlunge{{0, 0, 0.7, 11, 1, 2, 3, 4}, {0, 0.3, 0, 5, 0.5, 1, 2, 3}}, 0.1, 5);
  const MotionTable table = MotionTable::from_positions({0, 1, 2, 4}, {{0, 0, 0}, {1, 0, 0.2}, {1.5, 1, 0}, {0, 0, 0}});
  check_rates(table, 0.1, 3.9);
  CHECK(table.at(2).x == Approx(1.5));
}

TEST_CASE("an Eldredge manoeuvre reaches its amplitude between t2 and t3 and starts from rest") {
  const EldredgeManoeuvre m{0, 0, 0.7, 11, 1, 2, 3, 4};
  CHECK(m.at(2.5).angle == Approx(0.7));
  CHECK(std::abs(m.at(0).angle) < 1e-8);
  CHECK(std::abs(m.at(6).angle) < 1e-8);
  CHECK(m.at(1.5).angle == Approx(0.35).epsilon(1e-3));
}

TEST_CASE("steps arrive where they are meant to") {
  CHECK(SigmoidalStep{1, 0, 0, 2, 1}.at(2).x == Approx(0.5));
  CHECK(SigmoidalStep{1, 0, 0, 2, 1}.at(4).x == Approx(1));
  for (const int order : {1, 2}) {
    const LaggedStep step{0, 2, 0, 1.5, 0.1, 1, order};
    CHECK(step.at(1).y == 0);
    CHECK(step.at(9).y == Approx(2));
    // Far from both ends the filter delays by order * time_constant.
    CHECK(step.at(1.9).velocity_y == Approx(2 / 1.5).epsilon(2e-3));
    CHECK(step.at(1.9).y == Approx(2 / 1.5 * (0.9 - 0.1 * order)).epsilon(2e-3));
  }
}

TEST_CASE("a periodic table repeats, another one rests after its end") {
  const std::vector<Placement> rows{{0, 0, 0, 1, 0, 0}, {1, 0, 0, 0, 0, 0}, {0, 0, 0, 1, 0, 0}};
  const MotionTable periodic({0, 1, 2}, rows, 2), once({0, 1, 2}, rows);
  CHECK(periodic.at(0.7).x == Approx(periodic.at(4.7).x));
  CHECK(periodic.at(-1.3).x == Approx(periodic.at(0.7).x));
  CHECK(once.at(5).velocity_x == 0);
  CHECK_THROWS_AS(MotionTable({0, 1, 1}, rows), ArgumentError);
  CHECK_THROWS_AS(MotionTable({0, 1}, rows), ArgumentError);
  CHECK_THROWS_AS(MotionTable({0, 1, 2}, rows, 1.5), ArgumentError);
  CHECK_THROWS_AS(placement(SigmoidalStep{1, 0, 0, 0, 0}, 0.0), ArgumentError);
}

TEST_CASE("points of a body turn about its centre") {
  Body body = circle(1, 2, 0.5, 4);
  body.motion = FixedVelocity{0, 0, 1};
  const BodyPoints p = body.at(1.57079632679489662);
  CHECK(p.x[0] == Approx(1));
  CHECK(p.y[0] == Approx(2.5));
  CHECK(p.velocity_x[0] == Approx(-0.5));
  CHECK(p.velocity_y[0] == Approx(0).margin(1e-12));
  CHECK(!body.at_rest());
  CHECK(circle(0, 0, 1, 5).at_rest());
}

TEST_CASE("spacing gives the number of points of a circle or line") {
  CHECK(circle_with_spacing(0, 0, 0.5, 0.02).size() == 157);
  CHECK(line_with_spacing(0, 0, 1, 0, 0.1).size() == 11);
  CHECK_THROWS_AS(circle(0, 0, -1, 10), ArgumentError);
  CHECK_THROWS_AS(circle_with_spacing(0, 0, 1, 0), ArgumentError);
  CHECK_THROWS_AS(line(0, 0, 0, 0, 4), ArgumentError);
}

TEST_CASE("coarse levels are concentric, or shifted, and their nodes meet the fine ones") {
  ImmersedGrid grid{400, 200, 4, 8, -2, -2, 0.75, 0};
  grid.validate();
  CHECK(grid.inner_x() == 25);
  CHECK(grid.inner_y() == 50);
  for (index_t l = 1; l < grid.levels; ++l) {
    CHECK(grid.x(l, static_cast<double>(grid.inner_x())) == Approx(grid.left(l - 1)));
    CHECK(grid.y(l, static_cast<double>(grid.inner_y())) == Approx(grid.bottom(l - 1)));
  }
  CHECK_THROWS_AS((ImmersedGrid{402, 200, 2, 8, -2, -2, 0, 0}.validate()), ArgumentError);
  CHECK_THROWS_AS((ImmersedGrid{400, 200, 2, 8, -2, -2, 0.333, 0}.validate()), ArgumentError);
  CHECK_THROWS_AS((ImmersedGrid{400, 200, 0, 8, -2, -2, 0, 0}.validate()), ArgumentError);
  CHECK_THROWS_AS((ImmersedGrid{400, 200, 1, -8, -2, -2, 0, 0}.validate()), ArgumentError);
  CHECK_NOTHROW((ImmersedGrid{402, 201, 1, 8, -2, -2, 0, 0}.validate()));
}
