// Indexing, ordering, scans, factorisations, layers and a training run on the device, against the CPU.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/ops/cholesky.hpp>
#include <kolmo/ops/indexing.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/scan.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/samples.hpp>
#include <kolmo/optim/train.hpp>

#include "compare.hpp"

using namespace kolmo;

struct SquaredError {
  auto operator()(const auto& model, const auto& batch, const nn::Pass& pass) const {
    const auto& [x, y] = batch;
    return mean(square(model(x, pass) - y));
  }
};

namespace {

template <class B>
void indexing(check::Results<double>& results) {
  using V = Tensor<double, B>;
  const auto x = check::ramp<V>(Shape{5, 700}, -2, 2);
  const auto rows = Tensor<index_t, B>::from(std::vector<index_t>{4, 0, 4, 2});
  check::derivatives(results, "taken rows", [&](const auto& v) { return sum(square(take(v, rows, 0))); }, x);
  check::derivatives(results, "added rows",
                     [&](const auto& v) { return sum(square(add_at(take(v, rows, 0), rows, 6, 0))); }, x);
  check::derivatives(results, "the largest elements", [&](const auto& v) { return sum(square(top_k(v, 9, 1).values)); }, x);
  check::derivatives(results, "a sorted axis",
                     [&](const auto& v) { return sum(sort(v, 1) * check::ramp<V>(Shape{700}, 0, 1)); }, x);
  check::derivatives(results, "running sums", [&](const auto& v) { return sum(square(cumsum(v, 1))) / 700; }, x);
  results.add("order", argsort(x, 1, true));
  results.add("one-hot", one_hot<double>(rows, 6));
  results.add("a short running sum", cumsum(check::ramp<V>(Shape{40, 7, 3}, 0, 1), 1));
  results.add("a long running sum", cumsum(check::ramp<V>(Shape{20000}, 0, 1), 0));
}

template <class B>
void factorisations(check::Results<double>& results) {
  using V = Tensor<double, B>;
  const auto x = check::ramp<V>(Shape{3, 6, 6}, -1, 1);
  const auto identity = V::from(
      [] {
        std::vector<double> values(36);
        for (std::size_t i = 0; i < 36; i += 7) values[i] = 3;
        return values;
      }(),
      Shape{6, 6});
  const auto b = check::ramp<V>(Shape{3, 6, 2}, -1, 1);
  check::derivatives(results, "a solve by Cholesky", [&](const auto& v) {
    const auto factor = cholesky(matmul(v, transpose(v)) + identity);
    return sum(square(cholesky_solve(factor, b))) + sum(cholesky_log_det(factor));
  }, x);
  check::throws<ArgumentError>([&] { cholesky(V::zeros(Shape{2, 3, 3})); }, "matrix 0", "a matrix that is not positive");
}

template <class T, class B>
void training(check::Results<T>& results) {
  using V = Tensor<T, B>;
  using Net = nn::Mlp<V>;
  const V x = nn::normal_values<V>(Key{11}, Shape{70, 3});
  const optim::Samples<V, V> data(x, sum(sin(x), {-1}, true));
  Net net({.inputs = 3, .hidden = {40, 24}, .outputs = 1, .layer_norm = true, .dropout = 0.1});
  nn::init(Key{12}, net);
  results.add_model("initial value", net);
  const auto gradient = value_and_grad(net, [&](const auto& m) { return mean(square(m(x))); });
  results.add_model("gradient", gradient.gradient);

  optim::TrainOptions options;
  options.epochs = 2;
  options.batch = 16;
  options.shards = 2;
  options.clip_norm = 1;
  options.ema_decay = 0.9;
  options.key = Key{13};
  const auto optimiser = optim::adamw({.learning_rate = 1e-2, .weight_decay = 1e-3});
  auto state = optim::start_training(net, optimiser, options);
  optim::train(state, optimiser, data, SquaredError{}, options);
  results.add_model("trained value", state.model);
}

template <class T, class B>
check::Results<T> all() {
  check::Results<T> results;
  if constexpr (std::is_same_v<T, double>) {
    indexing<B>(results);
    factorisations<B>(results);
  }
  training<T, B>(results);
  return results;
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  check::compare(all<double, Cuda>(), all<double, Cuda>(), all<double, Cpu>(), 100);
  check::compare(all<float, Cuda>(), all<float, Cuda>(), all<float, Cpu>(), 100);
  return check::result();
}
