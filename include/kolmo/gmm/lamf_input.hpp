#pragma once
// What the networks of the learned fitter read: features of a whole density, of every grid point, and of every component.

#include <kolmo/ad/items.hpp>
#include <kolmo/gmm/lamf_options.hpp>

namespace kolmo::gmm {

namespace detail {

/// Inputs of the initial network: masses, their logarithms, their running sums, where the mean lies within its
/// cell, and the resolution.
template <class T>
struct InitFeatureKernel {
  const T* masses;
  const T* points;
  const T* spacing;
  T* features;
  index_t count;
  KOLMO_HD void operator()(index_t item) const {
    const T* w = masses + item * count;
    T* x = features + item * (3 * count + 2);
    for (index_t i = 0; i < count; ++i) {
      x[i] = w[i];
      x[count + i] = T(0.1) * log(w[i] + T(1e-12));
    }
    T sum = T(0);
    for (index_t i = 0; i < count; ++i) {
      sum += w[i];
      x[2 * count + i] = sum;
    }
    x[3 * count] = points[item * count + count / 2] / spacing[item];
    x[3 * count + 1] = log(spacing[item]);
  }
};

/// Mass, its logarithm and the running sum, value by value (`point_stride` 1, `value_stride` count) or point by point
/// (3 and 1).
template <class T>
struct CardFeatureKernel {
  const T* masses;
  T* features;
  index_t count, point_stride, value_stride;
  KOLMO_HD void operator()(index_t item) const {
    const T* w = masses + item * count;
    T sum = T(0);
    for (index_t i = 0; i < count; ++i) {
      T* x = features + item * 3 * count + i * point_stride;
      sum += w[i];
      x[0] = w[i];
      x[value_stride] = log(w[i] + T(1e-12));
      x[2 * value_stride] = sum;
    }
  }
};

/// Mean and deviation of every density in the model's coordinates.
template <class T>
struct DensityMomentsKernel {
  const T* masses;
  const T* points;
  T* mean;
  T* deviation;
  index_t count;
  KOLMO_HD void operator()(index_t item) const {
    const T* w = masses + item * count;
    const T* z = points + item * count;
    T first = T(0), second = T(0);
    for (index_t i = 0; i < count; ++i) first += w[i] * z[i];
    for (index_t i = 0; i < count; ++i) second += w[i] * square(z[i] - first);
    mean[item] = first;
    deviation[item] = sqrt(second + T(1e-12));
  }
};

/// Features per component of LamfFeatures::card, from those of StatisticsKernel.
template <class T>
struct CardComponentKernel {
  static constexpr int width = 11;
  const T* mean;
  const T* deviation;
  int components;

  template <class S>
  KOLMO_HD void forward(index_t item, const S* x, S* y) const {
    for (int k = 0; k < components; ++k) {
      for (int i = 0; i < 9; ++i) y[k * width + i] = x[k * feature_count + i] * factor(i);
      y[k * width + 9] = S(mean[item]);
      y[k * width + 10] = S(deviation[item]);
    }
  }
  template <class S>
  KOLMO_HD void pull(index_t, const S*, const S* g, S* gx) const {
    for (int k = 0; k < components; ++k) {
      for (int i = 0; i < 9; ++i) gx[k * feature_count + i] = g[k * width + i] * factor(i);
      for (int i = 9; i < feature_count; ++i) gx[k * feature_count + i] = S(T(0));
    }
  }

 private:
  /// log v instead of log sqrt(v)
  KOLMO_HD static T factor(int i) { return i == StatisticsKernel<T>::Feature::log_v ? T(2) : T(1); }
};

}  // namespace detail

/// What the fitter reads of a batch of prepared densities.
template <PlainTensor V>
struct LamfInput {
  V masses;    ///< [batch, N], sum 1
  V points;    ///< [batch, N], in the model's coordinates
  V spacing;   ///< [batch], of the points
  V features;  ///< [batch, 3N + 2], of the initial network

  index_t batch() const { return masses.extent(0); }
};

/// Assembles the features of the initial network. Throws ShapeError when the parts do not fit.
template <PlainTensor V>
LamfInput<V> lamf_input(const V& masses, const V& points, const V& spacing) {
  using T = typename V::Scalar;
  if (masses.rank() != 2 || !(points.shape() == masses.shape()) || !(spacing.shape() == Shape{masses.shape()[0]}))
    throw ShapeError("lamf_input: expected masses and points [batch, N] and spacing [batch], given " +
                     masses.shape().to_string() + ", " + points.shape().to_string() + ", " +
                     spacing.shape().to_string());
  const index_t batch = masses.shape()[0], count = masses.shape()[1];
  LamfInput<V> input{masses.contiguous(), points.contiguous(), spacing.contiguous(),
                     V::uninitialized(Shape{batch, 3 * count + 2})};
  kolmo::detail::for_each_item<typename V::Backend>(
      batch, detail::InitFeatureKernel<T>{input.masses.data(), input.points.data(), input.spacing.data(),
                                          input.features.mutable_data(), count});
  return input;
}

template <PlainTensor V>
LamfInput<V> lamf_input(const Preprocessed<V>& prepared) {
  return lamf_input(prepared.masses, prepared.points, prepared.spacing);
}

/// Masses, their logarithms and running sums: [batch, 3N].
template <PlainTensor V>
V card_features(const LamfInput<V>& input) {
  const index_t count = input.masses.shape()[1];
  V features = V::uninitialized(Shape{input.batch(), 3 * count});
  kolmo::detail::for_each_item<typename V::Backend>(
      input.batch(),
      detail::CardFeatureKernel<typename V::Scalar>{input.masses.data(), features.mutable_data(), count, 1, count});
  return features;
}

/// The same three numbers for every point: [batch, N, 3].
template <PlainTensor V>
V point_features(const LamfInput<V>& input) {
  const index_t count = input.masses.shape()[1];
  V features = V::uninitialized(Shape{input.batch(), count, 3});
  kolmo::detail::for_each_item<typename V::Backend>(
      input.batch(),
      detail::CardFeatureKernel<typename V::Scalar>{input.masses.data(), features.mutable_data(), count, 3, 1});
  return features;
}

}  // namespace kolmo::gmm
