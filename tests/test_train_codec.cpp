// The programs of a codec of sound, run as a user runs them: training, killed and resumed; sound to codes and back.
// program: train_codec encode_audio decode_audio

#include "catch.hpp"
#include "program.hpp"

#include <cmath>
#include <string>
#include <vector>

#include <kolmo/io/csv_reader.hpp>
#include <kolmo/io/wav.hpp>

using namespace kolmo;
using kolmo_test::contains;
using kolmo_test::ProgramRuns;

namespace {

const std::string small = R"({"channels": 2, "latent": 8, "strides": [2, 4, 5], "stages": 2, "codes": 16, "batch": 2,
  "seconds": 0.08, "steps": 240, "progressive": 50, "shortest_window": 64, "longest_window": 256, "filters": 2,
  "adversarial_from": 110, "adversarial_ramp": 20})";
const std::string common = "--config small.json --items 8 --seed 3 --quiet";

/// A sound of two tones that is no whole number of frames.
void write_tones(const ProgramRuns& runs, const std::string& name, index_t rate, index_t channels) {
  io::Wave wave{rate, channels, {}};
  for (index_t c = 0; c < channels; ++c)
    for (index_t i = 0; i < 4321; ++i)
      wave.samples.push_back(0.2f * static_cast<float>(std::sin(0.05 * static_cast<double>(i * (c + 1)))));
  io::save_wav(runs.folder / name, wave);
}

/// A codec of 240 steps, once for all cases.
const ProgramRuns& trained() {
  static const ProgramRuns runs;
  static const bool made = [] {
    runs.write("small.json", small);
    const auto result = runs(common + " --output codec.safetensors --picture codec.svg");
    CAPTURE(result.err);
    REQUIRE(result.code == 0);
    return true;
  }();
  REQUIRE(made);
  return runs;
}

}  // namespace

TEST_CASE("a codec is trained, judged and drawn; killed in between it goes on with the same bytes") {
  const ProgramRuns& runs = trained();
  CHECK(runs.has("codec.svg"));
  CHECK(runs.has("codec.safetensors.run/spectrograms.png"));
  CHECK(runs.has("codec.safetensors.run/before_adversary.safetensors"));
  CHECK_THAT(runs.read("codec.safetensors.run/before_adversary.csv"), contains("si_sdr_db"));
  CHECK_THAT(runs.read("codec.safetensors.json"), contains("\"progressive\": 50"));
  const std::string scores = runs.read("codec.safetensors.run/scores.csv");
  CHECK_THAT(scores, contains("stages,kilobits_per_second,mel_distance"));
  CHECK(std::count(scores.begin(), scores.end(), '\n') == 3);

  runs(common + " --checkpoint-every 1 --output killed.safetensors & sleep 0.6; kill -9 $!; wait");
  const auto resumed = runs(common + " --checkpoint-every 1 --output killed.safetensors --resume");
  CAPTURE(resumed.err);
  REQUIRE(resumed.code == 0);
  CHECK(runs.read("killed.safetensors") == runs.read("codec.safetensors"));
  const std::string one = runs.read("killed.safetensors.run/log.csv"),
                    other = runs.read("codec.safetensors.run/log.csv");
  CHECK(std::count(one.begin(), one.end(), '\n') == std::count(other.begin(), other.end(), '\n'));

  // Nothing is replaced that was not to be, and a refused run changes nothing.
  CHECK_THAT(runs(common + " --output codec.safetensors").err, contains("--restart"));
  const auto refused = runs("--config small.json --items 8 --seed 4 --quiet --output codec.safetensors --resume");
  CHECK(refused.code == 2);
  CHECK_THAT(refused.err, contains("began otherwise"));
  CHECK_THAT(refused.err, contains("seed"));
  CHECK(runs.read("killed.safetensors") == runs.read("codec.safetensors"));
}

