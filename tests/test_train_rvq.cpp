// The program train_rvq, run as a user runs it.
// program: train_rvq

#include "catch.hpp"
#include "program.hpp"
#include "rvq_data.hpp"

#include <cmath>
#include <string>
#include <vector>

#include <kolmo/io/npy.hpp>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/model_file.hpp>

using namespace kolmo;
using kolmo_test::contains;
using kolmo_test::ProgramRuns;
using Vectors = Tensor<float, Cpu>;

namespace {

void write_vectors(const ProgramRuns& runs, const std::string& name, std::vector<float> values,
                   const std::vector<index_t>& shape) {
  io::save_npy(runs.folder / name, io::HostArray(values, shape));
}

/// Everything in the folder but the streams of the last run, as names, sizes and bytes.
std::string contents_of(const ProgramRuns& runs) {
  std::vector<std::string> entries;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(runs.folder / "")) {
    const std::string name = entry.path().filename().string();
    if (name == "out.txt" || name == "err.txt" || name == "lock") continue;
    entries.push_back(entry.path().string() + (entry.is_regular_file() ? io::read_text_file(entry.path()) : ""));
  }
  std::sort(entries.begin(), entries.end());
  std::string all;
  for (const std::string& entry : entries) all += entry + "\n";
  return all;
}

}  // namespace

TEST_CASE("a quantizer is trained, and a run that was cut short goes on with the same bytes") {
  const ProgramRuns train;
  const Vectors x = kolmo_test::mix8(600, Key{1});
  write_vectors(train, "x.npy", x.to_vector(), {600, 8});
  const std::string common = "--input x.npy --stages 3 --codes 16 --batch 64 --progressive 30 --seed 5 --window 10 ";
  const auto whole = train(common + "--steps 150 --output whole.safetensors --picture whole.svg --log whole.csv");
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  CHECK_THAT(whole.out, contains("8 bits a vector"));
  // The third stage had 90 updates.
  CHECK_THAT(whole.err, contains("2 of 3 stages had at least 100 updates"));
  CHECK_THAT(train.read("whole.csv"), contains("q2_alarm_identity"));
  CHECK(train.has("whole.svg"));
  const auto model = rvq::load_quantizer<Vectors>(train.folder / "whole.safetensors");
  CHECK(model.steps_completed == 150);
  CHECK(model.options.progressive == 30);
  CHECK(rvq::trained_stages(model) == 2);
  const Vectors rest = x - rvq::decode(model, rvq::encode(model, x).codes);
  CHECK(mean(rest * rest).item() < 0.2f * mean(x * x).item());

  // Killed somewhere in the middle, or before the first checkpoint, or after the last.
  const std::string longer = common + "--quiet --steps 400 --checkpoint-every 20 --output ";
  REQUIRE(train(longer + "a.safetensors").code == 0);
  train(longer + "b.safetensors & sleep 0.3; kill -9 $!; wait");
  REQUIRE(train(longer + "b.safetensors --resume").code == 0);
  CHECK(train.read("b.safetensors") == train.read("a.safetensors"));
  CHECK(train.read("b.safetensors.run/log.csv") == train.read("a.safetensors.run/log.csv"));
  // More steps go on where the run ended.
  REQUIRE(train(common + "--quiet --steps 200 --output whole.safetensors --log whole.csv --resume").code == 0);
  CHECK(rvq::load_quantizer<Vectors>(train.folder / "whole.safetensors").steps_completed == 200);

  const std::string before = contents_of(train);
  const auto again = train(common + "--steps 150 --output whole.safetensors");
  CHECK(again.code == 2);
  CHECK_THAT(again.err, contains("--resume"));
  const auto other =
      train(common + "--quiet --steps 300 --decay 0.9 --output whole.safetensors --log whole.csv --resume");
  CHECK(other.code == 1);
  CHECK_THAT(other.err, contains("stages.0.book.options.decay: the checkpoint has 0.99, this run 0.9"));
  CHECK(train(common + "--steps 150 --output new.safetensors --log whole.csv").code == 2);
  CHECK(train(common + "--steps 150 --output new.safetensors --picture whole.svg").code == 2);
  CHECK(contents_of(train) == before);
}

TEST_CASE("tables are trained by k-means, others by gradient") {
  const ProgramRuns train;
  const Vectors x = kolmo_test::mix8(500, Key{2});
  write_vectors(train, "x.npy", x.to_vector(), {100, 5, 8});
  const auto tables = train("--input x.npy --codes 32 16 --kmeans --beam 2 --output k.safetensors");
  CAPTURE(tables.err);
  REQUIRE(tables.code == 0);
  const auto model = rvq::load_quantizer<Vectors>(train.folder / "k.safetensors");
  CHECK(model.code_counts() == std::vector<index_t>{32, 16});
  CHECK(rvq::trained_stages(model) == 2);
  const std::string bytes = train.read("k.safetensors");
  REQUIRE(train("--input x.npy --codes 32 16 --kmeans --beam 2 --output k.safetensors --resume --quiet").code == 0);
  CHECK(train.read("k.safetensors") == bytes);

  const auto learned = train(
      "--input x.npy --stages 2 --codes 16 --project 3 --dropout 0.5 --rotation --batch 64 --steps 120 --quiet "
      "--output p.safetensors");
  CAPTURE(learned.err);
  REQUIRE(learned.code == 0);
  const auto projected = rvq::load_quantizer<Vectors>(train.folder / "p.safetensors");
  CHECK(projected.options.projected_dimension == 3);
  CHECK(rvq::decode(projected, rvq::encode(projected, x).codes).shape() == x.shape());
}

TEST_CASE("what cannot be trained on is refused with what to do, and leaves nothing") {
  const ProgramRuns train;
  const Vectors x = kolmo_test::mix8(100, Key{3});
  write_vectors(train, "x.npy", x.to_vector(), {100, 8});
  write_vectors(train, "flat.npy", std::vector<float>(100, 1.0f), {100});
  write_vectors(train, "same.npy", std::vector<float>(800, 1.0f), {100, 8});
  auto values = x.to_vector();
  values[37] = std::nanf("");
  write_vectors(train, "nan.npy", values, {100, 8});
  train.write("text.npy", "no array");
  const auto refused = [&](const std::string& options, const std::string& text) {
    const std::string before = contents_of(train);
    const auto result = train("--output m.safetensors --quiet --codes 16 --steps 10 " + options);
    CAPTURE(options, result.err);
    CHECK(result.code != 0);
    CHECK_THAT(result.err, contains(text));
    CHECK(contents_of(train) == before);
  };
  refused("--input none.npy", "none.npy");
  refused("--input text.npy", "text.npy");
  refused("--input flat.npy", "expected vectors [n, d]");
  refused("--input nan.npy", "vector 4 of nan.npy holds a NaN");
  refused("--input same.npy", "one vector again and again");
  refused("--input x.npy --codes 95", "leaves 90 vectors to train on, with 10 held out, fewer than the 95 codes");
  refused("--input x.npy --decay 1.5", "decay must be");
  refused("--input x.npy --gradient --shared", "share a codebook");
  refused("--input x.npy --log m.safetensors", "the same file");
  refused("--input x.npy --picture m.txt", "m.txt");
  refused("--input x.npy --log x.npy", "the file of the vectors");
  CHECK(train("--input x.npy --kmeans --steps 3 --output m.safetensors").code == 2);
}
