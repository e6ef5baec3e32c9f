// Norms, score networks and their training on the device, against the CPU.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/nn/channel_norm.hpp>
#include <kolmo/nn/layer_norm.hpp>
#include <kolmo/ops/reduce.hpp>

#include "compare.hpp"

using namespace kolmo;

namespace {

/// Rows of every length that a team holds in another way: packs of a few members, of a whole warp, in turn.
template <class T, class S, class B>
void norms(check::Results<S>& results) {
  using V = Tensor<T, B>;
  for (const index_t channels : {5, 8, 72, 136, 264, 520}) {
    const std::string name = " of " + std::to_string(channels) + " channels";
    const V x = cast<T>(check::ramp<Tensor<double, B>>(Shape{2, 5, channels}, -2, 2));
    const V shift = cast<T>(check::ramp<Tensor<double, B>>(Shape{2, channels}, -1, 1));
    const V row = cast<T>(check::ramp<Tensor<double, B>>(Shape{channels}, 0, 1));
    const V weight = cast<T>(check::ramp<Tensor<double, B>>(x.shape(), -1, 1));
    const auto modulated = [&](const auto& v, const auto& m) {
      return sum(nn::channel_norm(v, m, 1e-5, fn::Silu{}) * weight);
    };
    const auto layer = [&](const auto& v, const auto& gamma, const auto& beta) {
      return sum(nn::layer_norm(v, gamma, beta, 1e-5, fn::Silu{}) * weight);
    };
    results.add("modulated norm" + name, nn::channel_norm(x, shift, 1e-5, fn::Silu{}));
    results.add("norm" + name, nn::channel_norm(x));
    results.add("modulation's gradient" + name, grad([&](const auto& v) { return modulated(x, v); }, shift));
    results.add("shared modulation's gradient" + name, grad([&](const auto& v) { return modulated(x, v); }, row));
    results.add("field's gradient" + name, grad([&](const auto& v) { return modulated(v, shift); }, x));
    results.add("layer norm" + name, nn::layer_norm(x, row, row, 1e-5, fn::Silu{}));
    results.add("layer norm's gradient" + name, grad([&](const auto& v) { return layer(v, row, row); }, x));
    results.add("scale's gradient" + name, grad([&](const auto& v) { return layer(x, v, row); }, row));
    results.add("shift's gradient" + name, grad([&](const auto& v) { return layer(x, row, v); }, row));
  }
}

/// The device against the host, and against itself. Bounds of bfloat16 are its own.
template <class T>
void compare(void (*device)(check::Results<T>&), void (*host)(check::Results<T>&), double slack) {
  check::Results<T> first, again, expected;
  device(first);
  device(again);
  host(expected);
  check::compare(first, again, expected, slack);
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  compare<float>(norms<float, float, Cuda>, norms<float, float, Cpu>, 10);
  compare<double>(norms<double, double, Cuda>, norms<double, double, Cpu>, 10);
  // A unit in the last place of bfloat16 is 2^-8; sums over a batch are rounded once.
  compare<float>(norms<BFloat16, float, Cuda>, norms<BFloat16, float, Cpu>, 1500);
  return check::result();
}
