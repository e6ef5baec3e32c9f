// Runge-Kutta steps, the small chaotic systems, their chains and exponents, and the exact smoother of the spring.

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include <kolmo/core/data_split.hpp>
#include <kolmo/flow/chains.hpp>
#include <kolmo/flow/kalman.hpp>
#include <kolmo/flow/lorenz.hpp>
#include <kolmo/flow/lotka_volterra.hpp>
#include <kolmo/flow/lyapunov.hpp>
#include <kolmo/flow/spring.hpp>

#include "expect_op.hpp"

using namespace kolmo;
using namespace kolmo::flow;
using namespace kolmo_test;

namespace {

using Plain = Tensor<double, Cpu>;

double largest_difference(const Plain& a, const Plain& b) { return max(abs(a - b)).item(); }

template <class Law>
struct Transition {
  Law law;
  double dt;
  index_t steps;
  template <class X>
  auto operator()(const X& x) const {
    return transition(law, x, dt, steps);
  }
};

/// The rate of the usual Lorenz-96 system by its formula.
std::vector<double> lorenz96_rate(const std::vector<double>& x, double force) {
  const auto n = x.size();
  std::vector<double> y(n);
  for (std::size_t i = 0; i < n; ++i) y[i] = (x[(i + 1) % n] - x[(i + n - 2) % n]) * x[(i + n - 1) % n] - x[i] + force;
  return y;
}

/// Two steps of the classical method over 0.05 by its definition, row by row.
Oracle runge_kutta(const std::function<std::vector<double>(const std::vector<double>&)>& rate) {
  return [rate](const Inputs& in) {
    Result y{in[0].shape, in[0].values};
    const auto n = static_cast<std::size_t>(in[0].shape[-1]);
    const double h = 0.025;
    for (std::size_t row = 0; row < y.values.size(); row += n) {
      std::vector<double> x(y.values.begin() + static_cast<std::ptrdiff_t>(row),
                            y.values.begin() + static_cast<std::ptrdiff_t>(row + n));
      const auto moved = [&](double by, const std::vector<double>& k) {
        std::vector<double> result = x;
        for (std::size_t i = 0; i < n; ++i) result[i] += by * k[i];
        return result;
      };
      for (int step = 0; step < 2; ++step) {
        const auto k1 = rate(x), k2 = rate(moved(h / 2, k1)), k3 = rate(moved(h / 2, k2)), k4 = rate(moved(h, k3));
        for (std::size_t i = 0; i < n; ++i) x[i] += h / 6 * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]);
      }
      for (std::size_t i = 0; i < n; ++i) y.values[row + i] = x[i];
    }
    return y;
  };
}

double mean_of(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

}  // namespace

TEST_CASE("the error of the classical Runge-Kutta method falls with the fourth power of the step") {
  // x' = (-y, x) turns the plane.
  const LotkaVolterra law;
  const Plain x = Plain::from({0.3, -0.2, 1, 0.5}, {2, 2});
  const Plain exact = transition(law, x, 1.0, 4096);
  const double coarse = largest_difference(transition(law, x, 1.0, 8), exact);
  const double fine = largest_difference(transition(law, x, 1.0, 16), exact);
  CHECK(std::log2(coarse / fine) == Approx(4).margin(0.3));
  CHECK(largest_difference(transition(law, exact, -1.0, 4096), x) < 1e-12);
}

TEST_CASE("Lorenz-63 rests at its three fixed points, Lorenz-96 at a uniform force") {
  const double r = std::sqrt(72.0);
  const Plain fixed = Plain::from({0, 0, 0, r, r, 27, -r, -r, 27}, {3, 3});
  CHECK(largest_difference(rate_of(Lorenz63{}, fixed), Plain::zeros({3, 3})) < 1e-13);
  CHECK(largest_difference(transition(Lorenz63{}, fixed, 0.025), fixed) < 1e-13);
  const Lorenz96 ring{7, 16.0, Lorenz96Orientation::mirrored};
  CHECK(rate_of(ring, Plain::full({2, 7}, 16)).to_vector() == std::vector<double>(14, 0.0));
}

