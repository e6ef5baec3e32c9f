// Losses between waves: values and gradients of PyTorch, and what each must and must not see.

#include <kolmo/io/npz.hpp>
#include <kolmo/nn/init.hpp>
#include <kolmo/rvq/losses/mel_losses.hpp>
#include <kolmo/rvq/losses/stft_losses.hpp>
#include <kolmo/rvq/losses/wave_losses.hpp>

#include <kolmo/ad/transforms.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::rvq;
using kolmo_test::contains;

namespace {

using Ten = Tensor<double, Cpu>;

const io::HostArray& stored(const std::string& name) {
  static const io::NamedArrays arrays = io::load_npz(std::string(KOLMO_REFERENCE) + "/rvq_losses.npz");
  return arrays.at(name);
}
Ten tensor(const std::string& name) {
  const io::HostArray& array = stored(name);
  return Ten::from(array.as<double>(), Shape(array.shape.begin(), array.shape.end()));
}

double distance(const Ten& a, const Ten& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(x[i] - y[i]));
  return worst;
}

/// Value and gradient of a loss against the file's.
template <class Loss>
void compare(const Loss& loss, const std::string& name) {
  INFO(name);
  const Ten x = tensor("reference"), e = tensor("estimate"), expected = tensor(name + "_gradient");
  const auto result = value_and_grad(e, [&](const auto& v) { return loss(x, v); });
  CHECK(result.value.item() == Approx(stored(name).as<double>()[0]).epsilon(1e-9));
  CHECK(distance(result.gradient, expected) < 1e-8 * max(abs(expected)).item());
}

Ten waves(std::uint64_t seed, double deviation, index_t points = 2048) {
  return nn::normal_values<Ten>(Key{seed}, Shape{2, points}, 0, deviation);
}

}  // namespace

TEST_CASE("Mel scales and filter banks are Slaney's and HTK's") {
  CHECK(mel_of(1000, MelScale::slaney) == 15);
  CHECK(mel_of(6400, MelScale::slaney) == Approx(42));  // 27 steps per factor of 6.4
  CHECK(mel_of(700, MelScale::htk) == Approx(2595 * std::log10(2)));
  for (const MelScale scale : {MelScale::slaney, MelScale::htk})
    for (const double f : {0.0, 123.0, 1000.0, 4321.0})
      CHECK(frequency_of(mel_of(f, scale), scale) == Approx(f).margin(1e-9));
  MelOptions options{.sample_rate = 8000, .stft = {.size = 64}, .bands = 10};
  CHECK(distance(mel_filter_bank<Ten>(options), tensor("slaney_bank")) < 1e-12);
  options = {
      .sample_rate = 8000, .stft = {.size = 64}, .bands = 8, .lowest = 64, .scale = MelScale::htk, .equal_area = false};
  CHECK(distance(mel_filter_bank<Ten>(options), tensor("htk_bank")) < 1e-7);
}

TEST_CASE("Reconstruction losses and their gradients are PyTorch's") {
  compare(MelLoss<Ten>(dac_mel_options(8000, 32, 256)), "dac");
  MelLossOptions options = encodec_mel_options(8000);
  options.windows = {64, 256};
  options.bands = {64, 64};
  compare(MelLoss<Ten>(options), "encodec");
  options.kind = MelLossKind::soundstream;
  compare(MelLoss<Ten>(options), "soundstream");
  compare(StftLoss<Ten>({.windows = {256, 128}}), "multi_resolution");
  const Ten x = tensor("reference"), e = tensor("estimate");
  CHECK(stft_distance(x, e, {512, 256}) == Approx(stored("stft_distance").as<double>()[0]).epsilon(1e-12));
  CHECK(si_sdr(x, e) == Approx(stored("si_sdr").as<double>()[0]).epsilon(1e-12));
}

TEST_CASE("A wave has no distance from itself, and silence none from silence") {
  const Ten x = waves(1, 0.1), silence = Ten::zeros(x.shape());
  for (const Ten& wave : {x, silence}) {
    CHECK(mel_distance(wave, wave, 16000) == 0);
    CHECK(stft_distance(wave, wave) == 0);
    CHECK(level_loss(wave, wave).item() == 0);
    CHECK(wave_loss(wave, wave).item() == 0);
    CHECK(StftLoss<Ten>(StftLossOptions{})(wave, wave).item() < 1e-6);
  }
}

