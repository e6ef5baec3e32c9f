#pragma once
// The training loop. Callbacks are objects with any of
//
//   on_start(info)    before the first step of this run       on_step(info)   after every batch
//   on_epoch(info)    after every epoch                       on_end(info)    after the last
//   metric(model)     a number to judge an epoch by, lower is better
//
// found at compile time; one that returns false ends the training. All that the loop remembers is in the TrainState
// that callbacks see, so a checkpoint taken in any of them continues with the same bits.

#include <chrono>
#include <functional>
#include <limits>
#include <span>
#include <tuple>
#include <vector>

#include <kolmo/ad/replay.hpp>
#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/threads.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/optim/train_state.hpp>

namespace kolmo::optim {

/// What callbacks are told. Epochs and steps count from 1.
template <class State>
struct TrainInfo {
  State& state;
  const TrainOptions& options;
  index_t epoch = 0;
  index_t step = 0;
  index_t step_in_epoch = 0;
  index_t steps_per_epoch = 0;
  double loss = 0;           ///< of the last batch, before the update
  double mean_loss = 0;      ///< over the epoch so far
  double gradient_norm = 0;  ///< before clipping
  double learning_rate = 0;
  double seconds = 0;    ///< since this run began
  bool skipped = false;  ///< the last batch changed nothing: its loss or gradient was not finite
  double metric = std::numeric_limits<double>::quiet_NaN();  ///< of the epoch; its mean loss without such a callback
  bool improved = false;                                     ///< the epoch was the best so far
};

enum class TrainStatus {
  finished,       ///< all epochs done
  early_stopped,  ///< no improvement for the patience given
  stopped,        ///< by a callback
  not_finite      ///< max_skips batches in a row without a finite loss and gradient
};

struct TrainResult {
  TrainStatus status = TrainStatus::finished;
  index_t epochs = 0;
  index_t steps = 0;
  index_t skipped = 0;
  double seconds = 0;
};

}  // namespace kolmo::optim

