// The diffusion process: schedules against the printed values of the specification, text and back, conversions between
// eps, xhat, v and score, preconditioning, and the denoising loss with its smallest reachable value.

#include <algorithm>
#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/ops/views.hpp>
#include <kolmo/score/denoising_loss.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::score;
using V = Tensor<double, Cpu>;

namespace {

double largest_difference(const V& a, const V& b) { return max(abs(a - b)).item(); }

}  // namespace

TEST_CASE("1.3: mu and sigma of cos, lin and exp at eta = 1e-3") {
  struct Row {
    double t, cos_mu, cos_sigma, lin_mu, lin_sigma, exp_mu, exp_sigma;
  };
  const Row rows[] = {{0, 1, .001, 1, .001, 1, .001},
                      {.25, .859100, .511809, .750250, .661155, .649382, .760463},
                      {.5, .515811, .856703, .500500, .865737, .177828, .984062},
                      {.75, .163611, .986525, .250750, .968052, .020535, .999790},
                      {1, .001, 1, .001, 1, .001, 1}};
  for (const Row& row : rows) {
    const Schedule cos, lin{.kind = ScheduleKind::lin}, exp{.kind = ScheduleKind::exp};
    INFO("t = " << row.t);
    CHECK(std::abs(cos.mu(row.t) - row.cos_mu) < 5.1e-7);
    CHECK(std::abs(cos.sigma(row.t) - row.cos_sigma) < 5.1e-7);
    CHECK(std::abs(lin.mu(row.t) - row.lin_mu) < 5.1e-7);
    CHECK(std::abs(lin.sigma(row.t) - row.lin_sigma) < 5.1e-7);
    CHECK(std::abs(exp.mu(row.t) - row.exp_mu) < 5.1e-7);
    CHECK(std::abs(exp.sigma(row.t) - row.exp_sigma) < 5.1e-7);
  }
}

TEST_CASE("R1: rho over t, for two eta and the linear beta") {
  struct Row {
    double t, cos_3, cos_2, beta;
  };
  const Row rows[] = {{.01, .02179, .02308, .04469}, {.05, .1092, .1048, .1741}, {.1, .2207, .2109, .3402},
                      {.2, .4609, .4382, .7204},     {.5, 1.661, 1.519, 3.413},  {.7, 4.345, 3.631, 11.81},
                      {.9, 29.37, 16.67, 58.83},     {1, 1000, 100, 152.2}};
  const Schedule cos_3, cos_2{.eta = 1e-2}, beta{.kind = ScheduleKind::linear_beta};
  for (const Row& row : rows) {
    INFO("t = " << row.t);
    CHECK(cos_3.rho(row.t) == Approx(row.cos_3).epsilon(3.5e-4));
    CHECK(cos_2.rho(row.t) == Approx(row.cos_2).epsilon(3.5e-4));
    CHECK(beta.rho(row.t) == Approx(row.beta).epsilon(3.5e-4));
  }
  // The time at which gamma rho^2 = std^2, gamma = 1e-2.
  CHECK(cos_3.time_of_rho(4) == Approx(.686).epsilon(1e-3));
  CHECK(cos_3.time_of_rho(1) == Approx(.3715).epsilon(2e-4));
  CHECK(cos_3.time_of_rho(.1) == Approx(.0458).epsilon(2e-3));
  CHECK(beta.time_of_rho(1) == Approx(.259).epsilon(2e-3));
}