TEST_CASE("the two orientations of Lorenz-96 are mirror images") {
  const auto values = Numbers(3).vector(9, -3, 8);
  const Plain x = Plain::from(std::span<const double>(values), {1, 9});
  const Lorenz96 usual{9, 16.0, Lorenz96Orientation::usual}, mirrored{9, 16.0, Lorenz96Orientation::mirrored};
  CHECK(rate_of(usual, x).to_vector() == lorenz96_rate(values, 16));
  CHECK(flip(rate_of(mirrored, flip(x, 1)), 1).to_vector() == rate_of(usual, x).to_vector());
  CHECK(largest_difference(rate_of(mirrored, x), rate_of(usual, x)) > 1);
  // As the data assimilation papers write it: (x[i-1] - x[i+2]) x[i+1] - x[i] + F.
  const std::vector<double> rate = rate_of(mirrored, x).to_vector();
  for (std::size_t i = 0; i < 9; ++i)
    CHECK(rate[i] == Approx((values[(i + 8) % 9] - values[(i + 2) % 9]) * values[(i + 1) % 9] - values[i] + 16));
  CHECK_THROWS_AS(check(Lorenz96{3}), ArgumentError);
}

TEST_CASE("Lotka-Volterra keeps its invariant") {
  const LotkaVolterra law{1.1, 0.9, 1.2, 0.8};
  Plain x = Plain::from({0.4, 0.7}, {1, 2});
  const auto invariant = [&](const Plain& at) {
    const auto v = at.to_vector();
    return 1.2 * std::exp(v[0]) - 0.8 * v[0] + 0.9 * std::exp(v[1]) - 1.1 * v[1];
  };
  const double before = invariant(x);
  x = transition(law, x, 20.0, 4000);
  CHECK(invariant(x) == Approx(before).epsilon(1e-10));
}

TEST_CASE("transitions of every law are differentiable in both modes, on every backend") {
  using State = std::vector<double>;
  expect_op("Lorenz-63", Transition<Lorenz63>{{}, 0.05, 2}, {random_input({2, 3}, 1)}, runge_kutta([](const State& x) {
              return State{10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8.0 / 3.0 * x[2]};
            }));
  expect_op("Lorenz-96", Transition<Lorenz96>{{5, 8.0, Lorenz96Orientation::usual}, 0.05, 2}, {random_input({2, 5}, 2)},
            runge_kutta([](const State& x) { return lorenz96_rate(x, 8); }));
  expect_op("Lotka-Volterra", Transition<LotkaVolterra>{{}, 0.05, 2}, {random_input({3, 2}, 3)},
            runge_kutta([](const State& x) {
              return State{1 - std::exp(x[1]), std::exp(x[0]) - 1};
            }));
  expect_op("spring", Transition<DampedSpring>{{}, 0.05, 2}, {random_input({2, 4}, 4)}, [](const Inputs& in) {
    Result y{in[0].shape, in[0].values};
    for (int step = 0; step < 2; ++step)
      for (std::size_t r = 0; r < 8; r += 4) {
        const State x(y.values.begin() + static_cast<std::ptrdiff_t>(r),
                      y.values.begin() + static_cast<std::ptrdiff_t>(r + 4));
        y.values[r] = x[0] + 0.025 * x[1] + 0.025 * 0.025 / 2 * x[2];
        y.values[r + 1] = x[1] + 0.025 * x[2];
        y.values[r + 2] = -0.5 * x[0] - 0.1 * x[1] + 0.2 * x[3];
        y.values[r + 3] = 0.99 * x[3];
      }
    return y;
  });
}

