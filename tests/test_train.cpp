// The training loop: what it computes, that it survives non-finite batches, that the number of threads changes no bit,
// and that a run continued from any step ends with the bits of the uninterrupted one.

#include "catch.hpp"

#include <limits>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/samples.hpp>
#include <kolmo/optim/schedules.hpp>
#include <kolmo/optim/sgd.hpp>
#include <kolmo/optim/train.hpp>

using namespace kolmo;
using Ten = Tensor<float, Cpu>;
using Net = nn::Mlp<Ten>;
using Data = optim::Samples<Ten, Ten>;

namespace {

Data regression(index_t n = 70) {
  const Ten x = nn::normal_values<Ten>(Key{11}, Shape{n, 3});
  return Data(x, sum(sin(x), {-1}, true));
}

Net network() {
  Net net({.inputs = 3, .hidden = {8, 8}, .outputs = 1, .layer_norm = true, .dropout = 0.1});
  nn::init(Key{12}, net);
  return net;
}

struct SquaredError {
  auto operator()(const auto& model, const auto& batch, const nn::Pass& pass) const {
    const auto& [x, y] = batch;
    return mean(square(model(x, pass) - y));
  }
};

optim::TrainOptions options() {
  optim::TrainOptions o;
  o.epochs = 3;
  o.batch = 16;
  o.shards = 2;
  o.clip_norm = 1;
  o.ema_decay = 0.9;
  o.early_stopping = optim::EarlyStopping{.patience = 2, .min_improvement = 1e-5};
  o.schedule = optim::warm_up_cosine({.learning_rate = 1e-2, .warm_up = 1, .epochs = 3});
  o.key = Key{13};
  return o;
}

const optim::Adam optimiser = optim::adamw({.learning_rate = 1e-2, .weight_decay = 1e-3});

template <class F>
struct OnStep {
  F f;
  auto on_step(auto& info) { return f(info); }
};
template <class F>
OnStep(F) -> OnStep<F>;

struct Validation {
  Data data;
  double metric(const Net& model) const {
    std::vector<index_t> all(static_cast<std::size_t>(data.size()));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<index_t>(i);
    return static_cast<double>(SquaredError{}(model, data.batch(all), nn::Pass{}).item());
  }
};

struct Keep {
  std::vector<io::NamedArrays>& epochs;
  void on_epoch(auto& info) {
    CHECK(info.improved == (info.epoch == 1));
    CHECK(info.metric == static_cast<double>(info.epoch));
    epochs.push_back(io::to_arrays(info.state.model));
  }
};

struct Recorder {
  std::string& calls;
  char name;
  bool stop;
  void on_start(auto&) { calls += std::string("s") + name; }
  bool on_step(auto&) {
    calls += std::string("t") + name;
    return true;
  }
  bool on_epoch(auto&) {
    calls += std::string("e") + name;
    return !stop;
  }
  void on_end(auto&) { calls += std::string("z") + name; }
};

struct Worsening {
  mutable double next = 0;
  double metric(const Net&) const { return next += 1; }
};

}  // namespace

TEST_CASE("training lowers the loss and reports what it did") {
  Net net = network();
  const Validation validation{regression()};
  const double before = validation.metric(net);
  auto o = options();
  o.epochs = 40;
  o.schedule = nullptr;
  o.early_stopping->patience = 0;
  index_t calls = 0;
  double last_seconds = -1;
  const auto result = optim::train(net, optimiser, regression(), SquaredError{}, o, validation, OnStep{[&](auto& info) {
                                     ++calls;
                                     CHECK(info.step == calls);
                                     CHECK(info.steps_per_epoch == 4);
                                     CHECK(info.epoch == (calls - 1) / 4 + 1);
                                     CHECK(info.learning_rate == 1e-2);
                                     CHECK(info.gradient_norm > 0);
                                     CHECK(info.seconds >= last_seconds);
                                     last_seconds = info.seconds;
                                   }});
  CHECK(result.status == optim::TrainStatus::finished);
  CHECK(result.steps == 160);
  CHECK(result.epochs == 40);
  CHECK(calls == 160);
  CHECK(validation.metric(net) < 0.2 * before);
}

