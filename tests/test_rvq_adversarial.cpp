// Adversarial losses by hand, the loss balancer, and when adversarial losses join.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/rvq/adversarial_schedule.hpp>
#include <kolmo/rvq/loss_balancer.hpp>
#include <kolmo/rvq/losses/adversarial.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using kolmo_test::contains;

namespace {

using Ten = Tensor<double, Cpu>;

Ten vector(std::initializer_list<double> values) {
  return Ten::from(values, Shape{static_cast<index_t>(values.size())});
}

/// A judgement with one feature.
Judgement<Ten> judged(const Ten& score, const Ten& feature = Ten::ones(Shape{1})) { return {score, {feature}}; }

/// The score as the only variable.
template <class X>
std::vector<Judgement<X>> only(const X& score) {
  return {{score, {score}}};
}

}  // namespace

TEST_CASE("Hinge and least squares are their definitions, for both sides") {
  const std::vector<Judgement<Ten>> real = {judged(vector({2, 0.5, -1})), judged(vector({1}))};
  const std::vector<Judgement<Ten>> generated = {judged(vector({-2, 0, 0.5})), judged(vector({-0.5, 2.5}))};
  // First: (0 + 0.5 + 2) / 3 + (0 + 1 + 1.5) / 3; second: 0 + (0.5 + 3.5) / 2.
  CHECK(discriminator_loss(real, generated).item() == Approx(5.0 / 3 + 2));
  CHECK(discriminator_loss(real, generated, {.average = true}).item() == Approx((5.0 / 3 + 2) / 2));
  // -(-2 + 0 + 0.5) / 3 - (2 / 2); bounded: (3 + 1 + 0.5) / 3 + (1.5 + 0) / 2.
  CHECK(generator_loss(generated).item() == Approx(0.5 - 1));
  CHECK(generator_loss(generated, {.bounded_generator = true}).item() == Approx(1.5 + 0.75));
  // (1 + 0.25 + 4) / 3 + (4 + 0 + 0.25) / 3; 0 + (0.25 + 6.25) / 2.
  const AdversarialOptions squares{.kind = AdversarialKind::least_squares};
  CHECK(discriminator_loss(real, generated, squares).item() == Approx(9.5 / 3 + 3.25));
  // (9 + 1 + 0.25) / 3 + (2.25 + 2.25) / 2.
  CHECK(generator_loss(generated, squares).item() == Approx(10.25 / 3 + 2.25));
}

TEST_CASE("Discriminators stop at the margin of the hinge, generators go on") {
  const Ten score = vector({2, 0.5, -3});
  const auto d_real = grad([&](const auto& x) { return discriminator_loss(only(x), only(vector({-2}))); }, score);
  CHECK(d_real.to_vector() == std::vector<double>{0, -1.0 / 3, -1.0 / 3});
  const auto d_fake = grad([&](const auto& x) { return discriminator_loss(only(vector({2})), only(x)); }, score);
  CHECK(d_fake.to_vector() == std::vector<double>{1.0 / 3, 1.0 / 3, 0});
  const auto g = grad([&](const auto& x) { return generator_loss(only(x)); }, score);
  CHECK(g.to_vector() == std::vector<double>{-1.0 / 3, -1.0 / 3, -1.0 / 3});
}

TEST_CASE("Feature matching sums the layers, holds real features constant, and can be relative") {
  const std::vector<Judgement<Ten>> real = {{vector({0}), {vector({1, 3}), vector({-4})}}};
  const std::vector<Judgement<Ten>> generated = {{vector({9}), {vector({2, 1}), vector({-1})}}};
  CHECK(feature_loss(real, generated).item() == Approx(1.5 + 3));
  CHECK(feature_loss(real, generated, {.relative_features = true}).item() == Approx(1.5 / 2 + 3.0 / 4));
  CHECK(feature_loss(real, real).item() == 0);
  // Silent features divide by nothing.
  const std::vector<Judgement<Ten>> silent = {{vector({0}), {vector({0, 0})}}};
  CHECK(feature_loss(silent, silent, {.relative_features = true}).item() == 0);
  const Ten f = vector({1, 3});
  const auto to_generated = grad([&](const auto& x) { return feature_loss(only(f), only(x)); }, vector({2, 1}));
  CHECK(to_generated.to_vector() == std::vector<double>{0.5, -0.5});
  const auto to_real = grad([&](const auto& x) { return feature_loss(only(x), only(x)); }, vector({2, 1}));
  CHECK(to_real.to_vector() == std::vector<double>{0, 0});
}

