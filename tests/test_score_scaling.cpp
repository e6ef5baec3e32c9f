// What does and what does not scale with the number of observations, in closed form: sections 6.1 to 6.5 of the
// specification, and the default sampler from 1 to 10^4 observations.

#include <kolmo/score/linear_gaussian_compare.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::score;

namespace {

SamplerOptions uniform(index_t steps) { return SamplerOptions::predictor_corrector(steps, 0); }

}  // namespace

TEST_CASE("R9: the exact score reaches a transport distance of .06 at every N, and half the steps are not enough") {
  const double coarse[] = {.19, .10, .03};
  int i = 0;
  for (const index_t every : {1, 4, 16}) {
    INFO("every " << every);
    CHECK(compare_with_posterior({.every = every}, {}, Schedule{}, uniform(256)).transport < .06);
    CHECK(compare_with_posterior({.every = every}, {}, Schedule{}, uniform(64)).transport ==
          Approx(coarse[i++]).margin(.0051));
  }
}

TEST_CASE("6.5: for a white prior PiGDM and TMPD are exact") {
  for (const index_t every : {1, 4}) {
    const PeriodicProblem problem{.every = every, .length = 0};
    const GaussianComparison exact = compare_with_posterior(problem, {}, Schedule{}, uniform(64));
    for (const AffineKind kind : {AffineKind::pigdm, AffineKind::tmpd}) {
      const GaussianComparison c = compare_with_posterior(problem, {.kind = kind}, Schedule{}, uniform(64));
      CHECK(c.bias == Approx(exact.bias).epsilon(1e-9));
      CHECK(c.spread == Approx(exact.spread).epsilon(1e-9));
      CHECK(c.transport == Approx(exact.transport).epsilon(1e-6));
      CHECK(c.residual == Approx(exact.residual).epsilon(1e-9));
    }
  }
}

TEST_CASE("R10: a deviation scaled with the number of observations fails the tests of spread and residual") {
  for (const double q : {4., 1. / 4}) {
    const AffineMethod scaled{.deviation = .1 * std::sqrt(q)};
    const GaussianComparison c = compare_with_posterior({}, scaled, Schedule{}, {});
    INFO("q = " << q);
    CHECK(std::abs(c.spread - 1) > .2);
    CHECK(std::abs(c.residual - 1) > .1);
    // With the truth both are right.
    const GaussianComparison right = compare_with_posterior({}, {}, Schedule{}, {});
    CHECK(right.spread == Approx(1).epsilon(.003));
    CHECK(right.residual == Approx(1).epsilon(.003));
  }
}

TEST_CASE("R4: the mean over observations divides the likelihood by N exactly") {
  const PeriodicProblem problem{.every = 4};
  for (const double t : {.1, .5, .9}) {
    const LikelihoodNorms sum = likelihood_norms(problem, {.kind = AffineKind::sda}, Schedule{}, t);
    const LikelihoodNorms mean = likelihood_norms(problem, {.kind = AffineKind::mean_reduction}, Schedule{}, t);
    CHECK(mean.likelihood * 16 == Approx(sum.likelihood).epsilon(1e-14));
    CHECK(mean.prior == sum.prior);
  }
}

TEST_CASE("R7: the border of stability of explicit steps") {
  const double sensors[][2] = {{.4, .16}, {.2, .04}, {.15, .02}, {.1, .01}, {.05, .0025}, {.025, .0006}};
  struct Row {
    double eta;
    index_t steps;
    double values[6];
  };
  const Row rows[] = {{1e-3, 64, {30, 7.5, 4.1, 1.9, .47, .12}},
                      {1e-3, 256, {120, 30, 16, 7.5, 1.9, .46}},
                      {1e-2, 256, {126, 31, 17, 7.9, 2.0, .49}},
                      {1e-3, 512, {240, 60, 33, 15, 3.8, .93}}};
  for (const Row& row : rows)
    for (int i = 0; i < 6; ++i) {
      const Schedule schedule{.eta = row.eta};
      const std::vector<double> times = time_points(schedule, uniform(row.steps).grid, row.steps);
      INFO("eta " << row.eta << ", " << row.steps << " steps, column " << i);
      CHECK(largest_stable_redundancy(schedule, times, sensors[i][0], sensors[i][1]) ==
            Approx(row.values[i]).epsilon(.03).margin(.0055));
    }
  // A white prior has one observation per degree of freedom: 2.0 is stable, .49 is not.
  const Schedule schedule{.eta = 1e-2};
  const auto run = [&](double deviation, double gamma) {
    const PeriodicProblem problem{.points = 128, .length = 0, .deviation = deviation};
    return compare_with_posterior(problem, {.kind = AffineKind::sda, .gamma = gamma}, schedule, uniform(256));
  };
  CHECK(run(.05, .0025).bias < 2);
  CHECK(run(.025, .0006).bias > 1e10);
}

