// The failure modes of learned fitters and of their training, by the names of the specification. Each is something that
// went wrong in an earlier program; a test shows that it cannot, or that it would be seen.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/gmm/lamf_train.hpp>
#include <kolmo/io/csv_reader.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/schedules.hpp>
#include <kolmo/optim/train.hpp>

#include "catch.hpp"
#include "io_support.hpp"

using namespace kolmo;
using namespace kolmo::gmm;
using F = Tensor<float, Cpu>;
using D = Tensor<double, Cpu>;

namespace {

LamfOptions small() {
  LamfOptions options;
  options.iterations = 3;
  options.init_width = options.refine_width = 16;
  options.init_layers = options.refine_layers = 1;
  return options;
}

template <class V>
Lamf<V> fresh(const LamfOptions& options, std::uint64_t seed = 4) {
  Lamf<V> model(options);
  init(Key{seed}, model);
  return model;
}

/// Every weight random, also those that start at zero.
template <class V>
Lamf<V> wild(const LamfOptions& options, std::uint64_t seed, double size) {
  Lamf<V> model = fresh<V>(options, seed);
  std::uint64_t i = 0;
  visit_parameters(
      [&](const std::string&, V& x) { x = nn::normal_values<V>(fold_in(Key{seed}, ++i), x.shape(), 0, size); }, model);
  return model;
}

LamfSamples<F> samples(index_t count, std::uint64_t seed = 0) {
  return LamfSamples<F>(make_v5<F>(Key{seed}, count, V5Options::training()), Grid{});
}

std::vector<index_t> first(index_t count) {
  std::vector<index_t> indices(static_cast<std::size_t>(count));
  for (index_t i = 0; i < count; ++i) indices[static_cast<std::size_t>(i)] = i;
  return indices;
}

template <class M>
std::vector<float> weights_of(const M& model) {
  std::vector<float> all;
  visit_parameters(
      [&](const std::string&, const F& x) {
        const auto values = x.to_vector();
        all.insert(all.end(), values.begin(), values.end());
      },
      model);
  return all;
}

std::vector<double> normal_row(const Grid& grid, double mean, double deviation) {
  std::vector<double> values;
  for (index_t i = 0; i < grid.points; ++i) values.push_back(normal_density(grid[i], mean, deviation));
  return values;
}

/// The shipped weights, which answer like a trained fitter.
std::string shipped() { return std::string(KOLMO_EXAMPLES) + "/models/lamf_v5.safetensors"; }

/// A batch whose densities have turned to NaN at the given steps.
struct Poisoned {
  LamfTrainingLoss loss;
  std::vector<index_t> bad;
  mutable index_t calls = 0;

  template <class M, class Batch>
  auto operator()(const M& model, const Batch& batch, const nn::Pass& pass) const {
    ++calls;
    auto result = loss(model, batch, pass);
    const bool poison = std::find(bad.begin(), bad.end(), calls) != bad.end();
    return result * (poison ? std::numeric_limits<double>::quiet_NaN() : 1.0);
  }
};

/// Compares the weights before and after skipped steps.
struct Watch {
  std::vector<float> before = {};
  index_t changed_while_skipped = 0;
  void on_step(const auto& info) {
    const auto now = weights_of(info.state.model);
    if (info.skipped && !before.empty() && now != before) ++changed_while_skipped;
    before = now;
  }
};

}  // namespace