TEST_CASE("<J u, w> = <u, J^T w> to 1e-12 over twenty transitions") {
  const auto check_law = [](const auto& law, std::uint64_t seed) {
    const index_t n = law.dimensions();
    const Plain x = prior_states<double>(law, 3, Key{seed});
    const auto f = [&](const auto& at) { return transition(law, at, 0.2, 20); };
    const auto u_values = Numbers(seed + 1).vector(static_cast<std::size_t>(3 * n));
    const auto w_values = Numbers(seed + 2).vector(static_cast<std::size_t>(3 * n));
    const Plain u = Plain::from(std::span<const double>(u_values), {3, n});
    const Plain w = Plain::from(std::span<const double>(w_values), {3, n});
    const double forward = dot(jvp(f, x, u).tangent, w).item();
    auto reverse = vjp(f, x);
    CHECK(forward == Approx(dot(u, reverse.pull(w)).item()).epsilon(1e-12));
  };
  check_law(Lorenz63{}, 1);
  check_law(Lorenz96{32, 16.0, Lorenz96Orientation::mirrored}, 2);
  check_law(LotkaVolterra{}, 3);
  check_law(DampedSpring{}, 4);
}

TEST_CASE("largest Lyapunov exponents: Lorenz-63 0.906, Lorenz-96 with F = 8, n = 40 about 1.67") {
  const auto climate = [](const auto& law, index_t count) {
    ChainOptions options;
    options.noise = 0;
    options.burn_in = 400;
    options.kept = 1;
    return reshape(simulate_chains<double>(law, count, options), {count, -1});
  };
  const Lorenz63 convection;
  const auto l63 = largest_lyapunov_exponent(Transition<Lorenz63>{convection, 0.01, 1}, climate(convection, 32), 0.01,
                                             {.steps = 4000, .discard = 500});
  INFO(l63.exponent << " +- " << l63.standard_error);
  CHECK(std::abs(l63.exponent - 0.906) < 0.03);
  CHECK(l63.standard_error < 0.03);
  CHECK(l63.of_trajectories.size() == 32);
  const Lorenz96 ring;
  const auto l96 = largest_lyapunov_exponent(Transition<Lorenz96>{ring, 0.02, 1}, climate(ring, 16), 0.02,
                                             {.steps = 2000, .discard = 500});
  INFO(l96.exponent << " +- " << l96.standard_error);
  CHECK(std::abs(l96.exponent - 1.67) < 0.06);
  CHECK_THROWS_AS(
      largest_lyapunov_exponent(Transition<Lorenz63>{convection, 0.01, 1}, Plain::zeros({1, 3}), 0.01, {.steps = 9}),
      ArgumentError);
}

TEST_CASE("priors and chains have the moments they are defined by") {
  const index_t count = 40000;
  const auto prior = prior_states<double>(Lorenz63{}, count, Key{5}).to_vector();
  std::vector<double> mean(3, 0), covariance(9, 0);
  for (index_t c = 0; c < count; ++c)
    for (std::size_t i = 0; i < 3; ++i) mean[i] += prior[static_cast<std::size_t>(3 * c) + i] / count;
  for (index_t c = 0; c < count; ++c)
    for (std::size_t i = 0; i < 9; ++i)
      covariance[i] += (prior[static_cast<std::size_t>(3 * c) + i / 3] - mean[i / 3]) *
                       (prior[static_cast<std::size_t>(3 * c) + i % 3] - mean[i % 3]) / count;
  const double wanted_mean[] = {0, 0, 25}, wanted[] = {64, 50, 0, 50, 81, 0, 0, 0, 75};
  for (std::size_t i = 0; i < 3; ++i) CHECK(std::abs(mean[i] - wanted_mean[i]) < 0.2);
  for (std::size_t i = 0; i < 9; ++i) CHECK(std::abs(covariance[i] - wanted[i]) < 2);

  // What is left of a chain after its transitions is N(0, dt).
  const auto chains = simulate_chains<double>(Lorenz63{}, 50, {.burn_in = 10, .kept = 100, .key = Key{6}});
  const auto residual = slice(chains, 1, 1) - transition(Lorenz63{}, slice(chains, 1, 0, 99), 0.025);
  const auto values = residual.to_vector();
  double square_sum = 0;
  for (const double v : values) square_sum += v * v;
  const double n = static_cast<double>(values.size());
  CHECK(std::abs(mean_of(values)) < 4 * std::sqrt(0.025 / n));
  CHECK(std::abs(square_sum / n / 0.025 - 1) < 4 * std::sqrt(2 / n));
  const double log_density = -0.5 * square_sum / 0.025 - n / 2 * std::log(2 * 3.14159265358979323846 * 0.025);
  CHECK(sum(chain_log_density(Lorenz63{}, chains, 0.025)).item() == Approx(log_density).epsilon(1e-10));

  // The spring's stationary force has the variance dt / (1 - 0.99^2).
  const auto spring = simulate_chains<double>(DampedSpring{}, 4000, {.dt = 0.01, .burn_in = 600, .kept = 1});
  double force = 0;
  for (const double f : at(spring, 2, 3).to_vector()) force += f * f / 4000;
  CHECK(force == Approx(0.01 / (1 - 0.99 * 0.99)).epsilon(0.1));
}