TEST_CASE("one epoch of plain descent is the loop written out") {
  const Data data = regression(10);
  Net net({.inputs = 3, .hidden = {4}, .outputs = 1});
  nn::init(Key{1}, net);
  Net expected = net;
  const auto descent = optim::sgd({.learning_rate = 0.05});
  auto state = descent.init(expected);
  for (const auto& indices : {std::vector<index_t>{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9}}) {
    const auto batch = data.batch(indices);
    const auto result = value_and_grad(expected, [&](const auto& m) { return SquaredError{}(m, batch, nn::Pass{}); });
    descent.step(expected, result.gradient, state);
  }
  optim::TrainOptions o;
  o.batch = 4;
  o.shuffle = false;
  o.drop_last = false;
  optim::train(net, descent, data, SquaredError{}, o);
  CHECK(io::to_arrays(net) == io::to_arrays(expected));
}

TEST_CASE("parts of a batch add up to the gradient of the batch") {
  const Data data = regression(21);
  Net net({.inputs = 3, .hidden = {4}, .outputs = 1});
  nn::init(Key{1}, net);
  const auto after = [&](index_t shards, index_t accumulate = 1) {
    Net copy = net;
    optim::TrainOptions o;
    o.batch = 21;
    o.shards = shards;
    o.accumulate = accumulate;
    optim::train(copy, optim::sgd({.learning_rate = 0.1}), data, SquaredError{}, o);
    return copy.layers[0].weight.to_vector();
  };
  const auto whole = after(1);
  for (const index_t shards : {2, 4, 21, 50}) {
    const auto parts = after(shards);
    for (std::size_t i = 0; i < whole.size(); ++i) CHECK(parts[i] == Approx(whole[i]).margin(1e-6));
  }
  // Groups one after the other are the same parts.
  CHECK(after(1, 4) == after(4));
  CHECK(after(3, 2) == after(6));
}

TEST_CASE("a batch with a non-finite loss or gradient changes no bit of the state's weights") {
  const int bad_step = GENERATE(1, 2, 5);
  const bool only_gradient = GENERATE(false, true);
  const auto loss = [&](const auto& model, const auto& batch, const nn::Pass& pass) {
    const auto good = SquaredError{}(model, batch, pass);
    // sqrt(0) has the value zero and an infinite slope.
    if (pass.key.value == optim::step_pass(options(), bad_step).part(0).key.value)
      return only_gradient ? good + sqrt(0 * good) : good / 0.0f;
    return good;
  };
  auto o = options();
  o.epochs = 2;
  auto state = optim::start_training(network(), optimiser, o);
  io::NamedArrays before = io::to_arrays(state.model);
  io::NamedArrays moments = io::to_arrays(state.optimiser), average = io::to_arrays(*state.average);
  const auto result = optim::train(state, optimiser, regression(), loss, o, OnStep{[&](auto& info) {
                                     CHECK(info.skipped == (info.step == bad_step));
                                     CHECK((io::to_arrays(info.state.model) == before) == info.skipped);
                                     CHECK((io::to_arrays(info.state.optimiser) == moments) == info.skipped);
                                     CHECK((io::to_arrays(*info.state.average) == average) == info.skipped);
                                     before = io::to_arrays(info.state.model);
                                     moments = io::to_arrays(info.state.optimiser);
                                     average = io::to_arrays(*info.state.average);
                                   }});
  CHECK(result.skipped == 1);
  CHECK(result.steps == 8);
  CHECK(result.status == optim::TrainStatus::finished);
}

TEST_CASE("a training that only meets NaN ends with a status and unchanged weights") {
  Ten x = Ten::full(Shape{40, 3}, std::numeric_limits<float>::quiet_NaN());
  Net net = network();
  const auto before = io::to_arrays(net);
  auto o = options();
  o.ema_decay = 0;
  o.max_skips = 3;
  const auto result = optim::train(net, optimiser, Data(x, Ten::zeros(Shape{40, 1})), SquaredError{}, o);
  CHECK(result.status == optim::TrainStatus::not_finite);
  CHECK(result.skipped == 3);
  CHECK(io::to_arrays(net) == before);
}

