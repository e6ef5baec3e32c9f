#pragma once
// Training of QINCo on plain vectors: each step encodes its batch with the quantizer as it is, then improves the
// reconstruction of those codes by one step of Adam with a clipped gradient.

#include <vector>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/schedules.hpp>
#include <kolmo/rvq/qinco_encode.hpp>

namespace kolmo::rvq {

struct QincoTrainOptions {
  index_t steps = 1000;  ///< of the whole training; the learning rate falls to zero over them like a half cosine
  index_t batch = 512;
  double learning_rate = 8e-4;
  double clip_norm = 0.1;
  QincoEncodeOptions encoding = {};
};

/// All that training remembers; io::save_model and load_model keep it, and it continues with the same bits.
template <class V>
struct QincoTraining {
  Qinco<V> quantizer;
  optim::AdamState<Qinco<V>> optimiser;
  std::uint64_t key = 0;  ///< of the batches
  index_t steps_completed = 0;
  index_t skipped = 0;   ///< steps that changed nothing because the loss or the gradient was not finite
  double last_loss = 0;  ///< before the last step, in units of the vectors' variance

  static void fields(auto&& f, auto&... s) {
    f(submodule("quantizer"), s.quantizer...);
    f(submodule("optimiser"), s.optimiser...);
    f(state("key"), s.key...);
    f(state("steps_completed"), s.steps_completed...);
    f(state("skipped"), s.skipped...);
    f(state("last_loss"), s.last_loss...);
  }
  template <class U>
  using Rebind = QincoTraining<U>;
};

template <PlainTensor V>
QincoTraining<V> start_training(const Qinco<V>& quantizer, Key key) {
  return {quantizer, optim::adam().init(quantizer), key.value, 0, 0, 0};
}

/// One step with the vectors x [n, d]. Throws ShapeError for vectors of another dimension, ArgumentError for vectors
/// that are not finite and options out of range.
template <PlainTensor V>
void train_step(QincoTraining<V>& training, const V& x, const QincoTrainOptions& options = {}) {
  if (options.steps < 1 || options.batch < 1 || !(options.learning_rate > 0) || !(options.clip_norm > 0))
    throw ArgumentError("qinco: expected steps, batch >= 1 and learning_rate, clip_norm > 0, given " +
                        std::to_string(options.steps) + ", " + std::to_string(options.batch) + ", " +
                        std::to_string(options.learning_rate) + " and " + std::to_string(options.clip_norm));
  const CodesOf<V> codes = encode(training.quantizer, x, options.encoding);
  auto result = value_and_grad(training.quantizer, [&](const auto& q) { return qinco_loss(q, x, codes); });
  training.last_loss = static_cast<double>(result.value.item());
  const double norm = optim::clip_by_norm(result.gradient, options.clip_norm);
  const double rate = optim::Cosine{
      .learning_rate = options.learning_rate, .first = 0, .period = options.steps}(training.steps_completed);
  if (is_finite(training.last_loss) && is_finite(norm))
    optim::adam().step(training.quantizer, result.gradient, training.optimiser, rate);
  else
    ++training.skipped;
  ++training.steps_completed;
}

/// Trains until options.steps are completed, with batches drawn from the rows of the pool [n, d]. Throws as train_step.
template <PlainTensor V>
void train(QincoTraining<V>& training, const V& pool, const QincoTrainOptions& options = {}) {
  while (training.steps_completed < options.steps) {
    const Key key = fold_in(Key{training.key}, static_cast<std::uint64_t>(training.steps_completed));
    std::vector<index_t> rows;
    for (index_t i = 0; i < options.batch; ++i)
      rows.push_back(integer_below(key, static_cast<std::uint64_t>(i), pool.shape()[0]));
    train_step(training, take(pool, Tensor<index_t, typename V::Backend>::from(rows)), options);
  }
}

}  // namespace kolmo::rvq
