// Mixture fitting on one thread: the learned fitter (LAMF) at the sizes of its model card, its parts, its training
// step, the default fit with its polish, expectation-maximisation and the generator of training densities. Times are
// per density in the column per_item_us. Weights are starting values, as times do not depend on them; the default fit
// has those of the shipped model. benchmarks/peers/lamf_torch.py times the same network in PyTorch.

#include <filesystem>

#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/lamf.hpp>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/gmm/lamf_train.hpp>
#include <kolmo/gmm/metrics.hpp>
#include <kolmo/gmm/polish.hpp>
#include <kolmo/gmm/v5.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/train.hpp>

#include "measure.hpp"

namespace {

namespace gmm = kolmo::gmm;
using kolmo::index_t;
using kolmo::Key;
using kolmo::Shape;
using measure::compare;
using measure::Work;
using Host = kolmo::Tensor<float, kolmo::Cpu>;

/// Multiply-adds of the network's products for one density, times two: the bound of a forward pass.
double flops_per_fit(const gmm::LamfOptions& o) {
  const double n = static_cast<double>(o.points), k = static_cast<double>(o.components);
  const double wide = static_cast<double>(o.init_width), narrow = static_cast<double>(o.refine_width);
  const double initial = (3 * n + 2) * wide + static_cast<double>(o.init_layers - 1) * wide * wide + wide * 3 * k;
  const double refine =
      gmm::feature_count * narrow + static_cast<double>(o.refine_layers - 1) * narrow * narrow + narrow * 3;
  return 2 * (initial + static_cast<double>(o.iterations) * k * refine);
}

/// A batch of generated densities with everything that is made of it on the way to a fit.
struct Bench {
  gmm::DensitySet<Host> set;
  gmm::PreprocessOptions options;
  gmm::Preprocessed<Host> prepared;
  gmm::LamfInput<Host> input;
  gmm::Lamf<Host> model;

