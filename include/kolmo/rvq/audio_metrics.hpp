#pragma once
// What listeners would notice, computed: the short-time objective intelligibility of speech (STOI; Taal, Hendriks,
// Heusdens, Jensen 2011) and the difference of levels. SI-SDR and the spectral distances are with the losses
// (rvq/losses/wave_losses.hpp, mel_losses.hpp, stft_losses.hpp). PESQ and ViSQOL are defined by their reference
// programs and must be taken from those.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/eigen.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/error.hpp>
#include <kolmo/ops/fft.hpp>
#include <kolmo/rvq/resample.hpp>

namespace kolmo::rvq {

namespace detail {

inline void check_sounds(const char* name, std::size_t reference, std::size_t estimate) {
  if (reference != estimate || reference == 0)
    throw ShapeError(std::string(name) + ": expected two sounds of one length, given " + std::to_string(reference) +
                     " and " + std::to_string(estimate) + " samples");
}

inline constexpr index_t stoi_rate = 10000, stoi_frame = 256, stoi_bands = 15, stoi_segment = 30;

/// sin^2 without its zeros at the ends: halves of neighbouring frames add up to one but for rounding of the length.
inline std::vector<double> stoi_window() {
  std::vector<double> window(static_cast<std::size_t>(stoi_frame));
  for (std::size_t i = 0; i < window.size(); ++i)
    window[i] = 0.5 - 0.5 * std::cos(6.283185307179586 * static_cast<double>(i + 1) / (stoi_frame + 1));
  return window;
}

/// Leaves out the frames in which the reference is more than 40 dB below its loudest, in both sounds.
inline void remove_silence(std::vector<double>& x, std::vector<double>& y) {
  const std::vector<double> window = stoi_window();
  const std::size_t size = window.size(), hop = size / 2;
  std::vector<double> levels;
  for (std::size_t begin = 0; begin + size <= x.size(); begin += hop) {
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i) sum += window[i] * x[begin + i] * window[i] * x[begin + i];
    levels.push_back(10 * std::log10(sum + 1e-30));
  }
  if (levels.empty()) {
    x.clear();
    y.clear();
    return;
  }
  const double least = *std::max_element(levels.begin(), levels.end()) - 40;
  std::vector<double> kept_x, kept_y;
  std::size_t at = 0;
  for (std::size_t frame = 0; frame < levels.size(); ++frame) {
    if (levels[frame] <= least) continue;
    kept_x.resize(at + size);
    kept_y.resize(at + size);
    for (std::size_t i = 0; i < size; ++i) {
      kept_x[at + i] += window[i] * x[frame * hop + i];
      kept_y[at + i] += window[i] * y[frame * hop + i];
    }
    at += hop;
  }
  x = std::move(kept_x);
  y = std::move(kept_y);
}

/// Magnitudes [bands][frames] in third-octave bands.
inline std::vector<std::vector<double>> third_octaves(const std::vector<double>& x) {
  using Frames = Tensor<double, Cpu>;
  constexpr index_t points = 512, bins = points / 2 + 1, hop = stoi_frame / 2;
  const auto n = static_cast<index_t>(x.size());
  const index_t frames = n < stoi_frame ? 0 : (n - stoi_frame) / hop + 1;
  std::vector<std::vector<double>> bands(static_cast<std::size_t>(stoi_bands),
                                         std::vector<double>(static_cast<std::size_t>(frames)));
  if (frames == 0) return bands;
  const std::vector<double> window = stoi_window();
  auto cut = Frames::zeros({frames, points});
  double* target = cut.mutable_data();
  for (index_t f = 0; f < frames; ++f)
    for (index_t i = 0; i < stoi_frame; ++i)
      target[f * points + i] = window[static_cast<std::size_t>(i)] * x[static_cast<std::size_t>(f * hop + i)];
  const std::vector<double> spectrum = rfft(cut).to_vector();  // [frames, 2, bins]
  for (index_t band = 0; band < stoi_bands; ++band) {
    // The bins nearest to a sixth of an octave below and above the centre.
    const double centre = 150 * std::exp2(static_cast<double>(band) / 3),
                 width = static_cast<double>(stoi_rate) / points;
    const auto low = static_cast<index_t>(std::round(centre * std::exp2(-1.0 / 6) / width));
    const auto high = static_cast<index_t>(std::round(centre * std::exp2(1.0 / 6) / width));
    for (index_t f = 0; f < frames; ++f) {
      double sum = 0;
      for (index_t k = low; k < high; ++k) {
        const double re = spectrum[static_cast<std::size_t>(2 * f * bins + k)];
        const double im = spectrum[static_cast<std::size_t>((2 * f + 1) * bins + k)];
        sum += re * re + im * im;
      }
      bands[static_cast<std::size_t>(band)][static_cast<std::size_t>(f)] = std::sqrt(sum);
    }
  }
  return bands;
}

/// The correlation of a segment of band magnitudes with that of the estimate, scaled to the same energy and clipped
/// where the estimate is more than 15 dB above.
inline double stoi_correlation(std::span<const double> x, std::span<const double> y) {
  double xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += x[i] * x[i];
    yy += y[i] * y[i];
  }
  const double scale = std::sqrt(xx / (yy + 1e-30)), bound = 1 + std::pow(10.0, 15.0 / 20);
  std::vector<double> clipped(y.size());
  double mean_x = 0, mean_y = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    clipped[i] = std::min(scale * y[i], bound * x[i]);
    mean_x += x[i] / static_cast<double>(x.size());
    mean_y += clipped[i] / static_cast<double>(x.size());
  }
  double both = 0, one = 0, other = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double a = x[i] - mean_x, b = clipped[i] - mean_y;
    both += a * b;
    one += a * a;
    other += b * b;
  }
  return both / (std::sqrt(one * other) + 1e-30);
}

}  // namespace detail

