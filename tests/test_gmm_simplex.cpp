// The solver of linear programmes: optima known by construction, and everything that goes wrong with one.

#include "catch.hpp"

#include <cmath>
#include <vector>

#include <kolmo/gmm/simplex.hpp>

using namespace kolmo;
using namespace kolmo::gmm;

namespace {

struct Numbers {
  Key key;
  std::uint64_t next = 0;
  double operator()(double low, double high) { return low + (high - low) * uniform<double>(key, next++); }
};

/// x and y that satisfy the conditions of optimality by construction, with a programme around them.
struct KnownProgram {
  LinearProgram program;
  double optimum = 0.0;
};

KnownProgram known_program(Key key, index_t n, index_t rows, double zero_share) {
  Numbers draw{key};
  KnownProgram known;
  known.program.variables = n;
  std::vector<double> x(static_cast<std::size_t>(n)), reduced(x.size());
  for (std::size_t j = 0; j < x.size(); ++j) {
    const bool positive = draw(0, 1) < 0.5;
    // With zero_share, some variables have both zero: degenerate vertices and several optima.
    const bool zero = draw(0, 1) < zero_share;
    x[j] = positive && !zero ? draw(0.1, 2) : 0.0;
    reduced[j] = positive || zero ? 0.0 : draw(0.1, 2);
  }
  known.program.cost = reduced;
  for (index_t i = 0; i < rows; ++i) {
    std::vector<double> row;
    double value = 0.0;
    for (std::size_t j = 0; j < x.size(); ++j) {
      row.push_back(draw(0, 1) < 0.3 ? 0.0 : draw(-1, 1));
      value += row.back() * x[j];
    }
    const double which = draw(0, 3);
    const RowKind kind = which < 1 ? RowKind::at_most : which < 2 ? RowKind::at_least : RowKind::equal;
    double y = 0.0, slack = 0.0;
    if (kind == RowKind::equal)
      y = draw(-1, 1);
    else if (draw(0, 1) < 0.5 && draw(0, 1) >= zero_share)
      y = kind == RowKind::at_least ? draw(0.1, 1) : -draw(0.1, 1);
    else if (draw(0, 1) >= zero_share)
      slack = kind == RowKind::at_least ? -draw(0.1, 1) : draw(0.1, 1);
    for (std::size_t j = 0; j < x.size(); ++j) known.program.cost[j] += y * row[j];
    known.program.add_row(row, kind, value + slack);
  }
  for (std::size_t j = 0; j < x.size(); ++j) known.optimum += known.program.cost[j] * x[j];
  return known;
}

/// Largest violation of the conditions that prove a solution optimal, whatever found it.
double optimality_error(const LinearProgram& p, const LinearSolution& s) {
  double worst = s.violation, dual_objective = 0.0;
  const std::size_t n = static_cast<std::size_t>(p.variables);
  for (std::size_t j = 0; j < n; ++j) {
    double reduced = p.cost[j];
    for (std::size_t i = 0; i < p.right.size(); ++i) reduced -= s.multipliers[i] * p.matrix[i * n + j];
    worst = std::max(worst, -reduced);
  }
  for (std::size_t i = 0; i < p.right.size(); ++i) {
    dual_objective += s.multipliers[i] * p.right[i];
    if (p.kinds[i] == RowKind::at_most) worst = std::max(worst, s.multipliers[i]);
    if (p.kinds[i] == RowKind::at_least) worst = std::max(worst, -s.multipliers[i]);
  }
  return std::max(worst, std::abs(dual_objective - s.objective));
}

LinearProgram program(std::vector<double> cost) {
  LinearProgram p;
  p.variables = static_cast<index_t>(cost.size());
  p.cost = std::move(cost);
  return p;
}

void add(LinearProgram& p, std::vector<double> row, RowKind kind, double right) { p.add_row(row, kind, right); }

}  // namespace