TEST_CASE("G-01: inputs that are no densities get a status, never NaN in what a network reads") {
  const Grid grid{-15, 15, 96};
  const std::size_t n = 96;
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  std::vector<double> rows;
  const auto good = normal_row(grid, 0.3, 1.1);
  for (int row = 0; row < 7; ++row) rows.insert(rows.end(), good.begin(), good.end());
  rows[1 * n + 40] = -0.4;
  for (std::size_t i = 0; i < n; ++i) rows[2 * n + i] = 0;
  rows[3 * n + 50] = nan;
  rows[4 * n + 50] = infinity;
  for (std::size_t i = 0; i < n; ++i) rows[5 * n + i] *= 1e-30;
  rows[6 * n + 5] = -1e-9;  // rounding
  const D densities = D::from(rows, Shape{7, 96});
  for (const auto coordinates : {Coordinates::standardised, Coordinates::relative, Coordinates::absolute}) {
    LamfOptions options = small();
    options.coordinates = coordinates;
    options.deviation_largest = 5.0;
    const auto prepared = preprocess(densities, grid, model_preparation(options));
    CHECK(prepared.statuses() == std::vector{Status::ok, Status::negative_mass, Status::zero_mass, Status::non_finite,
                                             Status::non_finite, Status::zero_mass, Status::ok});
    const auto masses = prepared.masses.to_vector();
    for (std::size_t row = 0; row < 7; ++row) {
      double sum = 0;
      for (std::size_t i = row * n; i < (row + 1) * n; ++i) {
        REQUIRE(masses[i] >= 0);
        sum += masses[i];
      }
      if (is_valid(prepared.statuses()[row])) {
        CHECK(std::abs(sum - 1) < 1e-12);
      } else {
        CHECK(sum == 0);
      }
    }
    const auto input = lamf_input(prepared);
    for (const double x : input.features.to_vector()) REQUIRE(is_finite(x));
    for (const double x : fresh<D>(options)(input).to_vector()) REQUIRE(is_finite(x));
    const auto report = fit(fresh<D>(options), densities, grid);
    CHECK(report.statuses() == prepared.statuses());
  }
}

TEST_CASE("G-02: training and fitting prepare a density by the same routine, so shifts do not matter") {
  const auto model = load_lamf<D>(shipped());
  const MaxOfNormals maximum(0.0, Variance(1.3), 1.5, Variance(0.8), -0.3);
  const Grid grid{-15, 15, 96};
  const double cell = grid.spacing();
  const auto fitted = [&](double shift) {
    std::vector<double> f;
    for (index_t i = 0; i < 96; ++i) f.push_back(maximum.density(grid[i] - shift));
    return fit(model, D::from(f, Shape{1, 96}), grid).mixture;
  };
  const auto density = [&](const Mixture<D>& mixture, double z) {
    double sum = 0;
    for (std::size_t k = 0; k < 5; ++k)
      sum += mixture.weights.to_vector()[k] *
             normal_density(z, mixture.means.to_vector()[k], mixture.deviations.to_vector()[k]);
    return sum;
  };
  const auto base = fitted(0), cells = fitted(7 * cell), part = fitted(0.37 * cell);
  for (std::size_t k = 0; k < 5; ++k) {
    CHECK(cells.means.to_vector()[k] - 7 * cell == Approx(base.means.to_vector()[k]).margin(1e-11));
    CHECK(cells.deviations.to_vector()[k] == Approx(base.deviations.to_vector()[k]).margin(1e-11));
  }
  for (double z = -5; z < 7; z += 0.05)
    REQUIRE(density(part, z + 0.37 * cell) == Approx(density(base, z)).epsilon(0).margin(2e-3));

  // What a batch for training holds is what a fit prepares.
  const auto set = make_v5<D>(Key{3}, 5, V5Options::training());
  const auto batch = LamfSamples<D>({set}, model_preparation(model.options)).batch(first(5));
  const auto prepared = preprocess(set.densities, set.grid, lamf_preparation(model.options), set.offsets);
  CHECK(batch.input.masses.to_vector() == prepared.masses.to_vector());
  CHECK(batch.input.points.to_vector() == prepared.points.to_vector());
}