TEST_CASE("the bits do not depend on the number of threads") {
  const int threads_before = threads::count();
  const auto run = [] {
    const auto o = options();
    auto state = optim::start_training(network(), optimiser, o);
    optim::train(state, optimiser, regression(), SquaredError{}, o);
    return io::to_arrays(state);
  };
  threads::set_count(1);
  const auto expected = run();
  for (const int count : {2, 4, 7}) {
    threads::set_count(count);
    CHECK(run() == expected);
  }
  threads::set_count(threads_before);
}

TEST_CASE("a run resumed after any step ends with the bits of the uninterrupted run") {
  const auto o = options();
  const Data data = regression();
  const Validation validation{data};
  auto whole = optim::start_training(network(), optimiser, o);
  const auto whole_result = optim::train(whole, optimiser, data, SquaredError{}, o, validation);
  CHECK(whole_result.steps == 12);
  for (index_t stop = 1; stop <= 12; ++stop) {
    auto state = optim::start_training(network(), optimiser, o);
    const auto interrupted = optim::train(state, optimiser, data, SquaredError{}, o, validation,
                                          OnStep{[&](auto& info) { return info.step < stop; }});
    CHECK(interrupted.status == optim::TrainStatus::stopped);
    CHECK(state.step == stop);
    // Through arrays, as a checkpoint would: another process starts from a fresh state.
    auto resumed = optim::start_training(network(), optimiser, o);
    io::from_arrays(resumed, io::to_arrays(state));
    const auto result = optim::train(resumed, optimiser, data, SquaredError{}, o, validation);
    CHECK(result.status == whole_result.status);
    CHECK(io::to_arrays(resumed) == io::to_arrays(whole));
  }
}

TEST_CASE("early stopping ends the training, keeps the best weights and does not go on when resumed") {
  auto o = options();
  o.epochs = 10;
  o.ema_decay = 0;
  auto state = optim::start_training(network(), optimiser, o);
  std::vector<io::NamedArrays> epochs;
  const auto result = optim::train(state, optimiser, regression(), SquaredError{}, o, Worsening{}, Keep{epochs});
  CHECK(result.status == optim::TrainStatus::early_stopped);
  CHECK(result.epochs == 3);
  CHECK(io::to_arrays(*state.best.model) == epochs[0]);
  CHECK(io::to_arrays(state.model) == epochs[2]);
  CHECK(optim::train(state, optimiser, regression(), SquaredError{}, o).steps == result.steps);
}

TEST_CASE("callbacks are called in order, and each of them also when one stops the training") {
  std::string calls;
  Net net = network();
  auto o = options();
  o.batch = 70;
  const auto result = optim::train(net, optimiser, regression(), SquaredError{}, o, Recorder{calls, '1', true},
                                   Recorder{calls, '2', false});
  CHECK(result.status == optim::TrainStatus::stopped);
  CHECK(calls == "s1s2t1t2e1e2z1z2");
}

TEST_CASE("options that cannot work are refused before the first step") {
  Net net = network();
  const auto refused = [&](auto change, const std::string& text) {
    auto o = options();
    change(o);
    CHECK_THROWS_WITH(optim::train(net, optimiser, regression(), SquaredError{}, o), kolmo_test::contains(text));
  };
  refused([](auto& o) { o.batch = 0; }, "given batch 0");
  refused([](auto& o) { o.shards = 0; }, "shards 0");
  refused([](auto& o) { o.accumulate = 0; }, "accumulate 0");
  refused([](auto& o) { o.batch = 71; }, "70 samples do not fill a batch of 71");
  refused([](auto& o) { o.ema_decay = 1; }, "decay must be in [0, 1)");
  CHECK_THROWS_AS(Data(Ten::ones(Shape{3, 1}), Ten::ones(Shape{2, 1})), ShapeError);
  CHECK_THROWS_AS(regression().batch(std::vector<index_t>{70}), ArgumentError);
}
