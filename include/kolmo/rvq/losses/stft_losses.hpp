#pragma once
// Reconstruction losses over linear spectra of several windows, with hops of a quarter of the window:
//
//   multi-resolution  mean over windows of ||X| - |X^||_F / ||X||_F + mean |ln max(|X|, c) - ln max(|X^|, c)|
//   STFT distance     sum over windows of mean |log10 max(|X|, c)^2 - log10 max(|X^|, c)^2| + mean ||X| - |X^||
//
// A reference quieter than c counts as c in the denominator. The first after Yamamoto et al. (2020): spectral
// convergence and log magnitude, here of clamped magnitudes, since log(1 + |X|) gives quiet detail no weight. The
// second is DAC's, for reports.

#include <vector>

#include <kolmo/ops/stft.hpp>
#include <kolmo/rvq/losses/spectral_pairs.hpp>

namespace kolmo::rvq {

struct StftLossOptions {
  std::vector<index_t> windows = {2048, 1024, 512};
  double convergence = 1;  ///< weight of the spectral convergence
  double logarithm = 1;    ///< weight of the log magnitudes
  double floor = 1e-5;     ///< smallest magnitude that counts
  Padding padding = Padding::reflect;
};

/// The multi-resolution loss with its windows at hand.
template <PlainTensor V>
class StftLoss {
 public:
  /// Throws ArgumentError without windows and for a floor that is not positive.
  explicit StftLoss(const StftLossOptions& options) : options_(options) {
    if (options.windows.empty() || !(options.floor > 0))
      throw ArgumentError("StftLoss: expected at least one window and a positive floor, given " +
                          std::to_string(options.windows.size()) + " windows and a floor of " +
                          std::to_string(options.floor));
    for (const index_t window : options.windows) windows_.push_back(hann_window<V>(window));
  }

  const StftLossOptions& options() const { return options_; }

  /// The loss of waves [..., points], one number; the convergence is that of all items together. Throws ShapeError
  /// unless both have one shape, ArgumentError for a window that does not fit.
  template <TensorLike R, TensorLike E>
  auto operator()(const R& reference, const E& estimate) const {
    kolmo::detail::check_waves("StftLoss", reference.shape(), estimate.shape());
    auto total = scale_loss(0, reference, estimate);
    for (std::size_t i = 1; i < windows_.size(); ++i) total = total + scale_loss(i, reference, estimate);
    return total / static_cast<double>(windows_.size());
  }

 private:
  template <TensorLike R, TensorLike E>
  auto scale_loss(std::size_t i, const R& reference, const E& estimate) const {
    using namespace kolmo::detail;
    using T = ScalarOf<R>;
    const StftOptions stft_options{.size = options_.windows[i], .padding = options_.padding};
    const auto m = magnitude(stft(reference, stft_options, windows_[i]));
    const auto e = magnitude(stft(estimate, stft_options, windows_[i]));
    const double least = options_.floor * std::sqrt(static_cast<double>(m.size()));
    const auto convergence = map(SafeRoot<T>{static_cast<T>(1e-12)}, sum(map(SquaredDistance{}, m, e))) /
                             map(SafeRoot<T>{static_cast<T>(least)}, sum(square(m)));
    return convergence * options_.convergence +
           mean(log_pair<LogDistance>(m, e, options_.floor, 1.0)) * options_.logarithm;
  }

  StftLossOptions options_;
  std::vector<V> windows_;
};

/// DAC's distance of linear spectra, windows of 2048 and 512 points. Throws as StftLoss.
template <PlainTensor V>
double stft_distance(const V& reference, const V& estimate, const std::vector<index_t>& windows = {2048, 512}) {
  using namespace kolmo::detail;
  check_waves("stft_distance", reference.shape(), estimate.shape());
  double total = 0;
  for (const index_t window : windows) {
    const V m = magnitude(stft(reference, {.size = window})), e = magnitude(stft(estimate, {.size = window}));
    total += static_cast<double>(mean(log_pair<LogDistance>(m, e, 1e-5, 2 * decades)).item()) +
             static_cast<double>(mean(map(AbsoluteDistance{}, m, e)).item());
  }
  return total;
}

}  // namespace kolmo::rvq
