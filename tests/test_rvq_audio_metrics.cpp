// Resampling against sines at their exact places, and the metrics of sound against what they must say.

#include <kolmo/core/random.hpp>
#include <kolmo/rvq/audio_metrics.hpp>

#include "../examples/synthetic_audio.hpp"
#include "catch.hpp"
#include "io_support.hpp"

namespace {

using kolmo::index_t;
using kolmo::io::test::error_of;
using kolmo_test::contains;
namespace rvq = kolmo::rvq;

std::vector<double> sine(double frequency, index_t rate, double seconds) {
  std::vector<double> x(static_cast<std::size_t>(seconds * static_cast<double>(rate)));
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = std::sin(6.283185307179586 * frequency * static_cast<double>(i) / static_cast<double>(rate) + 0.3);
  return x;
}

std::vector<float> speech(index_t item, index_t samples = 32000) {
  return sound::synthesise({.kind = sound::Kind::speech, .samples = samples, .key = kolmo::Key{4}}, item);
}

/// x with white noise of a level `decibels` below it.
std::vector<float> noisy(std::vector<float> x, double decibels) {
  double power = 0;
  for (const float v : x) power += static_cast<double>(v) * static_cast<double>(v) / static_cast<double>(x.size());
  const double size = std::sqrt(power) * std::pow(10.0, -decibels / 20);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += static_cast<float>(size * kolmo::normal<double>(kolmo::Key{9}, i));
  return x;
}

}  // namespace

TEST_CASE("A resampled sine is the sine at the other rate") {
  for (const auto& [from, to] : {std::pair<index_t, index_t>{44100, 16000},
                                 {16000, 44100},
                                 {48000, 16000},
                                 {16000, 10000},
                                 {10000, 16000},
                                 {8000, 8001}}) {
    for (const double frequency : {50.0, 1000.0, 3500.0}) {
      const auto y = rvq::resample(sine(frequency, from, 0.1), from, to), expected = sine(frequency, to, 0.1);
      REQUIRE(y.size() >= expected.size());
      // The ends miss what was before and after.
      const std::size_t end = static_cast<std::size_t>(to) / 100;
      double error = 0;
      for (std::size_t i = end; i + end < expected.size(); ++i) error = std::max(error, std::abs(y[i] - expected[i]));
      CHECK(error < 1e-3);
    }
  }
}

TEST_CASE("What the lower rate cannot hold is filtered out") {
  const auto y = rvq::resample(sine(8600, 44100, 0.1), 44100, 16000);
  double most = 0;
  for (std::size_t i = 200; i + 200 < y.size(); ++i) most = std::max(most, std::abs(y[i]));
  CHECK(most < 1e-4);
}

TEST_CASE("Resampling gives ceil(n to / from) samples, constants stay, and equal rates change nothing") {
  CHECK(rvq::resample(std::vector<float>(1000, 0), 3, 2).size() == 667);
  CHECK(rvq::resample(std::vector<float>(1000, 0), 2, 3).size() == 1500);
  CHECK(rvq::resample(std::vector<float>{}, 2, 3).empty());
  const std::vector<double> x{1, -2, 3};
  CHECK(rvq::resample(x, 16000, 16000) == x);
  CHECK(rvq::resample(std::vector<double>(4000, 1.0), 44100, 16000)[700] == Approx(1).margin(1e-12));
  CHECK_THROWS_AS(rvq::resample(x, 0, 1), kolmo::ArgumentError);
  CHECK_THROWS_AS(rvq::resample(x, 1, -1), kolmo::ArgumentError);
}

TEST_CASE("The difference of levels is that of the root mean squares in dB") {
  const std::vector<float> x{1, -1, 1, -1}, y{2, -2, 2, -2}, zero(4, 0.0f);
  CHECK(rvq::level_difference(x, y) == Approx(6.0206).margin(1e-4));
  CHECK(rvq::level_difference(y, x) == Approx(-6.0206).margin(1e-4));
  CHECK(rvq::level_difference(zero, zero) == 0);
  CHECK(rvq::level_difference(x, zero) < -1e30);
  CHECK_THROWS_AS(rvq::level_difference(x, std::vector<float>(3)), kolmo::ShapeError);
}

TEST_CASE("STOI is 1 for the same speech at any level, and falls with noise") {
  for (index_t item = 0; item < 3; ++item) {
    const auto x = speech(item);
    CHECK(rvq::stoi(x, x, 16000) == Approx(1).margin(1e-9));
    auto louder = x;
    for (float& v : louder) v *= 4;
    CHECK(rvq::stoi(x, louder, 16000) == Approx(1).margin(1e-6));
    double before = 1;
    for (const double level : {30.0, 15.0, 5.0, -5.0, -15.0}) {
      const double now = rvq::stoi(x, noisy(x, level), 16000);
      CHECK(now < before);
      before = now;
    }
    CHECK(before < 0.5);
    CHECK(rvq::stoi(x, noisy(x, 30), 16000) > 0.9);
  }
}

TEST_CASE("STOI is the number that arrays of NumPy give by the definition of the paper") {
  std::vector<float> x, y;
  for (std::uint64_t i = 0; i < 12000; ++i) {
    const double s = std::sin(6.283185307179586 * 1.5 * static_cast<double>(i) / 10000);
    x.push_back(static_cast<float>(s * s * s * s * kolmo::normal<double>(kolmo::Key{7}, i)));
    y.push_back(x.back() + 0.3f * static_cast<float>(kolmo::normal<double>(kolmo::Key{8}, i)));
  }
  CHECK(rvq::stoi(x, y, 10000) == Approx(0.94490938).margin(1e-7));
}

TEST_CASE("STOI does not hear what is above 5 kHz or in the pauses of the reference") {
  auto x = speech(1);
  std::fill(x.begin() + 12000, x.begin() + 20000, 0.0f);
  auto y = x;
  for (std::size_t i = 14000; i < 18000; ++i)
    y[i] = 0.01f * static_cast<float>(kolmo::normal<double>(kolmo::Key{1}, i));
  CHECK(rvq::stoi(x, y, 16000) > 0.999);
  y = x;
  const auto hiss = sine(6500, 16000, 2);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += static_cast<float>(0.1 * hiss[i]);
  CHECK(rvq::stoi(x, y, 16000) > 0.999);
}

TEST_CASE("STOI of sounds that are too short or do not fit is refused") {
  const auto x = speech(0, 4000);
  CHECK_THAT(error_of([&] { rvq::stoi(x, x, 16000); }), contains("a segment of 384 ms has 30"));
  CHECK_THROWS_AS(rvq::stoi(x, speech(0, 4001), 16000), kolmo::ShapeError);
  CHECK_THROWS_AS(rvq::stoi(x, x, 0), kolmo::ArgumentError);
  const std::vector<float> silence(16000, 0.0f);
  CHECK_THROWS_AS(rvq::stoi({}, {}, 16000), kolmo::ShapeError);
}