TEST_CASE("1.2: processes at the ends, and the schedules of other libraries") {
  CHECK(Schedule{.process = ProcessKind::sub_vp}.sigma(.5) == Approx(1 - .515811 * .515811 + 1e-3).epsilon(1e-5));
  CHECK(Schedule{.process = ProcessKind::sub_sub_vp}.sigma(.5) == Approx(1 - .515811 + 1e-3).epsilon(1e-5));
  const Schedule ve{.process = ProcessKind::ve};
  CHECK(ve.sigma(0) == Approx(1e-3));
  CHECK(ve.sigma(.5) == Approx(1));
  CHECK(ve.mu(.5) == 1);
  const Schedule rectified{.kind = ScheduleKind::rectified};
  CHECK(rectified.mu(.25) == Approx(.75 + .25e-3));
  CHECK(rectified.sigma(.25) == Approx(.25 + .75e-3));
  const Schedule cosine{.kind = ScheduleKind::cosine};
  CHECK(cosine.mu(1) == Approx(1e-3));
  CHECK(cosine.mu(.5) == Approx(std::cos(.5 * std::acos(1e-3))));
  const Schedule decay{.kind = ScheduleKind::decay, .decay = .01};
  CHECK(decay.mu(.5) == Approx(1 - (1 - .1) / .99 * (1 - 1e-3)));
  CHECK(decay.sigma(1) == Approx(1));
  const Schedule logit{.kind = ScheduleKind::log_logit};
  CHECK(logit.sigma(.5) == Approx(1));
  // logit(e) = ln(e / (1 - e)), so the ends are sigma_min and sigma_max up to (1 - e)^-2, e = 1e-6^(1/4).
  CHECK(logit.sigma(0) == Approx(1e-3 / std::pow(1 - std::pow(1e-6, .25), 2)));
  const Schedule beta{.kind = ScheduleKind::linear_beta, .process = ProcessKind::sub_vp};
  CHECK(beta.sigma(.5) == Approx(1 - beta.mu(.5) * beta.mu(.5)));
  CHECK(beta.sigma(-1e-17) >= 0);
}

TEST_CASE("Schedules: time_of_rho inverts rho, and text gives the same schedule back") {
  for (int kind = 0; kind <= static_cast<int>(ScheduleKind::linear_beta); ++kind)
    for (int process = 0; process <= static_cast<int>(ProcessKind::ve); ++process) {
      Schedule s{.kind = static_cast<ScheduleKind>(kind), .process = static_cast<ProcessKind>(process), .eta = 3e-3};
      s.sigma_min = 2e-3;
      try {
        s.check();
      } catch (const ArgumentError&) {
        continue;  // the combinations that check refuses have a test below
      }
      INFO(name_of(s.kind) << " " << name_of(s.process));
      const Schedule back = Schedule::from_settings(s.settings());
      for (const double t : {0.0, .13, .5, .77, 1.0}) {
        CHECK(s.time_of_rho(s.rho(t)) == Approx(t).margin(1e-9));
        CHECK(back.mu(t) == s.mu(t));
        CHECK(back.sigma(t) == s.sigma(t));
      }
    }
}

TEST_CASE("Schedules: bad settings are named") {
  using kolmo_test::contains;
  auto settings = Schedule{}.settings();
  REQUIRE(settings == std::map<std::string, std::string>{{"schedule", "cos"}, {"process", "vp"}, {"eta", "0.001"}});
  settings["schedule"] = "sine";
  CHECK_THROWS_WITH(Schedule::from_settings(settings), contains("sine") && contains("rectified"));
  settings["schedule"] = "cos";
  settings["eta"] = "-1";
  CHECK_THROWS_WITH(Schedule::from_settings(settings), contains("eta") && contains("-1"));
  settings["eta"] = "small";
  CHECK_THROWS_WITH(Schedule::from_settings(settings), contains("small"));
  settings.erase("eta");
  CHECK_THROWS_WITH(Schedule::from_settings(settings), contains("'eta' is missing"));
  CHECK_THROWS_AS((Schedule{.eta = 2}.check()), ArgumentError);
  CHECK_THROWS_AS((Schedule{.kind = ScheduleKind::rectified, .process = ProcessKind::sub_vp}.check()), ArgumentError);
  CHECK_THROWS_AS((Schedule{.kind = ScheduleKind::linear_beta, .process = ProcessKind::sub_sub_vp}.check()),
                  ArgumentError);
  CHECK_THROWS_WITH(Schedule{}.time_of_rho(2e3), contains("2000") && contains("1000"));
}

