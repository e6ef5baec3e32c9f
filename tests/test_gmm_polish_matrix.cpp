// The matrix of the polish, J^T W J with the gradient J^T W r, against a Jacobian by dual numbers.

#include "catch.hpp"
#include "gmm_polish_support.hpp"

#include <kolmo/core/dual.hpp>

using namespace kolmo_test;

namespace {

constexpr int components = 3, count = 3 * components;
using Item = gmm::detail::PolishItem<double, 5>;

/// Residuals g(z; softmax a, mu, exp s) - f at standardised points, with their derivatives.
std::vector<Dual<double, count>> residuals(const Item::Parameters& p, const std::vector<double>& z,
                                           const std::vector<double>& f) {
  using D = Dual<double, count>;
  D x[count], total(0.0);
  for (int a = 0; a < count; ++a) x[a] = D::variable(p.value[a], a);
  for (int k = 0; k < components; ++k) total += exp(x[k]);
  std::vector<D> r;
  for (std::size_t i = 0; i < z.size(); ++i) {
    D g(-f[i]);
    for (int k = 0; k < components; ++k) {
      const D s = exp(x[2 * components + k]), q = (D(z[i]) - x[components + k]) / s;
      g += exp(x[k]) / total * exp(q * q * -0.5) / (s * 2.506628274631000502);
    }
    r.push_back(g);
  }
  return r;
}

}  // namespace

TEST_CASE("the Gauss-Newton matrix and the gradient are those of dual numbers", "[gmm][polish]") {
  // One chunk of points, and several.
  for (const index_t n : {96, 128, 129, 500}) {
    const Grid grid{-9.0, 14.0, n};
    const Double f = density_at(truth<Double>, points_of(grid));
    gmm::detail::PolishProblem<double> problem{};
    problem.densities = f.data();
    problem.first = grid.first;
    problem.spacing = grid.spacing();
    problem.count = n;
    problem.components = components;
    problem.floor_in_spacings = 0.4;
    problem.negative_tolerance = 1e-6;
    const Item item{problem};
    const Item::Target target = item.examine(TeamOfOne(nullptr), 0);
    REQUIRE(target.status == Status::ok);
    const Item::Parameters p{{0.1, -0.4, 0.3, -1.1, 0.2, 1.3, -1.0, -0.6, -0.3}};
    std::vector<double> z, values;
    for (index_t i = target.begin; i < target.end; ++i) {
      z.push_back(item.standard(target, i));
      values.push_back(f.to_vector()[static_cast<std::size_t>(i)] * target.density_scale);
    }
    const auto r = residuals(p, z, values);
    double largest = 0;
    for (const auto& x : r) largest = std::max(largest, std::abs(x.v));
    for (const int power : {2, 4, 8, 16}) {
      CAPTURE(n, power);
      const Item::Norm norm{power, 1 / largest};
      Item::Workspace w;
      const auto evaluation = item.evaluate(TeamOfOne(nullptr), target, p, norm, w);
      item.assemble(TeamOfOne(nullptr), target, norm, w);
      double cost = 0;
      for (const auto& x : r) cost += x.v * x.v * std::pow(std::abs(x.v) / largest, power - 2);
      CHECK(evaluation.largest == Approx(largest).epsilon(1e-13));
      CHECK(evaluation.cost == Approx(cost).epsilon(1e-12));
      double scale = 0;
      for (int a = 0; a < count; ++a) scale = std::max(scale, w.matrix[a][a]);
      for (int a = 0; a <= count; ++a)
        for (int b = 0; b <= std::min(a, count - 1); ++b) {
          double expected = 0;
          for (const auto& x : r) {
            const double weight = std::pow(std::abs(x.v) / largest, power - 2);
            expected += weight * (a == count ? x.v : x.d[a]) * x.d[b];
          }
          CAPTURE(a, b);
          CHECK(w.matrix[a][b] == Approx(expected).margin(1e-12 * scale));
        }
    }
  }
}

TEST_CASE("a solution of the damped equations solves them, with frozen parameters held", "[gmm][polish]") {
  Item::Workspace w;
  gmm::detail::PolishProblem<double> problem{};
  problem.components = components;
  for (int a = 0; a < count; ++a)
    for (int b = 0; b <= a; ++b) w.matrix[a][b] = (a == b ? 3.0 : 0.0) + 1.0 / (1 + a + b);
  for (int b = 0; b < count; ++b) w.matrix[count][b] = std::cos(b);
  for (bool& frozen : w.frozen) frozen = false;
  w.frozen[4] = true;
  REQUIRE(Item{problem}.solve(TeamOfOne(nullptr), w, 0.5));
  const double* const step = w.step;
  CHECK(step[4] == 0.0);
  for (int a = 0; a < count; ++a) {
    if (w.frozen[a]) continue;
    double sum = 0.5 * step[a];
    for (int b = 0; b < count; ++b) sum += w.matrix[std::max(a, b)][std::min(a, b)] * step[b];
    CHECK(sum == Approx(-w.matrix[count][a]).margin(1e-13));
  }
  w.matrix[0][0] = -5.0;
  CHECK_FALSE(Item{problem}.solve(TeamOfOne(nullptr), w, 0.5));
}
