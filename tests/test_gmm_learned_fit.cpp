// What a user of the learned fitters gets: network, polish, and a refit by EM where these fail.

#include "catch.hpp"
#include "device.hpp"
#include "gmm_reference.hpp"

#include <cstring>
#include <limits>
#include <thread>

#include <kolmo/gmm/foreign.hpp>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/gmm/mdn_fit.hpp>
#include <kolmo/gmm/v5.hpp>

using namespace kolmo;
using namespace kolmo::gmm;
using namespace kolmo_test;
using F = Tensor<float, Cpu>;

namespace {

const float no_number = std::numeric_limits<float>::quiet_NaN();

const Lamf<F>& shipped() {
  static const Lamf<F> model = load_lamf<F>(KOLMO_EXAMPLES "/models/lamf_v5.safetensors");
  return model;
}

Lamf<F> broken() {
  Lamf<F> model = shipped();
  model.init_network.layers.back().bias = F::full(model.init_network.layers.back().bias.shape(), no_number);
  return model;
}

/// An untrained network of other sizes.
template <class V>
Lamf<V> untrained(index_t components, index_t iterations = 4) {
  LamfOptions options;
  options.components = components;
  options.iterations = iterations;
  options.init_width = 24;
  options.init_layers = options.refine_layers = 1;
  options.refine_width = 16;
  options.share_blend = true;
  Lamf<V> model(options);
  init(Key{7}, model);
  return model;
}

FitOptions measured(std::optional<PolishOptions> polish = std::nullopt, double refit_above = 0.01) {
  FitOptions options;
  options.measures = true;
  options.polish = polish;
  options.refit_above = refit_above;
  return options;
}
const PolishOptions no_polish{.evaluations = 0};

template <class V>
std::vector<double> errors(const FitReport<V>& report) {
  const auto values = report.measures->density_error.to_vector();
  return {values.begin(), values.end()};
}
double mean_of(const std::vector<double>& x) { return summarize(x).mean; }

template <class V>
bool warned(const FitReport<V>& report, std::size_t row, Warning warning) {
  return (report.warnings.to_vector()[row] & static_cast<std::int32_t>(warning)) != 0;
}

std::vector<double> points_of(const Grid& grid) {
  std::vector<double> points;
  for (index_t i = 0; i < grid.points; ++i) points.push_back(grid[i]);
  return points;
}

/// Whether row b of both has the same bits, NaN included.
template <class V>
bool same_row(const FitReport<V>& x, const FitReport<V>& y, index_t b) {
  const auto same = [&](const V& p, const V& q) {
    const auto s = row_of(p, b).to_vector(), t = row_of(q, b).to_vector();
    return s.size() == t.size() && std::memcmp(s.data(), t.data(), s.size() * sizeof(s[0])) == 0;
  };
  const auto i = static_cast<std::size_t>(b);
  return same(x.mixture.weights, y.mixture.weights) && same(x.mixture.means, y.mixture.means) &&
         same(x.mixture.deviations, y.mixture.deviations) && x.status.to_vector()[i] == y.status.to_vector()[i] &&
         x.warnings.to_vector()[i] == y.warnings.to_vector()[i];
}

}  // namespace

TEST_CASE("by default a learned fit is polished", "[gmm][learned]") {
  const auto set = make_v5<F>(Key{41}, 300);
  const auto usual = fit(shipped(), set.densities, set.grid, measured(std::nullopt, 0), set.offsets);
  const auto alone = fit(shipped(), set.densities, set.grid, measured(no_polish), set.offsets);
  CHECK(mean_of(errors(usual)) < 0.25 * mean_of(errors(alone)));
  CHECK(mean_of(errors(usual)) < 0.001);
  for (std::size_t b = 0; b < 300; ++b) {
    CHECK(usual.iterations.to_vector()[b] > shipped().options.iterations);
    CHECK(alone.iterations.to_vector()[b] == shipped().options.iterations);
  }
  const auto mdn = load_mdn<F>(KOLMO_EXAMPLES "/models/mdn_v5.safetensors");
  CHECK(mean_of(errors(fit(mdn, set.densities, set.grid, measured(), set.offsets))) <
        0.25 * mean_of(errors(fit(mdn, set.densities, set.grid, measured(no_polish), set.offsets))));
}