TEST_CASE("Judgements that do not belong together are refused") {
  const std::vector<Judgement<Ten>> none, one = {judged(vector({1}))}, two = {one[0], one[0]};
  CHECK_THROWS_AS(generator_loss(none), ArgumentError);
  CHECK_THROWS_AS(discriminator_loss(one, two), ArgumentError);
  CHECK_THROWS_AS(feature_loss(one, two), ArgumentError);
  CHECK_THROWS_AS(feature_loss(one, std::vector<Judgement<Ten>>{{vector({1}), {}}}), ArgumentError);
}

TEST_CASE("R29: adversarial losses grow linearly from their begin, and never at the step of a new stage") {
  const AdversarialSchedule schedule{.begin = 1650, .ramp = 500};
  CHECK(schedule.weight(0) == 0);
  CHECK(schedule.weight(1649) == 0);
  CHECK_FALSE(schedule.active(1649));
  CHECK(schedule.active(1650));
  CHECK(schedule.weight(1650) == 0);
  CHECK(schedule.weight(1900) == 0.5);
  CHECK(schedule.weight(2149) == Approx(499.0 / 500));
  CHECK(schedule.weight(2150) == 1);
  CHECK(schedule.weight(1000000) == 1);
  CHECK(AdversarialSchedule{.begin = 10, .ramp = 0}.weight(10) == 1);
  CHECK(AdversarialSchedule{.begin = -1}.weight(1000000) == 0);
  // A stage joins every 300 steps: neither 1650 nor 2150 is one of those.
  CHECK_NOTHROW(schedule.check(300, 8));
  CHECK_THROWS_WITH(schedule.check(330, 8), contains("1650") && contains("330"));
  CHECK_THROWS_WITH(schedule.check(430, 8), contains("2150") && contains("430"));
  CHECK_THROWS_AS(schedule.check(330, 8), ArgumentError);
  // Both ends of the original: begin 2000, ramp 2000, a stage every 2000 steps.
  CHECK_THROWS_AS((AdversarialSchedule{2000, 2000}.check(2000, 8)), ArgumentError);
  // After the last stage there is nothing to collide with.
  CHECK_NOTHROW(schedule.check(330, 5));
  CHECK_THROWS_AS((AdversarialSchedule{-2, 5}.check(0, 1)), ArgumentError);
  CHECK_THROWS_AS((AdversarialSchedule{5, -1}.check(0, 1)), ArgumentError);
}

TEST_CASE("The balancer gives every loss its share of the gradient, whatever its scale") {
  LossBalancer balancer;
  // Item norms 5 and 0, mean 2.5; and 2 each.
  const Ten a = Ten::from({3, 4, 0, 0}, Shape{2, 2}), b = Ten::from({0, 2, 2, 0}, Shape{2, 2});
  const std::vector<LossGradient<Ten>> losses = {{0, 1, a}, {2, 3, b * 1e6}};
  const auto first = balance<Ten>(balancer, losses).to_vector();
  const std::vector<double> expected = {0.25 * 3 / 2.5, 0.25 * 4 / 2.5 + 0.75, 0.75, 0};
  for (std::size_t i = 0; i < 4; ++i) CHECK(first[i] == Approx(expected[i]).margin(1e-12));
  // The means remember: a second gradient ten times larger counts with the average of both, corrected for the start.
  const std::vector<LossGradient<Ten>> larger = {{0, 1, a * 10.0}};
  const double mean_norm = (0.999 * 2.5 + 25) / 1.999;
  const auto second = balance<Ten>(balancer, larger).to_vector();
  CHECK(second[0] == Approx(30 / mean_norm));
  CHECK(balancer.mean_norm(0) == Approx(mean_norm));
  CHECK(balancer.mean_norm(1) == 0);
  CHECK(balancer.mean_norm(2) == Approx(2e6));
  CHECK_THROWS_AS(balance<Ten>(balancer, {}), ArgumentError);
  CHECK_THROWS_AS((balance<Ten>(balancer, std::vector<LossGradient<Ten>>{{0, -1, a}})), ArgumentError);
  CHECK_THROWS_AS((balance<Ten>(balancer, std::vector<LossGradient<Ten>>{{0, 1, a}, {1, 1, vector({1})}})), ShapeError);
}
