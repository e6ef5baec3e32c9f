// The learned fitter: its kernels against the numbers and failure modes of the specification, its derivatives against
// dual numbers, and what the whole must keep: order, bounds, invariance, equal bits.

#include <cmath>
#include <limits>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/gmm/lamf_train.hpp>
#include <kolmo/gmm/max_of_normals.hpp>
#include <kolmo/gmm/v5.hpp>

#include "catch.hpp"
#include "device.hpp"

using namespace kolmo;
using namespace kolmo::gmm;
using kolmo_test::TestDevice;
using V = Tensor<double, Cpu>;
using F = Tensor<float, Cpu>;

namespace {

struct Reference {
  V masses, points, density;
};

// Density D of the specification on the V5 grid.
Reference reference_density() {
  const MaxOfNormals maximum(0.0, Variance(1.0), 1.0, Variance(0.8), 0.5);
  std::vector<double> z, w, f;
  double total = 0;
  for (int i = 0; i < 96; ++i) {
    z.push_back(-15.0 + 30.0 * i / 95.0);
    f.push_back(maximum.density(z.back()));
    w.push_back(f.back() * (i == 0 || i == 95 ? 0.5 : 1.0));
    total += w.back();
  }
  for (double& x : w) x /= total;
  const Shape shape{1, 96};
  return {V::from(w, shape), V::from(z, shape), V::from(f, shape)};
}

template <class P>
gmm::detail::LamfConstants<P> constants(const P& masses, const P& points, double floor, double largest, int components) {
  using T = typename P::Scalar;
  return {masses, points, P::full(Shape{masses.shape()[0]}, static_cast<T>(std::log(floor))),
          static_cast<T>(std::log(largest)), T(0.5), components};
}

V row(const std::vector<double>& weights, const std::vector<double>& means, const std::vector<double>& deviations) {
  std::vector<double> values;
  for (double x : weights) values.push_back(std::log(x));
  for (double x : means) values.push_back(x);
  for (double x : deviations) values.push_back(std::log(x));
  return V::from(values, Shape{1, static_cast<index_t>(values.size())});
}

void require_row(const V& actual, const std::vector<double>& weights, const std::vector<double>& means,
                 const std::vector<double>& deviations, double tolerance) {
  const auto x = actual.to_vector();
  const std::size_t k = weights.size();
  for (std::size_t i = 0; i < k; ++i) {
    CHECK(std::exp(x[i]) == Approx(weights[i]).epsilon(0).margin(tolerance));
    CHECK(x[k + i] == Approx(means[i]).epsilon(0).margin(tolerance));
    CHECK(std::exp(x[2 * k + i]) == Approx(deviations[i]).epsilon(0).margin(tolerance));
  }
}

LamfOptions small_options() {
  LamfOptions options;
  options.init_width = 32;
  options.refine_width = 16;
  options.iterations = 3;
  return options;
}

template <class P>
LamfInput<P> v5_input(index_t n, std::uint64_t seed = 3) {
  const auto set = make_v5<P>(Key{seed}, n, V5Options::training());
  PreprocessOptions options;
  options.scaling = Scaling::deviation;
  return lamf_input(preprocess(set.densities, set.grid, options, set.offsets));
}

/// Random weights everywhere, the zero-initialised last layer included.
template <class P>
Lamf<P> random_model(const LamfOptions& options, std::uint64_t seed) {
  Lamf<P> model(options);
  init(Key{seed}, model);
  auto& last = model.refine_network.layers.back();
  last.weight = nn::normal_values<P>(Key{seed + 1}, last.weight.shape(), 0, 1);
  last.bias = nn::normal_values<P>(Key{seed + 2}, last.bias.shape(), 0, 1);
  return model;
}

template <class P>
P input_weights(const Shape& shape) {
  return nn::normal_values<P>(Key{31}, shape);
}

}  // namespace

