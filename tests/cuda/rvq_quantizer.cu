// The residual quantizer on a device: gradients through it, one training step, encoding and decoding.
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/rvq/inference.hpp>
#include <kolmo/rvq/training.hpp>

using Device = kolmo::Tensor<float, kolmo::Cuda>;
using Quantizer = kolmo::rvq::ResidualQuantizer<Device>;

struct RotatedLoss {
  const Quantizer& quantizer;
  template <class X>
  auto operator()(const X& x) const {
    const auto result = kolmo::rvq::quantize(quantizer, x, {.gradient = kolmo::rvq::QuantizerGradient::rotation});
    return kolmo::rvq::quantizer_loss(quantizer, result) + kolmo::sum(result.output);
  }
};

Device gradient(const Quantizer& quantizer, const Device& x) { return kolmo::grad(RotatedLoss{quantizer}, x); }

double step(kolmo::rvq::QuantizerTraining<Device>& training, const Device& x) {
  return kolmo::rvq::step_on(training, x).error;
}

Device code_and_decode(const Quantizer& quantizer, const Device& x) {
  return kolmo::rvq::decode(quantizer, kolmo::rvq::encode(quantizer, x).codes);
}
