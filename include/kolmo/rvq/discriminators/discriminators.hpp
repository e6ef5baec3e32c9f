#pragma once
// The discriminators of an adversarial training as one model: any number of those of spectra, of their bands and of
// periods, all of the same waves.

#include <kolmo/ops/reduce.hpp>
#include <kolmo/rvq/discriminators/band_discriminator.hpp>
#include <kolmo/rvq/discriminators/period_discriminator.hpp>
#include <kolmo/rvq/discriminators/stft_discriminator.hpp>

namespace kolmo::rvq {

struct DiscriminatorOptions {
  std::vector<index_t> windows = {1024, 2048, 512};  ///< of the spectra; none: no such discriminator
  std::vector<index_t> band_windows = {};            ///< of spectra cut into bands; 2048, 1024, 512 as published
  index_t filters = 8;                               ///< of the spectra and bands; 32 as published
  std::vector<index_t> periods = {};                 ///< 2, 3, 5, 7, 11 as published
  index_t period_width = 4;                          ///< channels of their first layer; 32 as published
  bool level_waves = false;                          ///< waves come without mean and with a peak of 0.8, as in DAC
};

}  // namespace kolmo::rvq

namespace kolmo::detail {

struct ToPeak {
  template <class S>
  KOLMO_HD S operator()(S x, S peak) const {
    return x * S(0.8) / (peak + S(1e-9));
  }
};

}  // namespace kolmo::detail

namespace kolmo::rvq {

/// Waves [..., points] without their mean, scaled to a peak of 0.8.
template <TensorLike X>
auto leveled(const X& waves) {
  const auto centred = waves - mean(waves, {-1}, true);
  return map(kolmo::detail::ToPeak{}, centred, max(abs(centred), -1, true));
}

template <class V>
struct Discriminators {
  std::vector<StftDiscriminator<V>> spectra;
  std::vector<BandDiscriminator<V>> bands;
  std::vector<PeriodDiscriminator<V>> periods;
  bool level_waves = false;

  Discriminators() = default;
  /// Zeros. Throws ArgumentError without any discriminator and for numbers out of range.
  explicit Discriminators(const DiscriminatorOptions& options) : level_waves(options.level_waves) {
    for (const index_t window : options.windows) spectra.emplace_back(window, options.filters);
    for (const index_t window : options.band_windows) bands.emplace_back(window, options.filters);
    for (const index_t period : options.periods) periods.emplace_back(period, options.period_width);
    if (spectra.empty() && bands.empty() && periods.empty())
      throw ArgumentError("Discriminators: expected at least one window or period");
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("spectra"), s.spectra...);
    f(submodule("bands"), s.bands...);
    f(submodule("periods"), s.periods...);
    f(option("level_waves"), s.level_waves...);
  }
  template <class U>
  using Rebind = Discriminators<U>;

  /// One judgement of waves [B, points] per discriminator. Throws ShapeError for another shape, ArgumentError for
  /// waves shorter than a window.
  template <TensorLike X>
  auto operator()(const X& waves) const {
    using Wave = decltype(leveled(waves));
    const Wave x = level_waves ? leveled(waves) : Wave(waves);
    using J = decltype(StftDiscriminator<V>{}(x));
    std::vector<J> result;
    for (const auto& discriminator : spectra) result.push_back(discriminator(x));
    for (const auto& discriminator : bands) result.push_back(discriminator(x));
    for (const auto& discriminator : periods) result.push_back(discriminator(x));
    return result;
  }
};

template <PlainTensor V>
void init(Key key, Discriminators<V>& discriminators) {
  const auto draw = [&](std::uint64_t kind, auto& models) {
    for (std::size_t i = 0; i < models.size(); ++i) init(fold_in(fold_in(key, kind), i), models[i]);
  };
  draw(0, discriminators.spectra);
  draw(1, discriminators.periods);
  draw(2, discriminators.bands);
}

}  // namespace kolmo::rvq