TEST_CASE("random programmes with a known optimum", "[gmm][simplex]") {
  std::uint64_t number = 0;
  for (double zero_share : {0.0, 0.5, 0.9})
    for (index_t n : {1, 3, 10, 40})
      for (index_t rows : {1, 5, 12, 60})
        for (int repeat = 0; repeat < 6; ++repeat) {
          const auto known = known_program(fold_in(Key{31}, number++), n, rows, zero_share);
          const auto s = solve(known.program);
          INFO("programme " << number - 1 << ": " << n << " variables, " << rows << " rows");
          REQUIRE(s.outcome == LinearOutcome::optimal);
          CHECK(s.objective == Approx(known.optimum).epsilon(1e-7).margin(1e-7));
          CHECK(optimality_error(known.program, s) < 1e-7);
        }
}

TEST_CASE("a small programme by hand", "[gmm][simplex]") {
  // Largest 3 x + 5 y with x <= 4, 2 y <= 12, 3 x + 2 y <= 18: 36 at (2, 6).
  auto p = program({-3, -5});
  add(p, {1, 0}, RowKind::at_most, 4);
  add(p, {0, 2}, RowKind::at_most, 12);
  add(p, {3, 2}, RowKind::at_most, 18);
  const auto s = solve(p);
  REQUIRE(s.outcome == LinearOutcome::optimal);
  CHECK(s.objective == Approx(-36.0));
  CHECK(s.x[0] == Approx(2.0));
  CHECK(s.x[1] == Approx(6.0));
  CHECK(s.multipliers[0] == Approx(0.0).margin(1e-12));
  CHECK(s.multipliers[1] == Approx(-1.5));
  CHECK(s.multipliers[2] == Approx(-1.0));
}

TEST_CASE("degenerate programmes do not cycle", "[gmm][simplex]") {
  // Beale's, on which the simplex method of the textbook goes round for ever.
  auto beale = program({-0.75, 150, -0.02, 6});
  add(beale, {0.25, -60, -0.04, 9}, RowKind::at_most, 0);
  add(beale, {0.5, -90, -0.02, 3}, RowKind::at_most, 0);
  add(beale, {0, 0, 1, 0}, RowKind::at_most, 1);
  const auto s = solve(beale);
  REQUIRE(s.outcome == LinearOutcome::optimal);
  CHECK(s.objective == Approx(-0.05).epsilon(1e-9));
  // Klee and Minty's cube, whose vertices are all visited by the steepest pivot.
  const index_t n = 12;
  auto cube = program(std::vector<double>(static_cast<std::size_t>(n)));
  for (index_t i = 0; i < n; ++i) {
    std::vector<double> row(static_cast<std::size_t>(n), 0.0);
    for (index_t j = 0; j < i; ++j) row[static_cast<std::size_t>(j)] = std::pow(2.0, static_cast<double>(i - j + 1));
    row[static_cast<std::size_t>(i)] = 1.0;
    cube.cost[static_cast<std::size_t>(i)] = -std::pow(2.0, static_cast<double>(n - 1 - i));
    cube.add_row(row, RowKind::at_most, std::pow(5.0, static_cast<double>(i + 1)));
  }
  const auto c = solve(cube);
  REQUIRE(c.outcome == LinearOutcome::optimal);
  CHECK(c.objective == Approx(-std::pow(5.0, 12)).epsilon(1e-9));
  // An assignment: every vertex is degenerate. The optimum picks the least of each row on the diagonal.
  const index_t size = 8;
  auto assignment = program(std::vector<double>(64));
  for (index_t i = 0; i < size; ++i)
    for (index_t j = 0; j < size; ++j)
      assignment.cost[static_cast<std::size_t>(i * size + j)] =
          i == j ? 1.0 : 2.0 + static_cast<double>((i * 5 + j) % 7);
  for (index_t i = 0; i < size; ++i) {
    std::vector<double> row(64, 0.0), column(64, 0.0);
    for (index_t j = 0; j < size; ++j)
      row[static_cast<std::size_t>(i * size + j)] = column[static_cast<std::size_t>(j * size + i)] = 1.0;
    assignment.add_row(row, RowKind::equal, 1);
    assignment.add_row(column, RowKind::equal, 1);
  }
  const auto a = solve(assignment);
  REQUIRE(a.outcome == LinearOutcome::optimal);
  CHECK(a.objective == Approx(8.0));
}

