// Synthetic sound: a function of key and number alone, of the levels it promises, with pitch, noise and pauses; and the
// program that writes it.
//
// program: synthesise_audio

#include "../examples/spectrogram.hpp"
#include "../examples/synthetic_audio.hpp"

#include <algorithm>
#include <cmath>

#include "program.hpp"

namespace {

using kolmo::index_t;
using kolmo::Key;
using kolmo::io::test::error_of;
using kolmo_test::contains;
namespace io = kolmo::io;

double level_of(std::span<const float> x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return 10 * std::log10(sum / static_cast<double>(x.size()) + 1e-20);
}

/// The lag between `from` and `to` at which x is most like itself, and the likeness there.
std::pair<index_t, double> period_of(std::span<const float> x, index_t from, index_t to) {
  std::pair<index_t, double> best{0, -1};
  const auto n = static_cast<index_t>(x.size());
  for (index_t lag = from; lag <= to; ++lag) {
    double ab = 0, aa = 1e-12, bb = 1e-12;
    for (index_t i = 0; i + lag < n; ++i) {
      const auto a = static_cast<double>(x[static_cast<std::size_t>(i)]);
      const auto b = static_cast<double>(x[static_cast<std::size_t>(i + lag)]);
      ab += a * b;
      aa += a * a;
      bb += b * b;
    }
    if (const double likeness = ab / std::sqrt(aa * bb); likeness > best.second) best = {lag, likeness};
  }
  return best;
}

}  // namespace

TEST_CASE("An item is a function of the key and its number") {
  for (const auto kind : {sound::Kind::speech, sound::Kind::music, sound::Kind::mixed}) {
    sound::SoundSet set{.kind = kind, .samples = 4000, .key = Key{5}};
    const auto item = sound::synthesise(set, 7);
    CHECK(item == sound::synthesise(set, 7));
    CHECK(item != sound::synthesise(set, 8));
    const auto rows = sound::synthesise(set, 6, 3).to_vector();
    CHECK(std::equal(item.begin(), item.end(), rows.begin() + 4000));
    set.key = Key{6};
    CHECK(item != sound::synthesise(set, 7));
  }
}

TEST_CASE("Items keep to their levels and are not clipped") {
  for (const auto kind : {sound::Kind::speech, sound::Kind::music, sound::Kind::mixed}) {
    const sound::SoundSet set{.kind = kind, .samples = 16000, .key = Key{1}};
    double least = 0, most = -100;
    for (index_t i = 0; i < 30; ++i) {
      const auto item = sound::synthesise(set, i);
      const double level = level_of(item);
      least = std::min(least, level);
      most = std::max(most, level);
      float peak = 0;
      for (const float v : item) peak = std::max(peak, std::abs(v));
      CHECK(peak <= 0.9801f);
      CHECK(level < -11.99);
      // Below -30 dB only where the peaks ask for it.
      CHECK((level > -30.01 || peak > 0.979f));
    }
    CHECK(least < -26);
    CHECK(most > -17);
  }
}

TEST_CASE("Speech has a pitch between 80 and 300 Hz that moves, noise without pitch, and pauses, but not many") {
  const sound::SoundSet set{.kind = sound::Kind::speech, .samples = 32000, .key = Key{2}};
  const std::size_t frame = 800;  // 50 ms
  std::size_t frames = 0, silent = 0, voiced = 0, inside = 0, noisy = 0, moving = 0;
  for (index_t item = 0; item < 8; ++item) {
    const auto x = sound::synthesise(set, item);
    const double level = level_of(x);
    double low = 1e9, high = 0;
    for (std::size_t begin = 0; begin + frame <= x.size(); begin += frame) {
      const auto part = std::span<const float>(x).subspan(begin, frame);
      ++frames;
      if (level_of(part) < level - 35) {
        ++silent;
        continue;
      }
      const auto [lag, likeness] = period_of(part, 16000 / 330, 16000 / 70);
      if (likeness < 0.4) ++noisy;
      if (likeness < 0.9) continue;
      ++voiced;
      // One period more than the best lag is as good; the pitch is never outside the range by itself.
      const double pitch = 16000.0 / static_cast<double>(lag);
      if (pitch > 75 && pitch < 310) ++inside;
      low = std::min(low, pitch);
      high = std::max(high, pitch);
    }
    if (high > 1.08 * low) ++moving;
  }
  CHECK(silent > 0);
  CHECK(silent < frames / 5);
  CHECK(voiced > frames / 3);
  CHECK(inside > voiced * 19 / 20);
  CHECK(noisy > frames / 30);
  CHECK(moving >= 6);
}

