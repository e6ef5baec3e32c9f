#pragma once
// The discriminator of frequency bands (Kumar et al. 2023): the bins of a short-time spectrum are cut into bands, each
// with convolutions of its own along frames and frequencies, whose results are joined before the score. Where one
// network for all bins is carried by the loud low ones, here every band must be convincing by itself.

#include <kolmo/ops/stft.hpp>
#include <kolmo/rvq/discriminators/judgement.hpp>

namespace kolmo::rvq {

template <class V>
struct BandDiscriminator {
  std::vector<std::vector<DiscriminatorConv<V>>> bands;  ///< five layers each
  DiscriminatorConv<V> last;
  std::vector<double> borders = {0, 0.1, 0.25, 0.5, 0.75, 1};  ///< of the bands, as parts of all bins
  index_t size = 1024;  ///< points of the window and the transform; the hop is a quarter
  double slope = 0.1;   ///< of the leaky ReLU

  BandDiscriminator() = default;
  /// Zeros; the published one has 32 filters. Throws ArgumentError for a size below 128 or odd, and without filters.
  BandDiscriminator(index_t points, index_t filters) : size(points) {
    if (filters < 1)
      throw ArgumentError("BandDiscriminator: expected at least one filter, given " + std::to_string(filters));
    for (std::size_t band = 0; band + 1 < borders.size(); ++band) {
      std::vector<DiscriminatorConv<V>> layers;
      layers.emplace_back(2, filters, std::vector<index_t>{3, 9});
      for (int i = 0; i < 3; ++i)
        layers.emplace_back(filters, filters, std::vector<index_t>{3, 9}, std::vector<index_t>{1, 2});
      layers.emplace_back(filters, filters, std::vector<index_t>{3, 3});
      bands.push_back(std::move(layers));
    }
    last = DiscriminatorConv<V>(filters, 1, {3, 3});
    validate();
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("bands"), s.bands...);
    f(submodule("last"), s.last...);
    f(option("borders"), s.borders...);
    f(option("size"), s.size...);
    f(option("slope"), s.slope...);
  }
  template <class U>
  using Rebind = BandDiscriminator<U>;

  /// The first bin of a band, and behind the last one the number of bins.
  index_t border(std::size_t band) const {
    return static_cast<index_t>(borders[band] * static_cast<double>(size / 2 + 1));
  }

  void validate() const {
    if (size < 128 || size % 2 != 0)
      throw ArgumentError("BandDiscriminator: the size must be even and at least 128, given " + std::to_string(size));
    if (bands.size() + 1 != borders.size() || bands.empty())
      throw ArgumentError("BandDiscriminator: expected layers for " + std::to_string(borders.size()) +
                          " borders of bands less one, given " + std::to_string(bands.size()));
    for (std::size_t band = 0; band < bands.size(); ++band)
      if (bands[band].size() != 5 || !(borders[band] >= 0 && border(band) < border(band + 1) && borders[band + 1] <= 1))
        throw ArgumentError("BandDiscriminator: expected five layers for every band and borders that rise from 0 to 1");
  }

  /// Scores and features of waves [B, points], the features of all layers of all bands. Throws ShapeError for another
  /// shape, ArgumentError for waves shorter than the window.
  template <TensorLike X>
  auto operator()(const X& waves) const {
    using W = BaseOf<X>;
    using F = kolmo::detail::LeakyRelu<ScalarOf<X>>;
    const F f{static_cast<ScalarOf<X>>(slope)};
    const FrameOptions cut{size, size / 4, -1, 0, Padding::zeros};
    const auto spectrum = swap_axes(rfft(frames(waves, cut, hann_window<W>(size))), -2, -1);
    using Y = decltype(last(spectrum, f));
    Judgement<Y> result;
    std::vector<Y> ends;
    for (std::size_t band = 0; band < bands.size(); ++band) {
      for (std::size_t i = 0; i < bands[band].size(); ++i)
        result.features.push_back(i == 0 ? Y(bands[band][0](slice(spectrum, 2, border(band), border(band + 1)), f))
                                         : Y(bands[band][i](result.features.back(), f)));
      ends.push_back(result.features.back());
    }
    result.score = last(concat(2, ends));
    return result;
  }
};

template <PlainTensor V>
void init(Key key, BandDiscriminator<V>& discriminator) {
  for (std::size_t band = 0; band < discriminator.bands.size(); ++band)
    for (std::size_t i = 0; i < discriminator.bands[band].size(); ++i)
      init(fold_in(fold_in(key, band), i), discriminator.bands[band][i]);
  init(fold_in(key, discriminator.bands.size()), discriminator.last);
}

}  // namespace kolmo::rvq
