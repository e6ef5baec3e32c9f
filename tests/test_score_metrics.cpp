// Distances between sets of points and scores of ensembles, beside SciPy's values and by their definitions.

#include "catch.hpp"

#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include <kolmo/backend/eigen.hpp>
#include <kolmo/io/npz.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/views.hpp>
#include <kolmo/score/ensemble.hpp>
#include <kolmo/score/transport.hpp>

using namespace kolmo;
using namespace kolmo::score;
using kolmo_test::contains;

namespace {

using Ten = Tensor<double, Cpu>;

const io::NamedArrays& reference() {
  static const io::NamedArrays arrays = io::load_npz(std::string(KOLMO_REFERENCE) + "/transport.npz");
  return arrays;
}
Ten tensor(const std::string& name) {
  const io::HostArray& array = reference().at(name);
  return Ten::from(array.as<double>(), Shape(array.shape.begin(), array.shape.end()));
}
double number(const std::string& name) { return reference().at(name).as<double>()[0]; }

bool is_permutation(const std::vector<index_t>& columns) {
  std::vector<index_t> sorted = columns, all(columns.size());
  std::sort(sorted.begin(), sorted.end());
  std::iota(all.begin(), all.end(), index_t{0});
  return sorted == all;
}

}  // namespace

TEST_CASE("the assignment solver finds SciPy's optimal costs, with ties and over ten decades") {
  for (const std::string name : {"ties", "wide"}) {
    const io::HostArray& problems = reference().at(name);
    const auto costs = problems.as<double>();
    const auto best = reference().at(name + "_cost").as<double>();
    const auto n = static_cast<std::size_t>(problems.shape[1]);
    for (std::size_t p = 0; p < best.size(); ++p) {
      const auto one = costs.subspan(p * n * n, n * n);
      const Assignment found = solve_assignment(one, static_cast<index_t>(n));
      CHECK(found.cost == Approx(best[p]).epsilon(1e-13));
      CHECK(is_permutation(found.column_of_row));
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i) sum += one[i * n + static_cast<std::size_t>(found.column_of_row[i])];
      CHECK(sum == found.cost);
    }
  }
}

TEST_CASE("the assignment solver on every problem that can be tried out") {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const auto n = static_cast<std::size_t>(1 + seed % 5);
    std::vector<double> cost(n * n);
    for (std::size_t e = 0; e < cost.size(); ++e)
      cost[e] = seed % 3 == 0 ? static_cast<double>(integer_below(Key{seed}, e, 3)) : normal<double>(Key{seed}, e);
    std::vector<std::size_t> columns(n);
    std::iota(columns.begin(), columns.end(), std::size_t{0});
    double best = std::numeric_limits<double>::infinity();
    do {
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i) sum += cost[i * n + columns[i]];
      best = std::min(best, sum);
    } while (std::next_permutation(columns.begin(), columns.end()));
    CHECK(solve_assignment(cost, static_cast<index_t>(n)).cost == Approx(best).margin(1e-13));
  }
}

TEST_CASE("Wasserstein-1 of point sets, of numbers, and the mean discrepancy are SciPy's") {
  const Ten a = tensor("points_a"), b = tensor("points_b");
  CHECK(wasserstein1(a, b) == Approx(number("points_w1")).epsilon(1e-13));
  CHECK(wasserstein1(b, a) == Approx(number("points_w1")).epsilon(1e-13));
  CHECK(wasserstein1(a, a) == 0);
  // A shift moves every point by its length, whatever the order of the points.
  CHECK(wasserstein1(a, flip(a, 0) + Ten::from({3, 0, 0, 4, 0, 0, 0}, {7})) == Approx(5).epsilon(1e-13));
  CHECK(wasserstein_distance(tensor("line_x").to_vector(), tensor("line_y").to_vector()) ==
        Approx(number("line_w1")).epsilon(1e-13));
  const Ten line_a = slice(a, 1, 0, 1), line_b = slice(b, 1, 0, 1);
  CHECK(wasserstein_distance(line_a.to_vector(), line_b.to_vector()) ==
        Approx(wasserstein1(line_a, line_b)).epsilon(1e-12));
  CHECK(maximum_mean_discrepancy(a, slice(b, 0, 0, 40)) == Approx(number("points_mmd")).epsilon(1e-12));
  CHECK(maximum_mean_discrepancy(a, a) == Approx(0).margin(1e-14));
}

TEST_CASE("sets that cannot be compared are errors") {
  const Ten a = tensor("points_a");
  CHECK_THROWS_AS(wasserstein1(a, slice(a, 0, 0, 40)), ShapeError);
  CHECK_THROWS_AS(wasserstein1(a, slice(a, 1, 0, 3)), ShapeError);
  Ten bad = a.copy();
  bad.mutable_data()[2 * 7 + 3] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(wasserstein1(a, bad), contains("point 2 is not finite in entry 3"));
  const std::vector<double> infinite{1, 2, 3, std::numeric_limits<double>::infinity()};
  CHECK_THROWS_AS(solve_assignment(infinite, 2), ArgumentError);
  CHECK_THROWS_AS(solve_assignment(infinite, 3), ShapeError);
}