TEST_CASE("G-17: a network that fails leaves a good fit with a warning, or a status without a refit",
          "[gmm][learned]") {
  const auto set = make_v5<F>(Key{42}, 40);
  const auto report = fit(broken(), set.densities, set.grid, measured(), set.offsets);
  for (std::size_t b = 0; b < 40; ++b) {
    CAPTURE(b);
    CHECK(report.statuses()[b] == Status::ok);
    CHECK(warned(report, b, Warning::refitted));
    CHECK(report.iterations.to_vector()[b] > 0);
    CHECK(errors(report)[b] < 0.02);
  }
  CHECK(mean_of(errors(report)) < 0.001);
  CHECK(describe_warnings(static_cast<std::int32_t>(Warning::refitted)) == "refitted by EM");
  // The refit is EM and a polish, of these rows.
  const auto last = report.mixture.means.to_vector();
  CHECK(std::is_sorted(last.end() - 5, last.end()));

  const auto refused = fit(broken(), set.densities, set.grid, measured(std::nullopt, 0), set.offsets);
  for (const Status status : refused.statuses()) CHECK(status == Status::broken_fit);
  for (const float x : refused.mixture.means.to_vector()) CHECK(!is_finite(x));
}

TEST_CASE("a refit is taken where it is better, and only where the polish did not do", "[gmm][learned]") {
  ForeignOptions options;
  options.centred = true;
  const auto set = make_foreign<F>(Key{43}, 210, options);
  const auto without = fit(shipped(), set.densities, set.grid, measured(std::nullopt, 0), set.offsets);
  const auto with = fit(shipped(), set.densities, set.grid, measured(), set.offsets);
  int refitted = 0;
  for (std::size_t b = 0; b < 210; ++b) {
    CAPTURE(b);
    const auto row = static_cast<index_t>(b);
    if (warned(with, b, Warning::refitted)) {
      ++refitted;
      CHECK(errors(with)[b] < errors(without)[b] * (1 + 1e-3));
    } else {
      CHECK(same_row(with, without, row));
    }
  }
  CHECK(refitted > 0);
  CHECK(refitted < 100);
  CHECK(mean_of(errors(with)) < mean_of(errors(without)));
}

TEST_CASE("rows that are no densities, or are fitted badly, do not change their neighbours", "[gmm][learned]") {
  auto set = make_v5<F>(Key{44}, 12);
  const auto clean = fit(shipped(), set.densities, set.grid, {}, set.offsets);
  auto values = set.densities.to_vector();
  const auto row = [&](std::size_t b) { return values.begin() + static_cast<std::ptrdiff_t>(96 * b); };
  row(2)[40] = no_number;
  std::fill(row(5), row(6), 0.0f);
  row(7)[30] = -2.0f;
  // A comb, which no mixture of five fits.
  for (std::size_t i = 0; i < 96; ++i) row(9)[static_cast<std::ptrdiff_t>(i)] = i % 7 == 0 && i > 20 ? 1.0f : 0.0f;
  const auto mixed = fit(shipped(), F::from(values, Shape{12, 96}), set.grid, {}, set.offsets);
  CHECK(mixed.statuses()[2] == Status::non_finite);
  CHECK(mixed.statuses()[5] == Status::zero_mass);
  CHECK(mixed.statuses()[7] == Status::negative_mass);
  CHECK(is_valid(mixed.statuses()[9]));
  for (const index_t b : {0, 1, 3, 4, 6, 8, 10, 11}) CHECK(same_row(mixed, clean, b));
  for (const index_t b : {2, 5, 7}) CHECK(!is_finite(row_of(mixed.mixture.means, b).to_vector()[0]));
}

TEST_CASE("negative values that the caller calls rounding are polished like others", "[gmm][learned]") {
  const auto set = make_v5<F>(Key{45}, 1);
  auto values = set.densities.to_vector();
  values[2] = -1e-3f;
  const F density = F::from(values, Shape{1, 96});
  CHECK(fit(shipped(), density, set.grid).statuses()[0] == Status::negative_mass);
  FitOptions lenient;
  lenient.negative_tolerance = 0.01;
  CHECK(fit(shipped(), density, set.grid, lenient).iterations.item() > shipped().options.iterations);
}

TEST_CASE("densities at points: those of a grid, and others", "[gmm][learned]") {
  const auto set = make_v5<F>(Key{46}, 30);
  const auto points = points_of(set.grid);
  const auto a = fit(shipped(), set.densities, set.grid, measured());
  const auto b = fit(shipped(), set.densities, points, measured());
  CHECK(a.statuses() == b.statuses());
  CHECK(std::abs(mean_of(errors(a)) - mean_of(errors(b))) < 1e-4);
  for (std::size_t i = 0; i < 30; ++i) CHECK(errors(b)[i] == Approx(errors(a)[i]).margin(2e-3));
  const auto mdn = load_mdn<F>(KOLMO_EXAMPLES "/models/mdn_v5.safetensors");
  CHECK(mean_of(errors(fit(mdn, set.densities, points, measured()))) < 0.002);

  std::vector<double> stretched;
  for (int i = 0; i < 160; ++i) stretched.push_back(-5.0 + 12.0 * std::pow(i / 159.0, 1.4));
  std::vector<float> values;
  for (const double z : stretched) values.push_back(static_cast<float>(reference_maximum().density(z)));
  CHECK(errors(fit(shipped(), F::from(values), stretched, measured()))[0] < 1e-3);
  CHECK_THROWS_AS(fit(shipped(), F::from(values), std::vector<double>(160, 1.0)), ArgumentError);
  CHECK_THROWS_AS(fit(shipped(), F::from(values), points), ShapeError);
}

