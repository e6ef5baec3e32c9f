// Differentiation on the device: gradient, Hessian-vector product, tangent and checkpoint of a small network and
// of the operations it does not use, against the same functions on the CPU.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/shape.hpp>

#include "compare.hpp"

using namespace kolmo;

template <class V>
struct Network {
  V weight, bias, scale, output;
  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(param("bias"), s.bias...);
    f(param("scale"), s.scale...);
    f(param("output"), s.output...);
  }
  template <class U>
  using Rebind = Network<U>;

  auto operator()(const auto& x) const { return matmul(silu(affine(x, weight, bias)) * scale, output); }
};

/// A functor of a user's own.
struct Damped {
  float rate;
  KOLMO_HD auto operator()(auto x, auto y) const { return exp(-rate * x * x) * tanh(y); }
};

/// x -> 3 x^2 with a reverse rule written by hand.
struct TripleSquare {
  KOLMO_HD auto operator()(auto x) const { return 3 * x * x; }
};
struct SixTimes {
  KOLMO_HD auto operator()(auto g, auto x) const { return 6 * g * x; }
};
template <class V>
struct TripleSquarePullBack {
  V x;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::make_tuple(apply(SixTimes{}, gradient, x));
  }
};

namespace {

template <class T, class B>
Tensor<T, B> ramp(const Shape& shape, double low, double high) {
  return check::ramp<Tensor<T, B>>(shape, low, high);
}

template <class T, class B>
void network(check::Results<T>& results) {
  using Ten = Tensor<T, B>;
  const auto x = ramp<T, B>(Shape{5, 9, 3}, -1, 2);
  const Network<Ten> model{ramp<T, B>(Shape{3, 70}, -1, 1), ramp<T, B>(Shape{70}, 0, 1), ramp<T, B>(Shape{1, 9, 1}, 1, 2),
                           ramp<T, B>(Shape{70, 2}, -1, 1)};
  const Network<Ten> direction{ramp<T, B>(Shape{3, 70}, 1, -1), ramp<T, B>(Shape{70}, 1, 0),
                               ramp<T, B>(Shape{1, 9, 1}, -1, 1), ramp<T, B>(Shape{70, 2}, 1, -1)};
  const auto loss = [&](const auto& m) { return mean(square(m(x))) / 100; };
  const auto first = value_and_grad(model, loss);
  results.add("loss", first.value);
  results.add_model("gradient", first.gradient);
  results.add_model("Hessian-vector product", hvp(loss, model, direction));
  const auto tangent = jvp(loss, model, direction);
  results.add("tangent", tangent.tangent);

  const auto checkpointed = value_and_grad(model, [&](const auto& m) {
    return mean(square(checkpoint([&](const auto& w, const auto& b) { return gelu(affine(x, w, b)); }, m.weight, m.bias)));
  });
  results.add_model("gradient through a checkpoint", checkpointed.gradient);
}

template <class T, class B>
void operations(check::Results<T>& results) {
  const auto x = ramp<T, B>(Shape{4, 33}, -2, 2);
  const auto positive = ramp<T, B>(Shape{4, 33}, 0.5, 3);
  const auto y = ramp<T, B>(Shape{33}, 0.5, 2);
  check::derivatives(results, "a functor of a user", [&](const auto& v) { return sum(map(Damped{0.25f}, v, y)); }, x);
  check::derivatives(results, "powers and logarithms",
              [&](const auto& v) { return sum(log(v) * pow(v, 1.5) + sqrt(v) / log1p(v) + pow(v, y)); }, positive);
  check::derivatives(results, "bounded functions",
              [&](const auto& v) { return sum(sin(v) * cos(v) + erf(v) + sigmoid(v) * softplus(v) + expm1(v)); }, x);
  check::derivatives(results, "kinks", [&](const auto& v) {
    return sum(relu(v) * abs(v) + clamp(v, -1, 1) * v + maximum(v, y) * minimum(v, y) + where(greater(v, y), v, v * v));
  }, x);
  check::derivatives(results, "log-sum-exp", [](const auto& v) { return sum(square(logsumexp(v, 1))); }, x);
  check::derivatives(results, "softmax", [](const auto& v) { return sum(square(softmax(v, 0)) * log_softmax(v, 1)); }, x);
  check::derivatives(results, "extrema", [](const auto& v) { return sum(max(v, 0) * min(v * v, 0)) + square(max(v)); }, x);
  check::derivatives(results, "norms", [](const auto& v) { return norm(v) + sum(norm_l1(v, {0})) + sum(mean(v * v, {1}, true) * v); }, x);
  check::derivatives(results, "views", [](const auto& v) {
    const auto turned = transpose(v);
    return sum(slice(turned, 0, 1, 20, 2) * slice(turned, 0, 2, 21, 2)) + sum(flip(v, 1) * v) +
           sum(square(reshape(turned, Shape{11, 12})) * ramp<T, B>(Shape{11, 12}, 0, 1));
  }, x);
  check::derivatives(results, "joins", [](const auto& v) {
    return sum(square(pad(concat(0, v, v * v), 1, 2, 3, 1))) + sum(square(stack(1, v, sin(v))) * 0.5);
  }, x);
  check::derivatives(results, "a product of batches", [](const auto& v) {
    const auto b = reshape(v, Shape{2, 6, 11});
    return sum(square(matmul(b, transpose(b)))) / 50;
  }, x);
  check::derivatives(results, "constants", [](const auto& v) { return sum((2 - v) * 3 + 1 / (v + 4) - v / 5) + sum(-v * v); }, x);
  check::derivatives(results, "stopped gradients", [](const auto& v) {
    return sum(detach(v) * v) + sum(straight_through(apply(fn::Sign{}, detach(v)), v) * v);
  }, x);
  check::derivatives(results, "a rule written by hand", [](const auto& v) {
    using V = ValueOf<std::remove_cvref_t<decltype(v)>>;
    return sum(record(apply(TripleSquare{}, value(v)), TripleSquarePullBack<V>{value(v)}, v));
  }, x);
  results.add("a long sum", sum(ramp<T, B>(Shape{3, 20000}, 0, 1), {1}));
  results.add("a tall sum", sum(ramp<T, B>(Shape{20000, 3}, 0, 1), {0}));
  results.add("a sum over a middle axis", sum(ramp<T, B>(Shape{7, 40, 5}, 0, 1), {1}));
  results.add("a sum over outer axes", sum(ramp<T, B>(Shape{7, 40, 5}, 0, 1), {0, 2}));
}

template <class T, class B>
check::Results<T> all() {
  check::Results<T> results;
  network<T, B>(results);
  // Every operation doubles the time that nvcc takes for this file; the network covers float.
  if constexpr (std::is_same_v<T, double>) operations<T, B>(results);
  return results;
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  check::compare(all<float, Cuda>(), all<float, Cuda>(), all<float, Cpu>());
  check::compare(all<double, Cuda>(), all<double, Cuda>(), all<double, Cpu>());
  return check::result();
}
