#pragma once
// Training of a residual quantizer on plain vectors. All that a run remembers is one model-like struct: saved and
// loaded like a model, it goes on with the same bits. One step is
//
//   stages that became active start from data; forward; losses, backward and Adam for what is trained by gradient;
//   averages, counts and codes out of use; one completed step more
//
// Batches are functions of the key and the number of the step.

#include <optional>
#include <vector>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/rvq/monitoring.hpp>
#include <kolmo/rvq/residual_quantizer.hpp>

namespace kolmo::rvq {

struct TrainingOptions {
  index_t batch = 4096;         ///< vectors in a step, drawn with repetition; all of them when there are no more
  double learning_rate = 1e-3;  ///< of Adam, for codebooks and projections that are trained by gradient
  QuantizerGradient gradient = QuantizerGradient::straight_through;
  index_t window = 50;  ///< steps that the reports of the stages are about

  friend bool operator==(const TrainingOptions&, const TrainingOptions&) = default;

  static void fields(auto&& f, auto&... s) {
    f(option("batch"), s.batch...);
    f(option("learning_rate"), s.learning_rate...);
    f(option("gradient"), s.gradient...);
    f(option("window"), s.window...);
  }

  /// Throws ArgumentError for a value out of range.
  void validate() const {
    if (batch < 1) throw ArgumentError("TrainingOptions: batch must be at least 1, given " + std::to_string(batch));
    if (!(learning_rate > 0))
      throw ArgumentError("TrainingOptions: learning_rate must be positive, given " + std::to_string(learning_rate));
    if (window < 1)
      throw ArgumentError("TrainingOptions: window must be at least one step, given " + std::to_string(window));
  }
};

/// Everything a run remembers.
template <class V>
struct QuantizerTraining {
  ResidualQuantizer<V> quantizer;
  std::optional<optim::AdamState<ResidualQuantizer<V>>> optimiser;  ///< none when everything is averaged
  TrainingOptions options;
  std::vector<StageMonitor> monitors;  ///< of every stage, the window so far
  std::uint64_t key = 0;               ///< of batches, starts and replacements
  index_t skipped = 0;                 ///< steps whose gradient was not finite and moved no parameter

  static void fields(auto&& f, auto&... s) {
    f(submodule("quantizer"), s.quantizer...);
    f(state("optimiser"), s.optimiser...);
    f(submodule("options"), s.options...);
    f(state("monitors"), s.monitors...);
    f(state("key"), s.key...);
    f(state("skipped"), s.skipped...);
  }
  template <class U>
  using Rebind = QuantizerTraining<U>;
};

/// What a step did.
struct StepReport {
  index_t step = 0;                  ///< completed steps, this one included
  index_t active = 0;                ///< stages it used
  double error = 0;                  ///< mean squared error per number of the batch, before the update
  double loss = 0;                   ///< with weights; of what the optimiser saw
  std::vector<double> stage_errors;  ///< after every stage; with projections in their space
  std::vector<StageStart> started;
  QuantizerUpdate update;
  bool skipped = false;
  std::vector<StageReport> window;  ///< of every active stage, when this step ends a window
};

/// The state before the first step. Projections are drawn; codebooks start from data in the step that first uses them.
/// Throws ArgumentError for options out of range.
template <PlainTensor V>
QuantizerTraining<V> start_training(ResidualQuantizer<V> quantizer, const TrainingOptions& options, Key key) {
  options.validate();
  quantizer.validate();
  init(fold_in(key, 0), quantizer);
  QuantizerTraining<V> training{std::move(quantizer), std::nullopt, options, {}, key.value, 0};
  training.monitors.resize(training.quantizer.stages.size());
  for (StageMonitor& monitor : training.monitors) monitor.window = options.window;
  if (parameter_count(training.quantizer) > 0) training.optimiser = optim::adam().init(training.quantizer);
  return training;
}

}  // namespace kolmo::rvq

