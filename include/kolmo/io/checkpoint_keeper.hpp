#pragma once
// The checkpoints of one training run: the last and the best, each replaced atomically.

#include <filesystem>
#include <kolmo/error.hpp>
#include <kolmo/io/bits.hpp>
#include <kolmo/io/checkpoint.hpp>
#include <kolmo/io/file.hpp>
#include <kolmo/io/host_array.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kolmo::io {

/// How a run begins.
enum class RunStart {
  fresh,  ///< refuses a directory that already holds a checkpoint
  resume  ///< goes on from the last checkpoint, or starts when there is none
};

/// Keeps DIRECTORY/<stem>last.safetensors and DIRECTORY/<stem>best.safetensors. Hold a RunLock on the directory when
/// another process might use it too.
template <class Calls = SystemCalls>
class CheckpointKeeper {
 public:
  /// Creates the directory and removes temporaries that dead processes left there. Throws IoError when `start` is fresh
  /// and a last checkpoint exists, or when an existing checkpoint is damaged or of another kind.
  CheckpointKeeper(std::filesystem::path directory, std::string kind, RunStart start, std::string stem = "")
      : directory_(std::move(directory)), kind_(std::move(kind)), stem_(std::move(stem)) {
    std::error_code code;
    std::filesystem::create_directories(directory_, code);
    if (code) throw IoError("cannot create " + directory_.string() + ": " + detail::error_text(code.value()));
    removed_ = remove_stale_temporaries<Calls>(directory_);
    if (start == RunStart::fresh) {
      for (const auto& path : {last_path(), best_path()}) {
        if (std::filesystem::exists(path)) {
          throw IoError(path.string() + " exists; resume that run, or use another directory");
        }
      }
    }
    if (std::filesystem::exists(best_path())) best_metric_ = load_checkpoint(best_path(), kind_).metric;
  }

  std::filesystem::path last_path() const { return directory_ / (stem_ + "last.safetensors"); }
  std::filesystem::path best_path() const { return directory_ / (stem_ + "best.safetensors"); }
  /// Metric of the best checkpoint; lower is better.
  std::optional<double> best_metric() const { return best_metric_; }
  /// Names of the temporaries that the constructor removed.
  const std::vector<std::string>& removed_temporaries() const { return removed_; }

  /// The last checkpoint, or nothing when none was saved yet. Throws IoError when it is damaged.
  std::optional<Checkpoint> load_last() const { return load_if_present(last_path()); }
  std::optional<Checkpoint> load_best() const { return load_if_present(best_path()); }

  /// Saves as the last checkpoint and, when `metric` is lower than every one before, as the best. A NaN is never best.
  /// Returns whether it was the best.
  bool save(std::int64_t step, NamedArrays state, std::optional<double> metric = std::nullopt) {
    const Checkpoint checkpoint{kind_, step, metric, std::move(state)};
    const bool is_best = metric && !detail::is_nan(*metric) && (!best_metric_ || *metric < *best_metric_);
    // Best before last: a run killed in between resumes before this step, repeats it with the same bits, and finds the
    // best file as it would have written it.
    if (is_best) {
      save_checkpoint<Calls>(best_path(), checkpoint);
      best_metric_ = metric;
    }
    save_checkpoint<Calls>(last_path(), checkpoint);
    return is_best;
  }

 private:
  std::optional<Checkpoint> load_if_present(const std::filesystem::path& path) const {
    if (!std::filesystem::exists(path)) return std::nullopt;
    return load_checkpoint(path, kind_);
  }

  std::filesystem::path directory_;
  std::string kind_;
  std::string stem_;
  std::optional<double> best_metric_;
  std::vector<std::string> removed_;
};

}  // namespace kolmo::io
