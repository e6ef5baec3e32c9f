#pragma once
// Callbacks of optim::train that write: a progress line, a CSV log, and checkpoints from which a run continues with
// the same bits. Give logs before the checkpoint, so that a checkpoint never counts rows that are not written.

#include <functional>
#include <memory>
#include <ostream>

#include <kolmo/io/checkpoint_keeper.hpp>
#include <kolmo/io/csv_log.hpp>
#include <kolmo/io/progress.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/optim/train_state.hpp>

namespace kolmo::optim {

/// Shows steps done, rate, time left, epoch, mean loss and the last metric on a stream.
class ProgressLine {
 public:
  explicit ProgressLine(std::ostream& stream, io::ProgressOptions options = {})
      : make_([&stream, options](std::int64_t total) {
          return std::make_unique<io::Progress>(stream, total, options);
        }) {}
  explicit ProgressLine(std::FILE* stream, io::ProgressOptions options = {})
      : make_(
            [stream, options](std::int64_t total) { return std::make_unique<io::Progress>(stream, total, options); }) {}

  void on_start(auto& info) {
    first_ = info.state.step;
    last_metric_ = {};
    line_ = make_(info.options.epochs * info.steps_per_epoch - first_);
  }
  void on_step(auto& info) { line_->update(info.step - first_, fields(info)); }
  void on_epoch(auto& info) { last_metric_ = info.metric; }
  void on_end(auto& info) {
    if (line_) line_->finish(info.step - first_, fields(info));
  }

 private:
  io::ProgressFields fields(auto& info) const {
    io::ProgressFields result{{"epoch", static_cast<double>(info.epoch)}, {"loss", info.mean_loss}};
    if (last_metric_) result.emplace_back("metric", *last_metric_);
    if (info.state.skipped > 0) result.emplace_back("skipped", static_cast<double>(info.state.skipped));
    return result;
  }

  std::function<std::unique_ptr<io::Progress>(std::int64_t)> make_;
  std::unique_ptr<io::Progress> line_;
  std::int64_t first_ = 0;
  std::optional<double> last_metric_;
};

struct CsvLogOptions {
  index_t every_steps = 0;  ///< 0: a row an epoch
  bool seconds = false;     ///< a column of time, which makes the file of every run different
  io::RunStart start = io::RunStart::fresh;
  std::vector<std::string> extra_columns = {};             ///< names of further columns
  std::function<std::vector<double>()> extra_values = {};  ///< their values when a row is written
};

/// Columns: step, epoch, loss, metric, gradient_norm, learning_rate, skipped, then `seconds` and the extra ones.
/// `loss` is the mean over the epoch so far, `metric` is nan in rows inside an epoch.
class CsvLog {
 public:
  /// Nothing is written before the training starts.
  explicit CsvLog(std::filesystem::path path, CsvLogOptions options = {})
      : path_(std::move(path)), options_(std::move(options)) {
    if (options_.every_steps < 0)
      throw ArgumentError("CsvLog: every_steps must not be negative, given " + std::to_string(options_.every_steps));
  }

  /// Throws IoError as io::CsvLog does: a fresh run needs a new file, a resumed one the same columns.
  void on_start(auto& info) {
    std::vector<std::string> columns{"step", "epoch", "loss", "metric", "gradient_norm", "learning_rate", "skipped"};
    if (options_.seconds) columns.emplace_back("seconds");
    columns.insert(columns.end(), options_.extra_columns.begin(), options_.extra_columns.end());
    // The row of an epoch that is not complete in the state is written again.
    const index_t kept = options_.every_steps > 0 ? info.state.step : info.state.step - info.state.step_in_epoch;
    log_ = options_.start == io::RunStart::fresh ? std::make_unique<io::CsvLog<>>(path_, columns)
                                                 : std::make_unique<io::CsvLog<>>(path_, columns, kept);
  }
  void on_step(auto& info) {
    if (options_.every_steps > 0 && info.step % options_.every_steps == 0)
      row(info, std::numeric_limits<double>::quiet_NaN());
  }
  void on_epoch(auto& info) {
    if (options_.every_steps == 0) row(info, info.metric);
    log_->sync();
  }

 private:
  void row(auto& info, double metric) {
    std::vector<double> values{
        static_cast<double>(info.epoch),        info.mean_loss, metric, info.gradient_norm, info.learning_rate,
        static_cast<double>(info.state.skipped)};
    if (options_.seconds) values.push_back(info.seconds);
    if (options_.extra_values) {
      const std::vector<double> extra = options_.extra_values();
      values.insert(values.end(), extra.begin(), extra.end());
    }
    log_->append(info.step, values);
  }