/// 20 log10(rms^ / rms) in dB: how much louder the estimate is. Infinite when only one of them is silent, 0 when both
/// are. Throws ShapeError unless both have one length.
inline double level_difference(std::span<const float> reference, std::span<const float> estimate) {
  detail::check_sounds("level_difference", reference.size(), estimate.size());
  double x = 0, y = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    x += static_cast<double>(reference[i]) * static_cast<double>(reference[i]);
    y += static_cast<double>(estimate[i]) * static_cast<double>(estimate[i]);
  }
  return x == 0 && y == 0 ? 0 : 10 * std::log10(y / x);
}

/// STOI of an estimate of speech, at most 1: the mean correlation of the two over segments of 384 ms in 15 third-octave
/// bands from 150 Hz, at 10 kHz, without the silent frames of the reference. Throws ShapeError unless both have one
/// length, ArgumentError for a rate that is not positive and for sounds with less than 384 ms that are not silent.
inline double stoi(std::span<const float> reference, std::span<const float> estimate, index_t rate) {
  detail::check_sounds("stoi", reference.size(), estimate.size());
  const auto at_rate = [rate](std::span<const float> samples) {
    const std::vector<double> wide(samples.begin(), samples.end());
    return resample(wide, rate, detail::stoi_rate);
  };
  std::vector<double> x = at_rate(reference), y = at_rate(estimate);
  detail::remove_silence(x, y);
  const auto bands_x = detail::third_octaves(x), bands_y = detail::third_octaves(y);
  const std::size_t frames = bands_x[0].size(), segment = static_cast<std::size_t>(detail::stoi_segment);
  if (frames < segment)
    throw ArgumentError("stoi: the reference has " + std::to_string(frames) +
                        " frames that are not silent, a segment of 384 ms has 30; give a longer sound");
  double sum = 0;
  for (std::size_t begin = 0; begin + segment <= frames; ++begin)
    for (std::size_t band = 0; band < bands_x.size(); ++band)
      sum += detail::stoi_correlation(std::span<const double>(bands_x[band]).subspan(begin, segment),
                                      std::span<const double>(bands_y[band]).subspan(begin, segment));
  return sum / static_cast<double>((frames - segment + 1) * bands_x.size());
}

}  // namespace kolmo::rvq
