// Files of a residual quantizer: everything is in them, nothing may be missing, and what they hold decides what is
// used.

#include <cmath>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/model_file.hpp>
#include <kolmo/rvq/residual_quantizer.hpp>

#include "catch.hpp"
#include "io_support.hpp"
#include "rvq_data.hpp"

using namespace kolmo;
using kolmo_test::contains;
using V = Tensor<float, Cpu>;
using rvq::ResidualQuantizer;

namespace {

const rvq::CodebookOptions unusual{.codes = 8,
                                   .decay = 0.9,
                                   .epsilon = 1e-3,
                                   .dead_threshold = 0.1,
                                   .grace = 3,
                                   .replace_share = 0.5,
                                   .replacement = rvq::Replacement::uniform,
                                   .lloyd_iterations = 2,
                                   .start_vectors_per_code = 32};

void step(ResidualQuantizer<V>& q, const V& x, Key key) {
  rvq::start_stages(q, x, fold_in(key, 0));
  rvq::apply_update(q, rvq::quantize(q, x, {.pass = {fold_in(key, 1), true}}).statistics, fold_in(key, 2));
}

ResidualQuantizer<V> trained(index_t steps) {
  ResidualQuantizer<V> q(8, {8, 4, 8}, unusual,
                         {.progressive = 4, .commitment_weight = 0.7, .dropout = 0.25, .trained_updates = 3});
  for (index_t s = 0; s < steps; ++s)
    step(q, kolmo_test::mix8(200, fold_in(Key{1}, static_cast<std::uint64_t>(s))), Key{static_cast<std::uint64_t>(s)});
  return q;
}

}  // namespace

TEST_CASE("R2: what is loaded is what was saved, with all options, and goes on with the same bits") {
  io::test::TemporaryDirectory folder;
  auto q = trained(7);
  rvq::save_quantizer(folder / "q.safetensors", q, {{"command", "test"}});
  auto loaded = rvq::load_quantizer<V>(folder / "q.safetensors");
  CHECK(io::to_arrays(loaded) == io::to_arrays(q));
  CHECK(loaded.steps_completed == 7);
  CHECK(loaded.active_trained == 2);
  CHECK(loaded.options == q.options);
  CHECK(loaded.options.commitment_weight == 0.7);
  CHECK(loaded.stages[1].book.options.codes == 4);
  CHECK(loaded.stages[2].book.options.replacement == rvq::Replacement::uniform);
  CHECK(loaded.stages[0].book.updates == 7);
  CHECK_FALSE(loaded.stages[2].book.initialised);
  for (int i = 0; i < 10; ++i) {
    const V x = kolmo_test::mix8(200, Key{500 + static_cast<std::uint64_t>(i)});
    const Key key{900 + static_cast<std::uint64_t>(i)};
    step(q, x, key);
    step(loaded, x, key);
    REQUIRE(rvq::quantize(q, x).codes.to_vector() == rvq::quantize(loaded, x).codes.to_vector());
  }
  CHECK(io::to_arrays(loaded) == io::to_arrays(q));
}

TEST_CASE("R3: a file written as the third stage is due holds and uses two") {
  io::test::TemporaryDirectory folder;
  const auto q = trained(8);
  rvq::save_quantizer(folder / "8.safetensors", q);
  const auto loaded = rvq::load_quantizer<V>(folder / "8.safetensors");
  CHECK(loaded.steps_completed == 8);
  CHECK(loaded.active_trained == 2);
  CHECK(loaded.active() == 3);
  CHECK(loaded.stages[2].book.updates == 0);
  const auto encoded = rvq::encode(loaded, kolmo_test::mix8(50, Key{3}), {.stages = 3});
  CHECK(encoded.codes.shape() == Shape{50, 2});
  CHECK_THAT(encoded.stages.warning, contains("3 stages requested, 2 used"));
}

TEST_CASE("R3: a file without any one of its fields is refused by the name of the field") {
  const auto complete = io::to_arrays(trained(5));
  index_t fields = 0;
  for (std::size_t i = 0; i < complete.arrays.size(); ++i) {
    auto cut = complete;
    cut.arrays.erase(cut.arrays.begin() + static_cast<std::ptrdiff_t>(i));
    CHECK_THROWS_WITH(io::model_from_arrays<ResidualQuantizer<V>>(cut),
                      contains("missing: " + complete.arrays[i].first));
    ++fields;
  }
  for (const auto& [key, text] : complete.metadata) {
    auto cut = complete;
    cut.metadata.erase(key);
    CHECK_THROWS_WITH(io::model_from_arrays<ResidualQuantizer<V>>(cut), contains("missing: " + key));
    ++fields;
  }
  // 3 stages of 7 arrays and 11 options each, two counters, the options and how many stages.
  CHECK(fields > 50);
}

