// Samplers and the denoising loss inside a file of nvcc.
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/score/denoising_loss.hpp>
#include <kolmo/score/sampler.hpp>

using Device = kolmo::Tensor<float, kolmo::Cuda>;

struct White {
  kolmo::score::Schedule schedule;
  template <class X, class Time>
  auto operator()(const X& x, const Time&) const {
    return x * schedule.sigma(0.5);
  }
};

Device drawn(kolmo::Key key) {
  const kolmo::score::Schedule schedule;
  return kolmo::score::sample(White{schedule}, schedule,
                              kolmo::score::initial_state<Device>(kolmo::Shape{4, 8}, key, schedule),
                              kolmo::score::SamplerOptions::predictor_corrector(16), key);
}

float loss(const Device& x) { return kolmo::score::DenoisingLoss{}(White{}, x, kolmo::nn::Pass{}).item(); }
