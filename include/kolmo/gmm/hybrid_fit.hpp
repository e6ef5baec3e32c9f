#pragma once
// Fits in stages: a linear programme chooses components from a dictionary, EM moves them, and the weights may be
// projected onto the moments of the density. Each stage is reported; one that fails is a status, never replaced.

#include <chrono>

#include <kolmo/gmm/em_fit.hpp>
#include <kolmo/gmm/lp_fit.hpp>
#include <kolmo/gmm/mixture_reduce.hpp>
#include <kolmo/gmm/moment_projection.hpp>

namespace kolmo::gmm {

/// How the normals that a linear programme has chosen become K components.
enum class Selection {
  merge,    ///< pairs are merged by Runnalls' bound, which keeps mean and variance
  largest,  ///< the K largest weights, ties by position in the dictionary
};

struct HybridOptions {
  /// The dictionary has 4 K means at quantiles and 10 deviations unless `means` is set otherwise than zero.
  LpOptions lp{.objective = LpObjective::density_and_moments,
               .dictionary = {.placement = MeanPlacement::quantiles, .means = 0, .deviations = 10}};
  Selection selection = Selection::merge;
  /// K = em.components.
  EmOptions em{};
  /// Project the weights after EM; none if empty.
  std::optional<ProjectionOptions> projection{};
};

/// Hybrid fits of a batch; `iterations` are those of EM.
template <PlainTensor V>
struct HybridFit : FitReport<V> {
  using Integers = typename FitReport<V>::Integers;

  index_t dictionary = 0;  ///< size
  Integers components;     ///< [batch], normals that the programme chose; 0 where it has no solution
  V objective;             ///< [batch], of the programme; NaN where it has no solution, as below
  V density_error;         ///< [batch], of the programme's mixture, largest at the points, in units of the input
  V moment_errors;         ///< [batch, 4], of the programme's mixture, absolute, of orders 1 to 4
  V tolerance;             ///< [batch], that was kept; zero for objectives without one
  Integers projection;     ///< [batch], ProjectionMethod as integer
  V constraint_error;      ///< [batch], of the projection; NaN where there was none
  double lp_seconds = 0.0, em_seconds = 0.0, projection_seconds = 0.0;  ///< of the batch, by the clock
};

namespace detail {

struct HybridStages {
  LpDiagnostics lp;
  std::vector<std::int32_t> projection;
  std::vector<double> constraint_error;
  double lp_seconds = 0.0, em_seconds = 0.0, projection_seconds = 0.0;
};

class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// K components from those chosen. Where there are fewer, the heaviest is halved, by parts half a deviation to both
/// sides of its mean, which keeps mean and variance: EM cannot use a component without weight.
inline std::vector<Component> select_components(std::vector<Component> chosen, std::size_t count, Selection selection) {
  if (selection == Selection::largest && chosen.size() > count) {
    std::stable_sort(chosen.begin(), chosen.end(),
                     [](const Component& a, const Component& b) { return a.weight > b.weight; });
    chosen.resize(count);
  }
  while (chosen.size() > count) {
    std::size_t i = 0, j = 1;
    double least = merging_cost(chosen[0], chosen[1]);
    for (std::size_t a = 0; a < chosen.size(); ++a)
      for (std::size_t b = a + 1; b < chosen.size(); ++b) {
        const double cost = merging_cost(chosen[a], chosen[b]);
        if (cost >= least) continue;
        least = cost;
        i = a;
        j = b;
      }
    chosen[i] = merged_pair(chosen[i], chosen[j]);
    chosen.erase(chosen.begin() + static_cast<std::ptrdiff_t>(j));
  }
  while (chosen.size() < count) {
    const auto heaviest = std::max_element(chosen.begin(), chosen.end(),
                                           [](const Component& a, const Component& b) { return a.weight < b.weight; });
    const double shift = 0.5 * sqrt(heaviest->variance);
    const Component half{0.5 * heaviest->weight, heaviest->mean - shift, 0.75 * heaviest->variance};
    *heaviest = half;
    chosen.push_back({half.weight, half.mean + 2.0 * shift, half.variance});
  }
  return chosen;
}

template <PlainTensor V>
struct FitHybridChunk {
  const HybridOptions& hybrid;
  const FitOptions& options;
  const OwnPoints<typename V::Backend>& where;
  HybridStages& stages;