TEST_CASE("sound becomes codes and sound again, of the same length, at any of the trained rates") {
  const ProgramRuns& runs = trained();
  write_tones(runs, "tones.wav", 16000, 1);
  for (const std::string layout : {"frames", "stages", "coded"}) {
    CAPTURE(layout);
    const auto coded =
        runs.of("encode_audio", "--model codec.safetensors --input tones.wav --output c.rvq --layout " + layout);
    CAPTURE(coded.err);
    REQUIRE(coded.code == 0);
    CHECK_THAT(coded.out, contains("by 2 stages"));
    const auto back = runs.of("decode_audio", "--model codec.safetensors --input c.rvq --output " + layout +
                                                  ".wav --format float32 --reference tones.wav --picture c.svg");
    CAPTURE(back.err);
    REQUIRE(back.code == 0);
    CHECK_THAT(back.out, contains("SI-SDR"));
    CHECK(io::load_wav(runs.folder / (layout + ".wav")).frames() == 4321);
    // The layout is no part of what is said.
    CHECK(runs.read(layout + ".wav") == runs.read("frames.wav"));
  }
  // 40 samples a frame, 8 bits: a byte for each of 109 frames, and a header.
  REQUIRE(runs.of("encode_audio", "--model codec.safetensors --input tones.wav --output c.rvq").code == 0);
  CHECK(runs.read("c.rvq").size() < 109 + 64);
  // Fewer stages in the encoder or in the decoder are the same.
  REQUIRE(runs.of("decode_audio", "--model codec.safetensors --input c.rvq --stages 1 --output a.wav").code == 0);
  REQUIRE(runs.of("encode_audio", "--model codec.safetensors --input tones.wav --stages 1 --output one.rvq").code == 0);
  REQUIRE(runs.of("decode_audio", "--model codec.safetensors --input one.rvq --output b.wav").code == 0);
  CHECK(runs.read("a.wav") == runs.read("b.wav"));
  CHECK(runs.read("one.rvq").size() < runs.read("c.rvq").size());
  REQUIRE(
      runs.of("encode_audio", "--model codec.safetensors --input tones.wav --stages 1 --layout coded --output one.rvq")
          .code == 0);
  REQUIRE(runs.of("decode_audio", "--model codec.safetensors --input one.rvq --output b.wav").code == 0);
  CHECK(runs.read("a.wav") == runs.read("b.wav"));
}

TEST_CASE("what cannot be coded is refused with what would help") {
  const ProgramRuns& runs = trained();
  write_tones(runs, "tones.wav", 16000, 1);
  write_tones(runs, "fast.wav", 22050, 1);
  write_tones(runs, "stereo.wav", 16000, 2);
  const std::string encode = "--model codec.safetensors --output x.rvq --input ";
  const auto rate = runs.of("encode_audio", encode + "fast.wav");
  CHECK(rate.code == 2);
  CHECK_THAT(rate.err, contains("22050"));
  CHECK_THAT(rate.err, contains("--resample"));
  CHECK(runs.of("encode_audio", encode + "fast.wav --resample").code == 0);
  CHECK_THAT(runs.of("encode_audio", encode + "stereo.wav").out, contains("mixed into one"));
  CHECK_THAT(runs.of("encode_audio", encode + "tones.wav --stages 3").err, contains("2"));
  CHECK(runs.of("encode_audio", encode + "missing.wav").code == 1);
  CHECK_THAT(runs.of("encode_audio", "--model codec.safetensors --input tones.wav --output x.wav").err,
             contains(".rvq"));

  REQUIRE(runs.of("encode_audio", encode + "tones.wav").code == 0);
  std::string damaged = runs.read("x.rvq");
  damaged[damaged.size() - 3] = static_cast<char>(damaged[damaged.size() - 3] ^ 1);
  runs.write("damaged.rvq", damaged);
  CHECK_THAT(runs.of("decode_audio", "--model codec.safetensors --input damaged.rvq --output y.wav").err,
             contains("damaged"));
  CHECK(!runs.has("y.wav"));
  const auto other = runs(common + " --steps 60 --output other.safetensors");
  CAPTURE(other.err);
  REQUIRE(other.code == 0);
  CHECK(runs.of("decode_audio", "--model other.safetensors --input x.rvq --output y.wav").code != 0);
  CHECK(runs.of("encode_audio", "--model small.json --input tones.wav --output x.rvq").code == 1);

  const auto config = [&](const std::string& text) {
    runs.write("bad.json", text);
    return runs("--config bad.json --items 8 --output bad.safetensors").err;
  };
  CHECK_THAT(config(R"({"chanels": 2})"), contains("unknown entry 'chanels'"));
  CHECK_THAT(config(R"({"style": "mp3"})"), contains("seanet, dac"));
  CHECK_THAT(config(R"({"progressive": 100, "adversarial_from": 200})"), contains("where a stage"));
  CHECK_THAT(config(R"({"seconds": 0.01})"), contains("longest window"));
  CHECK_THAT(runs("--input fast.wav --config small.json --output bad.safetensors").err, contains("22050"));
  CHECK(!runs.has("bad.safetensors.run"));
}
