#pragma once
// Reconstruction losses over mel spectra of several windows, after three codecs:
//
//   DAC          sum over windows of mean |log10 max(M, c) - log10 max(M^, c)|                 (Kumar et al. 2023)
//   EnCodec      mean over windows of mean |M - M^| + mean (log10(M + c) - log10(M^ + c))^2    (Defossez et al. 2022)
//   SoundStream  sum over windows s and frames of |M - M^|_1 + sqrt(s / 2) |log M - log M^|_2  (Zeghidour et al. 2021)
//
// M is the mel spectrum of the reference, M^ that of the estimate; all take hops of a quarter of the window.

#include <vector>

#include <kolmo/rvq/losses/mel_filters.hpp>
#include <kolmo/rvq/losses/spectral_pairs.hpp>

namespace kolmo::detail {

template <class T>
struct LogAbove {
  T floor, factor;
  template <class S>
  KOLMO_HD S operator()(S a, S b) const {
    const S d = (log(a + S(floor)) - log(b + S(floor))) * S(factor);
    return d * d;
  }
};

}  // namespace kolmo::detail

namespace kolmo::rvq {

enum class MelLossKind { dac, encodec, soundstream };

struct MelLossOptions {
  MelLossKind kind = MelLossKind::dac;
  double sample_rate = 16000;
  std::vector<index_t> windows = {32, 64, 128, 256, 512, 1024, 2048};
  std::vector<index_t> bands = {5, 10, 20, 40, 80, 160, 320};  ///< one number per window
  double floor = 1e-5;                                         ///< smallest mel value that counts
  Padding padding = Padding::reflect;
};

/// DAC's loss without windows outside [shortest, longest]; a window of w points has 5 w / 32 bands.
inline MelLossOptions dac_mel_options(double sample_rate, index_t shortest = 32, index_t longest = 2048) {
  MelLossOptions options;
  options.sample_rate = sample_rate;
  options.windows.clear();
  options.bands.clear();
  for (index_t window = 32; window <= longest; window *= 2)
    if (window >= shortest) {
      options.windows.push_back(window);
      options.bands.push_back(5 * window / 32);
    }
  return options;
}

/// EnCodec's loss: 64 bands from 64 Hz up for every power of two in [shortest, longest].
inline MelLossOptions encodec_mel_options(double sample_rate, index_t shortest = 32, index_t longest = 2048) {
  MelLossOptions options;
  options.kind = MelLossKind::encodec;
  options.sample_rate = sample_rate;
  options.windows.clear();
  for (index_t window = shortest; window <= longest; window *= 2) options.windows.push_back(window);
  options.bands.assign(options.windows.size(), 64);
  return options;
}

/// SoundStream's loss: 64 bands for windows of 64 to 2048 points.
inline MelLossOptions soundstream_mel_options(double sample_rate, index_t shortest = 64, index_t longest = 2048) {
  MelLossOptions options = encodec_mel_options(sample_rate, shortest, longest);
  options.kind = MelLossKind::soundstream;
  return options;
}

/// One of the losses with its tables, which are made once.
template <PlainTensor V>
class MelLoss {
 public:
  /// Throws ArgumentError unless every window has its number of bands and the floor is positive.
  explicit MelLoss(const MelLossOptions& options) : options_(options) {
    if (options.windows.empty() || options.windows.size() != options.bands.size() || !(options.floor > 0))
      throw ArgumentError("MelLoss: expected a number of bands for each window and a positive floor, given " +
                          std::to_string(options.windows.size()) + " windows, " + std::to_string(options.bands.size()) +
                          " numbers of bands and a floor of " + std::to_string(options.floor));
    for (std::size_t i = 0; i < options.windows.size(); ++i) spectra_.emplace_back(mel_options(options, i));
  }

  const MelLossOptions& options() const { return options_; }
  /// Length below which waves cannot be compared, in points.
  index_t shortest_wave() const {
    index_t longest = 0;
    for (const index_t window : options_.windows) longest = larger(longest, window);
    return options_.padding == Padding::reflect ? longest / 2 + 1 : 1;
  }

  /// The loss of waves [..., points], one number. Throws ShapeError unless both have one shape, ArgumentError for waves
  /// shorter than shortest_wave.
  template <TensorLike R, TensorLike E>
  auto operator()(const R& reference, const E& estimate) const {
    kolmo::detail::check_waves("MelLoss", reference.shape(), estimate.shape());
    auto total = scale_loss(0, reference, estimate);
    for (std::size_t i = 1; i < spectra_.size(); ++i) total = total + scale_loss(i, reference, estimate);
    if (options_.kind == MelLossKind::encodec) total = total / static_cast<double>(spectra_.size());
    return total;
  }

 private:
  static MelOptions mel_options(const MelLossOptions& options, std::size_t i) {
    MelOptions mel;
    mel.sample_rate = options.sample_rate;
    mel.stft = {.size = options.windows[i], .padding = options.padding};
    mel.bands = options.bands[i];
    if (options.kind != MelLossKind::dac) {
      mel.scale = MelScale::htk;
      mel.equal_area = false;
    }
    if (options.kind == MelLossKind::encodec) {
      mel.lowest = 64;
      mel.power = 2;
      mel.stft.normalised = true;
    }
    return mel;
  }

  template <TensorLike R, TensorLike E>
  auto scale_loss(std::size_t i, const R& reference, const E& estimate) const {
    using namespace kolmo::detail;
    const auto m = spectra_[i](reference);
    const auto e = spectra_[i](estimate);
    using L = decltype(mean(log_pair<LogDistance>(m, e, 1.0, 1.0)));
    switch (options_.kind) {
      case MelLossKind::encodec:
        return L(mean(map(AbsoluteDistance{}, m, e)) + mean(log_pair<LogAbove>(m, e, options_.floor, decades)));
      case MelLossKind::soundstream: {
        using T = ScalarOf<R>;
        const double weight = std::sqrt(static_cast<double>(options_.windows[i]) / 2);
        const auto logs =
            map(SafeRoot<T>{static_cast<T>(1e-8)}, sum(log_pair<SquaredLogDistance>(m, e, options_.floor, 1.0), {-1}));
        const index_t items = larger<index_t>(1, reference.size() / reference.shape()[-1]);
        return L((sum(map(AbsoluteDistance{}, m, e)) + sum(logs) * weight) / items);
      }
      default:
        return L(mean(log_pair<LogDistance>(m, e, options_.floor, decades)));
    }
  }

  MelLossOptions options_;
  std::vector<MelSpectrum<V>> spectra_;
};

/// The distance of log mel spectra by which codecs are compared: DAC's loss of waves [..., points] with all its
/// windows. Throws as MelLoss; waves have at least 1025 points.
template <PlainTensor V>
double mel_distance(const V& reference, const V& estimate, double sample_rate) {
  return static_cast<double>(MelLoss<V>(dac_mel_options(sample_rate))(reference, estimate).item());
}

}  // namespace kolmo::rvq