  FittedChunk<V> operator()(const V& densities, const std::optional<V>& offsets) const {
    using T = typename V::Scalar;
    using Integers = typename FittedChunk<V>::Integers;
    Stopwatch watch;
    FittedChunk<V> fitted;
    // A floor in units of the input must be compared in units of the input.
    fitted.prepared = prepare_on_own_points(densities, offsets, where, options, !(hybrid.em.deviation_floor > 0.0));
    const DictionaryFits<V> fits(fitted.prepared, hybrid.lp);
    stages.lp.add(fits);
    const std::size_t batch = fits.statuses.size(), width = static_cast<std::size_t>(hybrid.em.components);
    std::vector<T> weights, means, deviations;
    for (std::size_t b = 0; b < batch; ++b) {
      std::vector<Component> chosen;
      if (is_valid(fits.statuses[b]))
        for (std::size_t j = 0; j < fits.fits[b].weights.size(); ++j)
          if (fits.fits[b].weights[j] > 0.0)
            chosen.push_back(
                {fits.fits[b].weights[j], fits.dictionaries[b].means[j], square(fits.dictionaries[b].deviations[j])});
      // A row without a solution goes through EM with numbers that nobody sees.
      if (chosen.empty()) chosen.push_back({1.0, 0.0, 1.0});
      double total = 0.0;
      chosen = select_components(std::move(chosen), width, hybrid.selection);
      for (const Component& c : chosen) total += c.weight;
      for (const Component& c : chosen) {
        weights.push_back(static_cast<T>(c.weight / total));
        means.push_back(static_cast<T>(c.mean));
        deviations.push_back(static_cast<T>(sqrt(c.variance)));
      }
    }
    const Shape shape{static_cast<index_t>(batch), static_cast<index_t>(width)};
    const Mixture<V> start{V::from(weights, shape), V::from(means, shape), V::from(deviations, shape)};
    stages.lp_seconds += watch.lap();

    EmFit<V> em = fit_em(fitted.prepared.masses, fitted.prepared.points, start, hybrid.em);
    auto status = em.status.to_vector();
    for (std::size_t b = 0; b < batch; ++b)
      if (!is_valid(fits.statuses[b])) status[b] = static_cast<std::int32_t>(fits.statuses[b]);
    fitted.mixture = em.mixture;
    fitted.status = Integers::from(status, Shape{shape[0]});
    fitted.iterations = em.iterations;
    stages.em_seconds += watch.lap();

    std::vector<std::int32_t> method(batch, static_cast<std::int32_t>(ProjectionMethod::none));
    std::vector<double> error(batch, std::numeric_limits<double>::quiet_NaN());
    if (hybrid.projection.has_value()) {
      const Projection<V> p =
          project_moments(em.mixture, fitted.prepared.masses, fitted.prepared.points, *hybrid.projection);
      fitted.mixture = p.mixture;
      const auto methods = p.method.to_vector();
      const auto errors = p.constraint_error.to_vector();
      for (std::size_t b = 0; b < batch; ++b) {
        if (!is_valid(static_cast<Status>(status[b]))) continue;
        method[b] = methods[b];
        error[b] = static_cast<double>(errors[b]);
      }
    }
    stages.projection.insert(stages.projection.end(), method.begin(), method.end());
    stages.constraint_error.insert(stages.constraint_error.end(), error.begin(), error.end());
    stages.projection_seconds += watch.lap();
    return fitted;
  }
};

template <PlainTensor V, class Points>
HybridFit<V> fit_hybrid(HybridOptions hybrid, const V& densities, const Points& points, const FitOptions& options,
                        const std::optional<V>& offsets) {
  const OwnPoints<typename V::Backend> where(points);
  // The programme's choice is the start.
  hybrid.em.start = EmStartKind::custom;
  check_em_options(hybrid.em, where.count, true, false);
  if (hybrid.lp.objective == LpObjective::density)
    throw ArgumentError("fit: a hybrid fit needs an objective with moments, density_and_moments or within_tolerance");
  const bool polished = options.polish.has_value() && options.polish->evaluations > 0;
  if (polished && hybrid.projection.has_value())
    throw ArgumentError("fit: a polish would undo the projection of the weights; choose one, or project afterwards");
  if (hybrid.lp.dictionary.means == 0) hybrid.lp.dictionary.means = 4 * hybrid.em.components;
  check_lp_options(hybrid.lp);
  HybridStages stages;
  HybridFit<V> result{fit_in_chunks(densities, where.count, static_cast<index_t>(hybrid.em.components), options,
                                    offsets, FitHybridChunk<V>{hybrid, options, where, stages}),
                      static_cast<index_t>(dictionary_size(hybrid.lp.dictionary)),
                      {},
                      {},
                      {},
                      {},
                      {},
                      {},
                      {}};
  stages.lp.move_to(result);
  result.projection = HybridFit<V>::Integers::from(stages.projection, Shape{result.batch()});
  result.constraint_error = LpDiagnostics::tensor<V>(stages.constraint_error, Shape{result.batch()});
  result.lp_seconds = stages.lp_seconds;
  result.em_seconds = stages.em_seconds;
  result.projection_seconds = stages.projection_seconds;
  if (polished) polish_report(result, densities, points, *options.polish, options.negative_tolerance, offsets);
  return result;
}

}  // namespace detail

/// Fits densities [batch, n] (or [n]) sampled at the points of `grid`, by a linear programme, EM from its choice and,
/// if asked for, projection or polish (FitOptions::polish). Arguments, statuses and errors as for fit(LpOptions, ...);
/// ArgumentError also for the objective `density`, which leaves the choice of components to chance, for more than 32
/// components, and for both projection and polish.
template <PlainTensor V>
HybridFit<V> fit(const HybridOptions& hybrid, const V& densities, const Grid& grid, const FitOptions& options = {},
                 const std::optional<std::type_identity_t<V>>& offsets = std::nullopt) {
  HybridFit<V> result = detail::fit_hybrid<V>(hybrid, densities, grid, options, offsets);
  if (options.measures) add_measures(result, densities, grid, options, offsets);
  return result;
}

/// The same for densities sampled at increasing points of any spacing.
template <PlainTensor V>
HybridFit<V> fit(const HybridOptions& hybrid, const V& densities, std::span<const double> points,
                 const FitOptions& options = {}) {
  HybridFit<V> result = detail::fit_hybrid<V>(hybrid, densities, points, options, std::nullopt);
  if (options.measures) add_measures(result, densities, points, options);
  return result;
}

}  // namespace kolmo::gmm
