// Losses between waves and discriminators on a device: values, and gradients with respect to the waves.
#include <kolmo/ad/transforms.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/rvq/discriminators/discriminators.hpp>
#include <kolmo/rvq/losses/adversarial.hpp>
#include <kolmo/rvq/losses/mel_losses.hpp>
#include <kolmo/rvq/losses/stft_losses.hpp>
#include <kolmo/rvq/losses/wave_losses.hpp>

using Device = kolmo::Tensor<float, kolmo::Cuda>;

struct Reconstruction {
  const kolmo::rvq::MelLoss<Device>& mel;
  const kolmo::rvq::StftLoss<Device>& spectra;
  const Device& wave;
  template <class X>
  auto operator()(const X& x) const {
    return mel(wave, x) + spectra(wave, x) + kolmo::rvq::level_loss(wave, x) + kolmo::rvq::wave_loss(wave, x);
  }
};

Device reconstruction_gradient(const Reconstruction& loss, const Device& x) { return kolmo::grad(loss, x); }

struct Deception {
  const kolmo::rvq::Discriminators<Device>& discriminators;
  const Device& wave;
  template <class X>
  auto operator()(const X& x) const {
    const auto judged = discriminators(x);
    return kolmo::rvq::generator_loss(judged) + kolmo::rvq::feature_loss(discriminators(wave), judged);
  }
};

Device deception_gradient(const Deception& loss, const Device& x) { return kolmo::grad(loss, x); }