TEST_CASE("the parameter transform gives the specification's numbers") {
  const Reference d = reference_density();
  const V x = V::from({0, .1, .2, .3, .4, -1, 0, .5, 1, -1, -1, 0, 1, 2, -3}, Shape{1, 15});
  const V mixture =
      item_map(gmm::detail::ProjectSpec<V>{constants(d.masses, d.points, 0.01, 5.0, 5)}, Shape{1, 15}, x);
  require_row(mixture, {0.162120348, 0.179170694, 0.198014240, 0.218839579, 0.241855139},
              {-1, -0.306752819, 0.667424165, 1.980785852, 2.294147540},
              {0.323261688, 0.703147181, 1.323261688, 2.136928011, 0.058587352}, 1e-9);
}

TEST_CASE("a refinement without corrections is the specification's damped EM step") {
  const Reference d = reference_density();
  const auto c = constants(d.masses, d.points, 0.01, 5.0, 5);
  const V start = row({.2, .2, .2, .2, .2}, {-1.5, -.5, .5, 1.5, 2.5}, {.7, .7, .7, .7, .7});
  const V features = item_map(gmm::detail::StatisticsSpec<V>{c}, Shape{1, 5 * feature_count}, start, V::scalar(1.0));
  const V after =
      item_map(gmm::detail::UpdateSpec<V>{c}, Shape{1, 15}, features, V::zeros(Shape{1, 15}), V::scalar(0.5));
  require_row(after, {0.076386857, 0.174041272, 0.267636595, 0.278047571, 0.203887705},
              {-1.004637137, -0.191523268, 0.613363235, 1.427154207, 2.279612629},
              {0.628660346, 0.619027997, 0.619342373, 0.628804601, 0.658411727}, 1e-8);

  // Temperature 1.3, blend 0.4 and raw corrections (0.3, -0.2, 0.1); the reference scales the correction of the mean
  // by the standard deviation of the density, which is one in standardised coordinates.
  const double deviation = std::sqrt(0.752262812);
  const double mean_correction = std::atanh(deviation * std::tanh(-0.2));
  std::vector<double> raw;
  for (int k = 0; k < 5; ++k) raw.insert(raw.end(), {0.3, mean_correction, 0.1});
  const V warm = item_map(gmm::detail::StatisticsSpec<V>{c}, Shape{1, 5 * feature_count}, start, V::scalar(1 / 1.3));
  const V corrected =
      item_map(gmm::detail::UpdateSpec<V>{c}, Shape{1, 15}, warm, V::from(raw, Shape{1, 15}), V::scalar(0.4));
  require_row(corrected, {0.101966961, 0.183497220, 0.249775768, 0.257936210, 0.206823841},
              {-1.124578038, -0.299649291, 0.521616542, 1.350483082, 2.202648244},
              {0.694639345, 0.688792630, 0.689922234, 0.698447778, 0.717555442}, 1e-8);

  SECTION("and its losses are the specification's") {
    const V scale = V::ones(Shape{1});
    const LamfInput<V> input = lamf_input(d.masses, d.points, V::full(Shape{1}, 30.0 / 95.0));
    const LamfTarget<V> target = lamf_target(input, scale);
    LamfLossOptions terms;
    terms.l2 = 1.0;
    const auto loss = lamf_loss(input, target, after, terms);
    CHECK(loss.cross_entropy.item() == Approx(1.370326640).epsilon(0).margin(1e-8));
    CHECK(loss.l2.item() == Approx(0.000906141).epsilon(0).margin(1e-9));
    CHECK(target.entropy.item() == Approx(1.276546047).epsilon(0).margin(1e-8));
    terms.l2_integral = true;  // 96 dz times the mean
    CHECK(lamf_loss(input, target, after, terms).l2.item() == Approx(0.027470391).epsilon(0).margin(1e-8));
    LamfLossOptions soft = {};
    soft.soft_max = soft.alpha = 20.0;
    const double soft_term = lamf_loss(input, target, after, soft).total.item() - loss.divergence.item();
    // The reference sums where we average: log(96) / 20 more, and the weight 20 undoes the division by alpha.
    CHECK((soft_term + std::log(96.0)) / 20.0 == Approx(0.253139283).epsilon(0).margin(1e-8));
    LamfLossOptions top = {};
    top.top = 1.0;
    CHECK(lamf_loss(input, target, after, top).total.item() - loss.divergence.item() ==
          Approx(0.084754998).epsilon(0).margin(1e-8));
    LamfLossOptions moments = {};
    moments.moments = 1.0;
    CHECK(lamf_loss(input, target, after, moments).total.item() - loss.divergence.item() ==
          Approx(12.838855270).epsilon(1e-8));
  }
}