TEST_CASE("a file that contradicts itself is refused") {
  const auto complete = io::to_arrays(trained(5));
  auto wrong = complete;
  for (auto& [name, array] : wrong.arrays)
    if (name == "active_trained") array = io::HostArray::scalar(index_t{3});
  CHECK_THROWS_WITH(io::model_from_arrays<ResidualQuantizer<V>>(wrong), contains("cannot have used 3 of 3 stages"));
  wrong = complete;
  wrong.metadata["option:options.progressive"] = "1";
  CHECK_THROWS_WITH(io::model_from_arrays<ResidualQuantizer<V>>(wrong), contains("after 5 steps"));
  wrong = complete;
  wrong.metadata["option:stages.0.book.options.decay"] = "1";
  CHECK_THROWS_AS(io::model_from_arrays<ResidualQuantizer<V>>(wrong), IoError);
  io::test::TemporaryDirectory folder;
  io::Checkpoint other{.kind = "score", .step = 5, .metric = {}, .state = complete};
  io::save_checkpoint(folder / "other.safetensors", other);
  CHECK_THROWS_WITH(rvq::load_quantizer<V>(folder / "other.safetensors"), contains("expected one of 'rvq'"));
  other.kind = "rvq";
  other.step = 6;
  io::save_checkpoint(folder / "other.safetensors", other);
  CHECK_THROWS_WITH(rvq::load_quantizer<V>(folder / "other.safetensors"), contains("the file is of step 6"));
  CHECK_THROWS_AS(rvq::save_quantizer(folder / "x.safetensors", trained(1), {{"option:a", "b"}}), ArgumentError);
}

TEST_CASE("tables trained elsewhere become a quantizer that counts as trained") {
  const V x = kolmo_test::mix8(500, Key{3});
  std::vector<V> tables;
  for (std::uint64_t q = 0; q < 2; ++q)
    tables.push_back(slice(kolmo_test::mix8(600, Key{4 + q}), 0, 0, 20 + 4 * static_cast<index_t>(q)).contiguous());
  auto q = rvq::quantizer_of_tables(tables);
  rvq::set_counts(q, x, 50);
  for (const auto& stage : q.stages) CHECK(sum(stage.book.counts).item() == Approx(50));
  const auto codes = rvq::encode(q, x).codes.to_vector();
  double fifth = 0;
  for (std::size_t i = 0; i < codes.size(); i += 2) fifth += codes[i] == 5 ? 0.1 : 0;
  CHECK(q.stages[0].book.counts.to_vector()[5] == Approx(fifth));
  CHECK(q.code_counts() == std::vector<index_t>{20, 24});
  CHECK(rvq::trained_stages(q) == 2);
  CHECK(rvq::encode(q, x).codes.to_vector() == rvq::encode_residual(tables, x).to_vector());
  io::test::TemporaryDirectory folder;
  rvq::save_quantizer(folder / "t.safetensors", q);
  CHECK(io::to_arrays(rvq::load_quantizer<V>(folder / "t.safetensors")) == io::to_arrays(q));
  CHECK_THROWS_AS(rvq::quantizer_of_tables(std::vector<V>{tables[0], kolmo_test::gaussian(4, 7, Key{1})}), ShapeError);
  CHECK_THROWS_AS(rvq::quantizer_of_tables(std::vector<V>{}), ArgumentError);
}

TEST_CASE("R26: error, use and perplexity follow from the codes and codebooks as they are written") {
  const auto q = trained(8);
  const V x = kolmo_test::mix8(400, Key{3});
  const auto result = rvq::quantize(q, x, {.active = 2, .pass = {Key{1}, false}});
  const auto file = io::to_arrays(q);
  std::vector<std::vector<float>> books;
  for (const char* name : {"stages.0.book.codewords", "stages.1.book.codewords"})
    for (const auto& [array_name, array] : file.arrays)
      if (array_name == name) books.emplace_back(array.as<float>().begin(), array.as<float>().end());
  REQUIRE(books.size() == 2);
  const auto codes = result.codes.to_vector();
  const auto values = x.to_vector();
  double error = 0;
  for (std::size_t i = 0; i < 400; ++i)
    for (std::size_t j = 0; j < 8; ++j) {
      double rest = values[8 * i + j];
      for (std::size_t stage = 0; stage < 2; ++stage)
        rest -= books[stage][static_cast<std::size_t>(codes[2 * i + stage]) * 8 + j];
      error += rest * rest / (400 * 8);
    }
  CHECK(result.stage_errors[1] == Approx(error).epsilon(1e-5));
  for (std::size_t stage = 0; stage < 2; ++stage) {
    std::vector<double> hits(books[stage].size() / 8, 0.0);
    for (std::size_t i = 0; i < 400; ++i) hits[static_cast<std::size_t>(codes[2 * i + stage])] += 1;
    double entropy = 0;
    for (const double h : hits)
      if (h > 0) entropy -= h / 400 * std::log(h / 400);
    auto book = q.stages[stage].book;
    const V input = stage == 0 ? x : V(x - rvq::assign(q.stages[0].book, x).reconstruction);
    const auto report = rvq::update(
        book, rvq::collect(q.stages[stage].book, input, at(result.codes, 1, static_cast<index_t>(stage))), Key{1});
    CHECK(report.perplexity == Approx(std::exp(entropy)).epsilon(1e-9));
  }
}
