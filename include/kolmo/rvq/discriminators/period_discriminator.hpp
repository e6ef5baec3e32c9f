#pragma once
// The discriminator of periods (Kong et al. 2020): a wave folded into rows of p samples, [points / p, p], and
// convolutions along each of the p columns, so that it sees equally spaced samples.

#include <kolmo/ops/frames.hpp>
#include <kolmo/rvq/discriminators/judgement.hpp>

namespace kolmo::rvq {

template <class V>
struct PeriodDiscriminator {
  std::vector<DiscriminatorConv<V>> layers;
  index_t period = 2;
  double slope = 0.1;  ///< of the leaky ReLU

  PeriodDiscriminator() = default;
  /// Zeros; channels width, 4, 16, 32 and 32 width. The published width is 32. Throws ArgumentError for a number below
  /// 1.
  PeriodDiscriminator(index_t samples, index_t width) : period(samples) {
    if (width < 1)
      throw ArgumentError("PeriodDiscriminator: the width must be at least 1, given " + std::to_string(width));
    index_t in = 1;
    for (const index_t factor : {1, 4, 16, 32}) {
      layers.emplace_back(in, factor * width, std::vector<index_t>{5, 1}, std::vector<index_t>{3, 1});
      in = factor * width;
    }
    layers.emplace_back(in, in, std::vector<index_t>{5, 1});
    layers.emplace_back(in, index_t{1}, std::vector<index_t>{3, 1});
    validate();
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("layers"), s.layers...);
    f(option("period"), s.period...);
    f(option("slope"), s.slope...);
  }
  template <class U>
  using Rebind = PeriodDiscriminator<U>;

  void validate() const {
    if (period < 1)
      throw ArgumentError("PeriodDiscriminator: the period must be at least 1, given " + std::to_string(period));
    if (layers.size() != 6)
      throw ArgumentError("PeriodDiscriminator: expected 6 layers, given " + std::to_string(layers.size()));
  }

  /// Scores and features of waves [B, points]. The last row is filled by mirroring. Throws ShapeError for another
  /// shape.
  template <TensorLike X>
  auto operator()(const X& waves) const {
    if (waves.rank() != 2)
      throw ShapeError("PeriodDiscriminator: expected waves [B, points], given " + waves.shape().to_string());
    const index_t items = waves.shape()[0], rows = divide_up(waves.shape()[1], period);
    const FrameOptions whole{rows * period, 1, 1, 0, Padding::reflect};
    return judge(layers, reshape(frames(waves, whole), Shape{items, rows, period, 1}), slope);
  }
};

template <PlainTensor V>
void init(Key key, PeriodDiscriminator<V>& discriminator) {
  for (std::size_t i = 0; i < discriminator.layers.size(); ++i) init(fold_in(key, i), discriminator.layers[i]);
}

}  // namespace kolmo::rvq