TEST_CASE("G-03: raw corrections of any size leave deviations within their bounds and gradients finite") {
  const LamfInput<F> input = v5_input<F>(4);
  const auto c = constants(input.masses, input.points, 0.3, 3.0, 5);
  for (const float size : {1e6f, -1e6f}) {
    Tape<F> tape;
    const auto start = tape.leaf(nn::normal_values<F>(Key{1}, Shape{4, 15}, 0, 1));
    const auto mixture = item_map(gmm::detail::ProjectSpec<F>{c}, Shape{4, 15}, start);
    const auto features = item_map(gmm::detail::StatisticsSpec<F>{c}, Shape{4, 5 * feature_count}, mixture, F::scalar(1));
    const auto after =
        item_map(gmm::detail::UpdateSpec<F>{c}, Shape{4, 15}, features, F::full(Shape{4, 15}, size), F::scalar(0.5f));
    const auto values = after.value.to_vector();
    for (std::size_t b = 0; b < 4; ++b)
      for (std::size_t k = 10; k < 15; ++k) {
        CHECK(values[15 * b + k] >= std::log(0.3f));
        CHECK(values[15 * b + k] <= std::log(3.0f) + 1e-6f);
      }
    tape.backward(sum(square(after)));
    for (const float g : tape.gradient(start).to_vector()) REQUIRE(is_finite(g));
  }
}

TEST_CASE("G-04, G-05: means stay ordered and within reach of the mass for random weights") {
  const LamfInput<F> input = v5_input<F>(50);
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto model = random_model<F>(small_options(), 100 * seed);
    for (const F& mixture : model.trajectory(input)) {
      const auto x = mixture.to_vector();
      for (std::size_t b = 0; b < 50; ++b) {
        double weight = 0;
        for (std::size_t k = 0; k < 5; ++k) weight += std::exp(static_cast<double>(x[15 * b + k]));
        REQUIRE(weight == Approx(1.0).epsilon(1e-5));
        for (std::size_t k = 6; k < 10; ++k) REQUIRE(x[15 * b + k - 1] <= x[15 * b + k]);
      }
    }
  }
}

TEST_CASE("G-06: the weights of deep supervision sum to one and grow with the iteration") {
  for (const auto supervision : {Supervision::final_only, Supervision::linear, Supervision::uniform}) {
    const auto weights = supervision_weights(supervision, 7);
    double total = 0;
    for (double w : weights) total += w;
    CHECK(total == Approx(1.0).epsilon(1e-14));
    CHECK(weights.back() >= weights.front());
  }
  CHECK_THROWS_AS(supervision_weights(Supervision::linear, 0), ArgumentError);
}