TEST_CASE("the density of chains is differentiable in their states") {
  const auto chains = simulate_chains<double>(Lorenz63{}, 2, {.burn_in = 50, .kept = 6, .key = Key{8}});
  const auto density = [](const auto& x) { return sum(chain_log_density(Lorenz63{}, x, 0.025, 2)); };
  const auto values = Numbers(9).vector(static_cast<std::size_t>(chains.size()));
  const Plain direction = Plain::from(std::span<const double>(values), chains.shape());
  const double forward = jvp(density, chains, direction).tangent.item();
  CHECK(forward == Approx(dot(grad(density, chains), direction).item()).epsilon(1e-12));
  const double h = 1e-6;
  const double difference = (density(chains + direction * h) - density(chains - direction * h)).item() / (2 * h);
  CHECK(forward == Approx(difference).epsilon(1e-7));
}

TEST_CASE("the data set is stored normalised and split 819, 102, 103") {
  const auto chains = simulate_chains<float>(Lorenz63{}, 64, {.burn_in = 256, .kept = 64});
  const auto stored = Lorenz63{}.normalised(chains);
  CHECK(stored.shape() == Shape{64, 64, 3});
  const auto values = stored.to_vector();
  double square_sum = 0;
  for (const float v : values) square_sum += static_cast<double>(v) * static_cast<double>(v);
  CHECK(square_sum / static_cast<double>(values.size()) == Approx(1).margin(0.1));
  CHECK(max(abs(Lorenz63{}.denormalised(stored) - chains)).item() < 1e-5f);
  const DataSplit split = split_by_index(1024);
  CHECK(split.train == 819);
  CHECK(split.valid == 102);
  CHECK(split.test == 103);
  CHECK(split_by_index(0).test == 0);
  CHECK(split_by_index(1).test == 1);
}

TEST_CASE("a chain depends on the key and its number alone") {
  const Lorenz96 law{6};
  const ChainOptions all{.burn_in = 5, .kept = 4, .key = Key{9}};
  const auto whole = simulate_chains<double>(law, 5, all);
  ChainOptions part = all;
  part.first = 3;
  CHECK(simulate_chains<double>(law, 2, part).to_vector() == slice(whole, 0, 3).to_vector());
  const int threads = threads::count();
  threads::set_count(1);
  const auto single = simulate_chains<double>(law, 5, all).to_vector();
  threads::set_count(4);
  CHECK(simulate_chains<double>(law, 5, all).to_vector() == single);
  threads::set_count(threads);
  CHECK(whole.to_vector() == single);
  ChainOptions other = all;
  other.key = Key{10};
  CHECK(simulate_chains<double>(law, 5, other).to_vector() != single);
}