  std::filesystem::path path_;
  CsvLogOptions options_;
  std::unique_ptr<io::CsvLog<>> log_;
};

/// The options that decide the bits of a run, as metadata of its checkpoints.
inline std::map<std::string, std::string> run_identity(const TrainOptions& options) {
  std::map<std::string, std::string> result{
      {"train:batch", io::option_text(options.batch)},         {"train:drop_last", io::option_text(options.drop_last)},
      {"train:shuffle", io::option_text(options.shuffle)},     {"train:shards", io::option_text(options.shards)},
      {"train:clip_norm", io::option_text(options.clip_norm)}, {"train:ema_decay", io::option_text(options.ema_decay)},
      {"train:key", io::option_text(options.key.value)}};
  // Written only where it is used, so that runs begun without it still resume.
  if (options.accumulate != 1) result["train:accumulate"] = io::option_text(options.accumulate);
  if (options.early_stopping) {
    result["train:patience"] = io::option_text(options.early_stopping->patience);
    result["train:min_improvement"] = io::option_text(options.early_stopping->min_improvement);
  }
  if (options.plateau) {
    result["train:plateau_factor"] = io::option_text(options.plateau->factor);
    result["train:plateau_patience"] = io::option_text(options.plateau->patience);
    result["train:plateau_min_improvement"] = io::option_text(options.plateau->min_improvement);
  }
  return result;
}

/// Throws IoError that names every setting ("train:NAME" in the metadata of a checkpoint) in which a run that is to be
/// resumed and this one differ.
inline void check_settings(const std::map<std::string, std::string>& saved,
                           const std::map<std::string, std::string>& expected, const std::string& source) {
  std::string problems;
  for (const auto& [key, text] : expected) {
    const auto found = saved.find(key);
    if (found == saved.end() || found->second != text)
      problems += "\n  " + key.substr(6) + ": the checkpoint has " +
                  (found == saved.end() ? std::string("none") : found->second) + ", this run " + text;
  }
  for (const auto& [key, text] : saved)
    if (key.starts_with("train:") && !expected.contains(key))
      problems += "\n  " + key.substr(6) + ": the checkpoint has " + text + ", this run none";
  if (!problems.empty())
    throw IoError(source + " belongs to a run with other options; use them, or another directory:" + problems);
}

struct CheckpointOptions {
  index_t every_epochs = 1;  ///< 0: not after epochs
  index_t every_steps = 0;   ///< 0: not inside epochs
  bool keep_best = false;    ///< also keep the state of the epoch with the lowest metric
  io::RunStart start = io::RunStart::fresh;
  std::map<std::string, std::string> settings = {};  ///< whatever else decides the bits of the run, by name
};

/// Saves the whole training state into a directory, atomically. A directory belongs to one run at a time: hold an
/// io::RunLock on it when another process might use it.
class Checkpoint {
 public:
  /// `kind` names the model. Throws IoError as io::CheckpointKeeper does.
  Checkpoint(std::filesystem::path directory, std::string kind, CheckpointOptions options = {})
      : options_(options), keeper_(std::move(directory), std::move(kind), options.start) {
    if (options.every_epochs < 0 || options.every_steps < 0)
      throw ArgumentError("Checkpoint: every_epochs and every_steps must not be negative, given " +
                          std::to_string(options.every_epochs) + " and " + std::to_string(options.every_steps));
  }

  /// Continues from the last checkpoint when there is one and returns whether there was. Throws IoError when it is
  /// damaged, of another model, or of a run with other options; the state is then unchanged.
  template <class M, class S>
  bool resume(TrainState<M, S>& state, const TrainOptions& options) {
    const auto last = keeper_.load_last();
    if (!last) return false;
    const std::string source = keeper_.last_path().string();
    check_settings(last->state.metadata, identity(options), source);
    io::from_arrays(state, last->state, source);
    saved_step_ = state.step;
    saved_epoch_ = state.epoch;
    return true;
  }

  void on_step(auto& info) {
    if (options_.every_steps > 0 && info.step % options_.every_steps == 0) save(info, std::nullopt);
  }
  void on_epoch(auto& info) {
    if (options_.every_epochs > 0 && info.epoch % options_.every_epochs == 0)
      save(info, options_.keep_best ? std::optional<double>(info.metric) : std::nullopt);
  }
  /// Whatever the intervals, the end of a run is saved.
  void on_end(auto& info) {
    if (saved_step_ != info.step || saved_epoch_ != info.state.epoch) save(info, std::nullopt);
  }

  const io::CheckpointKeeper<>& keeper() const { return keeper_; }

 private:
  void save(auto& info, std::optional<double> metric) {
    io::NamedArrays arrays = io::to_arrays(info.state);
    arrays.metadata.merge(identity(info.options));
    keeper_.save(info.step, std::move(arrays), metric);
    saved_step_ = info.step;
    saved_epoch_ = info.state.epoch;
  }

  std::map<std::string, std::string> identity(const TrainOptions& options) const {
    auto result = run_identity(options);
    for (const auto& [name, text] : options_.settings) result["train:" + name] = text;
    return result;
  }

  CheckpointOptions options_;
  io::CheckpointKeeper<> keeper_;
  index_t saved_step_ = -1;
  index_t saved_epoch_ = -1;
};

}  // namespace kolmo::optim
