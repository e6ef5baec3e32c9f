#pragma once
// Spectrograms of sounds as panels of a figure: the power at each frequency over time, in dB.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/eigen.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/error.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/wav.hpp>
#include <kolmo/ops/fft.hpp>

namespace sound {

using kolmo::index_t;

/// Power over frequency and time: row k is the frequency k * rate / window, column t the time t * hop / rate.
struct Spectrogram {
  index_t frequencies = 0, frames = 0;
  double rate = 0, hop = 0;
  std::vector<double> decibels;  ///< [frequencies, frames]; 0 dB is a sine of full scale
};

/// Frames of `window` samples under a Hann window, centred at multiples of `hop`; zeros beyond the ends. Throws
/// ArgumentError without samples, or for a window below 2, a hop below 1 or a rate that is not positive.
inline Spectrogram spectrogram(std::span<const float> samples, double rate, index_t window = 512, index_t hop = 128) {
  if (samples.empty()) throw kolmo::ArgumentError("a spectrogram needs samples, given none");
  if (window < 2 || hop < 1 || !(rate > 0))
    throw kolmo::ArgumentError(
        "a spectrogram needs a window of 2 samples or more, a hop of 1 or more and a positive "
        "rate, given " +
        std::to_string(window) + ", " + std::to_string(hop) + " and " + std::to_string(rate));
  const auto n = static_cast<index_t>(samples.size());
  Spectrogram result{window / 2 + 1, (n + hop - 1) / hop, rate, static_cast<double>(hop), {}};
  result.decibels.resize(static_cast<std::size_t>(result.frequencies * result.frames));
  std::vector<float> weights(static_cast<std::size_t>(window));
  double sum = 0;
  for (index_t i = 0; i < window; ++i) {
    const double w = 0.5 - 0.5 * std::cos(6.283185307179586 * static_cast<double>(i) / static_cast<double>(window));
    weights[static_cast<std::size_t>(i)] = static_cast<float>(w);
    sum += w;
  }
  constexpr index_t block = 256;
  for (index_t first = 0; first < result.frames; first += block) {
    const index_t count = std::min(block, result.frames - first);
    auto frames = kolmo::Tensor<float, kolmo::Cpu>::zeros({count, window});
    float* target = frames.mutable_data();
    for (index_t t = 0; t < count; ++t) {
      for (index_t i = 0; i < window; ++i) {
        const index_t at = (first + t) * hop + i - window / 2;
        if (at >= 0 && at < n)
          target[t * window + i] = weights[static_cast<std::size_t>(i)] * samples[static_cast<std::size_t>(at)];
      }
    }
    const std::vector<float> spectrum = kolmo::rfft(frames).to_vector();  // [count, 2, frequencies]
    for (index_t t = 0; t < count; ++t) {
      for (index_t k = 0; k < result.frequencies; ++k) {
        const double re = static_cast<double>(spectrum[static_cast<std::size_t>(2 * t * result.frequencies + k)]);
        const double im = static_cast<double>(spectrum[static_cast<std::size_t>((2 * t + 1) * result.frequencies + k)]);
        const double power = 4 * (re * re + im * im) / (sum * sum);
        result.decibels[static_cast<std::size_t>(k * result.frames + first + t)] = 10 * std::log10(power + 1e-14);
      }
    }
  }
  return result;
}

/// Draws a spectrogram into a panel: time in s, frequency in kHz, `range` dB below `top` in colours. Sounds that are to
/// be compared get the same `top`.
inline void draw_spectrogram(kolmo::io::Panel& panel, const Spectrogram& s, double top = -20, double range = 80,
                             bool colour_bar = true) {
  kolmo::io::HeatMapStyle style;
  style.low = top - range;
  style.high = top;
  style.colour_bar = colour_bar;
  style.bar_label = "dB";
  const double seconds = static_cast<double>(s.frames) * s.hop / s.rate;
  panel.heat_map(s.decibels, static_cast<std::size_t>(s.frequencies), static_cast<std::size_t>(s.frames), style, 0,
                 seconds, 0, s.rate / 2000);
  panel.x.label = "time / s";
  panel.y.label = "frequency / kHz";
}

/// Sounds of one rate under each other, of at most 60 s each, all in the same colours. Throws ArgumentError for none.
inline kolmo::io::Figure draw_spectrograms(const std::vector<std::pair<std::string, std::vector<float>>>& sounds,
                                           index_t rate) {
  if (sounds.empty()) throw kolmo::ArgumentError("a picture of sounds needs at least one");
  kolmo::io::Figure figure(sounds.size(), 1);
  figure.width = 800;
  figure.height = 60 + 190 * static_cast<double>(sounds.size());
  std::vector<Spectrogram> all;
  double top = -300;
  for (const auto& [title, samples] : sounds) {
    const std::size_t shown = std::min(samples.size(), static_cast<std::size_t>(60 * rate));
    // As many columns as the picture has pixels.
    const auto hop = std::max<index_t>(64, static_cast<index_t>(shown) / 1200);
    // 32 ms tell neighbouring harmonics of a voice apart.
    index_t window = 64;
    while (window * 31 < rate) window *= 2;
    all.push_back(spectrogram(std::span<const float>(samples).first(shown), static_cast<double>(rate), window, hop));
    for (const double v : all.back().decibels) top = std::max(top, v);
  }
  for (std::size_t i = 0; i < sounds.size(); ++i) {
    auto& panel = figure.panel(i, 0);
    draw_spectrogram(panel, all[i], top, 80, true);
    panel.title = sounds[i].first;
    if (i + 1 < sounds.size()) panel.x.label.clear();
  }
  return figure;
}

}  // namespace sound
