// The program train_score, run as a user runs it.
// program: train_score

#include "catch.hpp"
#include "program.hpp"

#include <cmath>
#include <string>
#include <vector>

#include <kolmo/io/npy.hpp>
#include <kolmo/io/safetensors.hpp>

using namespace kolmo;
using kolmo_test::contains;
using kolmo_test::ProgramRuns;

namespace {

/// Trajectories [sample, time, channel, space...] of waves, with the record that names their axes.
void write_waves(const ProgramRuns& runs, const std::string& name, const std::vector<index_t>& shape,
                 const std::string& axes) {
  index_t size = 1, frame = 1;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    size *= shape[d];
    if (d > 1) frame *= shape[d];
  }
  std::vector<float> values;
  for (index_t i = 0; i < size; ++i)
    values.push_back(static_cast<float>(std::sin(0.3 * static_cast<double>(i / frame) +
                                                 1.7 * static_cast<double>(i / frame / shape[1]) +
                                                 0.9 * static_cast<double>(i % frame))));
  io::save_npy(runs.folder / name, io::HostArray(values, shape));
  if (!axes.empty()) runs.write(name + ".json", "{\"axes\":" + axes + "}");
}

const std::string chain_axes = R"(["chain","time","component"])";
const std::string small = R"({"hidden_channels": [16, 16], "embedding": 8, "batch_size": 8, "epochs": 3})";

}  // namespace

TEST_CASE("a network of vectors is trained, and a run that was cut short goes on with the same bytes") {
  const ProgramRuns train;
  write_waves(train, "x.npy", {20, 30, 3}, chain_axes);
  train.write("small.json", small);
  const std::string common = "--system lorenz --data x.npy --config small.json --seed 5 --quiet";
  const auto whole = train(common + " --output whole.safetensors --picture whole.svg");
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);
  CHECK(train.has("whole.svg"));
  CHECK(train.has("whole.safetensors.run/samples.png"));
  CHECK(train.has("whole.safetensors.run/events"));
  CHECK_THAT(train.read("whole.safetensors.json"), contains("\"window\": 5"));
  REQUIRE(train(common + " --output {seed}.safetensors").code == 0);
  CHECK(train.has("5.safetensors"));
  CHECK(train.read("5.safetensors") == train.read("whole.safetensors"));
  // Killed somewhere in the middle, or before the first epoch, or after the last.
  const std::string longer = common + " --epochs 400 --checkpoint-every 1 --output ";
  REQUIRE(train(longer + "a.safetensors").code == 0);
  train(longer + "b.safetensors & sleep 0.4; kill -9 $!; wait");
  REQUIRE(train(longer + "b.safetensors --resume").code == 0);
  CHECK(train.read("b.safetensors") == train.read("a.safetensors"));
  const auto again = train(common + " --output whole.safetensors");
  CHECK(again.code == 2);
  CHECK_THAT(again.err, contains("--resume"));
  const auto other = train(common + " --output whole.safetensors --resume --batch 4");
  CHECK(other.code == 1);
  CHECK_THAT(other.err, contains("other options"));
  CHECK_THAT(train.read("whole.safetensors.json"), contains("\"batch_size\": 8"));
}

TEST_CASE("a network of fields is trained in float and in bfloat16, in groups or at once") {
  const ProgramRuns train;
  write_waves(train, "f.npy", {10, 6, 2, 8, 8}, R"(["trajectory","time","component","x","y"])");
  train.write("small.json", R"({"hidden_channels": [4, 6], "hidden_blocks": [1, 1], "embedding": 8, "window": 3,
    "batch_size": 4, "epochs": 1, "ema_decay": 0.9, "scheduler": "cosine", "windows": "all"})");
  for (const std::string options : {"", "--precision bf16", "--accumulate 2 --shards 1 --activation-checkpoints"}) {
    const auto result =
        train("--system kolmogorov --data f.npy --config small.json --restart --output f.safetensors " + options);
    CAPTURE(options, result.err);
    REQUIRE(result.code == 0);
    CHECK_THAT(result.out, contains("32 windows of 3 frames"));
    const auto notes = io::load_safetensors(train.folder / "f.safetensors").metadata;
    CHECK(notes.at("score:system") == "kolmogorov");
    CHECK(notes.at("score:space") == "[8,8]");
  }
}

TEST_CASE("what cannot be trained on is refused with what to do") {
  const ProgramRuns train;
  write_waves(train, "x.npy", {20, 30, 3}, chain_axes);
  write_waves(train, "nameless.npy", {20, 30, 3}, "");
  write_waves(train, "turned.npy", {20, 30, 3}, R"(["time","chain","component"])");
  std::vector<float> bad(20 * 30 * 3, 0.5f);
  bad[95] = std::nanf("");
  io::save_npy(train.folder / "nan.npy", io::HostArray(bad, {20, 30, 3}));
  train.write("nan.npy.json", "{\"axes\":" + chain_axes + "}");
  train.write("even.json", R"({"window": 4})");
  train.write("typo.json", R"({"windw": 5})");
  const auto refused = [&](const std::string& options, const std::string& text) {
    const auto result = train("--system lorenz --output m.safetensors --quiet " + options);
    CAPTURE(options, result.err);
    CHECK(result.code != 0);
    CHECK_THAT(result.err, contains(text));
    CHECK_FALSE(train.has("m.safetensors"));
  };
  refused("--data nameless.npy", "does not name its axes");
  refused("--data turned.npy", "transpose the array");
  refused("--data nan.npy", "time 1, component 2");
  refused("--data x.npy --config even.json", "must be odd");
  refused("--data x.npy --config typo.json", "unknown entry 'windw'");
  refused("--data x.npy --precision bf16", "networks of fields");
  refused("--data none.npy", "none.npy");
  CHECK_THAT(train("--system kolmogorov --data x.npy --output m.safetensors").err, contains("2 axes of space"));
}