TEST_CASE("the kernels' gradients agree with dual numbers and with Richardson differences") {
  const LamfInput<V> input = v5_input<V>(3);
  const auto c = constants(input.masses, input.points, 0.05, 4.0, 3);
  const auto loss = [&](const auto& x) {
    const auto start = slice(x, 1, 0, 9), raw = slice(x, 1, 9, 18);
    const auto scalars = slice(x, 1, 18, 20);
    const auto temperature = reshape(slice(slice(scalars, 0, 0, 1), 1, 0, 1), Shape{});
    const auto blend = reshape(slice(slice(scalars, 0, 0, 1), 1, 1, 2), Shape{});
    const auto mixture = item_map(gmm::detail::ProjectSpec<V>{c}, Shape{3, 9}, start);
    const auto features = item_map(gmm::detail::StatisticsSpec<V>{c}, Shape{3, 3 * feature_count}, mixture, temperature);
    const auto after = item_map(gmm::detail::UpdateSpec<V>{c}, Shape{3, 9}, features, raw, blend);
    const auto again = item_map(gmm::detail::StatisticsSpec<V>{c}, Shape{3, 3 * feature_count}, after, temperature);
    return sum(square(again)) * 0.01 + sum(row_log_density(input.points, after) * input.masses);
  };
  std::vector<double> start;
  const auto noise = nn::normal_values<V>(Key{8}, Shape{60}, 0, 0.3).to_vector();
  for (std::size_t b = 0; b < 3; ++b)
    for (std::size_t i = 0; i < 20; ++i) start.push_back(noise[20 * b + i] + (i == 3 ? -1.0 : i == 18 ? 0.9 : i == 19 ? 0.5 : 0.0));
  const V x = V::from(start, Shape{3, 20});
  const auto gradient = grad(loss, x).to_vector();
  double scale = 0;
  for (double g : gradient) scale = std::max(scale, std::abs(g));
  for (std::size_t i = 0; i < 60; ++i) {
    std::vector<double> unit(60, 0.0);
    unit[i] = 1;
    const V direction = V::from(unit, x.shape());
    const double dual = jvp(loss, x, direction).tangent.item();
    CHECK(std::abs(gradient[i] - dual) <= 1e-12 * scale);
    const auto difference = [&](double h) {
      return (loss(V(x + direction * h)).item() - loss(V(x - direction * h)).item()) / (2 * h);
    };
    const double d1 = difference(4e-3), d2 = difference(2e-3), d3 = difference(1e-3);
    const double e1 = (4 * d2 - d1) / 3, e2 = (4 * d3 - d2) / 3;
    CHECK(std::abs(gradient[i] - (16 * e2 - e1) / 15) <= 1e-8 * scale);
  }
  // Second order: forward over reverse against the difference of gradients.
  const V direction = nn::normal_values<V>(Key{9}, x.shape());
  const auto h = hvp(loss, x, direction).to_vector();
  const auto g1 = grad(loss, V(x + direction * 1e-5)).to_vector(), g2 = grad(loss, V(x - direction * 1e-5)).to_vector();
  double h_scale = 0;
  for (double v : h) h_scale = std::max(h_scale, std::abs(v));
  for (std::size_t i = 0; i < 60; ++i) CHECK(std::abs(h[i] - (g1[i] - g2[i]) / 2e-5) <= 1e-6 * h_scale);
}

TEST_CASE("the fit does not depend on threads, backend or the company a density is fitted in", "[device]") {
  const auto options = small_options();
  const LamfInput<F> input = v5_input<F>(70);
  const auto model = random_model<F>(options, 5);
  threads::set_count(1);
  const auto one = model(input).to_vector();
  for (const int count : {2, 4}) {
    threads::set_count(count);
    CHECK(model(input).to_vector() == one);
  }
  threads::set_count(2);

  using D = Tensor<float, TestDevice>;
  const auto on_device = rebind<D>(model, [](const std::string&, FieldKind, const F& x) { return x.to<TestDevice>(); });
  const LamfInput<D> moved{input.masses.to<TestDevice>(), input.points.to<TestDevice>(), input.spacing.to<TestDevice>(),
                           input.features.to<TestDevice>()};
  const auto device = on_device(moved).to_vector();
  for (std::size_t i = 0; i < one.size(); ++i) REQUIRE(device[i] == Approx(one[i]).epsilon(1e-4).margin(1e-4));

  // Alone, a density gets the same fit up to the rounding of a matrix product of another height.
  const LamfInput<F> alone{slice(input.masses, 0, 11, 12).contiguous(), slice(input.points, 0, 11, 12).contiguous(),
                           slice(input.spacing, 0, 11, 12).contiguous(), slice(input.features, 0, 11, 12).contiguous()};
  const auto single = model(alone).to_vector();
  for (std::size_t i = 0; i < 15; ++i) CHECK(single[i] == Approx(one[11 * 15 + i]).epsilon(1e-4).margin(1e-4));
}

