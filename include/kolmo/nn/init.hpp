#pragma once
// Random starting values of weights. Element i of a tensor takes counter i of the key, so that the values do not
// depend on the backend's order of work.

#include <cmath>
#include <string>

#include <kolmo/core/random.hpp>
#include <kolmo/core/tensor.hpp>

namespace kolmo {

namespace detail {

template <class T>
struct UniformKernel {
  using C = ComputeOf<T>;
  Key key;
  C low, width;
  T* target;
  KOLMO_HD void operator()(index_t i) const {
    target[i] = static_cast<T>(low + width * uniform<C>(key, static_cast<std::uint64_t>(i)));
  }
};

template <class T>
struct NormalKernel {
  using C = ComputeOf<T>;
  Key key;
  C mean, deviation;
  T* target;
  KOLMO_HD void operator()(index_t i) const {
    target[i] = static_cast<T>(mean + deviation * normal<C>(key, static_cast<std::uint64_t>(i)));
  }
};

inline double fan_bound(double numerator, index_t fan, const char* name) {
  if (fan < 1) throw ArgumentError(std::string(name) + ": the fan must be at least 1, given " + std::to_string(fan));
  return std::sqrt(numerator / static_cast<double>(fan));
}

}  // namespace detail

namespace nn {

/// Uniform in [low, high).
template <PlainTensor V>
V uniform_values(Key key, const Shape& shape, double low, double high) {
  using T = typename V::Scalar;
  using C = ComputeOf<T>;
  V result = V::uninitialized(shape);
  V::Backend::for_each(shape.size(), kolmo::detail::UniformKernel<T>{
                                         key, static_cast<C>(low), static_cast<C>(high - low), result.mutable_data()});
  return result;
}

/// Normal with the given mean and standard deviation.
template <PlainTensor V>
V normal_values(Key key, const Shape& shape, double mean = 0, double deviation = 1) {
  using T = typename V::Scalar;
  using C = ComputeOf<T>;
  V result = V::uninitialized(shape);
  V::Backend::for_each(shape.size(), kolmo::detail::NormalKernel<T>{key, static_cast<C>(mean),
                                                                    static_cast<C>(deviation), result.mutable_data()});
  return result;
}

/// Uniform within sqrt(6 / fan_in): keeps the variance through layers with ReLU (He et al. 2015).
template <PlainTensor V>
V he_uniform(Key key, const Shape& shape, index_t fan_in) {
  const double bound = kolmo::detail::fan_bound(6, fan_in, "he_uniform");
  return uniform_values<V>(key, shape, -bound, bound);
}

/// Uniform within sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).
template <PlainTensor V>
V xavier_uniform(Key key, const Shape& shape, index_t fan_in, index_t fan_out) {
  const double bound = kolmo::detail::fan_bound(6, fan_in + fan_out, "xavier_uniform");
  return uniform_values<V>(key, shape, -bound, bound);
}

/// How the weights of a layer start.
enum class Start { he_uniform, xavier_uniform, normal, zeros };

/// A weight of shape [fan_in, fan_out]; `normal` has deviation 1 / sqrt(fan_in).
template <PlainTensor V>
V start_weight(Key key, index_t fan_in, index_t fan_out, Start start) {
  const Shape shape{fan_in, fan_out};
  switch (start) {
    case Start::he_uniform:
      return he_uniform<V>(key, shape, fan_in);
    case Start::xavier_uniform:
      return xavier_uniform<V>(key, shape, fan_in, fan_out);
    case Start::normal:
      return normal_values<V>(key, shape, 0, kolmo::detail::fan_bound(1, fan_in, "normal"));
    case Start::zeros:
      return V::zeros(shape);
  }
  throw ArgumentError("no start of weights has the number " + std::to_string(static_cast<int>(start)));
}

}  // namespace nn
}  // namespace kolmo