TEST_CASE("G-03: deviations stay finite and within their bounds for any weights") {
  const auto batch = samples(20).batch(first(20));
  for (const auto coordinates : {Coordinates::standardised, Coordinates::absolute}) {
    LamfOptions options = small();
    options.coordinates = coordinates;
    for (const double size : {1.0, 30.0, 1000.0}) {
      const auto model = wild<F>(options, 11, size);
      Tape<F> tape;
      for (const F& mixture : model.trajectory(batch.input)) {
        const auto x = mixture.to_vector();
        for (std::size_t b = 0; b < 20; ++b) {
          const double floor = options.floor(static_cast<double>(batch.input.spacing.to_vector()[b]));
          for (std::size_t k = 10; k < 15; ++k) {
            REQUIRE(std::exp(static_cast<double>(x[15 * b + k])) >= floor * (1 - 1e-5));
            REQUIRE(std::exp(static_cast<double>(x[15 * b + k])) <= options.deviation_largest * (1 + 1e-5));
          }
        }
      }
      if (size > 30) continue;
      const auto result =
          value_and_grad(model, [&](const auto& m) { return LamfTrainingLoss{}(m, batch, nn::Pass{}); });
      for (const float g : weights_of(result.gradient)) REQUIRE(is_finite(g));
    }
  }
}

TEST_CASE("G-04: means are ordered after the initial network and every refinement, for random weights and inputs") {
  const auto data = samples(200);
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const auto model = wild<F>(small(), seed, 0.5 + 0.1 * static_cast<double>(seed));
    for (const F& mixture : model.trajectory(data.batch(first(200)).input)) {
      const auto x = mixture.to_vector();
      for (std::size_t b = 0; b < 200; ++b)
        for (std::size_t k = 6; k < 10; ++k) REQUIRE(x[15 * b + k - 1] <= x[15 * b + k]);
    }
  }
  // Without ordering in between, the last output is still sorted.
  LamfOptions options = small();
  options.ordered = false;
  bool crossed = false;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto outputs = wild<F>(options, seed, 3.0).trajectory(data.batch(first(200)).input);
    for (std::size_t t = 1; t < outputs.size(); ++t) {
      const auto x = outputs[t].to_vector();
      for (std::size_t b = 0; b < 200; ++b)
        for (std::size_t k = 6; k < 10; ++k) {
          const bool sorted = x[15 * b + k - 1] <= x[15 * b + k];
          if (t + 1 == outputs.size()) REQUIRE(sorted);
          crossed = crossed || !sorted;
        }
    }
  }
  CHECK(crossed);
}

TEST_CASE("G-05: corrections move means by at most kappa standard deviations, and by nothing before training") {
  const auto set = make_v5<F>(Key{0}, 50);
  for (const auto coordinates : {Coordinates::standardised, Coordinates::relative, Coordinates::absolute}) {
    LamfOptions options = small(), without = options;
    options.iterations = 1;
    options.coordinates = coordinates;
    without = options;
    without.correction_scale = 0;
    const auto batch = LamfSamples<F>({set}, model_preparation(options)).batch(first(50));
    const auto w = batch.input.masses.to_vector(), z = batch.input.points.to_vector();
    double largest = 0;
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      auto model = wild<F>(options, seed, 1.0);
      auto uncorrected = model;
      uncorrected.options = without;
      const auto moved = model(batch.input).to_vector(), unmoved = uncorrected(batch.input).to_vector();
      for (std::size_t b = 0; b < 50; ++b) {
        double mean = 0, variance = 0;
        for (std::size_t i = 96 * b; i < 96 * (b + 1); ++i)
          mean += static_cast<double>(w[i]) * static_cast<double>(z[i]);
        for (std::size_t i = 96 * b; i < 96 * (b + 1); ++i)
          variance += static_cast<double>(w[i]) * std::pow(static_cast<double>(z[i]) - mean, 2);
        // Sorting does not increase the largest difference of two lists.
        for (std::size_t k = 5; k < 10; ++k) {
          const double move =
              std::abs(static_cast<double>(moved[15 * b + k]) - static_cast<double>(unmoved[15 * b + k]));
          REQUIRE(move <= 0.5 * std::sqrt(variance) * (1 + 1e-3) + 1e-4);
          largest = std::max(largest, move / std::sqrt(variance));
        }
      }
    }
    CHECK(largest > 0.4);
    CHECK(fresh<F>(options)(batch.input).to_vector() == fresh<F>(without)(batch.input).to_vector());
  }
}

