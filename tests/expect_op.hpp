#pragma once
// expect_op: one call tests an operation on every CPU backend and scalar.
//
//   expect_op("matmul", [](const auto& a, const auto& b) { return matmul(a, b); }, {a, b}, oracle);
//
// It checks
//   value        against the oracle, on every backend and scalar, for contiguous and transposed memory
//   derivatives  vjp and jvp against dual numbers and the complex step (1e-12) and against three-level
//                Richardson differences (1e-8), along every axis direction, or eight random ones above 256
//                inputs; <J v, u> = <v, J^T u>
//   second order Hessian-vector products of sum w f^2 against the complex step of the gradient, and symmetry
//   errors       the same exception type for bad shapes from every kind, backend and scalar
//   bits         equal for 1, 2 and 4 threads, and equal on FakeDevice and Cpu
//
// Compiled for Cuda (device.hpp), it checks there the value and the errors in the same way, and that derivatives of
// both orders and larger inputs give what they give on Cpu, and the same bits when repeated.
//
// The checks themselves are not templates: they see an operation as functions of vectors of doubles.

#include <tuple>

#include <kolmo/ad/transforms.hpp>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/reduce.hpp>

#include "device.hpp"
#include "expect_op_checks.hpp"

#ifndef KOLMO_TEST_CUDA
#include <kolmo/backend/xtensor.hpp>
#include <kolmo/core/complex_step.hpp>
#endif

namespace kolmo_test {

/// What of an operation can be checked; the rest does not compile or has no meaning.
struct OpChecks {
  bool derivative = true;    // false: the operation has none (comparisons, indices)
  bool dual = true;          // the operation runs on tensors of duals
  bool complex_step = true;  // ... and of complex-step numbers; false where it takes moduli or orders them
  bool second_order = true;
  bool gemm = false;  // the operation multiplies matrices: CpuBlas differs from Cpu in nothing else
  bool host_kernel = false;  // the host sums in an order of its own: a device has other bits
};

namespace detail {

/// A tensor of values, with row-major or transposed memory.
template <class V>
V tensor_of(const Input& input, bool transposed) {
  using T = typename V::Scalar;
  const int rank = input.shape.rank();
  std::vector<T> values(input.values.size());
  if (!transposed || rank < 2) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(input.values[i]);
    return V::from(std::span<const T>(values), input.shape);
  }
  const auto rows = input.shape[-2], columns = input.shape[-1];
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto k = static_cast<kolmo::index_t>(i), block = rows * columns;
    const auto row = k % block / columns, column = k % columns;
    values[static_cast<std::size_t>(k / block * block + column * rows + row)] = static_cast<T>(input.values[i]);
  }
  kolmo::Shape stored = input.shape;
  stored[-1] = rows;
  stored[-2] = columns;
  const V holder = V::from(std::span<const T>(values), stored);
  kolmo::Strides strides = holder.strides();
  std::swap(strides[rank - 1], strides[rank - 2]);
  return holder.view(input.shape, strides, 0);
}

template <class V>
V tensor_of(const kolmo::Shape& shape, const std::vector<double>& values) {
  return tensor_of<V>(Input{shape, values}, false);
}

template <class V>
Result result_of(const V& y) {
  Result result{y.shape(), {}};
  for (const auto v : y.to_vector()) result.values.push_back(static_cast<double>(v));
  return result;
}

#ifndef KOLMO_TEST_CUDA

/// Scalars that carry a derivative, made from and read as doubles.
template <class S>
struct Perturbed;
template <>
struct Perturbed<kolmo::Dual<double, 1>> {
  static kolmo::Dual<double, 1> make(double x, double dx) { return {x, {{dx}}}; }
  static double derivative(const kolmo::Dual<double, 1>& y) { return y.d[0]; }
};
template <>
struct Perturbed<kolmo::ComplexStep<double>> {
  using S = kolmo::ComplexStep<double>;
  static S make(double x, double dx) { return kolmo::Complex<double>(x, dx * S::step()); }
  static double derivative(const S& y) { return y.derivative(); }
};

template <class S>
kolmo::Tensor<S, kolmo::Cpu> perturbed_tensor(const Input& x, const std::vector<double>& dx) {
  std::vector<S> values;
  for (std::size_t i = 0; i < x.values.size(); ++i) values.push_back(Perturbed<S>::make(x.values[i], dx[i]));
  return kolmo::Tensor<S, kolmo::Cpu>::from(std::span<const S>(values), x.shape);
}
template <class S>
std::vector<double> derivatives_of(const kolmo::Tensor<S, kolmo::Cpu>& y) {
  std::vector<double> result;
  for (const S& v : y.to_vector()) result.push_back(Perturbed<S>::derivative(v));
  return result;
}

#endif

/// sum w y^2: a loss whose Hessian is not zero when f is linear.
template <class Y, class W>
auto quadratic(const Y& y, const W& w) {
  return kolmo::sum(w * y * y);
}

template <class V, class F, std::size_t... I>
struct Runner {
  static Result value(const void* f, const Inputs& x, bool transposed) {
    return result_of(call(f)(tensor_of<V>(x[I], transposed)...));
  }

  static Vectors vjp(const void* f, const Inputs& x, const std::vector<double>& cotangent) {
    kolmo::Tape<V> tape;
    const auto leaves = std::make_tuple(tape.leaf(tensor_of<V>(x[I], false))...);
    const kolmo::Var<V> y = call(f)(std::get<I>(leaves)...);
    tape.backward(y, tensor_of<V>(y.shape(), cotangent));
    return {result_of(tape.gradient(std::get<I>(leaves))).values...};
  }