TEST_CASE("the Kalman smoother is the joint Gaussian conditioned on the observations") {
  // The joint density of all states and observations, written as one large matrix.
  const double dt = 0.3;
  const index_t times = 6, d = 4, m = 2;
  const Plain h = Plain::from({1, 0, 0, 0, 0, 0, 0.5, 1}, {2, 4}),
              noise = Plain::from({0.04, 0.01, 0.01, 0.09}, {2, 2});
  const auto model = DampedSpring::model<Plain>(dt, h, noise);
  const std::vector<bool> observed{true, true, false, false, true, true};
  const auto y_values = Numbers(12).vector(static_cast<std::size_t>(2 * times * m), -2, 2);
  const Plain y = Plain::from(std::span<const double>(y_values), {2, times, m});

  std::vector<Plain> means{reshape(model.mean, {4, 1})}, variances{model.covariance};
  for (index_t t = 1; t < times; ++t) {
    means.push_back(matmul(model.transition, means.back()));
    variances.push_back(matmul(matmul(model.transition, variances.back()), transpose(model.transition)) +
                        model.process);
  }
  std::vector<Plain> rows;
  for (index_t s = 0; s < times; ++s) {
    std::vector<Plain> blocks;
    for (index_t t = 0; t < times; ++t) {
      Plain block = variances[static_cast<std::size_t>(std::min(s, t))];
      for (index_t k = t; k < s; ++k) block = matmul(model.transition, block);
      for (index_t k = s; k < t; ++k) block = matmul(block, transpose(model.transition));
      blocks.push_back(block);
    }
    rows.push_back(concat(1, blocks));
  }
  const Plain joint = concat(0, rows), all_means = concat(0, means);
  std::vector<double> select;
  index_t seen = 0;
  for (index_t t = 0; t < times; ++t) {
    if (!observed[static_cast<std::size_t>(t)]) continue;
    ++seen;
    for (index_t o = 0; o < m; ++o)
      for (index_t k = 0; k < times * d; ++k)
        select.push_back(k / d == t ? h.to_vector()[static_cast<std::size_t>(o * d + k % d)] : 0);
  }
  const Plain big_h = Plain::from(std::span<const double>(select), {seen * m, times * d});
  std::vector<double> big_noise(static_cast<std::size_t>(seen * m * seen * m), 0);
  for (index_t a = 0; a < seen * m; ++a)
    for (index_t b = 0; b < seen * m; ++b)
      if (a / m == b / m)
        big_noise[static_cast<std::size_t>(a * seen * m + b)] =
            noise.to_vector()[static_cast<std::size_t>(a % m * m + b % m)];
  const Plain s = matmul(matmul(big_h, joint), transpose(big_h)) +
                  Plain::from(std::span<const double>(big_noise), {seen * m, seen * m});
  const Plain factor = cholesky(s);
  const Plain gain = transpose(cholesky_solve(factor, matmul(big_h, joint)));
  const Plain posterior = joint - matmul(gain, matmul(big_h, joint));

  const auto filter = kalman_filter(model, y, observed);
  const auto smooth = kalman_smoother(model, filter);
  for (index_t b = 0; b < 2; ++b) {
    std::vector<double> data;
    for (index_t t = 0; t < times; ++t)
      for (index_t o = 0; o < m && observed[static_cast<std::size_t>(t)]; ++o)
        data.push_back(y_values[static_cast<std::size_t>((b * times + t) * m + o)]);
    const Plain innovation = Plain::from(std::span<const double>(data), {seen * m, 1}) - matmul(big_h, all_means);
    const Plain mean = all_means + matmul(gain, innovation);
    const Plain whitened = solve_triangular(factor, innovation);
    const double log_density = -0.5 * (sum(square(whitened)).item() + cholesky_log_det(factor).item() +
                                       static_cast<double>(seen * m) * std::log(2 * 3.14159265358979323846));
    CHECK(filter.log_likelihood.to_vector()[static_cast<std::size_t>(b)] == Approx(log_density).epsilon(1e-12));
    for (index_t t = 0; t < times; ++t) {
      const auto place = static_cast<std::size_t>(t);
      CHECK(largest_difference(at(smooth.means[place], 0, b), reshape(slice(mean, 0, 4 * t, 4 * t + 4), {4})) < 1e-12);
      CHECK(largest_difference(smooth.covariances[place],
                               slice(slice(posterior, 0, 4 * t, 4 * t + 4), 1, 4 * t, 4 * t + 4)) < 1e-12);
    }
  }
  CHECK_THROWS_AS(kalman_filter(model, Plain::zeros({2, 3, 1})), ShapeError);
  CHECK_THROWS_AS(kalman_filter(model, y, {true}), ShapeError);
}

