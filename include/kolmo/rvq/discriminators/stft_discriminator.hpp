#pragma once
// The discriminator of short-time spectra (Defossez et al. 2022): convolutions over frames and frequencies of the
// complex spectrum, whose stride along the frequencies and growing dilation along the frames give it a wide view for
// few parameters. Several with windows of different sizes form the multi-scale one.
//
// The bin at half the sample rate is left out: the widths of all layers are then powers of two.

#include <kolmo/ops/stft.hpp>
#include <kolmo/rvq/discriminators/judgement.hpp>

namespace kolmo::rvq {

template <class V>
struct StftDiscriminator {
  std::vector<DiscriminatorConv<V>> layers;
  index_t size = 1024;  ///< points of the window and the transform; the hop is a quarter
  double slope = 0.2;   ///< of the leaky ReLU

  StftDiscriminator() = default;
  /// Zeros. Throws ArgumentError unless the size is a multiple of 32 and there are filters.
  StftDiscriminator(index_t points, index_t filters) : size(points) {
    const auto add = [&](index_t in, index_t out, index_t columns, index_t step, index_t spread) {
      layers.emplace_back(in, out, std::vector<index_t>{3, columns}, std::vector<index_t>{1, step},
                          std::vector<index_t>{spread, 1});
    };
    if (filters < 1)
      throw ArgumentError("StftDiscriminator: expected at least one filter, given " + std::to_string(filters));
    add(2, filters, 9, 1, 1);
    for (const index_t spread : {1, 2, 4}) add(filters, filters, 9, 2, spread);
    add(filters, filters, 3, 1, 1);
    add(filters, 1, 3, 1, 1);
    validate();
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("layers"), s.layers...);
    f(option("size"), s.size...);
    f(option("slope"), s.slope...);
  }
  template <class U>
  using Rebind = StftDiscriminator<U>;

  void validate() const {
    if (size < 32 || size % 32 != 0)
      throw ArgumentError("StftDiscriminator: the size must be a multiple of 32, given " + std::to_string(size));
    if (layers.size() != 6)
      throw ArgumentError("StftDiscriminator: expected 6 layers, given " + std::to_string(layers.size()));
  }

  /// Scores and features of waves [B, points]: [B, frames, size / 16, ...]. Throws ShapeError for another shape,
  /// ArgumentError for waves shorter than the window.
  template <TensorLike X>
  auto operator()(const X& waves) const {
    using W = BaseOf<X>;
    const FrameOptions cut{size, size / 4, -1, 0, Padding::zeros};
    const auto spectrum = rfft(frames(waves, cut, hann_window<W>(size, 0, true)), size / 2);
    return judge(layers, swap_axes(spectrum, -2, -1), slope);
  }
};

template <PlainTensor V>
void init(Key key, StftDiscriminator<V>& discriminator) {
  for (std::size_t i = 0; i < discriminator.layers.size(); ++i) init(fold_in(key, i), discriminator.layers[i]);
}

}  // namespace kolmo::rvq
