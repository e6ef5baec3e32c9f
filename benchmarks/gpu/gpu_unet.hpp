#pragma once
// The score network of the Kolmogorov flow as unet.cu and sampler.cu use it.

#include <kolmo/nn/init.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/score/score_unet.hpp>

namespace gpu {

using V = kolmo::Tensor<float, kolmo::Cuda>;
using Net = kolmo::score::LocalScoreUNet<V>;

/// With starting weights, on which times do not depend. `tiny`: two levels of 8 and 16 channels on 16 x 16 points.
inline Net score_network(bool tiny) {
  kolmo::score::ScoreUNetOptions options;
  options.channels = 10;
  options.embedding = tiny ? 8 : 64;
  options.hidden_channels = tiny ? std::vector<kolmo::index_t>{8, 16} : std::vector<kolmo::index_t>{96, 192, 384};
  options.hidden_blocks = tiny ? std::vector<kolmo::index_t>{1, 1} : std::vector<kolmo::index_t>{3, 3, 3};
  options.padding = kolmo::Padding::circular;
  options.activation = kolmo::nn::ActivationKind::silu;
  Net net(options, tiny ? 16 : 64);
  init(kolmo::Key{5}, net);
  return net;
}

inline kolmo::index_t points_of(const Net& net) { return net.condition.shape()[1]; }

/// Windows of five frames.
inline V windows(const Net& net, kolmo::index_t batch) {
  return kolmo::nn::normal_values<V>(kolmo::Key{1}, kolmo::Shape{batch, 10, points_of(net), points_of(net)});
}

/// Multiply-adds of the convolutions for one window.
inline double multiply_adds(const Net& net) {
  return static_cast<double>(net.score.network.multiply_adds({points_of(net), points_of(net)}));
}
/// Of the first convolution, whose input needs no gradient in training.
inline double first_layer_multiply_adds(const Net& net, kolmo::index_t batch) {
  const kolmo::Shape input{batch, points_of(net), points_of(net), 11};
  return static_cast<double>(net.score.network.levels[0].head.multiply_adds(input));
}

/// The network with its weights stored as T.
template <class T>
auto in_scalar(const Net& net) {
  if constexpr (std::is_same_v<T, float>)
    return net;
  else
    return kolmo::cast<T>(net);
}

}  // namespace gpu
