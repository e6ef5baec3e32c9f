// Fourier and sine transforms on the device, by tiles in shared memory and line by line where they do not fit, against
// the CPU.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/fft.hpp>
#include <kolmo/ops/reduce.hpp>

#include "compare.hpp"

using namespace kolmo;

/// A filter that is not the same along both axes.
template <class T>
struct Tilt {
  KOLMO_HD T operator()(index_t kx, index_t ky) const { return T(1) / T(1 + kx * kx + 3 * ky); }
};

namespace {

template <class T, class B>
void add_plans(check::Results<T>& results, index_t n0, index_t n1, index_t columns) {
  using V = Tensor<T, B>;
  const std::string name = std::to_string(n0) + " x " + std::to_string(n1);
  const RealFft2<T> plan(n0, n1, columns);
  const SineTransform2<T> sines(n0 + 1, n1 + 1);
  const index_t batch = 2;
  const V x = check::ramp<V>({batch, n0, n1}, -1, 1), y = check::ramp<V>({batch, n0, 2, plan.columns()}, -1, 1);
  V forward = V::uninitialized(y.shape()), back = V::uninitialized(x.shape()), adjoint = V::uninitialized(x.shape());
  V sums = V::uninitialized(x.shape()), filtered = V::uninitialized(x.shape());
  plan.template forward<B>(batch, x.data(), forward.mutable_data());
  plan.template inverse<B>(batch, y.data(), back.mutable_data(), T(0.25));
  plan.template forward_adjoint<B>(batch, y.data(), adjoint.mutable_data());
  sines.template apply<B>(batch, x.data(), sums.mutable_data(), T(0.5));
  V scratch = V::uninitialized(Shape{plan.scratch_size(batch)});
  plan.template filter<B>(batch, x.data(), filtered.mutable_data(), Tilt<T>{}, scratch.mutable_data());
  results.add("spectrum of " + name, forward);
  results.add("field of " + name, back);
  results.add("adjoint of " + name, adjoint);
  results.add("sines of " + name, sums);
  results.add("filter of " + name, filtered);
}

template <class T, class B>
void add_lines(check::Results<T>& results, index_t n) {
  using V = Tensor<T, B>;
  const std::string name = std::to_string(n) + " points";
  results.add("fft of " + name, fft(check::ramp<V>({3, 2, n}, -1, 1)));
  results.add("ifft of " + name, ifft(check::ramp<V>({5, 2, n}, -1, 1)));
  results.add("rfft of " + name, rfft(check::ramp<V>({17, n}, -1, 1)));
  results.add("irfft of " + name, irfft(check::ramp<V>({2, 2, n / 2 + 1}, -1, 1), n));
  results.add("dst1 of " + name, dst1(check::ramp<V>({3, n}, -1, 1)));
  results.add("fft2 of " + name, ifft2(fft2(check::ramp<V>({2, 3, 2, n}, -1, 1)) * T(2)));
  const V x = check::ramp<V>({2, n}, -1, 1);
  results.add("tangent of rfft of " + name, jvp([](const auto& v) { return sum(square(rfft(v))); }, x, x).tangent);
  results.add("gradient of rfft of " + name, grad([](const auto& v) { return sum(square(rfft(v))); }, x));
}

template <class T, class B>
check::Results<T> all() {
  check::Results<T> results;
  add_plans<T, B>(results, 12, 16, -1);
  add_plans<T, B>(results, 7, 40, 9);    // an odd number of rows, fewer columns than there are
  add_plans<T, B>(results, 34, 11, -1);  // lengths that convolve
  for (const index_t n : {1, 2, 3, 5, 8, 30, 64, 67}) add_lines<T, B>(results, n);
  return results;
}

/// Longer than shared memory: the general kernel, one line at a time.
void long_lines() {
  const index_t n = 32768;
  const auto on = [&](auto x) { return rfft(x).to_vector(); };
  const auto device = on(check::ramp<Tensor<float, Cuda>>({1, n}, -1, 1));
  check::close(device, on(check::ramp<Tensor<float, Cpu>>({1, n}, -1, 1)), "a line longer than shared memory");
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  check::compare(all<float, Cuda>(), all<float, Cuda>(), all<float, Cpu>(), 10);
  check::compare(all<double, Cuda>(), all<double, Cuda>(), all<double, Cpu>(), 10);
  long_lines();
  return check::result();
}