TEST_CASE("G-06: supervision is of the last output first and of all, linearly, from the switch on") {
  LamfTrainingLoss loss;
  loss.linear_from = 4;
  CHECK(loss.at_epoch(1).supervision == Supervision::final_only);
  CHECK(loss.at_epoch(3).supervision == Supervision::final_only);
  CHECK(loss.at_epoch(4).supervision == Supervision::linear);
  CHECK(loss.at_epoch(40).supervision == Supervision::linear);
  CHECK(LamfTrainingLoss{}.at_epoch(40).supervision == Supervision::final_only);
  for (const auto supervision : {Supervision::final_only, Supervision::linear, Supervision::uniform}) {
    double total = 0;
    for (const double w : supervision_weights(supervision, 7)) total += w;
    CHECK(total == Approx(1.0).epsilon(1e-14));
  }
  CHECK(supervision_weights(Supervision::final_only, 7)[5] == 0);
  CHECK(supervision_weights(Supervision::linear, 7)[6] == Approx(7.0 / 28));
}

TEST_CASE(
    "G-07: a batch without a finite loss leaves the weights alone and is counted; a run of them ends the training") {
  const auto data = samples(64);
  optim::TrainOptions options;
  options.batch = 16;
  const auto optimiser = optim::adamw({});
  const LamfTrainingLoss loss;
  const auto trained = [&](std::vector<index_t> bad, index_t epochs, index_t max_skips, Watch& on_step) {
    options.epochs = epochs;
    options.max_skips = max_skips;
    auto state = optim::start_training(fresh<F>(small()), optimiser, options);
    const Poisoned poisoned{loss, std::move(bad)};
    const auto result = optim::train(state, optimiser, data, poisoned, options, on_step);
    return std::pair{state, result};
  };
  Watch watch;
  const auto [state, result] = trained({3}, 1, 20, watch);
  CHECK(state.skipped == 1);
  CHECK(watch.changed_while_skipped == 0);
  CHECK(result.status == optim::TrainStatus::finished);
  CHECK(state.optimiser.updates == 3);
  for (const float w : weights_of(state.model)) REQUIRE(is_finite(w));

  const auto [broken, ended] = trained({1, 2, 3, 4}, 2, 3, watch);
  CHECK(ended.status == optim::TrainStatus::not_finite);
  CHECK(ended.skipped == 3);
  CHECK(weights_of(broken.model) == weights_of(fresh<F>(small())));
}

TEST_CASE(
    "G-08: no deviation below half a spacing, polished 0.4, and a distribution error of at most one for any mixture") {
  const Grid grid{-15, 15, 96};
  CHECK(LamfOptions{}.deviation_floor == 0.5);
  const F usual = make_v5<F>(Key{5}, 500).densities;
  const auto model = load_lamf<F>(shipped());
  FitOptions alone;
  alone.polish = PolishOptions{.evaluations = 0};
  for (const float s : fit(model, usual, grid, alone).mixture.deviations.to_vector())
    REQUIRE(static_cast<double>(s) >= 0.5 * grid.spacing() * (1 - 1e-5));
  // The polish has a floor of its own, below which a component could hide between points.
  CHECK(PolishOptions{}.floor_in_spacings == 0.4);
  for (const float s : fit(model, usual, grid).mixture.deviations.to_vector())
    REQUIRE(static_cast<double>(s) >= 0.4 * grid.spacing() * (1 - 1e-5));

  const D densities = D::from(normal_row(grid, 0.0, 1.0), Shape{1, 96});
  Key key{77};
  for (std::uint64_t i = 0; i < 2000; ++i) {
    std::vector<double> weights, means, deviations;
    double total = 0;
    for (std::uint64_t k = 0; k < 5; ++k) {
      weights.push_back(uniform<double>(key, 20 * i + k));
      means.push_back(-15 + 30 * uniform<double>(key, 20 * i + 5 + k));
      deviations.push_back(1e-6 * std::pow(10.0, 7 * uniform<double>(key, 20 * i + 10 + k)));
      total += weights.back();
    }
    for (double& w : weights) w /= total;
    const Mixture<D> mixture{D::from(weights, Shape{1, 5}), D::from(means, Shape{1, 5}),
                             D::from(deviations, Shape{1, 5})};
    REQUIRE(evaluate(densities, grid, mixture).distribution_error.item() <= 1 + 1e-12);
  }
}

