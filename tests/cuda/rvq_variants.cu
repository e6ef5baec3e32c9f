// The quantizers beside residual quantization inside a file of nvcc.
#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/rvq/fsq.hpp>
#include <kolmo/rvq/lfq.hpp>
#include <kolmo/rvq/qinco_training.hpp>
#include <kolmo/rvq/simvq.hpp>

namespace rvq = kolmo::rvq;
using Device = kolmo::Tensor<float, kolmo::Cuda>;

Device code_and_decode(const rvq::FiniteScalarQuantizer<Device>& quantizer, const Device& x) {
  return rvq::decode(quantizer, rvq::encode(quantizer, x));
}
Device code_and_decode(const rvq::LookupFreeQuantizer<Device>& quantizer, const Device& x) {
  return rvq::decode(quantizer, rvq::encode(quantizer, x));
}
Device code_and_decode(const rvq::SimVq<Device>& quantizer, const Device& x) {
  return rvq::decode(quantizer, rvq::encode(quantizer, x));
}
Device code_and_decode(const rvq::Qinco<Device>& quantizer, const Device& x) {
  return rvq::decode(quantizer, rvq::encode(quantizer, x, {.beam = 2, .preselection = 8}));
}

/// A loss of each and its gradient.
struct OutputLoss {
  const Device& x;
  template <class Q>
  auto operator()(const Q& quantizer) const {
    return mean(square(rvq::quantize(quantizer, x).output - x));
  }
};
rvq::FiniteScalarQuantizer<Device> gradient(const rvq::FiniteScalarQuantizer<Device>& quantizer, const Device& x) {
  return kolmo::value_and_grad(quantizer, OutputLoss{x}).gradient;
}
rvq::LookupFreeQuantizer<Device> gradient(const rvq::LookupFreeQuantizer<Device>& quantizer, const Device& x) {
  return kolmo::value_and_grad(quantizer, OutputLoss{x}).gradient;
}
void step(rvq::QincoTraining<Device>& training, const Device& x) { rvq::train_step(training, x); }