TEST_CASE("EM polishes when asked to", "[gmm][learned]") {
  const auto set = make_v5<Double>(Key{47}, 60);
  const EmOptions em;
  const auto plain = gmm::fit(em, set.densities, set.grid, measured());
  const auto polished = gmm::fit(em, set.densities, set.grid, measured(PolishOptions{}));
  CHECK(mean_of(errors(polished)) < 0.3 * mean_of(errors(plain)));
  const auto at_points = gmm::fit(em, set.densities, points_of(set.grid), measured(PolishOptions{}));
  CHECK(mean_of(errors(at_points)) == Approx(mean_of(errors(polished))).epsilon(0.02));
  CHECK(same_bits(gmm::fit(em, set.densities, set.grid, measured(no_polish)).mixture, plain.mixture));
}

TEST_CASE("a model of any number of components, on few points and many, fits", "[gmm][learned]") {
  for (const index_t components : {1, 3, 8}) {
    const auto model = untrained<F>(components);
    for (const index_t n : {3, 4, 20, 96, 700}) {
      const Grid grid{-4.0, 6.0, n};
      CAPTURE(components, n);
      const auto report =
          fit(model, sampled<F>([](double z) { return reference_maximum().density(z); }, grid), grid, measured());
      CHECK(is_valid(report.statuses()[0]));
      CHECK(report.mixture.components() == components);
      CHECK(all_finite(report.mixture.means));
      if (components > 1 && n > 20) CHECK(errors(report)[0] < 0.003);
    }
  }
  // A spike, and a uniform density that fills its grid.
  for (const bool spike : {true, false}) {
    std::vector<float> values(96, spike ? 0.0f : 1.0f);
    values[95] = 1.0f;
    const auto report = fit(untrained<F>(3), F::from(values), Grid{}, measured());
    CHECK(is_valid(report.statuses()[0]));
    CHECK(all_finite(report.mixture.deviations));
  }
  CHECK(fit(shipped(), F::ones(Shape{0, 96}), Grid{}, measured()).batch() == 0);
  CHECK(fit(shipped(), F::ones(Shape{0, 96}), points_of(Grid{}), measured()).batch() == 0);
}

TEST_CASE("the device gets what the processor gets, refits included", "[gmm][learned][device]") {
  using Device = Tensor<double, TestDevice>;
  // NaN as the network's last bias: every row is refitted.
  auto model = untrained<Device>(3);
  auto on_host = untrained<Double>(3);
  const auto set = make_v5<Double>(Key{48}, 5);
  const Device densities = set.densities.to<TestDevice>();
  for (const bool damaged : {false, true}) {
    if (damaged) {
      auto& bias = model.init_network.layers.back().bias;
      bias = Device::full(bias.shape(), static_cast<double>(no_number));
      on_host.init_network.layers.back().bias = Double::full(bias.shape(), static_cast<double>(no_number));
    }
    const auto host = gmm::fit(on_host, set.densities, set.grid, measured());
    const auto device = gmm::fit(model, densities, set.grid, measured());
    CHECK(device.statuses() == host.statuses());
    CHECK(device.warnings.to_vector() == host.warnings.to_vector());
    CHECK(warned(device, 0, Warning::refitted) >= damaged);
    CHECK(largest_difference(Double::from(device.mixture.means.to_vector()),
                             Double::from(host.mixture.means.to_vector())) < 1e-6);
    CHECK(gmm::fit(model, densities, points_of(set.grid), measured()).statuses() == host.statuses());
  }
}

TEST_CASE("G-23: threads with models of different depth agree with serial fits", "[gmm][learned]") {
  const auto model = untrained<F>(4);
  const auto set = make_v5<F>(Key{49}, 60);
  const std::vector<index_t> depths{1, 6};
  std::vector<FitReport<F>> serial, parallel(2);
  for (const index_t t : depths) serial.push_back(fit(model.with_iterations(t), set.densities, set.grid));
  std::vector<std::thread> workers;
  for (std::size_t i = 0; i < 2; ++i)
    workers.emplace_back([&, i] { parallel[i] = fit(model.with_iterations(depths[i]), set.densities, set.grid); });
  for (auto& worker : workers) worker.join();
  for (std::size_t i = 0; i < 2; ++i)
    for (index_t b = 0; b < 60; ++b) REQUIRE(same_row(parallel[i], serial[i], b));
}