namespace kolmo::detail {

/// Whether to go on after a callback, by what it returns.
template <class F>
bool continues(const F& call) {
  if constexpr (std::is_same_v<decltype(call()), bool>) {
    return call();
  } else {
    call();
    return true;
  }
}

struct StartEvent {
  template <class Info, class C>
  static bool notify([[maybe_unused]] Info& info, [[maybe_unused]] C& c) {
    if constexpr (requires { c.on_start(info); })
      return continues([&] { return c.on_start(info); });
    else
      return true;
  }
};
struct StepEvent {
  template <class Info, class C>
  static bool notify([[maybe_unused]] Info& info, [[maybe_unused]] C& c) {
    if constexpr (requires { c.on_step(info); })
      return continues([&] { return c.on_step(info); });
    else
      return true;
  }
};
struct EpochEvent {
  template <class Info, class C>
  static bool notify([[maybe_unused]] Info& info, [[maybe_unused]] C& c) {
    if constexpr (requires { c.on_epoch(info); })
      return continues([&] { return c.on_epoch(info); });
    else
      return true;
  }
};
struct EndEvent {
  template <class Info, class C>
  static bool notify([[maybe_unused]] Info& info, [[maybe_unused]] C& c) {
    if constexpr (requires { c.on_end(info); })
      return continues([&] { return c.on_end(info); });
    else
      return true;
  }
};

/// Every callback is called, also after one that wants to stop.
template <class Event, class Info, class... C>
bool notify(Info& info, C&... callbacks) {
  bool go_on = true;
  ((go_on = Event::notify(info, callbacks) && go_on), ...);
  return go_on;
}

/// The loss of an epoch: loss.at_epoch(epoch) when there is one.
template <class Loss>
auto loss_at(const Loss& loss, [[maybe_unused]] index_t epoch) {
  if constexpr (requires { loss.at_epoch(epoch); })
    return loss.at_epoch(epoch);
  else
    return std::cref(loss);
}

/// The data of an epoch: data.at_epoch(epoch) when there is such a function.
template <class Data>
decltype(auto) data_at(const Data& data, [[maybe_unused]] index_t epoch) {
  if constexpr (requires { data.at_epoch(epoch); })
    return data.at_epoch(epoch);
  else
    return (data);
}

template <class M, class C>
void take_metric([[maybe_unused]] const M& model, [[maybe_unused]] std::optional<double>& metric,
                 [[maybe_unused]] C& c) {
  if constexpr (requires { c.metric(model); })
    if (!metric) metric = c.metric(model);
}

/// Loss and gradient of one batch. Its parts are added in their order; `shards` of them are computed in parallel, group
/// after group, so that no more than that many recordings and gradients are held at once. Nothing waits for a device:
/// the losses of the parts come as they are.
template <class M, class Data, class Loss>
auto batch_gradient(const M& model, const Data& data, const Loss& loss, std::span<const index_t> indices,
                    index_t shards, index_t groups, const nn::Pass& pass) {
  using Result = ValueAndGrad<KindOf<M>, M>;
  const index_t n = static_cast<index_t>(indices.size());
  const index_t parts = smaller(n, shards * groups);
  std::vector<KindOf<M>> losses;
  std::optional<M> gradient;
  for (index_t first = 0; first < parts; first += shards) {
    const index_t together = smaller(shards, parts - first);
    std::vector<std::optional<Result>> results(static_cast<std::size_t>(together));
    threads::parallel_for_backend<typename KindOf<M>::Backend>(together, [&](index_t at) {
      const index_t part = first + at, begin = part * n / parts, end = (part + 1) * n / parts;
      const auto batch =
          data.batch(indices.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
      const nn::Pass own = pass.part(part);
      const auto part_loss = [&](const auto& m) {
        const auto evaluate = [&] {
          if constexpr (requires { loss(m, batch, own); })
            return loss(m, batch, own);
          else
            return loss(m, batch);
        };
        if (parts == 1) return evaluate();
        return evaluate() * (static_cast<double>(end - begin) / static_cast<double>(n));
      };
      results[static_cast<std::size_t>(at)] = value_and_grad(model, part_loss);
    });
    for (auto& result : results) {
      losses.push_back(result->value);
      if (gradient)
        optim::add_scaled(*gradient, 1.0, result->gradient);
      else
        gradient = std::move(result->gradient);
      result.reset();
    }
  }
  return std::make_pair(std::move(losses), std::move(*gradient));
}

template <class T>
struct WidenKernel {
  const T* source;
  double* target;
  KOLMO_HD void operator()(index_t) const { *target = static_cast<double>(*source); }
};

/// The sum of the losses and the Euclidean norm of the gradient. A device is waited for once.
template <class M>
std::pair<double, double> loss_and_norm(const std::vector<KindOf<M>>& losses, const M& gradient) {
  using V = KindOf<M>;
  using B = typename V::Backend;
  double value = 0;
  if constexpr (HasTeams<B>) {
    const auto count = static_cast<index_t>(losses.size());
    auto numbers = Tensor<double, B>::uninitialized(Shape{count + 1});
    double* const target = numbers.mutable_data();
    for (index_t i = 0; i < count; ++i)
      B::for_each(1, WidenKernel<typename V::Scalar>{losses[static_cast<std::size_t>(i)].data(), target + i});
    sum_squares_by_teams(gradient, target + count);
    const std::vector<double> read = numbers.to_vector();
    for (index_t i = 0; i < count; ++i) value += read[static_cast<std::size_t>(i)];
    return {value, std::sqrt(read.back())};
  } else {
    for (const V& loss : losses) value += static_cast<double>(loss.item());
    return {value, optim::global_norm(gradient)};
  }
}

}  // namespace kolmo::detail

namespace kolmo::optim {

/// Trains from `state` on until options.epochs are completed. `data` is a source of batches (see samples.hpp), whose
/// samples may change from epoch to epoch; loss(model, batch, pass) or loss(model, batch) is the mean loss of a batch,
/// generic in the model's tensor kind; a loss that changes over time has at_epoch(epoch), which returns the loss of an
/// epoch counted from 1. A batch with a non-finite loss or gradient changes no weight and is counted. Throws
/// ArgumentError for options out of range or fewer samples than one batch.
template <class M, class S, class O, class Data, class Loss, class... C>
TrainResult train(TrainState<M, S>& state, const O& optimiser, const Data& data, const Loss& loss,
                  const TrainOptions& options, C&&... callbacks) {
  const index_t n = data.size();
  if (options.batch < 1 || options.epochs < 0 || options.shards < 1 || options.accumulate < 1 ||
      options.max_skips < 1 || options.clip_norm < 0)
    throw ArgumentError(
        "train: expected batch, shards, accumulate, max_skips >= 1 and epochs, clip_norm >= 0, given batch " +
        std::to_string(options.batch) + ", shards " + std::to_string(options.shards) + ", accumulate " +
        std::to_string(options.accumulate) + ", max_skips " + std::to_string(options.max_skips) + ", epochs " +
        std::to_string(options.epochs) + ", clip_norm " + std::to_string(options.clip_norm));
  const index_t steps_per_epoch = options.drop_last ? n / options.batch : divide_up(n, options.batch);
  if (steps_per_epoch == 0)
    throw ArgumentError("train: " + std::to_string(n) + " samples do not fill a batch of " +
                        std::to_string(options.batch) + "; use a smaller batch or keep the last one");
  if (state.average.has_value() != (options.ema_decay > 0))
    throw ArgumentError("train: the state and the options must agree on ema_decay");
  const auto begin = std::chrono::steady_clock::now();

  TrainInfo<TrainState<M, S>> info{state, options};
  info.steps_per_epoch = steps_per_epoch;
  const auto describe = [&] {
    info.step = state.step;
    info.step_in_epoch = state.step_in_epoch;
    info.loss = state.last_loss;
    info.gradient_norm = state.last_gradient_norm;
    info.learning_rate = state.last_learning_rate;
    info.skipped = state.skipped_in_a_row > 0;
    // Behind the last step of an epoch the sums begin anew and its mean stays; without one finite loss there is none.
    if (state.loss_count > 0)
      info.mean_loss = state.loss_sum / static_cast<double>(state.loss_count);
    else if (state.step_in_epoch > 0)
      info.mean_loss = std::numeric_limits<double>::quiet_NaN();
    info.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  const auto finish = [&](TrainStatus status) {
    describe();
    kolmo::detail::notify<kolmo::detail::EndEvent>(info, callbacks...);
    return TrainResult{status, state.epoch, state.step, state.skipped, info.seconds};
  };

  info.epoch = state.epoch;
  describe();
  if (!kolmo::detail::notify<kolmo::detail::StartEvent>(info, callbacks...)) return finish(TrainStatus::stopped);
  if (state.ended) return finish(TrainStatus::early_stopped);

  auto replayed = replay<typename KindOf<M>::Backend>([](const auto& advance) { advance(); });
  while (state.epoch < options.epochs) {
    info.epoch = state.epoch + 1;
    const std::vector<index_t> order = sample_order(options, info.epoch, n);
    const auto epoch_loss = kolmo::detail::loss_at(loss, info.epoch);
    const auto& epoch_data = kolmo::detail::data_at(data, info.epoch);
    while (state.step_in_epoch < steps_per_epoch) {
      const index_t first = state.step_in_epoch * options.batch;
      const index_t count = smaller(options.batch, n - first);
      const std::span<const index_t> indices(order.data() + first, static_cast<std::size_t>(count));
      const auto advance = [&] {
        auto [losses, gradient] =
            kolmo::detail::batch_gradient(state.model, epoch_data, epoch_loss, indices, options.shards,
                                          options.accumulate, step_pass(options, state.step + 1));
        std::tie(state.last_loss, state.last_gradient_norm) = kolmo::detail::loss_and_norm(losses, gradient);
        state.last_learning_rate = !options.schedule                              ? optimiser.learning_rate()
                                   : options.schedule_unit == ScheduleUnit::epoch ? options.schedule(info.epoch)
                                                                                  : options.schedule(state.step + 1);
        state.last_learning_rate *= state.plateau.scale;
        ++state.step;
        ++state.step_in_epoch;
        if (!is_finite(state.last_loss) || !is_finite(state.last_gradient_norm)) {
          ++state.skipped;
          ++state.skipped_in_a_row;
        } else {
          state.skipped_in_a_row = 0;
          state.loss_sum += state.last_loss;
          ++state.loss_count;
          const bool clipped = options.clip_norm > 0 && state.last_gradient_norm > options.clip_norm;
          optimiser.step(state.model, gradient, state.optimiser, state.last_learning_rate,
                         clipped ? options.clip_norm / state.last_gradient_norm : 1.0);
          if (state.average) Ema(options.ema_decay).update(*state.average, state.model);
        }
      };
      if (options.replay)
        replayed(advance);
      else
        advance();
      describe();
      if (!kolmo::detail::notify<kolmo::detail::StepEvent>(info, callbacks...)) return finish(TrainStatus::stopped);
      if (state.skipped_in_a_row >= options.max_skips) return finish(TrainStatus::not_finite);
    }
    describe();
    const M judged = evaluated_model(state, options);
    std::optional<double> metric;
    (kolmo::detail::take_metric(judged, metric, callbacks), ...);
    info.metric = metric.value_or(info.mean_loss);
    const double best_before = state.best.metric;
    if (options.early_stopping) {
      state.ended = options.early_stopping->update(state.best, judged, info.metric, info.epoch);
    } else if (info.metric < state.best.metric) {
      state.best.metric = info.metric;
      state.best.epoch = info.epoch;
    }
    info.improved = state.best.metric < best_before;
    if (options.plateau) options.plateau->update(state.plateau, info.metric);
    ++state.epoch;
    state.step_in_epoch = 0;
    state.loss_sum = 0;
    state.loss_count = 0;
    const bool go_on = kolmo::detail::notify<kolmo::detail::EpochEvent>(info, callbacks...);
    if (!go_on) return finish(TrainStatus::stopped);
    if (state.ended) return finish(TrainStatus::early_stopped);
  }
  return finish(TrainStatus::finished);
}

/// Trains a model from its present weights. On return it holds the best weights when early stopping is on, else the
/// averaged ones when ema_decay is set, else the last.
template <class M, class O, class Data, class Loss, class... C>
requires(!IsTrainState<M>::value) TrainResult train(M& model, const O& optimiser, const Data& data, const Loss& loss,
                                                    const TrainOptions& options, C&&... callbacks) {
  auto state = start_training(model, optimiser, options);
  const TrainResult result = train(state, optimiser, data, loss, options, callbacks...);
  model = state.best.model ? *state.best.model : evaluated_model(state, options);
  return result;
}

}  // namespace kolmo::optim