TEST_CASE("5.1: 1024 paths of 195 numbers against 1024 take well under a second") {
  const Ten a = nn::normal_values<Ten>(Key{1}, {1024, 65, 3}), b = nn::normal_values<Ten>(Key{2}, {1024, 65, 3});
  const auto begin = std::chrono::steady_clock::now();
  const double distance = wasserstein1(a, b);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  // The nearest of 1024 in 195 dimensions is nearer than sqrt(2 * 195) = 19.7, but not by much.
  CHECK((distance > 16 && distance < 19.7));
  CHECK(time.count() < 5);  // a tenth of that where nothing else runs
}

TEST_CASE("scores of an ensemble are those of their definitions") {
  const Ten members = tensor("members"), truth = tensor("truth");
  CHECK(crps(members, truth, CrpsKind::ensemble) == Approx(number("crps")).epsilon(1e-13));
  CHECK(crps(members, truth) == Approx(number("crps_fair")).epsilon(1e-13));
  const auto first = slice(members, 0, 0, 1);
  double absolute = 0;
  const auto x = first.to_vector(), y = truth.to_vector();
  for (std::size_t i = 0; i < y.size(); ++i) absolute += std::abs(x[i] - y[i]) / 20;
  CHECK(crps(first, truth, CrpsKind::ensemble) == Approx(absolute).epsilon(1e-14));
  CHECK_THROWS_AS(crps(first, truth), ShapeError);
  CHECK_THROWS_AS(crps(truth, members), ShapeError);
  const SpreadSkill found = spread_skill(members, truth);
  CHECK(found.spread == Approx(number("spread")).epsilon(1e-13));
  CHECK(found.skill == Approx(number("skill")).epsilon(1e-13));
  CHECK(found.ratio == Approx(std::sqrt(10.0 / 9) * found.spread / found.skill).epsilon(1e-13));
}

TEST_CASE("a calibrated ensemble has a flat histogram and a ratio of one, others do not") {
  const index_t m = 15, n = 20000;
  const Ten truth = nn::normal_values<Ten>(Key{3}, {n}), members = nn::normal_values<Ten>(Key{4}, {m, n});
  const RankHistogram flat = rank_histogram(members, truth);
  CHECK(flat.counts.size() == 16);
  CHECK(std::accumulate(flat.counts.begin(), flat.counts.end(), index_t{0}) == n);
  CHECK(std::abs(flat.flatness) < 4);
  CHECK(spread_skill(members, truth).ratio == Approx(1).margin(0.02));
  // The spread of two corrected by m + 1 over m, too: without it the ratio would be 0.82.
  CHECK(spread_skill(slice(members, 0, 0, 2), truth).ratio == Approx(1).margin(0.02));
  const RankHistogram too_sure = rank_histogram(members * 0.7, truth);
  CHECK(too_sure.flatness > 50);
  CHECK(too_sure.counts.front() > 2 * n / 16);
  CHECK(spread_skill(members * 0.7, truth).ratio < 0.75);
  CHECK(rank_histogram(members + 0.3, truth).flatness > 50);
  // The fair score is unbiased in the number of members: 1 / sqrt(pi) for a standard normal pair.
  CHECK(crps(members, truth) == Approx(1 / std::sqrt(3.14159265358979)).margin(0.01));
  CHECK(crps(slice(members, 0, 0, 2), truth) == Approx(1 / std::sqrt(3.14159265358979)).margin(0.02));
  // Where all are equal the rank is a matter of chance, and flat.
  CHECK(std::abs(rank_histogram(Ten::zeros({m, n}), Ten::zeros({n}), Key{7}).flatness) < 4);
}

TEST_CASE("errors, energy and residuals") {
  const Ten a = Ten::from({1, 2, 3, 4}, {4}), b = Ten::from({1, 4, 3, 2}, {4});
  CHECK(root_mean_square_error(a, b) == Approx(std::sqrt(2.0)));
  CHECK_THROWS_AS(root_mean_square_error(a, Ten::zeros({3})), ShapeError);
  CHECK(energy_ratio(a * 0.6 + 5.0, a) == Approx(0.6).epsilon(1e-14));
  const Residual residual = observation_residual(Ten::from({1, 2, 3, 4, 1, 2, 3, 0}, {2, 4}), b, 0.5);
  CHECK(residual.deviation == Approx(std::sqrt((4 + 4 + 4 + 4) / 8.0)));
  CHECK(residual.chi_square == Approx(8));
  CHECK_THROWS_AS(observation_residual(Ten::zeros({2, 4}), b, 0), ArgumentError);
  const auto density = gaussian_log_density(Ten::from({0, 0, 1, 2}, {2, 2}), 0.5);
  CHECK(density[0] == Approx(2 * (-std::log(0.5) - 0.5 * std::log(2 * 3.14159265358979323846))));
  CHECK(density[1] == Approx(density[0] - 10));
  CHECK(largest_log10_ratio({9, 1, 100, 5}, {3, 1, 1, 50}, 3) == Approx(2));
  CHECK(largest_log10_ratio({9, 1, 100, 5}, {3, 2, 100, 50}, 2) == Approx(std::log10(2.0)));
  CHECK_THROWS_AS(largest_log10_ratio({9, 1, 0}, {3, 2, 1}, 2), ArgumentError);
  CHECK_THROWS_AS(largest_log10_ratio({9, 1}, {3, 2, 1}, 2), ArgumentError);
}