TEST_CASE("Settings that make no sound are refused") {
  CHECK_THAT(error_of([] { sound::synthesise({.samples = 0}, 0); }), contains("given 0"));
  CHECK_THAT(error_of([] { sound::synthesise({.rate = 100}, 0); }), contains("given 100"));
  CHECK_THAT(error_of([] { sound::synthesise({.quietest = -3, .loudest = -9}, 0); }), contains("from a low one"));
  CHECK_THAT(error_of([] { sound::synthesise({}, 0, -1); }), contains("cannot be -1"));
  CHECK_THAT(error_of([] { sound::kind_of("noise"); }), contains("given noise"));
}

TEST_CASE("A spectrogram shows a sine of full scale at 0 dB in its row, at its time") {
  std::vector<float> x(16000, 0.0f);
  for (std::size_t i = 8000; i < 16000; ++i)
    x[i] = static_cast<float>(std::sin(6.283185307179586 * 1000 / 16000.0 * static_cast<double>(i)));
  const auto s = sound::spectrogram(x, 16000, 512, 100);
  REQUIRE(s.frequencies == 257);
  REQUIRE(s.frames == 160);
  const auto at = [&](index_t k, index_t t) { return s.decibels[static_cast<std::size_t>(k * s.frames + t)]; };
  CHECK(at(32, 120) == Approx(0).margin(1e-3));
  CHECK(at(31, 120) == Approx(-6.02).margin(0.01));  // the Hann window's neighbour
  CHECK(at(36, 120) < -80);
  CHECK(at(32, 40) < -130);
  CHECK_THROWS_AS(sound::spectrogram({}, 16000), kolmo::ArgumentError);
  CHECK_THROWS_AS(sound::spectrogram(x, 0), kolmo::ArgumentError);
}

TEST_CASE("synthesise_audio writes the items of the set") {
  const kolmo_test::ProgramRuns run;
  REQUIRE(run("--kind speech --seconds 0.25 --items 3 --first 2 --seed 9 --output s --picture s.png").code == 0);
  REQUIRE(run.has("s/speech_00004.wav"));
  CHECK(run.has("s.png"));
  const io::Wave wave = io::load_wav(run.folder / "s/speech_00003.wav");
  const auto item = sound::synthesise({.kind = sound::Kind::speech, .samples = 4000, .key = Key{9}}, 3);
  CHECK(wave.rate == 16000);
  REQUIRE(wave.samples.size() == item.size());
  for (std::size_t i = 0; i < item.size(); ++i) CHECK(std::abs(wave.samples[i] - item[i]) <= 0x1p-16f);
  REQUIRE(run("--kind speech --seconds 0.25 --first 3 --seed 9 --output one.wav").code == 0);
  CHECK(run.read("one.wav") == run.read("s/speech_00003.wav"));
}

TEST_CASE("synthesise_audio refuses wrong arguments with exit code 2 and files it cannot write with 1") {
  const kolmo_test::ProgramRuns run;
  const auto fails = [&](const std::string& arguments, int code, const std::string& why) {
    const auto result = run(arguments);
    CHECK(result.code == code);
    CHECK_THAT(result.err, contains(why));
  };
  fails("--items 2 --output a.wav", 2, "is one file");
  fails("--seconds 1e-9 --output a.wav", 2, "an item has 1 to");
  fails("--output a.wav --picture a.pdf", 2, "pdf");
  fails("--kind noise --output a.wav", 2, "noise");
  fails("--output none/a.wav", 1, "does not exist");
  run.write("file", "");
  fails("--output file/inside --seconds 0.1", 1, "cannot create the folder");
}