TEST_CASE("G-02: a fit commutes with shifts by whole cells and with a change of units") {
  const auto model = random_model<V>(small_options(), 17);
  const MaxOfNormals maximum(0.0, Variance(1.3), 1.5, Variance(0.6), -0.3);
  const auto fit = [&](double shift, double unit) {
    std::vector<double> f;
    const Grid grid{-15.0 * unit, 15.0 * unit, 96};
    for (int i = 0; i < 96; ++i) f.push_back(maximum.density(-15.0 + 30.0 * i / 95.0 - shift) / unit);
    PreprocessOptions options;
    options.scaling = Scaling::deviation;
    const auto prepared = preprocess(V::from(f, Shape{1, 96}), grid, options);
    REQUIRE(prepared.statuses()[0] == Status::ok);
    return to_input_units(to_mixture(model(lamf_input(prepared))), prepared);
  };
  const double cell = 30.0 / 95.0;
  const auto base = fit(0, 1);
  const auto shifted = fit(7 * cell, 1), scaled = fit(0, 1000);
  for (std::size_t k = 0; k < 5; ++k) {
    CHECK(shifted.means.to_vector()[k] - 7 * cell == Approx(base.means.to_vector()[k]).epsilon(0).margin(1e-11));
    CHECK(shifted.weights.to_vector()[k] == Approx(base.weights.to_vector()[k]).epsilon(1e-10));
    CHECK(scaled.means.to_vector()[k] / 1000 == Approx(base.means.to_vector()[k]).epsilon(0).margin(1e-10));
    CHECK(scaled.deviations.to_vector()[k] / 1000 == Approx(base.deviations.to_vector()[k]).epsilon(1e-10));
  }
}

TEST_CASE("a fitter says what it cannot do") {
  LamfOptions options;
  options.components = 0;
  CHECK_THROWS_WITH(Lamf<F>(options), kolmo_test::contains("0 components"));
  options = small_options();
  options.deviation_floor = 0;
  CHECK_THROWS_AS(Lamf<F>(options), ArgumentError);

  const LamfInput<F> input = v5_input<F>(2);
  CHECK_THROWS_WITH(Lamf<F>{}(input), kolmo_test::contains("no layers"));
  options = small_options();
  options.points = 64;
  CHECK_THROWS_WITH(Lamf<F>(options)(input), kolmo_test::contains("64 points"));
  CHECK_THROWS_AS(lamf_input(input.masses, input.masses, F::ones(Shape{3})), ShapeError);
}

TEST_CASE("training lowers the loss and improves on the untrained fitter") {
  const auto set = make_v5<F>(Key{0}, 512, V5Options::training());
  const LamfSamples<F> samples(set, Grid{});
  Lamf<F> model(small_options());
  init(Key{4}, model);
  const LamfScores before = evaluate(model, samples);
  LamfTrainingLoss loss;
  loss.terms.soft_max = 1.0;
  std::vector<index_t> indices(64);
  double rate = 0.05;
  for (index_t step = 0; step < 40; ++step) {
    for (index_t i = 0; i < 64; ++i) indices[static_cast<std::size_t>(i)] = (step * 64 + i) % 512;
    const auto batch = samples.batch(indices);
    const auto result = value_and_grad(model, [&](const auto& m) { return loss(m, batch, nn::Pass{}); });
    visit_parameters([&](const std::string&, F& p, const F& g) { p = p - g * rate; }, model, result.gradient);
  }
  const LamfScores after = evaluate(model, samples);
  CHECK(after.density_error < 0.7 * before.density_error);
  CHECK(after.divergence < before.divergence);
}