TEST_CASE("the density of observations is differentiable in them and in the model") {
  const Plain h = Plain::from({1, 0, 0, 0}, {1, 4}), noise = Plain::full({1, 1}, 0.04);
  const auto model = DampedSpring::model<Plain>(0.1, h, noise);
  const Plain y = Plain::from({0.9, 1.2, 0.7}, {1, 3, 1}), direction = Plain::from({1, -2, 0.5}, {1, 3, 1});
  const auto of_data = [&](const auto& data) { return sum(kalman_filter(model, data).log_likelihood); };
  const double forward = jvp(of_data, y, direction).tangent.item();
  CHECK(forward == Approx((of_data(y + direction * 1e-5) - of_data(y - direction * 1e-5)).item() / 2e-5).epsilon(1e-8));
  CHECK(forward == Approx(dot(grad(of_data, y), direction).item()).epsilon(1e-12));
  const auto loss = [&](const auto& at) { return sum(kalman_filter(at, y).log_likelihood); };
  const auto gradient = grad(loss, model);
  auto moved = model;
  const double step = 1e-5;
  std::vector<double> up = model.process.to_vector(), down = up;
  up[5] += step;
  down[5] -= step;
  moved.process = Plain::from(std::span<const double>(up), {4, 4});
  const double above = loss(moved).item();
  moved.process = Plain::from(std::span<const double>(down), {4, 4});
  CHECK(gradient.process.to_vector()[5] == Approx((above - loss(moved).item()) / (2 * step)).epsilon(1e-6));
}

TEST_CASE("states and options without meaning are refused by name") {
  const Plain x = Plain::zeros({2, 3});
  CHECK_THROWS_WITH(transition(Lorenz96{5}, x, 0.1), contains("[..., 5], given [2, 3]"));
  CHECK_THROWS_AS(transition(DampedSpring{}, x, 0.1), ShapeError);
  CHECK_THROWS_AS(transition(Lorenz63{}, x, 0.1, 0), ArgumentError);
  CHECK_THROWS_AS(transition(Lorenz63{}, x, std::numeric_limits<double>::infinity()), ArgumentError);
  CHECK_THROWS_AS(simulate_chains<double>(Lorenz63{}, 0), ArgumentError);
  CHECK_THROWS_AS(simulate_chains<double>(Lorenz63{}, 1, {.kept = 0}), ArgumentError);
  CHECK_THROWS_AS(simulate_chains<double>(Lorenz63{}, 1, {.noise = -1.0}), ArgumentError);
  CHECK_THROWS_AS(chain_log_density(Lorenz63{}, Plain::zeros({1, 1, 3}), 0.1), ShapeError);
  CHECK_THROWS_AS(chain_log_density(Lorenz63{}, Plain::zeros({1, 2, 3}), 0.1, 1, 0.0), ArgumentError);
  try {
    simulate_chains<double>(Lorenz63{}, 2, {.dt = 5.0, .burn_in = 20, .kept = 20});
    FAIL("a step of 5 was accepted");
  } catch (const UnstableStep& error) {
    CHECK(error.cell()[0] == 0);
    // The step in which it happened, not the last one.
    CHECK(error.step() >= 1);
    CHECK(error.step() < 20);
  }
}
