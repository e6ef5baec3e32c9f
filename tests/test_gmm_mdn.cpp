// The mixture density network: its definition by a second computation, gradients, and fits in the units of the input.

#include <cmath>
#include <limits>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/gmm/mdn_fit.hpp>
#include <kolmo/gmm/mdn_train.hpp>

#include "catch.hpp"
#include "io_support.hpp"

using namespace kolmo;
using namespace kolmo::gmm;
using F = Tensor<float, Cpu>;
using D = Tensor<double, Cpu>;
using kolmo_test::contains;

namespace {

MdnOptions small(bool residual) {
  MdnOptions options;
  options.points = 48;
  options.components = 3;
  options.width = 12;
  options.layers = 3;
  options.residual = residual;
  return options;
}

template <class V>
Mdn<V> network(const MdnOptions& options) {
  Mdn<V> model(options);
  init(Key{5}, model);
  for (auto& norm : model.norms) {
    norm.weight = nn::uniform_values<V>(Key{6}, norm.weight.shape(), 0.5, 1.5);
    norm.bias = nn::normal_values<V>(Key{7}, norm.bias.shape(), 0, 0.2);
  }
  return model;
}

template <class V>
LamfInput<V> inputs(index_t batch, index_t points) {
  V5Options v5 = V5Options::training();
  v5.grid = Grid{-15, 15, points};
  const auto set = make_v5<V>(Key{1}, batch, v5);
  PreprocessOptions options;
  options.grid = set.grid;
  options.scaling = Scaling::deviation;
  return lamf_input(preprocess(set.densities, set.grid, options, set.offsets));
}

using Row = std::vector<double>;

Row times(const nn::Linear<D>& layer, const Row& x) {
  const auto w = layer.weight.to_vector();
  Row y = layer.bias.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = 0; j < y.size(); ++j) y[j] += x[i] * w[i * y.size() + j];
  return y;
}
Row relu(Row x) {
  for (double& v : x) v = v > 0 ? v : 0;
  return x;
}
Row normalised(const nn::LayerNorm<D>& norm, Row x) {
  double mean = 0, variance = 0;
  for (const double v : x) mean += v / static_cast<double>(x.size());
  for (const double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = (x[i] - mean) / std::sqrt(variance + 1e-5) * norm.weight.to_vector()[i] + norm.bias.to_vector()[i];
  return x;
}

}  // namespace

TEST_CASE("a mixture density network is its definition, plain and residual") {
  for (const bool residual : {false, true}) {
    const auto model = network<D>(small(residual));
    CHECK(model.hidden.size() == (residual ? 3u : 2u));
    const auto input = inputs<D>(2, 48);
    const auto features = mdn_features(input, model.options).to_vector();
    const auto masses = input.masses.to_vector(), points = input.points.to_vector();
    const double spacing = input.spacing.to_vector()[0];
    CHECK(features[10] == Approx(masses[10] / spacing));
    CHECK(features[0] == Approx(2 * masses[0] / spacing));
    double third = 0;
    for (std::size_t i = 0; i < 48; ++i) third += masses[i] * std::pow(points[i], 3);
    CHECK(features[50] == Approx((third < 0 ? -1 : 1) * std::log1p(std::abs(third))));

    Row x = relu(times(model.input, Row(features.begin(), features.begin() + 52)));
    for (std::size_t i = 0; i < model.hidden.size(); ++i) {
      const Row y = relu(times(model.hidden[i], normalised(model.norms[i], x)));
      for (std::size_t j = 0; j < x.size(); ++j) x[j] = residual ? x[j] + y[j] : y[j];
    }
    const Row raw = times(model.output, normalised(model.norms.back(), x));
    const double total = std::exp(raw[0]) + std::exp(raw[1]) + std::exp(raw[2]);
    const auto row = model(input).to_vector();
    for (std::size_t k = 0; k < 3; ++k) {
      CHECK(row[k] == Approx(std::log(std::exp(raw[k]) / total)).margin(1e-12));
      CHECK(row[3 + k] == Approx(raw[3 + k]).margin(1e-12));
      CHECK(std::exp(row[6 + k]) == Approx(std::log1p(std::exp(raw[6 + k])) + 0.5 * spacing).epsilon(1e-12));
    }
  }
}

