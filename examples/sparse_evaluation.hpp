#pragma once
// The table of sparse observations of fields: every s-th point in both directions, for each s and method how well the
// samples fit, how far they spread, and whether they exploded or went flat.

#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/io/checksum.hpp>
#include <kolmo/io/picture.hpp>
#include <kolmo/io/progress.hpp>

#include "assimilation.hpp"
#include "evaluation_rows.hpp"
#include "score_pictures.hpp"

namespace score_program {

struct SparseEvaluation {
  std::vector<std::string> data, methods;
  std::vector<index_t> subsamples{2, 4, 8, 16};
  index_t pieces = 0, trajectory = 0, frames = 8, windows = 4;
  double noise = 0.1;
  /// The scalings' N_ref; without a value the number of observations at every fourth point.
  std::optional<double> reference_count;
  bool fields = true;  ///< a picture of the samples of every row, OUTPUT.sN.METHOD.png
  SamplingSettings sampling;
};

namespace detail {

inline const std::vector<std::string>& sparse_values() {
  static const std::vector<std::string> names{"observations", "residual",     "noise",     "spread",  "error",
                                              "sample_error", "energy_ratio", "stability", "seconds", "outcome"};
  return names;
}
inline const char* outcome_text(double code) {
  return code == 0 ? "ok" : code == 1 ? "flat" : code == 2 ? "exploded" : code == 3 ? "stopped" : "misfit";
}
inline double outcome_code(const std::string& outcome) {
  return outcome == "ok" ? 0 : outcome == "flat" ? 1 : outcome == "exploded" ? 2 : outcome == "stopped" ? 3 : 4;
}

}  // namespace detail

/// Computes the rows that are missing and prints the table. `model` names the file of the prior.
inline int evaluate_sparse(const std::string& system, const std::string& model, const TrajectoryPrior& prior,
                           const std::string& output, const std::string& picture, const SparseEvaluation& options,
                           bool restart, bool quiet) {
  using Value = io::JsonValue;
  if (system != name_of(prior.description.system))
    throw ArgumentError(model + " is a model of " + name_of(prior.description.system) + ", not of " + system);
  for (const std::string& method : options.methods) score::guidance_by_name<V>(method, options.sampling.guidance);
  const Data test = read_data(options.data, options.pieces).test;
  if (options.trajectory >= test.samples() || options.frames > test.times())
    throw ArgumentError("the held-out part has " + std::to_string(test.samples()) + " trajectories of " +
                        std::to_string(test.times()) + " frames; asked for were number " +
                        std::to_string(options.trajectory) + " and " + std::to_string(options.frames) + " frames");
  const V truth = slice(at(test.values(), 0, options.trajectory), 0, 0, options.frames);

  const score::SamplerOptions& sampler = options.sampling.sampler;
  ObservationSpec fourth;
  fourth.space = 4;
  SamplingSettings sampling = options.sampling;
  sampling.guidance.reference_count =
      options.reference_count.value_or(static_cast<double>(fourth(unsqueeze(truth, 0)).size()));
  const std::vector<float> truth_values = truth.to_vector();
  const Value settings{Value::Object{
      {"system", {system}},
      {"model", {std::to_string(io::hash64(io::read_file(model)))}},
      {"noise", {options.noise}},
      {"trajectory", {options.trajectory}},
      {"frames", {options.frames}},
      {"pieces", {options.pieces}},
      {"samples", {options.sampling.samples}},
      {"truth", {std::to_string(io::hash64(std::as_bytes(std::span<const float>(truth_values))))}},
      {"sampler", {static_cast<std::int64_t>(sampler.method)}},
      {"grid", {static_cast<std::int64_t>(sampler.grid.policy)}},
      {"tau", {sampler.tau}},
      {"zeta", {sampling.guidance.zeta}},
      {"iterations",
       {sampling.guidance.iterations ? std::to_string(*sampling.guidance.iterations) : std::string("own")}},
      {"steps", {sampler.steps}},
      {"corrections", {sampler.corrections}},
      {"start_time", {sampler.grid.start_time}},
      {"gamma", {options.sampling.guidance.gamma}},
      {"reference_count", {sampling.guidance.reference_count}},
      {"seed", {std::to_string(options.sampling.seed)}}}};
  EvaluationRows rows(output, settings, {"subsample", "method"}, detail::sparse_values(), restart);
  const index_t total = static_cast<index_t>(options.subsamples.size() * options.methods.size()) * sampler.steps;
  std::optional<io::Progress> line;
  if (!quiet) line.emplace(stderr, total, io::ProgressOptions{.label = "evaluating", .unit = "steps"});
  index_t done = 0;
  for (const index_t s : options.subsamples) {
    ObservationSpec spec;
    spec.space = s;
    const V measured =
        measure(spec, truth, options.noise, fold_in(Key{options.sampling.seed}, static_cast<std::uint64_t>(1000 + s)));
    for (const std::string& method : options.methods) {
      const std::vector<std::string> keys{std::to_string(s), method};
      if (rows.find(keys) == nullptr) {
        sampling.method = method;
        const Assimilation result = assimilate(prior, spec, measured, options.noise, truth.shape(), truth, sampling,
                                               [&](index_t step, index_t steps, const TraceRow&) {
                                                 if (line) line->update(done + step * sampler.steps / steps);
                                               });
        const double nan = std::numeric_limits<double>::quiet_NaN();
        const bool there = result.stopped.empty();
        rows.add({keys,
                  {static_cast<double>(result.observations), there ? result.residual : nan, options.noise,
                   there ? result.spread : nan, result.error, result.sample_error, result.energy_ratio,
                   result.largest_stability, result.seconds_per_evaluation, detail::outcome_code(result.outcome())}});
        if (options.fields && there)
          io::save_picture(output + ".s" + std::to_string(s) + "." + method + ".png",
                           draw_fields(prior.description.system,
                                       {host_frames("truth", truth), host_frames("sample", at(result.samples, 0, 0))}),
                           1);
      }
      done += sampler.steps;
      if (line) line->update(done);
    }
  }
  if (line) line->finish(done);

  std::printf("%9s %-20s %12s %10s %8s %8s %8s %8s %10s  %s\n", "subsample", "method", "observations", "residual/n",
              "spread", "error", "energy", "stab.", "s/eval", "outcome");
  for (const EvaluationRow& row : rows.rows())
    std::printf("%9s %-20s %12.0f %10.3f %8.3g %8.3g %8.3f %8.3g %10.3g  %s\n", row.keys[0].c_str(),
                row.keys[1].c_str(), row.values[0], row.values[1] / row.values[2], row.values[3], row.values[4],
                row.values[6], row.values[7], row.values[8], detail::outcome_text(row.values[9]));
  if (!picture.empty()) {
    io::Figure figure(1, 3);
    constexpr const char* titles[] = {"residual / noise", "spread", "error of the mean"};
    constexpr std::size_t columns[] = {1, 3, 4};
    for (std::size_t c = 0; c < 3; ++c) {
      io::Panel& panel = figure.panel(0, c);
      panel.title = titles[c];
      panel.x.label = "subsample";
      panel.x.log = panel.y.log = true;
      for (std::size_t m = 0; m < options.methods.size(); ++m) {
        std::vector<double> x, y;
        for (const EvaluationRow& row : rows.rows())
          if (row.keys[1] == options.methods[m] && row.values[columns[c]] > 0) {
            x.push_back(std::stod(row.keys[0]));
            y.push_back(row.values[columns[c]] / (c == 0 ? row.values[2] : 1));
          }
        const io::Colour colour = io::palette_colour(m);
        panel.line(x, y, {.label = options.methods[m], .colour = colour});
        panel.scatter(x, y, {.colour = colour});
      }
      if (c == 0) panel.horizontal_line(1);
    }
    io::save_picture(picture, figure);
  }
  return 0;
}

}  // namespace score_program
