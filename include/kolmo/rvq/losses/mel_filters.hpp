#pragma once
// Mel filter banks and mel spectra: the bins of a short-time spectrum weighted by triangles that are equally wide on a
// scale of perceived pitch. Slaney's scale is linear below 1 kHz and logarithmic above (librosa, DAC); HTK's is
// 2595 log10(1 + f / 700) (torchaudio, EnCodec).

#include <cmath>

#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/stft.hpp>

namespace kolmo::rvq {

enum class MelScale { slaney, htk };

struct MelOptions {
  double sample_rate = 16000;  ///< in Hz
  StftOptions stft = {};
  index_t bands = 80;
  double lowest = 0;   ///< where the first triangle begins, in Hz
  double highest = 0;  ///< where the last one ends; 0: half the sample rate
  MelScale scale = MelScale::slaney;
  bool equal_area = true;  ///< triangles of area one over frequency (Slaney); else of height one
  int power = 1;           ///< of the magnitudes that are weighted: 1 or 2
};

/// Mel of a frequency in Hz, and back.
inline double mel_of(double frequency, MelScale scale) {
  if (scale == MelScale::htk) return 2595 * std::log10(1 + frequency / 700);
  return frequency < 1000 ? frequency * 3 / 200 : 15 + 27 * std::log(frequency / 1000) / std::log(6.4);
}
inline double frequency_of(double mel, MelScale scale) {
  if (scale == MelScale::htk) return 700 * (std::pow(10.0, mel / 2595) - 1);
  return mel < 15 ? mel * 200 / 3 : 1000 * std::exp((mel - 15) * std::log(6.4) / 27);
}

/// The weights [size / 2 + 1, bands] of magnitudes. Throws ArgumentError unless there are bands,
/// 0 <= lowest < highest <= half the sample rate, and a power of 1 or 2.
template <PlainTensor V>
V mel_filter_bank(const MelOptions& options) {
  const double highest = options.highest == 0 ? options.sample_rate / 2 : options.highest;
  if (options.bands < 1 || !(options.lowest >= 0 && options.lowest < highest && highest <= options.sample_rate / 2) ||
      (options.power != 1 && options.power != 2) || options.stft.size < 2)
    throw ArgumentError(
        "mel_filter_bank: expected bands >= 1, 0 <= lowest < highest <= half the sample rate, a power of 1 or 2 and a "
        "transform of 2 points at least, given " +
        std::to_string(options.bands) + " bands from " + std::to_string(options.lowest) + " to " +
        std::to_string(highest) + " Hz at " + std::to_string(options.sample_rate) + " Hz, power " +
        std::to_string(options.power) + " and size " + std::to_string(options.stft.size));
  const index_t bins = options.stft.size / 2 + 1, bands = options.bands;
  const double first = mel_of(options.lowest, options.scale), last = mel_of(highest, options.scale);
  std::vector<double> corners;
  for (index_t i = 0; i < bands + 2; ++i)
    corners.push_back(
        frequency_of(first + (last - first) * static_cast<double>(i) / static_cast<double>(bands + 1), options.scale));
  std::vector<typename V::Scalar> weights(static_cast<std::size_t>(bins * bands));
  for (index_t band = 0; band < bands; ++band) {
    const double* const corner = corners.data() + band;
    const double height = options.equal_area ? 2 / (corner[2] - corner[0]) : 1.0;
    for (index_t bin = 0; bin < bins; ++bin) {
      const double f = options.sample_rate * static_cast<double>(bin) / static_cast<double>(options.stft.size);
      const double rising = (f - corner[0]) / (corner[1] - corner[0]);
      const double falling = (corner[2] - f) / (corner[2] - corner[1]);
      const double lower = rising < falling ? rising : falling;
      weights[static_cast<std::size_t>(bin * bands + band)] =
          static_cast<typename V::Scalar>(lower > 0 ? height * lower : 0.0);
    }
  }
  return V::from(std::span<const typename V::Scalar>(weights), Shape{bins, bands});
}

/// The mel spectrum of waves, with its tables at hand.
template <PlainTensor V>
class MelSpectrum {
 public:
  /// Throws ArgumentError as mel_filter_bank and hann_window.
  explicit MelSpectrum(const MelOptions& options)
      : options_(options),
        window_(hann_window<V>(options.stft.size, options.stft.window, options.stft.normalised)),
        bank_(mel_filter_bank<V>(options)) {}

  const MelOptions& options() const { return options_; }

  /// Waves [..., points] to [..., frames, bands]. Throws ArgumentError for a window that does not fit the waves.
  template <TensorLike X>
  auto operator()(const X& waves) const {
    const auto x = magnitude(stft(waves, options_.stft, window_));
    using Y = decltype(matmul(x, bank_));
    if (options_.power == 1) return Y(matmul(x, bank_));
    return Y(matmul(square(x), bank_));
  }

 private:
  MelOptions options_;
  V window_, bank_;
};

}  // namespace kolmo::rvq