TEST_CASE("weights raised to a least one sum to one, and their gradient agrees with dual numbers") {
  const LamfInput<V> input = v5_input<V>(2);
  auto c = constants(input.masses, input.points, 0.05, 4.0, 4);
  c.least_weight = 0.1;
  const V x = V::from({3.0, 0.1, -2.0, -4.0, 0, 0, 0, 0, 0, 0, 0, 0, 0.3, 0.2, 0.1, 0.0, 1, 0, 0, 0, 0, 0, 0, 0}, Shape{2, 12});
  const auto project = [&](const auto& raw) { return item_map(gmm::detail::ProjectSpec<V>{c}, Shape{2, 12}, raw); };
  const auto rows = project(x).to_vector();
  double total = 0, total_before = 0;
  for (const double a : {3.0, 0.1, -2.0, -4.0}) total_before += std::exp(a);
  for (std::size_t k = 0; k < 4; ++k) total += std::exp(rows[k]);
  CHECK(total == Approx(1.0).epsilon(1e-14));
  // Three of the weights are raised to 0.1; then all are divided by their sum.
  const double largest = std::exp(3.0) / total_before;
  CHECK(std::exp(rows[0]) == Approx(largest / (largest + 0.3)).epsilon(1e-12));
  for (std::size_t k = 1; k < 4; ++k) CHECK(std::exp(rows[k]) == Approx(0.1 / (largest + 0.3)).epsilon(1e-12));

  const auto loss = [&](const auto& raw) { return sum(project(raw) * input_weights<V>(Shape{2, 12})); };
  const auto gradient = grad(loss, x).to_vector();
  for (std::size_t i = 0; i < 24; ++i) {
    std::vector<double> unit(24, 0.0);
    unit[i] = 1;
    CHECK(gradient[i] == Approx(jvp(loss, x, V::from(unit, Shape{2, 12})).tangent.item()).epsilon(1e-12).margin(1e-14));
  }
}

TEST_CASE("with the coordinates and features of the card, the gradient of the whole fitter agrees with differences") {
  auto options = small_options();
  options.features = LamfFeatures::card;
  options.deviation_floor = 0.01;
  options.deviation_largest = 5.0;
  options.share_blend = true;
  options.share_refine_weights = false;
  options.least_weight = 0.02;
  const auto set = make_v5<V>(Key{1}, 3);
  for (const auto coordinates : {Coordinates::absolute, Coordinates::relative}) {
    options.coordinates = coordinates;
    const auto batch = LamfSamples<V>({set}, model_preparation(options)).batch(std::vector<index_t>{0, 1, 2});
    if (coordinates == Coordinates::absolute)
      for (std::size_t i = 0; i < 96; ++i)
        CHECK(batch.input.points.to_vector()[96 + i] == Approx(-15 + 30.0 * static_cast<double>(i) / 95).margin(1e-9));
    auto model = random_model<V>(options, 23);
    CHECK(model.later_refine_networks.size() + 1 == static_cast<std::size_t>(options.iterations));
    LamfTrainingLoss loss;
    loss.supervision = Supervision::linear;
    loss.terms.l2 = 0.2;
    loss.terms.convex = true;
    const auto value_of = [&](const auto& m) { return loss(m, batch, nn::Pass{}); };
    const auto gradient = value_and_grad(model, value_of).gradient;
    const auto check = [&](V& parameter, const V& g, std::size_t i) {
      const V kept = parameter;
      const auto at = [&](double h) {
        auto values = kept.to_vector();
        values[i] += h;
        parameter = V::from(values, kept.shape());
        const double result = value_of(model).item();
        parameter = kept;
        return result;
      };
      const double h = 1e-4;
      CHECK(g.to_vector()[i] ==
            Approx((8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)).epsilon(1e-5).margin(1e-8));
    };
    check(model.init_network.layers[0].weight, gradient.init_network.layers[0].weight, 300);
    check(model.init_network.layers.back().bias, gradient.init_network.layers.back().bias, 7);
    check(model.refine_network.layers[0].weight, gradient.refine_network.layers[0].weight, 5);
    check(model.later_refine_networks.back().layers.back().weight,
          gradient.later_refine_networks.back().layers.back().weight, 4);
    check(model.temperature[0], gradient.temperature[0], 0);
    check(model.blend[0], gradient.blend[0], 0);
  }
}