  explicit Bench(index_t batch) : set(gmm::make_v5<Host>(Key{2}, batch)), model(gmm::LamfOptions{}) {
    options.scaling = gmm::Scaling::deviation;
    prepared = prepare();
    input = gmm::lamf_input(prepared);
    init(Key{5}, model);
  }
  gmm::Preprocessed<Host> prepare() const { return gmm::preprocess(set.densities, set.grid, options, set.offsets); }
  gmm::detail::LamfConstants<Host> constants() const {
    return {input.masses, input.points, kolmo::apply(gmm::detail::LogFloorKernel<float>{0.5f}, input.spacing),
            1.1f,         0.5f,         static_cast<int>(model.options.components)};
  }
};

void add_forward(index_t batch) {
  const std::string name = "lamf/batch_" + std::to_string(batch) + "/";
  const double items = static_cast<double>(batch);
  measure::add(name + "forward", [=](benchmark::State& state) {
    const Bench bench(batch);
    compare(state, Work{.flops = items * flops_per_fit(bench.model.options), .items = items},
            [&] { benchmark::DoNotOptimize(bench.model(bench.input).data()); });
  });
  measure::add(name + "fit", [=](benchmark::State& state) {
    const Bench bench(batch);
    compare(state, Work{.items = items}, [&] {
      const auto prepared = bench.prepare();
      const auto mixture = gmm::to_input_units(gmm::to_mixture(bench.model(gmm::lamf_input(prepared))), prepared);
      benchmark::DoNotOptimize(mixture.weights.data());
    });
  });
  measure::add(name + "part_preprocess", [=](benchmark::State& state) {
    const Bench bench(batch);
    compare(state, Work{.items = items},
            [&] { benchmark::DoNotOptimize(gmm::lamf_input(bench.prepare()).features.data()); });
  });
  measure::add(name + "part_init_network", [=](benchmark::State& state) {
    const Bench bench(batch);
    compare(state, Work{.items = items},
            [&] { benchmark::DoNotOptimize(bench.model.init_network(bench.input.features).data()); });
  });
  const Shape mixture_shape{batch, 15}, features_shape{batch, 5 * gmm::feature_count};
  measure::add(name + "part_statistics_6x", [=](benchmark::State& state) {
    const Bench bench(batch);
    const auto constants = bench.constants();
    const Host mixture = bench.model(bench.input), temperature = Host::scalar(1.0f);
    compare(state, Work{.items = items}, [&] {
      for (int t = 0; t < 6; ++t)
        benchmark::DoNotOptimize(
            kolmo::item_map(gmm::detail::StatisticsSpec<Host>{constants}, features_shape, mixture, temperature).data());
    });
  });
  measure::add(name + "part_update_network_6x", [=](benchmark::State& state) {
    const Bench bench(batch);
    const Host features = kolmo::item_map(gmm::detail::StatisticsSpec<Host>{bench.constants()}, features_shape,
                                          bench.model(bench.input), Host::scalar(1.0f))
                              .reshaped(Shape{batch * 5, gmm::feature_count});
    compare(state, Work{.items = items}, [&] {
      for (int t = 0; t < 6; ++t) benchmark::DoNotOptimize(bench.model.refine_network(features).data());
    });
  });
  measure::add(name + "part_update_6x", [=](benchmark::State& state) {
    const Bench bench(batch);
    const auto constants = bench.constants();
    const Host features = kolmo::item_map(gmm::detail::StatisticsSpec<Host>{constants}, features_shape,
                                          bench.model(bench.input), Host::scalar(1.0f));
    const Host raw = Host::zeros(Shape{batch, 15}), blend = Host::scalar(0.5f);
    compare(state, Work{.items = items}, [&] {
      for (int t = 0; t < 6; ++t)
        benchmark::DoNotOptimize(
            kolmo::item_map(gmm::detail::UpdateSpec<Host>{constants}, mixture_shape, features, raw, blend).data());
    });
  });
}

/// The model that ships with the examples; where it is not found, an untrained one of its sizes.
gmm::Lamf<Host> shipped_model() {
  const std::filesystem::path path = std::filesystem::path(KOLMO_EXAMPLES) / "models" / "lamf_v5.safetensors";
  if (std::filesystem::exists(path)) return gmm::load_lamf<Host>(path);
  gmm::LamfOptions options;
  options.iterations = 4;
  options.init_width = 128;
  options.refine_width = 64;
  gmm::Lamf<Host> model(options);
  init(Key{5}, model);
  return model;
}

/// What a user gets without any option: preparation, the shipped network, the polish of up to 8 evaluations and,
/// rarely, a refit by EM; the same without the polish; and one evaluation of the polish, which is what another one
/// adds. Here times depend on the weights, as they decide how much there is to polish. Batches of one take their
/// densities in turn.
void add_default_fit(index_t batch) {
  const std::string name = "default_fit/batch_" + std::to_string(batch) + "/";
  constexpr index_t count = 256;
  const auto parts = [=] {
    const auto set = gmm::make_v5<Host>(Key{2}, count);
    std::vector<gmm::DensitySet<Host>> result;
    for (index_t begin = 0; begin < count; begin += batch) {
      gmm::DensitySet<Host> part = set;
      part.densities = kolmo::slice(set.densities, 0, begin, begin + batch).contiguous();
      part.offsets = kolmo::slice(set.offsets, 0, begin, begin + batch).contiguous();
      result.push_back(part);
    }
    return result;
  };
  const auto add = [=](const std::string& what, const gmm::FitOptions& options) {
    measure::add(name + what, [=](benchmark::State& state) {
      const auto model = shipped_model();
      const auto sets = parts();
      double total = 0;
      for (const auto& set : sets) {
        gmm::FitOptions measured = options;
        measured.measures = true;
        total += gmm::summarize(gmm::fit(model, set.densities, set.grid, measured, set.offsets).measures->density_error)
                     .mean;
      }
      compare(state, Work{.items = static_cast<double>(count)}, [&] {
        for (const auto& set : sets)
          benchmark::DoNotOptimize(gmm::fit(model, set.densities, set.grid, options, set.offsets).status.data());
      });
      state.counters["mean_error"] = total / static_cast<double>(sets.size());
    });
  };
  gmm::FitOptions alone, no_refit;
  alone.polish = gmm::PolishOptions{.evaluations = 0};
  no_refit.refit_above = 0;
  add("all", {});
  add("without_refit", no_refit);
  add("without_polish", alone);
}

/// `evaluations` of the polish, none of which may end it, from the network's fit.
template <class T>
void add_polish(const std::string& scalar, int evaluations) {
  using V = kolmo::Tensor<T, kolmo::Cpu>;
  measure::add("polish/" + scalar + "/" + std::to_string(evaluations) + "_evaluations", [=](benchmark::State& state) {
    constexpr index_t batch = 256;
    const auto set = gmm::make_v5<V>(Key{2}, batch);
    const auto prepared = gmm::preprocess(set.densities, set.grid, {}, set.offsets);
    gmm::EmOptions em;
    em.max_iterations = 6;
    const auto start = gmm::to_input_units(gmm::fit_em(prepared.masses, prepared.points, em).mixture, prepared);
    const gmm::PolishOptions options{.evaluations = evaluations, .tolerance = 0, .gain = 0};
    compare(state, Work{.items = batch}, [&] {
      benchmark::DoNotOptimize(
          gmm::polish(set.densities, set.grid, start, options, std::optional<V>(set.offsets)).status.data());
    });
  });
}

/// One step of the recipe of the model card: gradient of a batch of 64 in two parts, and AdamW.
void add_training(int threads, gmm::Supervision supervision, const std::string& name) {
  measure::add("lamf/train_step/" + name + "/threads_" + std::to_string(threads), [=](benchmark::State& state) {
    constexpr index_t batch = 64;
    const auto set = gmm::make_v5<Host>(Key{0}, batch, gmm::V5Options::training());
    const gmm::LamfSamples<Host> samples(set, set.grid);
    gmm::Lamf<Host> model(gmm::LamfOptions{});
    init(Key{5}, model);
    gmm::LamfTrainingLoss loss;
    loss.terms.l2 = 0.2;
    loss.supervision = supervision;
    std::vector<index_t> indices(batch);
    for (index_t i = 0; i < batch; ++i) indices[static_cast<std::size_t>(i)] = i;
    const auto optimiser = kolmo::optim::adamw();
    auto optimiser_state = optimiser.init(model);
    kolmo::threads::set_count(threads);
    compare(state, Work{.flops = 3 * batch * flops_per_fit(model.options), .items = batch}, [&] {
      auto [value, gradient] =
          kolmo::detail::batch_gradient(model, samples, loss, indices, 2, 1, kolmo::nn::Pass{Key{7}, true});
      const double norm = kolmo::optim::global_norm(gradient);
      optimiser.step(model, gradient, optimiser_state, 1e-9, norm > 1 ? 1 / norm : 1.0);
      benchmark::DoNotOptimize(value);
    });
    kolmo::threads::set_count(1);
  });
}

/// Processor time of one fit of a batch of one, the shortest of three.
template <class V>
double seconds_alone(const gmm::Preprocessed<V>& prepared, const gmm::EmOptions& options, index_t row) {
  const V masses = kolmo::slice(prepared.masses, 0, row, row + 1).contiguous();
  const V points = kolmo::slice(prepared.points, 0, row, row + 1).contiguous();
  double least = 1;
  for (int i = 0; i < 3; ++i)
    least =
        std::min(least, measure::detail::time_of(
                            [&] { benchmark::DoNotOptimize(gmm::fit_em(masses, points, options).status.data()); }, 1));
  return least;
}

/// `median_fit_us` is over the densities, each fitted by itself; `per_item_us` is the mean of the batch.
template <class T>
void add_em(const std::string& scalar) {
  using V = kolmo::Tensor<T, kolmo::Cpu>;
  constexpr index_t batch = 256;
  const auto run = [](benchmark::State& state, gmm::Acceleration acceleration, double tolerance, int most) {
    const auto set = gmm::make_v5<V>(Key{2}, batch);
    const auto prepared = gmm::preprocess(set.densities, set.grid, {}, set.offsets);
    gmm::EmOptions options;
    options.acceleration = acceleration;
    options.tolerance = tolerance;
    options.max_iterations = most;
    const auto fit = gmm::fit_em(prepared.masses, prepared.points, options);
    std::vector<double> iterations, alone;
    double total = 0;
    for (const std::int32_t n : fit.iterations.to_vector()) {
      iterations.push_back(n);
      total += n;
    }
    for (index_t row = 0; row < batch; ++row) alone.push_back(seconds_alone(prepared, options, row));
    compare(state, Work{.items = batch}, [&] {
      benchmark::DoNotOptimize(gmm::fit_em(prepared.masses, prepared.points, options).log_likelihood.data());
    });
    const auto error =
        gmm::evaluate(set.densities, set.grid, gmm::to_input_units(fit.mixture, prepared), set.offsets).density_error;
    state.counters["iterations"] = total / batch;
    state.counters["median_iterations"] = measure::detail::median(iterations);
    state.counters["per_iteration_us"] = state.counters["median_us"] / total;
    state.counters["median_fit_us"] = measure::detail::median(alone) * 1e6;
    state.counters["mean_error"] = gmm::summarize(error).mean;
  };
  for (const auto acceleration : {gmm::Acceleration::none, gmm::Acceleration::anderson}) {
    const std::string name = "em/" + scalar + "/" + gmm::name_of(acceleration);
    for (const char* tolerance : {"1e-6", "1e-7", "1e-8"})
      measure::add(name + "/to_" + tolerance,
                   [=](benchmark::State& state) { run(state, acceleration, std::stod(tolerance), 300); });
    measure::add(name + "/20_iterations", [=](benchmark::State& state) { run(state, acceleration, 0, 20); });
  }
}

void add_generator() {
  measure::add("v5_generator", [](benchmark::State& state) {
    constexpr index_t samples = 1000;
    compare(state, Work{.items = samples},
            [&] { benchmark::DoNotOptimize(gmm::make_v5<Host>(Key{3}, samples).densities.data()); });
  });
}

}  // namespace

int main(int argc, char** argv) {
  add_forward(1);
  add_forward(256);
  add_default_fit(1);
  add_default_fit(256);
  for (const int evaluations : {1, 2, 8}) {
    add_polish<float>("float", evaluations);
    add_polish<double>("double", evaluations);
  }
  for (const int threads : {1, 2}) {
    add_training(threads, gmm::Supervision::final_only, "final_only");
    add_training(threads, gmm::Supervision::linear, "deep_supervision");
  }
  add_em<double>("double");
  add_em<float>("float");
  add_generator();
  return measure::run(argc, argv);
}