TEST_CASE("Conversions: every pair agrees with the definitions, and gradients pass") {
  const Schedule schedule;
  const V x = V::from({.3, -1.2, 2., .7, -.4, 1.1}, Shape{2, 3}),
          noise = V::from({.5, .1, -2., 1., .2, -.6}, Shape{2, 3});
  const V times = V::from({.2, .999}, Shape{2});
  const V state = perturb(x, noise, schedule, times);
  const V mu = V::from({schedule.mu(.2), schedule.mu(.999)}, Shape{2, 1});
  const V sigma = V::from({schedule.sigma(.2), schedule.sigma(.999)}, Shape{2, 1});
  REQUIRE(largest_difference(state, mu * x + sigma * noise) < 1e-15);
  const V of[] = {noise, x, mu * noise - sigma * x, -noise / sigma};
  for (int from = 0; from < 4; ++from)
    for (int to = 0; to < 4; ++to) {
      INFO(from << " to " << to);
      CHECK(largest_difference(
                convert(static_cast<Prediction>(from), static_cast<Prediction>(to), state, of[from], schedule, times),
                of[to]) < 2e-11);
    }
  // A shared time as a number, and the derivative of xhat by eps.
  const double t = .4;
  const V one = perturb(x, noise, schedule, t);
  CHECK(largest_difference(xhat_from_eps(one, noise, schedule, t), x) < 1e-14);
  CHECK(largest_difference(eps_from_xhat(one, x, schedule, t), noise) < 1e-14);
  const V gradient = grad([&](const auto& e) { return sum(xhat_from_eps(one, e, schedule, t)); }, noise);
  CHECK(largest_difference(gradient, V::full(noise.shape(), -schedule.rho(t))) < 1e-14);
  CHECK_THROWS_AS(xhat_from_eps(one, noise, schedule, V::zeros(Shape{2, 1})), ShapeError);
}

TEST_CASE("Estimators of other quantities, and Karras' preconditioning, per sample and shared") {
  const Schedule schedule;
  const V x = V::from({.3, -1.2, 2., .7}, Shape{2, 2});
  const V times = V::from({.2, .8}, Shape{2});
  // For data N(0, 1): eps = sigma x / (mu^2 + sigma^2), xhat = mu x / (mu^2 + sigma^2): the best F is zero.
  const auto exact = [&](double t) {
    return schedule.sigma(t) / (std::pow(schedule.mu(t), 2) + std::pow(schedule.sigma(t), 2));
  };
  const auto zero = [](const auto& y, const auto&) { return y * 0.0; };
  const V both = Preconditioned{zero, schedule}(x, times);
  CHECK(largest_difference(slice(both, 0, 0, 1), slice(x, 0, 0, 1) * exact(.2)) < 1e-15);
  CHECK(largest_difference(slice(both, 0, 1, 2), slice(x, 0, 1, 2) * exact(.8)) < 1e-15);
  // With a network that is not zero: the definition xhat = skip x + out F(in x, ln rho).
  const double t = .3, mu = schedule.mu(t), sigma = schedule.sigma(t), norm = mu * mu + sigma * sigma;
  const auto network = [](const auto& y, double time) { return sin(y) * time; };
  const V xhat = x * (mu / norm) + sin(x / std::sqrt(norm)) * (std::log(sigma / mu) * sigma / std::sqrt(norm));
  CHECK(largest_difference(Preconditioned{network, schedule}(x, t), (x - xhat * mu) / sigma) < 1e-14);
  CHECK(edm_weight(schedule, t) == Approx(norm / (sigma * sigma)));
  const auto clean = [&](const auto&, double) { return xhat; };
  CHECK(largest_difference(EpsOf{clean, Prediction::xhat, schedule}(x, t), (x - xhat * mu) / sigma) < 1e-14);
}