TEST_CASE("the gradient of every loss of the network agrees with differences") {
  const auto set = make_v5<D>(Key{1}, 6, V5Options::training());
  const LamfSamples<D> samples(set, Grid{});
  const std::vector<index_t> indices{0, 2, 5};
  const auto batch = samples.batch(indices);
  MdnOptions options = small(true);
  options.points = 96;
  auto model = network<D>(options);
  for (const auto& terms : {mdn_loss(DensityDistance::l2, 0.2, 0, true), mdn_loss(DensityDistance::l1, 0.7, 0.01),
                            mdn_loss(DensityDistance::linf, 2.0)}) {
    const LamfTrainingLoss loss{terms};
    const auto evaluate_loss = [&](const auto& m) { return loss(m, batch, nn::Pass{}); };
    const auto result = value_and_grad(model, evaluate_loss);
    for (const index_t i : {7, 30}) {
      auto moved = model;
      auto& weight = moved.hidden[1].weight;
      const auto values = weight.to_vector();
      const auto at = [&](double h) {
        auto changed = values;
        changed[static_cast<std::size_t>(i)] += h;
        weight = D::from(changed, Shape{12, 12});
        return evaluate_loss(moved).item();
      };
      const double slope = (8 * (at(1e-4) - at(-1e-4)) - (at(2e-4) - at(-2e-4))) / 1.2e-3;
      CHECK(result.gradient.hidden[1].weight.to_vector()[static_cast<std::size_t>(i)] ==
            Approx(slope).epsilon(1e-6).margin(1e-9));
    }
  }
  CHECK_THROWS_AS(mdn_loss(DensityDistance::l1, 0.2, 0, true), ArgumentError);
}

TEST_CASE("fits of the network are ordered, follow the units of the input and say when they failed") {
  auto model = network<D>(small(false));
  const Grid grid{-7, 8, 150};
  std::vector<double> values;
  for (const double shift : {0.0, 0.5})
    for (index_t i = 0; i < 150; ++i)
      values.push_back(0.3 * normal_density(grid[i] - shift, -1.0, 0.5) +
                       0.7 * normal_density(grid[i] - shift, 1.5, 1.0));
  const D densities = D::from(values, Shape{2, 150});
  const auto report = fit(model, densities, grid);
  CHECK(report.statuses() == std::vector{Status::ok, Status::ok});
  const auto means = report.mixture.means.to_vector(), weights = report.mixture.weights.to_vector();
  CHECK(means[0] <= means[1]);
  CHECK(means[1] <= means[2]);
  CHECK(weights[0] + weights[1] + weights[2] == Approx(1.0));
  const auto moved = fit(model, densities, Grid{grid.first * 50 + 300, grid.last * 50 + 300, 150});
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(moved.mixture.means.to_vector()[i] == Approx(means[i] * 50 + 300).epsilon(1e-9));
    CHECK(moved.mixture.deviations.to_vector()[i] ==
          Approx(report.mixture.deviations.to_vector()[i] * 50).epsilon(1e-9));
  }

  model.output.bias = D::full(Shape{9}, std::numeric_limits<double>::quiet_NaN());
  FitOptions no_refit;
  no_refit.refit_above = 0;
  CHECK(fit(model, densities, grid, no_refit).statuses() == std::vector{Status::broken_fit, Status::broken_fit});
  values[0] = -50;
  CHECK(fit(network<D>(small(false)), D::from(values, Shape{2, 150}), grid).statuses() ==
        std::vector{Status::negative_mass, Status::ok});
}

TEST_CASE("a network comes back from its file, and refuses what does not fit") {
  const kolmo::io::test::TemporaryDirectory folder;
  const auto model = network<F>(small(true));
  io::save_model(folder / "mdn.safetensors", model);
  const auto loaded = load_mdn<F>(folder / "mdn.safetensors", 3);
  const auto input = inputs<F>(3, 48);
  CHECK(loaded(input).to_vector() == model(input).to_vector());
  CHECK_THROWS_WITH(load_mdn<F>(folder / "mdn.safetensors", 4), contains("fits 3 components, but 4"));
  CHECK_THROWS_AS(load_mdn<D>(folder / "mdn.safetensors"), IoError);
  CHECK_THROWS_WITH(model(inputs<F>(1, 96)), contains("reads 48 points"));
  MdnOptions options = small(false);
  options.layers = 0;
  CHECK_THROWS_WITH(Mdn<F>(options), contains("0 layers"));
  Mdn<F> broken = model;
  broken.hidden.pop_back();
  CHECK_THROWS_AS(broken.validate(), ShapeError);
}

TEST_CASE("training improves the network on the densities it sees") {
  const LamfSamples<F> samples(make_v5<F>(Key{0}, 256, V5Options::training()), Grid{});
  MdnOptions options = small(false);
  options.points = 96;
  Mdn<F> model(options);
  init(Key{4}, model);
  const LamfScores before = evaluate(model, samples);
  const LamfTrainingLoss loss{mdn_loss(DensityDistance::l2, 0.2, 0, true)};
  std::vector<index_t> indices(64);
  for (index_t step = 0; step < 60; ++step) {
    for (index_t i = 0; i < 64; ++i) indices[static_cast<std::size_t>(i)] = (step * 64 + i) % 256;
    const auto batch = samples.batch(indices);
    const auto result = value_and_grad(model, [&](const auto& m) { return loss(m, batch, nn::Pass{}); });
    visit_parameters([](const std::string&, F& p, const F& g) { p = p - g * 0.1; }, model, result.gradient);
  }
  const LamfScores after = evaluate(model, samples);
  CHECK(after.density_error < 0.7 * before.density_error);
  CHECK(after.relative_entropy < before.relative_entropy);
}