  static Result jvp(const void* f, const Inputs& x, const Vectors& dx) {
    const kolmo::Jet<V> y = call(f)(jet(x[I], dx[I])...);
    return result_of(y.tangent);
  }

  static Vectors hvp(const void* f, const Inputs& x, const std::vector<double>& w, const Vectors& dx) {
    using J = kolmo::Jet<V>;
    kolmo::Tape<J> tape;
    const auto leaves = std::make_tuple(tape.leaf(jet(x[I], dx[I]))...);
    const kolmo::Var<J> y = call(f)(std::get<I>(leaves)...);
    tape.backward(quadratic(y, tensor_of<V>(y.shape(), w)));
    return {result_of(tape.gradient(std::get<I>(leaves)).tangent).values...};
  }

#ifndef KOLMO_TEST_CUDA
  template <class S>
  static std::vector<double> perturbed_value(const void* f, const Inputs& x, const Vectors& dx) {
    return derivatives_of<S>(call(f)(perturbed_tensor<S>(x[I], dx[I])...));
  }

  template <class S>
  static Vectors perturbed_gradient(const void* f, const Inputs& x, const std::vector<double>& w, const Vectors& dx) {
    using P = kolmo::Tensor<S, kolmo::Cpu>;
    kolmo::Tape<P> tape;
    const auto leaves = std::make_tuple(tape.leaf(perturbed_tensor<S>(x[I], dx[I]))...);
    const kolmo::Var<P> y = call(f)(std::get<I>(leaves)...);
    const P weights = perturbed_tensor<S>(Input{y.shape(), w}, std::vector<double>(w.size(), 0.0));
    tape.backward(quadratic(y, weights));
    return {derivatives_of<S>(tape.gradient(std::get<I>(leaves)))...};
  }
#endif

 private:
  static const F& call(const void* f) { return *static_cast<const F*>(f); }
  static kolmo::Jet<V> jet(const Input& x, const std::vector<double>& dx) {
    return {tensor_of<V>(x, false), tensor_of<V>(x.shape, dx)};
  }
};

template <OpChecks checks, bool second_order, class V, class F, std::size_t... I>
Engine engine(const char* name, const F& f, std::index_sequence<I...>) {
  using R = Runner<V, F, I...>;
  Engine e;
  e.name = name;
  e.single_precision = std::is_same_v<typename V::Scalar, float>;
  e.f = &f;
  e.value = &R::value;
  if constexpr (checks.derivative) {
    e.vjp = &R::vjp;
    e.jvp = &R::jvp;
    if constexpr (second_order && checks.second_order) e.hvp = &R::hvp;
  }
  return e;
}

template <OpChecks checks, class F, std::size_t... I>
Operation operation(const char* name, const F& f, std::index_sequence<I...> inputs) {
  using namespace kolmo;
  Operation op;
  op.name = name;
  op.f = &f;
#ifdef KOLMO_TEST_CUDA
  op.engines = {engine<checks, true, Tensor<double, Cpu>>("Cpu double", f, inputs),
                engine<checks, true, Tensor<double, Cuda>>("Cuda double", f, inputs),
                engine<checks, false, Tensor<float, Cuda>>("Cuda float", f, inputs)};
#else
  using R = Runner<Tensor<double, Cpu>, F, I...>;
  op.same_bits = !checks.host_kernel;
  op.engines = {engine<checks, true, Tensor<double, Cpu>>("Cpu double", f, inputs),
                engine<checks, false, Tensor<float, Cpu>>("Cpu float", f, inputs),
                engine<checks, true, Tensor<double, FakeDevice>>("FakeDevice double", f, inputs),
                engine<checks, false, Tensor<float, FakeDevice>>("FakeDevice float", f, inputs)};
  if constexpr (checks.gemm) {
    op.engines.push_back(engine<checks, false, Tensor<double, CpuBlas>>("CpuBlas double", f, inputs));
    op.engines.push_back(engine<checks, false, Tensor<float, CpuBlas>>("CpuBlas float", f, inputs));
  }
  if constexpr (checks.derivative) {
    if constexpr (checks.dual) op.dual = &R::template perturbed_value<Dual<double, 1>>;
    if constexpr (checks.complex_step) {
      op.complex_step = &R::template perturbed_value<ComplexStep<double>>;
      if constexpr (checks.second_order) op.gradient_step = &R::template perturbed_gradient<ComplexStep<double>>;
    } else if constexpr (checks.dual && checks.second_order) {
      op.gradient_step = &R::template perturbed_gradient<Dual<double, 1>>;
    }
  }
#endif
  return op;
}

}  // namespace detail

/// Tests the generic callable `f` of N tensors at the given inputs; see the head of this file.
template <OpChecks checks = OpChecks{}, class F, std::size_t N>
void expect_op(const char* name, const F& f, const Input (&inputs)[N], const Oracle& oracle,
               const OpOptions& options = {}) {
  const Operation op = detail::operation<checks>(name, f, std::make_index_sequence<N>{});
#ifdef KOLMO_TEST_CUDA
  check_device_operation(op, Inputs(inputs, inputs + N), oracle, options);
#else
  check_operation(op, Inputs(inputs, inputs + N), oracle, options);
#endif
}

}  // namespace kolmo_test
