// Training of a residual quantizer on plain vectors: stages that join, averaged and learned codebooks, projections,
// dropout, and runs that go on with the same bits.

#include <cmath>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/io/tree.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/training.hpp>

#include "catch.hpp"
#include "rvq_data.hpp"

using namespace kolmo;
using kolmo_test::contains;
using Rows = Tensor<float, Cpu>;
using rvq::ResidualQuantizer;

namespace {

const Rows& mixture() {
  static const Rows data = kolmo_test::mix8(4000, Key{1});
  return data;
}
const Rows& held_out() {
  static const Rows data = kolmo_test::mix8(2000, Key{2});
  return data;
}
double variance_of(const Rows& x) { return mean(x * x).item(); }

}  // namespace

TEST_CASE("stages join one after the other, start from data, and every one lowers the error") {
  auto training =
      rvq::start_training(ResidualQuantizer<Rows>(8, 4, {.codes = 16}, {.progressive = 30}), {.batch = 256}, Key{3});
  std::vector<index_t> starts, actives;
  std::vector<double> errors;
  rvq::train(training, mixture(), 150, [&](const rvq::StepReport& report) {
    for (const auto& start : report.started) starts.push_back(report.step * 10 + start.stage);
    actives.push_back(report.active);
    errors.push_back(report.error);
    REQUIRE(report.stage_errors.size() == static_cast<std::size_t>(report.active));
    REQUIRE(report.error == Approx(report.stage_errors.back()).epsilon(1e-4));
    REQUIRE(report.window.size() == (report.step % 50 == 0 ? static_cast<std::size_t>(report.active) : 0));
  });
  CHECK(starts == std::vector<index_t>{10, 311, 612, 913});
  CHECK(actives[29] == 1);
  CHECK(actives[30] == 2);
  CHECK(actives.back() == 4);
  const auto& q = training.quantizer;
  for (std::size_t stage = 0; stage < 4; ++stage)
    CHECK(q.stages[stage].book.updates == 150 - 30 * static_cast<index_t>(stage));
  CHECK(q.steps_completed == 150);
  const auto by_stages = rvq::errors_by_stages(q, held_out());
  REQUIRE(by_stages.size() == 4);
  CHECK(by_stages[0] < 0.5 * variance_of(held_out()));
  for (std::size_t stage = 1; stage < 4; ++stage) CHECK(by_stages[stage] < 0.85 * by_stages[stage - 1]);
}

TEST_CASE("R3b: a trained stage never raises the training error, and one that is not trained is not used") {
  auto training =
      rvq::start_training(ResidualQuantizer<Rows>(8, 4, {.codes = 32}, {.progressive = 40, .trained_updates = 100}),
                          {.batch = 512}, Key{4});
  rvq::train(training, mixture(), 160);
  CHECK(rvq::trained_stages(training.quantizer) == 2);
  const auto errors = rvq::errors_by_stages(training.quantizer, mixture(), 2);
  CHECK(errors[1] <= errors[0] * 1.001);
  const auto encoded = rvq::encode(training.quantizer, mixture(), {.stages = 4});
  CHECK(encoded.codes.shape()[1] == 2);
  const Rows rest = mixture() - rvq::decode(training.quantizer, encoded.codes);
  CHECK(mean(rest * rest).item() == Approx(errors[1]).epsilon(1e-5));
}

TEST_CASE("codebooks learned by gradient: the error falls, codes stay in use") {
  auto training = rvq::start_training(
      ResidualQuantizer<Rows>(8, 2, {.codes = 32, .training = rvq::CodebookTraining::gradient, .lloyd_iterations = 0}),
      {.batch = 512, .learning_rate = 0.01}, Key{5});
  REQUIRE(training.optimiser.has_value());
  std::vector<double> errors;
  rvq::train(training, mixture(), 100, [&](const rvq::StepReport& report) { errors.push_back(report.error); });
  CHECK(errors.back() < 0.9 * errors.front());
  CHECK(training.quantizer.stages[1].book.updates == 100);
  CHECK(training.optimiser->updates == 100);
  CHECK(training.skipped == 0);
}

