// Convolutions inside a file of nvcc: on the device by gathered patches, on the host from kolmo::compiled.
#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/ops/conv.hpp>
#include <kolmo/ops/upsample.hpp>

using Device = kolmo::Tensor<float, kolmo::Cuda>;
using Host = kolmo::Tensor<double, kolmo::Cpu>;

struct Network {
  Device weight, bias;
  template <class X>
  auto operator()(const X& x) const {
    const kolmo::ConvOptions options{{{2, 2}}, kolmo::Padding::circular};
    return kolmo::conv_transpose2d(kolmo::upsample_nearest(kolmo::conv2d(x, weight, bias, options, kolmo::fn::Silu{})),
                                   weight);
  }
};

Device gradient(const Network& network, const Device& x, const Device& cotangent) {
  return kolmo::vjp(network, x).pull(cotangent);
}
kolmo::Jet<Device> tangent(const Network& network, const kolmo::Jet<Device>& x) { return network(x); }
Host on_host(const Host& x, const Host& weight) { return kolmo::conv1d(x, weight); }

using Narrow = kolmo::Tensor<kolmo::BFloat16, kolmo::Cuda>;

Narrow narrow_gradient(const Narrow& x, const Narrow& weight, const Narrow& cotangent) {
  return kolmo::vjp([&](const auto& w) { return kolmo::conv2d(x, w); }, weight).pull(cotangent);
}