TEST_CASE("1.4: the denoising loss is the mean square error, weighted by w / mean(w)") {
  const Schedule schedule;
  const V x = nn::normal_values<V>(Key{1}, Shape{4, 3}), noise = nn::normal_values<V>(Key{2}, Shape{4, 3});
  const V times = draw_times<V>(Key{3}, 4);
  const auto eps = [](const auto& y, const auto&) { return y * 0.5; };
  const V error = square(perturb(x, noise, schedule, times) * 0.5 - noise);
  CHECK(denoising_loss(eps, schedule, x, times, noise).item() == Approx(mean(error).item()));
  const V weights = V::from({1., 0., 3., 2.}, Shape{4, 1});
  CHECK(denoising_loss(eps, schedule, x, times, noise, weights).item() ==
        Approx(sum(error * weights).item() / (3 * 6)));
  CHECK_THROWS_AS(denoising_loss(eps, schedule, x, times, noise, V::zeros(Shape{4, 1})), ArgumentError);
  CHECK_THROWS_AS(denoising_loss(eps, schedule, x, times, noise, V::ones(Shape{2, 4, 3})), ShapeError);
  // As the loss of a training loop: the key alone decides, and weights of one change nothing.
  const DenoisingLoss loss{schedule};
  const double first = loss(eps, x, nn::Pass{Key{5}, true}).item();
  CHECK(first == loss(eps, std::make_tuple(x, V::ones(Shape{4, 1})), nn::Pass{Key{5}, true}).item());
  CHECK(first != loss(eps, x, nn::Pass{Key{6}, true}).item());
  CHECK_THROWS_AS(loss(eps, V::zeros(Shape{3}), nn::Pass{}), ShapeError);
}

TEST_CASE("Stratified times: one in each part of the unit interval") {
  std::vector<double> times = draw_times<V>(Key{7}, 16, TimeDraw::stratified).to_vector();
  CHECK(times[0] != *std::min_element(times.begin(), times.end()));
  std::sort(times.begin(), times.end());
  for (int i = 0; i < 16; ++i) {
    CHECK(times[static_cast<std::size_t>(i)] > i / 16.0);
    CHECK(times[static_cast<std::size_t>(i)] < (i + 1) / 16.0);
  }
}

TEST_CASE("9.7: the best estimator of Gaussian data reaches the smallest denoising loss, and no other does") {
  const Schedule schedule;
  const std::vector<double> eigenvalues{4, 1, .01};
  const double smallest = smallest_denoising_loss(schedule, eigenvalues);
  const auto estimator = [&](double scale) {
    return [&, scale](const V& x, const V& t) {
      V result = V::uninitialized(x.shape());
      double* out = result.mutable_data();
      const auto values = x.to_vector(), times = t.to_vector();
      for (std::size_t i = 0; i < values.size(); ++i) {
        const double s = schedule.sigma(times[i / 3]), m = schedule.mu(times[i / 3]);
        out[i] = scale * s * values[i] / (m * m * eigenvalues[i % 3] + s * s);
      }
      return result;
    };
  };
  const index_t n = 200000;
  const V x = nn::normal_values<V>(Key{1}, Shape{n, 3}) * V::from({2., 1., .1}, Shape{3});
  const V noise = nn::normal_values<V>(Key{2}, x.shape()), times = draw_times<V>(Key{3}, n, TimeDraw::stratified);
  CHECK(denoising_loss(estimator(1), schedule, x, times, noise).item() == Approx(smallest).epsilon(.01));
  CHECK(denoising_loss(estimator(.9), schedule, x, times, noise).item() > smallest * 1.01);
  CHECK_THROWS_AS(smallest_denoising_loss(schedule, std::vector<double>{-1}), ArgumentError);
  CHECK_THROWS_AS(smallest_denoising_loss(schedule, std::vector<double>{}), ArgumentError);
}