TEST_CASE("G-09: spikes that flatter the cross entropy are seen, and KL is never below -log of the area") {
  // One component far narrower than a cell, on a grid point.
  LamfOptions options = small();
  options.iterations = 0;
  options.components = 2;
  options.coordinates = Coordinates::absolute;
  options.deviation_floor = 1e-3;
  options.deviation_largest = 5;
  auto model = fresh<F>(options);
  auto& output = model.init_network.layers.back();
  output.weight = F::zeros(output.weight.shape());
  const Grid grid{-15, 15, 96};
  const float on_a_point = static_cast<float>(grid[47]);
  // alpha, c, beta, gamma: half of the weight on the point, the other half on all of the density
  output.bias = F::from({0.0f, 0.0f, on_a_point, -20.0f, -20.0f, 0.5413f});
  DensitySet<F> set;
  set.grid = grid;
  const auto row = normal_row(grid, grid[47], 1.0);
  set.densities = F::from(std::vector<float>(row.begin(), row.end()), Shape{1, 96});
  set.offsets = F::zeros(Shape{1});
  const LamfSamples<F> data({set}, model_preparation(options));
  const LamfScores scores = evaluate(model, data);
  CHECK(scores.cross_entropy < 1.4189);  // the entropy of a standard normal density
  CHECK(scores.relative_entropy < -1e-3);
  CHECK(scores.density_error > 10);
  CHECK(scores.area.largest > 1.02);
  CHECK(scores.share_of_spikes == 1);
  CHECK(scores.share_at_floor == 0.5);
  CHECK(scores.peak.largest > 10);
  CHECK(scores.deviation.least == Approx(1e-3).epsilon(1e-3));
  CHECK(scores.relative_entropy >= -std::log(scores.area.middle));
  // What is minimised counts the area and does not fall below zero.
  CHECK(scores.divergence > 0);

  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    options = small();
    options.deviation_floor = 0.001;
    const LamfScores random = evaluate(wild<F>(options, seed, 2.0), LamfSamples<F>({make_v5<F>(Key{seed}, 1)}, Grid{}));
    CHECK(random.relative_entropy >= -std::log(random.area.middle) - 1e-5);
    CHECK(random.divergence >= -1e-5);
  }
}

TEST_CASE(
    "G-10: the shipped models were trained without falling back: no epoch after the fifth is three times the best") {
  for (const char* name : {"lamf_v5", "mdn_v5"}) {
    const std::string text = io::read_text_file(std::string(KOLMO_EXAMPLES) + "/models/" + name + ".csv");
    io::CsvReader reader(text);
    io::CsvRow row;
    REQUIRE(reader.next(row));
    const auto column = [&](std::string_view wanted) {
      return static_cast<std::size_t>(std::find(row.fields.begin(), row.fields.end(), wanted) - row.fields.begin());
    };
    const std::size_t epoch = column("epoch"), metric = column("metric");
    double best = 1e30, worst = 0;
    int rows = 0;
    for (; reader.next(row); ++rows) {
      const double error = std::stod(std::string(row.fields.at(metric)));
      best = std::min(best, error);
      if (std::stoi(std::string(row.fields.at(epoch))) > 5) worst = std::max(worst, error / best);
    }
    CAPTURE(name, worst);
    CHECK(rows > 20);
    CHECK(worst < 3);
  }
}

