// EM from samples on one thread: the time of an iteration over points drawn from a known mixture, and of a start by
// k-means. `bench_gmm_samples --write FOLDER` writes the points and the start as NPY files for
// benchmarks/peers/gmm_samples_sklearn.py, which times scikit-learn on the same, and prints what both must agree on.

#include <cstdio>
#include <cstring>
#include <filesystem>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/gmm/em_samples.hpp>
#include <kolmo/io/npy.hpp>

#include "measure.hpp"

namespace {

namespace gmm = kolmo::gmm;
using kolmo::index_t;
using kolmo::Key;
using kolmo::Shape;

constexpr index_t dimensions = 8, components = 16;
#ifdef NDEBUG
constexpr index_t count = 1000000;
#else
constexpr index_t count = 10000;  // not to be timed: only to see that everything runs
#endif

template <class T>
using Host = kolmo::Tensor<T, kolmo::Cpu>;

/// Components of correlated coordinates about random centres that overlap.
gmm::NormalMixture<Host<double>> truth() {
  std::vector<double> weights, means, covariances;
  for (index_t k = 0; k < components; ++k) {
    weights.push_back(1.0 / static_cast<double>(components));
    const Key key = kolmo::fold_in(Key{1}, static_cast<std::uint64_t>(k));
    for (index_t i = 0; i < dimensions; ++i) {
      means.push_back(2.0 * kolmo::normal<double>(key, static_cast<std::uint64_t>(i)));
      for (index_t j = 0; j < dimensions; ++j) covariances.push_back(i == j ? 1.0 : 0.3);
    }
  }
  return {gmm::Covariance::full, Host<double>::from(weights),
          Host<double>::from(std::span<const double>(means), Shape{components, dimensions}),
          Host<double>::from(std::span<const double>(covariances), Shape{components, dimensions, dimensions})};
}

/// A start away from the truth: the first points as means, unit covariances.
gmm::NormalMixture<Host<double>> start_of(const Host<double>& points, gmm::Covariance kind) {
  const auto values = points.to_vector();
  const std::vector<double> means(values.begin(), values.begin() + components * dimensions);
  const Shape shape = gmm::detail::covariance_shape(kind, components, dimensions);
  std::vector<double> covariances(static_cast<std::size_t>(shape.size()), 4.0);
  if (gmm::detail::is_whole(kind))
    for (std::size_t i = 0; i < covariances.size(); ++i)
      covariances[i] = i / dimensions % dimensions == i % dimensions ? 4.0 : 0.0;
  return {kind, Host<double>::full(Shape{components}, 1.0 / static_cast<double>(components)),
          Host<double>::from(std::span<const double>(means), Shape{components, dimensions}),
          Host<double>::from(std::span<const double>(covariances), shape)};
}

const Host<double>& points() {
  static const Host<double> drawn = gmm::sample(truth(), Key{2}, count).points;
  return drawn;
}

template <class T>
Host<T> cast(const Host<double>& x) {
  std::vector<T> values;
  for (const double v : x.to_vector()) values.push_back(static_cast<T>(v));
  return Host<T>::from(std::span<const T>(values), x.shape());
}

template <class T>
void add_iteration(gmm::Covariance kind, const std::string& name) {
  measure::add("em_samples/" + name, [=](benchmark::State& state) {
    const auto data = cast<T>(points());
    const auto from = start_of(points(), kind);
    const gmm::NormalMixture<Host<T>> start{kind, cast<T>(from.weights), cast<T>(from.means),
                                            cast<T>(from.covariances)};
    std::vector<double> times;
    double log_density = 0, last = 0;
    gmm::SampleFitOptions options;
    options.tolerance = 0;
    options.max_iterations = 10;
    options.on_iteration = [&](const gmm::SampleFitProgress& progress) {
      const double now = measure::detail::seconds();
      if (progress.iteration > 0) times.push_back(now - last);
      last = now;
      log_density = progress.mean_log_density;
    };
    for (auto _ : state) {
      const double begin = measure::detail::seconds();
      benchmark::DoNotOptimize(gmm::fit_samples(data, start, options).iterations);
      state.SetIterationTime(measure::detail::seconds() - begin);
    }
    const double typical = measure::detail::median(times);
    state.counters["iteration_ms"] = typical * 1e3;
    // Multiply-adds of the distances and the sums, times two.
    const double triangle = gmm::detail::is_whole(kind) ? dimensions * (dimensions + 1) / 2 : dimensions;
    state.counters["GFLOP/s"] = 2.0 * count * components * (2.0 * triangle + dimensions) / typical * 1e-9;
    state.counters["log_density"] = log_density;
  });
}

void add_k_means() {
  measure::add("k_means/double", [](benchmark::State& state) {
    double iterations = 0, inertia = 0;
    measure::compare(state, measure::Work{}, [&] {
      const auto clusters = gmm::k_means(points(), components, {.max_iterations = 20, .tolerance = 0});
      iterations = clusters.iterations;
      inertia = clusters.inertia;
    });
    state.counters["iterations"] = iterations;
    state.counters["inertia"] = inertia;
  });
}

void write(const std::filesystem::path& folder) {
  const auto save = [&](const std::string& name, const Host<double>& x) {
    kolmo::io::save_npy(folder / (name + ".npy"),
                        kolmo::io::HostArray(x.to_vector(), {x.shape().begin(), x.shape().end()}));
  };
  save("points", points());
  for (const auto& [kind, name] :
       {std::pair{gmm::Covariance::full, "full"}, std::pair{gmm::Covariance::diagonal, "diag"},
        std::pair{gmm::Covariance::tied, "tied"}, std::pair{gmm::Covariance::spherical, "spherical"}}) {
    const auto start = start_of(points(), kind);
    save("means", start.means);
    save(std::string("covariances_") + name, start.covariances);
    gmm::SampleFitOptions options;
    options.tolerance = 0;
    options.max_iterations = 10;
    std::printf("%s: mean log density after 10: %.10f\n", name,
                gmm::fit_samples(points(), start, options).score.mean_log_density);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--write") == 0) {
    write(argv[2]);
    return 0;
  }
  add_iteration<double>(gmm::Covariance::full, "double/full");
  add_iteration<double>(gmm::Covariance::tied, "double/tied");
  add_iteration<double>(gmm::Covariance::diagonal, "double/diagonal");
  add_iteration<double>(gmm::Covariance::spherical, "double/spherical");
  add_iteration<float>(gmm::Covariance::full, "float/full");
  add_k_means();
  return measure::run(argc, argv);
}
