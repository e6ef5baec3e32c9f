// Callbacks that write: progress lines, logs and checkpoints, and what they refuse.

#include "catch.hpp"
#include "io_support.hpp"

#include <limits>
#include <sstream>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/callbacks.hpp>
#include <kolmo/optim/samples.hpp>
#include <kolmo/optim/train.hpp>

using namespace kolmo;
using kolmo_test::contains;
using Ten = Tensor<float, Cpu>;
using Net = nn::Mlp<Ten>;

namespace {

struct SquaredError {
  auto operator()(const auto& model, const auto& batch) const {
    const auto& [x, y] = batch;
    return mean(square(model(x) - y));
  }
};

struct Run {
  Net net{{.inputs = 2, .hidden = {4}, .outputs = 1}};
  optim::Samples<Ten, Ten> data{nn::normal_values<Ten>(Key{1}, Shape{20, 2}), Ten::ones(Shape{20, 1})};
  optim::Adam optimiser = optim::adam();
  optim::TrainOptions options;

  Run() {
    nn::init(Key{2}, net);
    options.epochs = 2;
    options.batch = 5;
  }
  auto start() const { return optim::start_training(net, optimiser, options); }
};

struct StopAfter {
  index_t step;
  bool on_step(auto& info) const { return info.step < step; }
};

std::size_t lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

namespace {
struct LossAtEnd {
  double epoch = 0, end = 0;
  void on_epoch(auto& info) { epoch = info.mean_loss; }
  void on_end(auto& info) { end = info.mean_loss; }
};
struct NeverFinite {
  auto operator()(const auto& model, const auto& batch) const {
    const auto& [x, y] = batch;
    return mean(model(x) - y) * std::numeric_limits<double>::infinity();
  }
};
}  // namespace

TEST_CASE("at the end of a training the mean loss is that of the last epoch; without a finite loss there is none") {
  const Run run;
  auto state = run.start();
  LossAtEnd seen;
  optim::train(state, run.optimiser, run.data, SquaredError{}, run.options, seen);
  CHECK(seen.end > 0);
  CHECK(seen.end == seen.epoch);

  auto other = run.start();
  optim::train(other, run.optimiser, run.data, NeverFinite{}, run.options, seen);
  CHECK(seen.epoch != seen.epoch);
  CHECK(other.skipped == 8);
}

TEST_CASE("the log has a row an epoch or every so many steps, and the asked columns") {
  const io::test::TemporaryDirectory place;
  const Run run;
  auto state = run.start();
  double extra = 0;
  optim::train(state, run.optimiser, run.data, SquaredError{}, run.options, optim::CsvLog(place / "epochs.csv"),
               optim::CsvLog(place / "steps.csv",
                             {.every_steps = 3, .seconds = true, .extra_columns = {"count"}, .extra_values = [&] {
                                return std::vector<double>{++extra};
                              }}));
  const std::string epochs = io::read_text_file(place / "epochs.csv"), steps = io::read_text_file(place / "steps.csv");
  CHECK(lines(epochs) == 3);
  CHECK_THAT(epochs, contains("step,epoch,loss,metric,gradient_norm,learning_rate,skipped\n4,1,"));
  CHECK(lines(steps) == 3);
  CHECK_THAT(steps, contains("skipped,seconds,count\n3,1,"));
  CHECK_THAT(steps, contains("\n6,2,"));
  CHECK_THROWS_WITH(
      optim::train(state, run.optimiser, run.data, SquaredError{}, run.options, optim::CsvLog(place / "epochs.csv")),
      contains("epochs.csv exists"));
  CHECK_THROWS_AS(optim::CsvLog(place / "x.csv", {.every_steps = -1}), ArgumentError);
}

TEST_CASE("the progress line counts steps and names epoch, loss and metric") {
  const Run run;
  std::ostringstream out;
  auto state = run.start();
  optim::train(state, run.optimiser, run.data, SquaredError{}, run.options,
               optim::ProgressLine(out, {.label = "training", .interval_seconds = 0}));
  CHECK_THAT(out.str(), contains("training: 1/8 steps"));
  CHECK_THAT(out.str(), contains("8/8 steps (100 %)"));
  CHECK_THAT(out.str(), contains("epoch 2, loss ") && contains(", metric "));
}

TEST_CASE("a checkpoint continues the run it belongs to and no other") {
  const io::test::TemporaryDirectory place;
  const Run run;
  auto state = run.start();
  {
    optim::Checkpoint checkpoint(place / "run", "net");
    CHECK_FALSE(checkpoint.resume(state, run.options));
    optim::train(state, run.optimiser, run.data, SquaredError{}, run.options, StopAfter{6}, checkpoint);
  }
  CHECK_THROWS_WITH(optim::Checkpoint(place / "run", "net"), contains("exists"));
  CHECK_THROWS_WITH(
      optim::Checkpoint(place / "run", "other", {.start = io::RunStart::resume}).resume(state, run.options),
      contains("checkpoint of 'net'") || contains("checkpoint of \"net\""));

  optim::Checkpoint checkpoint(place / "run", "net", {.start = io::RunStart::resume});
  auto resumed = run.start();
  CHECK(checkpoint.resume(resumed, run.options));
  CHECK(resumed.step == 6);
  CHECK(io::to_arrays(resumed) == io::to_arrays(state));

  SECTION("other options are refused by name, with the state unchanged") {
    auto other = run.options;
    other.batch = 4;
    other.key = Key{9};
    auto fresh = run.start();
    const auto before = io::to_arrays(fresh);
    CHECK_THROWS_WITH(checkpoint.resume(fresh, other), contains("batch: the checkpoint has 5, this run 4") &&
                                                           contains("key: the checkpoint has 0, this run 9"));
    CHECK(io::to_arrays(fresh) == before);
  }
  SECTION("another network is refused, with the state unchanged") {
    const Net wider({.inputs = 2, .hidden = {5}, .outputs = 1});
    auto fresh = optim::start_training(wider, run.optimiser, run.options);
    const auto before = io::to_arrays(fresh);
    CHECK_THROWS_WITH(checkpoint.resume(fresh, run.options),
                      contains("shape: model.layers.0.weight is f32 [2, 4], expected f32 [2, 5]"));
    CHECK(io::to_arrays(fresh) == before);
  }
}

TEST_CASE("a checkpoint that cannot be written ends the training with an error and keeps the one before") {
  const io::test::TemporaryDirectory place;
  const Run run;
  auto state = run.start();
  optim::Checkpoint checkpoint(place / "run", "net", {.every_steps = 1});
  struct Vanish {
    std::filesystem::path directory, aside;
    void on_step(const optim::TrainInfo<decltype(Run().start())>& info) const {
      if (info.step == 3) std::filesystem::rename(directory, aside);
    }
  };
  CHECK_THROWS_AS(optim::train(state, run.optimiser, run.data, SquaredError{}, run.options,
                               Vanish{place / "run", place / "aside"}, checkpoint),
                  IoError);
  CHECK(io::load_checkpoint(place / "aside" / "last.safetensors", "net").step == 2);
}