TEST_CASE("G-12: the log of a training has all that its review asked for") {
  const auto data = samples(30);
  const LamfScores scores = evaluate(fresh<F>(small()), data);
  CHECK(scores.deviation.least > 0);
  CHECK(scores.deviation.least <= scores.deviation.middle);
  CHECK(scores.deviation.middle <= scores.deviation.largest);
  CHECK(scores.peak.least > 0);
  CHECK(scores.peak.least <= scores.peak.middle);
  CHECK(scores.peak.middle <= scores.peak.largest);
  CHECK(scores.area.least <= scores.area.middle);
  CHECK(scores.area.middle <= scores.area.largest);
  CHECK(scores.least_mass >= 0);
  CHECK(scores.least_mass_sum == Approx(1).margin(1e-5));
  CHECK(scores.largest_mass_sum == Approx(1).margin(1e-5));
  CHECK(scores.analytic_distribution_error <= 1);
  CHECK(scores.cross_entropy - scores.relative_entropy == Approx(1.4).margin(0.7));  // a mean entropy of the law
  CHECK_THROWS_AS(evaluate(fresh<F>(small()), samples(0)), ArgumentError);
}

TEST_CASE("G-13: the loss is the sum of the logged terms, in both forms") {
  const auto data = samples(40);
  const auto batch = data.batch(first(40));
  const auto model = wild<F>(small(), 8, 0.4);
  LamfLossOptions terms;
  terms.l2 = 0.3;
  terms.l1 = 0.4;
  terms.soft_max = 2.0;
  terms.top = 0.5;
  terms.moments = 0.01;
  for (const bool convex : {false, true}) {
    terms.convex = convex;
    terms.l2_integral = !convex;
    const LossTerms logged = evaluate(model, data, terms).terms;
    const double loss =
        static_cast<double>(lamf_loss(batch.input, batch.target, model(batch.input), terms).total.item());
    CHECK(logged.total() == Approx(loss).epsilon(2e-6));
    for (const double term : {logged.main, logged.l2, logged.l1, logged.soft_max, logged.top, logged.moments})
      CHECK(term > 0);
  }
  // A weight that grows with the epochs.
  LamfTrainingLoss ramped{terms};
  ramped.l2_ramp = {5, 15};
  CHECK(ramped.at_epoch(5).terms.l2 == 0);
  CHECK(ramped.at_epoch(10).terms.l2 == Approx(0.15));
  CHECK(ramped.at_epoch(15).terms.l2 == Approx(0.3));
  CHECK(ramped.at_epoch(50).terms.l2 == Approx(0.3));
  CHECK(ramped.at_epoch(5).terms.soft_max == 2.0);
}

TEST_CASE("G-17: damaged weights make a status, not a wrong fit; a damaged file does not load") {
  const Grid grid{-15, 15, 96};
  const F densities = make_v5<F>(Key{1}, 4).densities;
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    auto model = load_lamf<F>(shipped());
    model.init_network.layers[1].bias = F::full(model.init_network.layers[1].bias.shape(), value);
    FitOptions no_refit;
    no_refit.refit_above = 0;
    const auto report = fit(model, densities, grid, no_refit);
    for (const Status status : report.statuses()) CHECK(status == Status::broken_fit);
    for (const float mean : report.mixture.means.to_vector()) CHECK(!is_finite(mean));
  }
  const kolmo::io::test::TemporaryDirectory folder;
  std::string bytes = io::read_text_file(shipped());
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  bytes.resize(bytes.size() - 100);
  io::write_atomically(folder / "damaged.safetensors", bytes);
  CHECK_THROWS_AS(load_lamf<F>(folder / "damaged.safetensors"), IoError);
}