TEST_CASE("programmes without a solution say so", "[gmm][simplex]") {
  auto infeasible = program({1, 1});
  add(infeasible, {1, 1}, RowKind::at_least, 2);
  add(infeasible, {1, 2}, RowKind::at_most, 1);
  CHECK(solve(infeasible).outcome == LinearOutcome::infeasible);
  CHECK(solve(infeasible).x.empty());
  auto contradiction = program({0, 0});
  add(contradiction, {1, -1}, RowKind::equal, 1);
  add(contradiction, {2, -2}, RowKind::equal, 3);
  CHECK(solve(contradiction).outcome == LinearOutcome::infeasible);
  auto negative = program({1});
  add(negative, {1}, RowKind::equal, -1);
  CHECK(solve(negative).outcome == LinearOutcome::infeasible);
  // Equations that repeat each other are no contradiction.
  auto twice = program({1, 2});
  add(twice, {1, 1}, RowKind::equal, 1);
  add(twice, {3, 3}, RowKind::equal, 3);
  CHECK(solve(twice).objective == Approx(1.0));
  auto unbounded = program({-1, 0});
  add(unbounded, {1, -1}, RowKind::at_most, 1);
  CHECK(solve(unbounded).outcome == LinearOutcome::unbounded);
  CHECK(solve(program({-1})).outcome == LinearOutcome::unbounded);
  CHECK(solve(program({1})).objective == 0.0);
  // Random ones: a row that contradicts the sum of others.
  for (std::uint64_t k = 0; k < 40; ++k) {
    auto known = known_program(Key{k}, 12, 10, 0.3).program;
    std::vector<double> row(12, 0.0);
    double right = -0.5;
    for (std::size_t i = 0; i < 10; ++i) {
      const double y = known.kinds[i] == RowKind::at_least ? -1.0 : 1.0;
      for (std::size_t j = 0; j < 12; ++j) row[j] += y * known.matrix[12 * i + j];
      right += y * known.right[i];
    }
    // sum <= right + 0.5 for every feasible point, so sum >= right + 1 has none.
    known.add_row(row, RowKind::at_least, right + 1.0);
    CHECK(solve(known).outcome == LinearOutcome::infeasible);
  }
}

TEST_CASE("badly scaled programmes", "[gmm][simplex]") {
  for (std::uint64_t k = 0; k < 40; ++k) {
    auto known = known_program(Key{100 + k}, 15, 12, 0.2);
    Numbers draw{Key{500 + k}};
    LinearProgram& p = known.program;
    for (std::size_t i = 0; i < 12; ++i) {
      const double factor = std::exp(draw(-14, 14));
      for (std::size_t j = 0; j < 15; ++j) p.matrix[15 * i + j] *= factor;
      p.right[i] *= factor;
    }
    for (std::size_t j = 0; j < 15; ++j) {
      const double factor = std::exp(draw(-7, 7));
      for (std::size_t i = 0; i < 12; ++i) p.matrix[15 * i + j] *= factor;
      p.cost[j] *= factor;
    }
    const auto s = solve(p);
    REQUIRE(s.outcome == LinearOutcome::optimal);
    CHECK(s.objective == Approx(known.optimum).epsilon(1e-5).margin(1e-5));
  }
}

TEST_CASE("limits and bad arguments of the solver", "[gmm][simplex]") {
  const auto known = known_program(Key{9}, 40, 60, 0.0);
  const auto s = solve(known.program, {.max_iterations = 3});
  CHECK(s.outcome == LinearOutcome::iteration_limit);
  CHECK(s.iterations == 3);
  CHECK(s.x.empty());
  auto p = program({1, 1});
  CHECK_THROWS_AS(p.add_row(std::vector<double>{1.0}, RowKind::equal, 1.0), ShapeError);
  add(p, {1, NAN}, RowKind::equal, 1);
  CHECK_THROWS_AS(solve(p), ArgumentError);
  CHECK_THROWS_AS(solve(program({})), ShapeError);
  CHECK_THROWS_AS(solve(program({1}), {.tolerance = 0.0}), ArgumentError);
}
