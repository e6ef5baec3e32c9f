#pragma once
// Everything a training run remembers, as one model-like struct: saved, loaded and copied like a model. A run that
// continues from a saved state does bit for bit what the uninterrupted run does.

#include <functional>
#include <optional>
#include <vector>

#include <kolmo/nn/pass.hpp>
#include <kolmo/optim/early_stopping.hpp>
#include <kolmo/optim/ema.hpp>
#include <kolmo/optim/plateau.hpp>

namespace kolmo::optim {

/// What the schedule's argument counts, from 1.
enum class ScheduleUnit { epoch, step };

struct TrainOptions {
  index_t epochs = 1;
  index_t batch = 64;
  bool drop_last = true;  ///< leave out the incomplete last batch of an epoch
  bool shuffle = true;
  /// A batch is cut into this many parts, whose gradients are computed in parallel and added in order. The result
  /// depends on this number, not on the number of threads.
  index_t shards = 1;
  /// So many groups of shards are computed one after the other and added: less memory, the same mean. The result
  /// depends on shards x accumulate.
  index_t accumulate = 1;
  double clip_norm = 0;    ///< largest norm of the gradient; 0: no limit
  index_t max_skips = 20;  ///< steps in a row without a finite loss and gradient after which the training ends
  double ema_decay = 0;    ///< average of the weights, used for metrics and as the best model; 0: none
  std::optional<EarlyStopping> early_stopping = {};
  std::function<double(index_t)> schedule = {};  ///< learning rate; empty: the optimiser's own
  ScheduleUnit schedule_unit = ScheduleUnit::epoch;
  std::optional<Plateau> plateau = {};  ///< multiplies the learning rate when the metric stops improving
  Key key = {};                         ///< of shuffling and of everything random in the forward passes
  /// Steps on a GPU are recorded and launched as graphs, updated at every step; the bits are the same. The loss and the
  /// norm of the gradient are read once in every step, which cuts it into two graphs. Elsewhere without effect.
  bool replay = false;
};

template <class M, class S>
struct TrainState {
  M model;
  S optimiser;
  std::optional<EmaState<M>> average;
  BestModel<M> best;
  PlateauState plateau;
  index_t epoch = 0;          ///< epochs completed
  index_t step_in_epoch = 0;  ///< batches of the current epoch that were used
  index_t step = 0;           ///< batches used
  index_t skipped = 0;        ///< batches whose loss or gradient was not finite
  index_t skipped_in_a_row = 0;
  double loss_sum = 0;  ///< over the current epoch, skipped batches left out
  index_t loss_count = 0;
  double last_loss = 0;  ///< of the last batch
  double last_gradient_norm = 0;
  double last_learning_rate = 0;
  bool ended = false;  ///< by early stopping

  static void fields(auto&& f, auto&... s) {
    f(submodule("model"), s.model...);
    f(submodule("optimiser"), s.optimiser...);
    f(state("average"), s.average...);
    f(submodule("best"), s.best...);
    f(submodule("plateau"), s.plateau...);
    f(state("epoch"), s.epoch...);
    f(state("step_in_epoch"), s.step_in_epoch...);
    f(state("step"), s.step...);
    f(state("skipped"), s.skipped...);
    f(state("skipped_in_a_row"), s.skipped_in_a_row...);
    f(state("loss_sum"), s.loss_sum...);
    f(state("loss_count"), s.loss_count...);
    f(state("last_loss"), s.last_loss...);
    f(state("last_gradient_norm"), s.last_gradient_norm...);
    f(state("last_learning_rate"), s.last_learning_rate...);
    f(state("ended"), s.ended...);
  }
  template <class U>
  using Rebind = TrainState<RebindTo<U, M>, RebindTo<U, S>>;
};

template <class X>
struct IsTrainState : std::false_type {};
template <class M, class S>
struct IsTrainState<TrainState<M, S>> : std::true_type {};

/// The state before the first step.
template <class M, class O>
auto start_training(const M& model, const O& optimiser, const TrainOptions& options) {
  TrainState<M, decltype(optimiser.init(model))> state;
  state.model = model;
  state.optimiser = optimiser.init(model);
  if (options.ema_decay > 0) state.average = Ema(options.ema_decay).init(model);
  return state;
}

/// The order of the samples in an epoch, counted from 1.
inline std::vector<index_t> sample_order(const TrainOptions& options, index_t epoch, index_t samples) {
  if (options.shuffle) return permutation(fold_in(fold_in(options.key, 1), static_cast<std::uint64_t>(epoch)), samples);
  std::vector<index_t> order(static_cast<std::size_t>(samples));
  for (index_t i = 0; i < samples; ++i) order[static_cast<std::size_t>(i)] = i;
  return order;
}

/// The pass of a step, counted from 1; shard i gets part(i) of it.
inline nn::Pass step_pass(const TrainOptions& options, index_t step) {
  return {fold_in(fold_in(options.key, 2), static_cast<std::uint64_t>(step)), true};
}

/// The weights to judge and to keep: the average when there is one.
template <class M, class S>
M evaluated_model(const TrainState<M, S>& state, const TrainOptions& options) {
  return state.average ? Ema(options.ema_decay).value(*state.average, state.model) : state.model;
}

}  // namespace kolmo::optim