TEST_CASE("G-22: warm-up and cosine give the published rate in every epoch; the average of weights moves every step") {
  const double lr = 1e-3;
  const auto rate = optim::warm_up_cosine({.learning_rate = lr, .final_fraction = 0.01, .warm_up = 5, .epochs = 50});
  const double pi = 3.14159265358979323846;
  for (index_t e = 1; e <= 50; ++e) {
    const double published = e <= 5
                                 ? lr * static_cast<double>(e) / 5
                                 : 0.01 * lr + 0.5 * 0.99 * lr * (1 + std::cos(pi * static_cast<double>(e - 6) / 45.0));
    CHECK(rate(e) == Approx(published).epsilon(1e-12));
  }
  CHECK(rate(5) == rate(6));
  const optim::Step step{lr, 0.5, 20};
  CHECK(step(20) == lr);
  CHECK(step(21) == lr / 2);
  CHECK(step(41) == lr / 4);

  const auto data = samples(64);
  optim::TrainOptions options;
  options.batch = 16;
  options.epochs = 2;
  options.ema_decay = 0.9;
  const auto optimiser = optim::adamw({});
  auto state = optim::start_training(fresh<F>(small()), optimiser, options);
  optim::train(state, optimiser, data, LamfTrainingLoss{}, options);
  CHECK(state.average->updates == 8);
}

TEST_CASE("G-22: a plateau lowers the rate after patience epochs without improvement, and remembers it in its state") {
  const optim::Plateau plateau{0.5, 2, 1e-5};
  optim::PlateauState state;
  std::vector<double> scales;
  for (const double metric : {1.0, 0.5, 0.5, 0.6, 0.5, 0.5, 0.5, 0.4, 0.5, 0.5, 0.5}) {
    plateau.update(state, metric);
    scales.push_back(state.scale);
  }
  CHECK(scales == std::vector<double>{1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25});
  plateau.update(state, std::numeric_limits<double>::quiet_NaN());
  CHECK(state.best == 0.4);
}

TEST_CASE("G-23: another number of iterations is another model; threads with different ones agree with serial fits") {
  LamfOptions options = small();
  options.share_blend = true;
  const auto model = wild<F>(options, 5, 0.5);
  const Grid grid{-15, 15, 96};
  const F densities = make_v5<F>(Key{2}, 50).densities;
  const std::vector<index_t> counts{0, 1, 3, 9};
  std::vector<std::vector<float>> serial, parallel(counts.size());
  for (const index_t t : counts)
    serial.push_back(fit(model.with_iterations(t), densities, grid).mixture.means.to_vector());
  std::vector<std::thread> workers;
  for (std::size_t i = 0; i < counts.size(); ++i)
    workers.emplace_back(
        [&, i] { parallel[i] = fit(model.with_iterations(counts[i]), densities, grid).mixture.means.to_vector(); });
  for (auto& worker : workers) worker.join();
  CHECK(parallel == serial);
  CHECK(serial[1] != serial[2]);
  CHECK(model.options.iterations == 3);
  CHECK(serial[2] == fit(model, densities, grid).mixture.means.to_vector());
  // With weights of their own, iterations can be left out, not added.
  options.share_blend = options.share_refine_weights = false;
  const auto own = wild<F>(options, 6, 0.5);
  const auto shorter = own.with_iterations(2);
  CHECK_NOTHROW(shorter.validate());
  CHECK(shorter.trajectory(samples(3).batch(first(3)).input).back().to_vector() ==
        own.trajectory(samples(3).batch(first(3)).input)[2].to_vector());
  CHECK_THROWS_WITH(own.with_iterations(4), Catch::Contains("0 to 3 iterations, 4 were asked for"));

  // One loader brings every option back.
  const kolmo::io::test::TemporaryDirectory folder;
  options.coordinates = Coordinates::absolute;
  options.features = LamfFeatures::card;
  options.deviation_floor = 0.02;
  options.deviation_largest = 4.5;
  options.correction_scale = 0.3;
  options.least_weight = 0.01;
  options.ordered = false;
  options.dropout = 0.1;
  const auto unusual = wild<F>(options, 9, 0.3);
  io::save_model(folder / "model.safetensors", unusual);
  const auto loaded = load_lamf<F>(folder / "model.safetensors");
  CHECK(fit(loaded, densities, grid).mixture.means.to_vector() ==
        fit(unusual, densities, grid).mixture.means.to_vector());
  CHECK(loaded.options.deviation_largest == 4.5);
  CHECK(loaded.options.least_weight == 0.01);
  CHECK(loaded.options.dropout == 0.1);
}