TEST_CASE("Losses of silence have finite gradients") {
  const Ten x = waves(2, 0.1), silence = Ten::zeros(x.shape());
  const auto is_finite_gradient = [&](const auto& loss, const Ten& reference) {
    const auto g = grad([&](const auto& v) { return loss(reference, v); }, silence).to_vector();
    return std::all_of(g.begin(), g.end(), [](double v) { return is_finite(v); });
  };
  for (const Ten& reference : {x, silence}) {
    CHECK(is_finite_gradient(MelLoss<Ten>(dac_mel_options(16000, 32, 512)), reference));
    CHECK(is_finite_gradient(MelLoss<Ten>(encodec_mel_options(16000, 64, 256)), reference));
    CHECK(is_finite_gradient(MelLoss<Ten>(soundstream_mel_options(16000, 64, 256)), reference));
    CHECK(is_finite_gradient(StftLoss<Ten>({.windows = {256}}), reference));
    CHECK(is_finite_gradient([](const auto& r, const auto& e) { return level_loss(r, e); }, reference));
  }
}

TEST_CASE("R28: the level loss is the logarithm of the ratio of levels, at any level") {
  const double ln2 = std::log(2.0);
  for (const double level : {1.0, 0.1, 0.01}) {
    const Ten x = waves(3, level);
    CHECK(level_loss(x, x * 0.5).item() == Approx(ln2).epsilon(2e-3));
    CHECK(level_loss(x * 0.5, x).item() == Approx(ln2).epsilon(2e-3));
  }
  // A collapsed output costs more than any wrong level; a difference of squared levels would make it cheap.
  const Ten x = waves(3, 0.075);
  CHECK(level_loss(x, Ten::zeros(x.shape())).item() == Approx(std::log(0.075 / 1e-5)).epsilon(0.01));
  // Each wave of a batch has its own level: too loud and too quiet do not cancel.
  const Ten both = Ten::from({1, 1, 1, 1}, Shape{2, 2}), changed = Ten::from({2, 2, 0.5, 0.5}, Shape{2, 2});
  CHECK(level_loss(both, changed).item() == Approx(ln2).epsilon(1e-4));
}

TEST_CASE("Log spectra see quiet detail: the same relative change costs the same at any level") {
  const Ten x = waves(4, 0.5);
  const MelLoss<Ten> loss(dac_mel_options(16000, 64, 1024));
  const double loud = loss(x, x * 2).item(), quiet = loss(x * 0.01, x * 0.02).item();
  CHECK(loud == Approx(5 * std::log10(2.0)).epsilon(1e-6));  // one step of log10 2 for each of five windows
  CHECK(quiet == Approx(loud).epsilon(1e-3));
}

TEST_CASE("The ratio of signal and distortion does not see scale or offset and stays finite") {
  const Ten x = waves(5, 0.2, 4000), noise = waves(6, 0.02, 4000);
  CHECK(si_sdr(x, x + noise) == Approx(20).margin(0.4));  // a tenth of the amplitude
  CHECK(si_sdr(x, (x + noise) * 3 + 0.5) == Approx(si_sdr(x, x + noise)).epsilon(1e-9));
  CHECK(si_sdr(x, x * 0.3) == 100);
  CHECK(si_sdr(x, Ten::zeros(x.shape())) == -100);
}

TEST_CASE("Losses refuse waves and options that do not fit") {
  const Ten x = waves(7, 0.1, 100);
  const MelLoss<Ten> loss(dac_mel_options(16000));
  CHECK(loss.shortest_wave() == 1025);
  CHECK_THROWS_AS(loss(x, x), ArgumentError);
  CHECK_THROWS_WITH(loss(x, x), contains("100"));
  CHECK_THROWS_AS(loss(waves(7, 0.1, 2000), waves(7, 0.1, 2001)), ShapeError);
  CHECK_THROWS_AS(level_loss(x, waves(7, 0.1, 101)), ShapeError);
  CHECK_THROWS_AS(MelLoss<Ten>(MelLossOptions{.windows = {64, 128}, .bands = {10}}), ArgumentError);
  CHECK_THROWS_AS(MelLoss<Ten>(MelLossOptions{.windows = {64}, .bands = {10}, .floor = 0}), ArgumentError);
  CHECK_THROWS_AS(StftLoss<Ten>({.windows = {}}), ArgumentError);
  CHECK_THROWS_AS(mel_filter_bank<Ten>({.sample_rate = 8000, .highest = 4001}), ArgumentError);
  CHECK_THROWS_AS(mel_filter_bank<Ten>({.sample_rate = 8000, .bands = 0}), ArgumentError);
}
