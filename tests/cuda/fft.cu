// Transforms of fields inside a file of nvcc: on the device by kernels, on the host from kolmo::compiled.
#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/ops/fft.hpp>
#include <kolmo/ops/stft.hpp>

void transform(const kolmo::RealFft2<float>& plan, const float* x, float* y, float* back) {
  plan.forward<kolmo::Cuda>(2, x, y);
  plan.inverse<kolmo::Cuda>(2, y, back, 0.5f);
  plan.forward<kolmo::Cpu>(2, x, y);
}

void transform_duals(const kolmo::RealFft2<double>& plan, const kolmo::Dual<double, 1>* x, kolmo::Dual<double, 1>* y) {
  plan.inverse_adjoint<kolmo::Cuda>(2, x, y);
}

void sines(const kolmo::SineTransform2<double>& plan, double* x) { plan.apply<kolmo::Cuda>(1, x, x); }

using Device = kolmo::Tensor<float, kolmo::Cuda>;

kolmo::Jet<Device> round_trip(const kolmo::Jet<Device>& x) { return kolmo::irfft2(kolmo::rfft2(x, 5), 16); }
Device lines(const Device& x) { return kolmo::dst1(kolmo::irfft(kolmo::rfft(x))); }
Device fields(const Device& x) { return kolmo::ifft2(kolmo::fft2(kolmo::ifft(kolmo::fft(x)))); }

kolmo::Jet<Device> short_time(const kolmo::Jet<Device>& x) { return kolmo::magnitude(kolmo::stft(x, {.size = 64})); }
Device from_short_time(const Device& x) { return kolmo::istft(x, 640, {.size = 64}); }
