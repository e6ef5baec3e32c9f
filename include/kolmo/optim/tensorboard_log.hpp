#pragma once
// A callback of optim::train that writes losses, learning rate and gradient norm for TensorBoard, and whatever a hook
// adds, such as pictures of samples. Give it before the checkpoint, so that a checkpoint never counts on events that
// are not written.

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/io/checkpoint_keeper.hpp>
#include <kolmo/io/tensorboard.hpp>
#include <kolmo/optim/train_state.hpp>

namespace kolmo::optim {

struct TensorBoardOptions {
  index_t every_steps = 0;  ///< between two points of the curves; 0: one an epoch
  index_t hook_every = 1;   ///< epochs between two calls of the hook
  io::RunStart start = io::RunStart::fresh;
};

/// Does nothing.
struct NoHook {
  void operator()(auto&, auto&) const {}
};

/// Tags: loss/train (the mean over the epoch so far), loss/metric (after epochs), train/learning_rate,
/// train/gradient_norm, train/skipped. hook(board, info) is called after epochs and writes what it wants, at info.step.
template <class Hook = NoHook>
class TensorBoardLog {
 public:
  /// Nothing is written before the training starts.
  explicit TensorBoardLog(std::filesystem::path folder, TensorBoardOptions options = {}, Hook hook = {})
      : folder_(std::move(folder)), options_(options), hook_(std::move(hook)) {
    if (options.every_steps < 0 || options.hook_every < 1)
      throw ArgumentError("TensorBoardLog: every_steps must not be negative and hook_every must be at least 1, given " +
                          std::to_string(options.every_steps) + " and " + std::to_string(options.hook_every));
  }

  /// Throws IoError as io::TensorBoard does: a fresh run needs a folder without events.
  void on_start(auto& info) {
    // What an incomplete epoch has written is written again.
    const index_t kept = options_.every_steps > 0 ? info.state.step : info.state.step - info.state.step_in_epoch;
    board_ = std::make_unique<io::TensorBoard<>>(
        options_.start == io::RunStart::fresh ? io::TensorBoard<>(folder_) : io::TensorBoard<>::resume(folder_, kept));
  }
  void on_step(auto& info) {
    if (options_.every_steps > 0 && info.step % options_.every_steps == 0) curves(info);
  }
  void on_epoch(auto& info) {
    if (options_.every_steps == 0) curves(info);
    board_->scalar("loss/metric", info.step, info.metric);
    if (info.epoch % options_.hook_every == 0) hook_(*board_, info);
    board_->sync();
  }

 private:
  void curves(auto& info) {
    // Pair by pair: nvcc writes nested braces in a template wrongly.
    std::vector<std::pair<std::string, double>> values;
    values.emplace_back("loss/train", info.mean_loss);
    values.emplace_back("train/learning_rate", info.learning_rate);
    values.emplace_back("train/gradient_norm", info.gradient_norm);
    values.emplace_back("train/skipped", static_cast<double>(info.state.skipped));
    board_->scalars(info.step, values);
  }

  std::filesystem::path folder_;
  TensorBoardOptions options_;
  Hook hook_;
  std::unique_ptr<io::TensorBoard<>> board_;
};

}  // namespace kolmo::optim