TEST_CASE("6.4: norms of the likelihood over N, with the diagonal variance and exact") {
  struct Row {
    double length, t;
    double diagonal[5], exact[5];
  };
  const Row rows[] = {{0, .5, {81.1, 57.4, 40.6, 28.7, 20.3}, {4.10, 2.90, 2.05, 1.45, 1.02}},
                      {4, .9, {.237, .118, .0593, .0308, .0208}, {.271, .270, .270, .245, .179}},
                      {4, .5, {129, 64.7, 32.5, 19.1, 13.5}, {2.71, 2.69, 2.67, 2.19, 1.54}},
                      {4, .2, {58.3, 29.9, 15.8, 10.9, 7.69}, {3.59, 3.48, 3.26, 2.34, 1.66}},
                      {16, .9, {.873, .436, .218, .109, .0548}, {.268, .267, .266, .265, .261}},
                      {16, .5, {102, 51.1, 25.8, 13.2, 7.17}, {1.74, 1.71, 1.66, 1.59, 1.44}},
                      {4, .05, {6.56, 4.04, 2.68, 1.89, 1.34}, {3.15, 2.55, 1.92, 1.36, .960}}};
  for (const Row& row : rows)
    for (int i = 0; i < 5; ++i) {
      const PeriodicProblem problem{.every = index_t{1} << i, .length = row.length};
      INFO("length " << row.length << ", t " << row.t << ", N " << problem.observations());
      const AffineMethod sda{.kind = AffineKind::sda};
      CHECK(likelihood_norms(problem, sda, Schedule{}, row.t).likelihood == Approx(row.diagonal[i]).epsilon(.0051));
      CHECK(likelihood_norms(problem, {}, Schedule{}, row.t).likelihood == Approx(row.exact[i]).epsilon(.0051));
    }
}

TEST_CASE("The default sampler: bias within .03 and spread within 3 % from 1 to 10^4 observations") {
  double worst_bias = 0, least = 2, most = 0;
  index_t fewest = 1000, many = 0;
  const auto check = [&](const PeriodicProblem& problem) {
    const GaussianComparison c = compare_with_posterior(problem, {}, Schedule{}, {});
    worst_bias = larger(worst_bias, c.bias);
    least = smaller(least, c.spread);
    most = larger(most, c.spread);
    fewest = smaller(fewest, problem.observations());
    many = larger(many, problem.observations());
  };
  for (const double deviation : {.01, .05, .1, .4})
    for (const double length : {0., 1., 4., 16.}) {
      for (const index_t every : {1, 2, 8, 64})
        for (const index_t n : {1, 7, 64}) check({n * every, every, length, deviation});
      check({1000, 1, length, deviation});
    }
  check({10000, 1, 16, .1});
  check({40000, 4, 4, .1});
  CHECK(fewest == 1);
  CHECK(many == 10000);
  // The issue asks for .03, .97 and 1.03; 32 evaluations do better.
  CHECK(worst_bias < .005);
  CHECK(least > .998);
  CHECK(most < 1.001);
}

TEST_CASE("Problems that make no sense, and samplers that draw noise, are refused") {
  CHECK_THROWS_AS(mode_groups({.points = 10, .every = 3}), ArgumentError);
  CHECK_THROWS_AS(mode_groups({.length = -1}), ArgumentError);
  CHECK_THROWS_AS(mode_groups({.deviation = 0}), ArgumentError);
  CHECK_THROWS_AS(mode_groups({.white = 0}), ArgumentError);
  CHECK_THROWS_AS(compare_with_posterior({}, {}, Schedule{}, SamplerOptions::predictor_corrector(8, 1)), ArgumentError);
  SamplerOptions stochastic = uniform(8);
  stochastic.eta = 1;
  CHECK_THROWS_AS(compare_with_posterior({}, {}, Schedule{}, stochastic), ArgumentError);
}