TEST_CASE("projections train: the error falls and perplexity rises") {
  auto training = rvq::start_training(
      ResidualQuantizer<Rows>(8, 3, {.codes = 32, .lloyd_iterations = 2}, {.dropout = 0.3, .projected_dimension = 3}),
      {.batch = 256, .learning_rate = 0.01, .window = 40}, Key{6});
  std::vector<double> errors, perplexities;
  rvq::train(training, mixture(), 200, [&](const rvq::StepReport& report) {
    errors.push_back(report.error);
    if (!report.window.empty()) perplexities.push_back(report.window[0].perplexity);
  });
  double first = 0, last = 0;
  for (std::size_t i = 0; i < 10; ++i) {
    first += errors[i];
    last += errors[errors.size() - 1 - i];
  }
  CHECK(last < 0.5 * first);
  CHECK(perplexities.back() > 8);
  const auto by_stages = rvq::errors_by_stages(training.quantizer, held_out());
  CHECK(by_stages[2] < by_stages[0]);
  CHECK(by_stages[2] < 0.4 * variance_of(held_out()));
  // The tables decode to what training saw.
  training.quantizer.options.trained_updates = 10;
  const auto encoded = rvq::encode(training.quantizer, held_out());
  const Rows rest = held_out() - rvq::decode(training.quantizer, encoded.codes);
  CHECK(mean(rest * rest).item() == Approx(by_stages[2]).epsilon(1e-4));
}

namespace {

/// The same run, cut at `cut` and read back from what would be in a file.
void check_resumes(const ResidualQuantizer<Rows>& quantizer, const rvq::TrainingOptions& options, index_t cut) {
  auto whole = rvq::start_training(quantizer, options, Key{8});
  rvq::train(whole, mixture(), cut);
  const auto saved = io::to_arrays(whole);
  // An object of other defaults becomes the saved one.
  auto resumed = rvq::start_training(quantizer, options, Key{99});
  io::from_arrays(resumed, saved);
  REQUIRE(io::to_arrays(resumed) == saved);
  std::vector<double> errors, again;
  for (int i = 0; i < 10; ++i) {
    const Rows batch = rvq::next_batch(whole, mixture());
    REQUIRE(rvq::next_batch(resumed, mixture()).to_vector() == batch.to_vector());
    REQUIRE(rvq::quantize(whole.quantizer, batch).codes.to_vector() ==
            rvq::quantize(resumed.quantizer, batch).codes.to_vector());
    errors.push_back(rvq::step_on(whole, mixture()).error);
    again.push_back(rvq::step_on(resumed, mixture()).error);
  }
  CHECK(errors == again);
  CHECK(io::to_arrays(whole) == io::to_arrays(resumed));
}

}  // namespace

TEST_CASE("R2: the ten steps after a restart have the same codes, codebooks and counts, bit for bit") {
  // The third stage joins within the ten steps; grace is short, so that codes are replaced on the way.
  check_resumes(ResidualQuantizer<Rows>(8, {32, 16, 8}, {.grace = 5}, {.progressive = 20, .dropout = 0.5}),
                {.batch = 128, .window = 7}, 35);
  check_resumes(ResidualQuantizer<Rows>(8, 2, {.codes = 16}, {.projected_dimension = 2}),
                {.batch = 64, .gradient = rvq::QuantizerGradient::rotation}, 5);
}

TEST_CASE("a step that is refused changes nothing") {
  auto training = rvq::start_training(ResidualQuantizer<Rows>(8, 2, {.codes = 16}), {.batch = 64}, Key{9});
  rvq::train(training, mixture(), 3);
  const auto before = io::to_arrays(training);
  Rows bad = slice(mixture(), 0, 0, 64).copy();
  bad.mutable_data()[77] = std::nanf("");
  CHECK_THROWS_AS(rvq::training_step(training, bad), ArgumentError);
  CHECK(io::to_arrays(training) == before);
  CHECK_THROWS_WITH(rvq::step_on(training, kolmo_test::gaussian(10, 7, Key{1})), contains("expected vectors [n, 8]"));
  CHECK_THROWS_AS(rvq::start_training(ResidualQuantizer<Rows>(8, 2), {.batch = 0}, Key{1}), ArgumentError);
  CHECK_THROWS_AS(rvq::start_training(ResidualQuantizer<Rows>(8, 2), {.learning_rate = -1}, Key{1}), ArgumentError);
  // Fewer vectors than codes: allowed, and said.
  auto few = rvq::start_training(ResidualQuantizer<Rows>(8, 1, {.codes = 16}), {.batch = 64}, Key{9});
  const auto report = rvq::step_on(few, slice(mixture(), 0, 0, 5).contiguous());
  CHECK_FALSE(report.started.at(0).report.warnings.empty());
}