namespace kolmo::rvq::detail {

enum class DrawPurpose : std::uint64_t { batch = 1, start = 2, quantize = 3, update = 4 };

template <class V>
Key step_key(const QuantizerTraining<V>& training, DrawPurpose purpose) {
  return fold_in(fold_in(Key{training.key}, static_cast<std::uint64_t>(purpose)),
                 static_cast<std::uint64_t>(training.quantizer.steps_completed));
}

/// `count` rows of data [n, d], with repetition; all in their order when there are no more.
template <PlainTensor V>
V batch_rows(const V& data, index_t count, Key key) {
  const index_t n = data.shape()[0];
  if (n <= count) return data;
  std::vector<index_t> rows;
  for (index_t i = 0; i < count; ++i) rows.push_back(integer_below(key, static_cast<std::uint64_t>(i), n));
  return rows_at(data, rows);
}

template <PlainTensor V>
void check_data(const QuantizerTraining<V>& training, const V& data, const char* operation) {
  const index_t d = training.quantizer.dimension();
  if (data.rank() != 2 || data.shape()[1] != d || data.shape()[0] < 1)
    throw ShapeError(std::string(operation) + ": expected vectors [n, " + std::to_string(d) +
                     "], one in each row, given " + data.shape().to_string());
}

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// The vectors of the next step: rows of data [n, d].
template <PlainTensor V>
V next_batch(const QuantizerTraining<V>& training, const V& data) {
  detail::check_data(training, data, "next_batch");
  return detail::batch_rows(data, training.options.batch, detail::step_key(training, detail::DrawPurpose::batch));
}

/// One step on the vectors x [n, d]. `start_from`, x itself unless given, are the vectors from which a stage starts in
/// its first step; k-means wants more of them than a small batch has. Throws ArgumentError for vectors that are not
/// finite; the state is then unchanged.
template <PlainTensor V>
StepReport training_step(QuantizerTraining<V>& training, const V& x, const std::type_identity_t<V>& start_from = {}) {
  detail::check_data(training, x, "training_step");
  QuantizerTraining<V> next = training;  // handles
  ResidualQuantizer<V>& quantizer = next.quantizer;
  StepReport report;
  report.active = quantizer.active();
  report.started = start_stages(quantizer, start_from.has_value() ? start_from : x,
                                detail::step_key(training, detail::DrawPurpose::start),
                                {.vectors_per_update = x.shape()[0], .mask = {}});
  const QuantizeOptions<V> options{.active = 0,
                                   .mask = {},
                                   .pass = {detail::step_key(training, detail::DrawPurpose::quantize), true},
                                   .gradient = next.options.gradient};
  std::vector<UpdateStatistics<V>> statistics;
  const auto note = [&](const auto& result) {
    const V difference = x - detach(result.output);
    report.error = static_cast<double>(mean(difference * difference).item());
    report.stage_errors = result.stage_errors;
    statistics = result.statistics;
  };
  if (!next.optimiser) {
    const auto result = quantize(quantizer, x, options);
    note(result);
    report.loss = static_cast<double>(quantizer_loss(quantizer, result).item());
  } else {
    const bool projected = quantizer.options.projected_dimension > 0;
    const auto [loss, gradient] = value_and_grad(quantizer, [&](const auto& variables) {
      const auto result = quantize(variables, x, options);
      note(result);
      const auto losses = quantizer_loss(variables, result);
      if (!projected) return losses;  // nothing that is trained has a part in the output
      const auto difference = x - result.output;
      return losses + mean(difference * difference);
    });
    report.loss = static_cast<double>(loss.item());
    report.skipped = !is_finite(report.loss) || !is_finite(optim::global_norm(gradient));
    if (report.skipped)
      ++next.skipped;
    else
      optim::adam().step(quantizer, gradient, *next.optimiser, next.options.learning_rate);
  }
  report.update = apply_update(quantizer, statistics, detail::step_key(training, detail::DrawPurpose::update));
  report.step = quantizer.steps_completed;
  const bool ends_window = report.step % next.options.window == 0;
  for (std::size_t q = 0; q < statistics.size(); ++q) {
    StageMonitor& monitor = next.monitors.at(q);
    monitor.add(statistics[q], q < report.update.stages.size() ? report.update.stages[q] : UpdateReport{});
    if (!ends_window || monitor.vectors == 0) continue;
    report.window.push_back(rvq::report(monitor, quantizer.stages[q].book));
    monitor.next_window(report.window.back());
  }
  training = std::move(next);
  return report;
}

/// One step on a batch of data [n, d]; a stage that becomes active starts from start_vectors_per_code different rows a
/// code, as far as there are.
template <PlainTensor V>
StepReport step_on(QuantizerTraining<V>& training, const V& data) {
  const V batch = next_batch(training, data);
  if (!needs_start(training.quantizer)) return training_step(training, batch);
  index_t most = 0;
  for (index_t q = 0; q < training.quantizer.active(); ++q) {
    const CodebookOptions& book = training.quantizer.stages[static_cast<std::size_t>(q)].book.options;
    most = larger(most, book.codes * book.start_vectors_per_code);
  }
  const Key key = fold_in(detail::step_key(training, detail::DrawPurpose::start), 1);
  return training_step(training, batch, detail::drawn_rows(data, most, key));
}

/// Steps on data [n, d] until `steps` are completed; on_step(report) sees each, and ends the run when it returns false.
template <PlainTensor V, class F>
void train(QuantizerTraining<V>& training, const V& data, index_t steps, const F& on_step) {
  while (training.quantizer.steps_completed < steps) {
    const StepReport report = step_on(training, data);
    if constexpr (std::is_same_v<decltype(on_step(report)), bool>) {
      if (!on_step(report)) return;
    } else {
      on_step(report);
    }
  }
}
template <PlainTensor V>
void train(QuantizerTraining<V>& training, const V& data, index_t steps) {
  train(training, data, steps, [](const StepReport&) {});
}

/// Mean squared error per number of vectors x [n, d] after each of the first `active` stages (0: as many as the last
/// step used). Changes nothing.
template <PlainTensor V>
std::vector<double> errors_by_stages(const ResidualQuantizer<V>& quantizer, const V& x, index_t active = 0) {
  std::vector<double> sums;
  constexpr index_t rows = 16384;
  for (index_t first = 0; first < x.shape()[0]; first += rows) {
    const V part = slice(x, 0, first, smaller(first + rows, x.shape()[0])).contiguous();
    const index_t stages = active > 0 ? active : larger<index_t>(1, quantizer.active_trained);
    sums.resize(static_cast<std::size_t>(stages), 0.0);
    const bool projected = quantizer.options.projected_dimension > 0;
    if (!projected) {
      const auto errors = quantize(quantizer, part, {.active = stages, .mask = {}}).stage_errors;
      for (std::size_t q = 0; q < errors.size(); ++q) sums[q] += errors[q] * static_cast<double>(part.size());
      continue;
    }
    for (index_t q = 0; q < stages; ++q) {
      const V difference = part - quantize(quantizer, part, {.active = q + 1, .mask = {}}).output;
      sums[static_cast<std::size_t>(q)] += static_cast<double>(sum(difference * difference).item());
    }
  }
  for (double& s : sums) s /= static_cast<double>(larger<index_t>(1, x.size()));
  return sums;
}

}  // namespace kolmo::rvq
