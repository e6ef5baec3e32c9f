#pragma once
// Layer normalisation (Ba, Kiros, Hinton 2016) followed by an activation, as one recorded operation:
//
//   y = f(gamma x^ + beta),   x^ = (x - m) / s,   m = mean(x),   s = sqrt(mean((x - m)^2) + epsilon)
//
// over the last axis. Forward keeps x, m and 1 / s; backward recomputes the rest in one pass over each row:
//
//   h = gamma g f'(gamma x^ + beta),   dx = (h - mean(h) - x^ mean(h x^)) / s
//
// and adds the gradients of gamma and beta over fixed blocks of rows, then over the blocks.

#include <kolmo/ad/items.hpp>
#include <kolmo/nn/activation.hpp>
#include <kolmo/nn/layer_norm_team.hpp>
#include <kolmo/ops/cast.hpp>
#include <kolmo/ops/reduce.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo {

namespace detail {

/// Rows that one item processes, from the shape alone: as much work as one tile of the host's loops.
inline index_t norm_rows_per_item(index_t columns) {
  return larger<index_t>(1, smaller<index_t>(64, 16384 / larger<index_t>(1, columns)));
}

/// Sums over the columns of a row in a fixed number of lanes, so that the loop vectorises in any compiler. A row is a
/// pointer, or an object with the subscript operator; it is summed in T.
template <class T>
struct RowSums {
  static constexpr int lanes = 32;

  KOLMO_HD static T fold(T* lane) {
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int j = 0; j < width; ++j) lane[j] += lane[j + width];
    return lane[0];
  }
  template <class Row>
  KOLMO_HD static T sum(const Row& x, index_t n) {
    T lane[lanes] = {};
    index_t c = 0;
    for (; c + lanes <= n; c += lanes)
      for (int j = 0; j < lanes; ++j) lane[j] += x[c + j];
    for (int j = 0; c + j < n; ++j) lane[j] += x[c + j];
    return fold(lane);
  }
  template <class Row>
  KOLMO_HD static T sum_of_squares(const Row& x, T centre, index_t n) {
    T lane[lanes] = {};
    index_t c = 0;
    for (; c + lanes <= n; c += lanes)
      for (int j = 0; j < lanes; ++j) lane[j] += (x[c + j] - centre) * (x[c + j] - centre);
    for (int j = 0; c + j < n; ++j) lane[j] += (x[c + j] - centre) * (x[c + j] - centre);
    return fold(lane);
  }
  /// sum of h (x - centre)
  template <class Row>
  KOLMO_HD static T sum_of_products(const Row& h, const Row& x, T centre, index_t n) {
    T lane[lanes] = {};
    index_t c = 0;
    for (; c + lanes <= n; c += lanes)
      for (int j = 0; j < lanes; ++j) lane[j] += h[c + j] * (x[c + j] - centre);
    for (int j = 0; c + j < n; ++j) lane[j] += h[c + j] * (x[c + j] - centre);
    return fold(lane);
  }
};

template <class T, class F>
struct LayerNormKernel {
  using C = ComputeOf<T>;

  F f;
  const T* x;
  const T* gamma;
  const T* beta;
  T* y;
  C* statistics;  // [rows, 2]: mean, 1 / deviation
  index_t rows, columns, rows_per_item;
  C epsilon;

  KOLMO_HD void operator()(index_t item) const {
    const index_t end = smaller(rows, (item + 1) * rows_per_item);
    for (index_t r = item * rows_per_item; r < end; ++r) row(r);
  }

  KOLMO_HD void row(index_t r) const {
    const index_t n = columns;
    const T* in = x + r * n;
    const T* scale = gamma;
    const T* shift = beta;
    T* out = y + r * n;
    const F function = f;
    const C mean = RowSums<C>::sum(in, n) / static_cast<C>(n);
    const C inverse = C(1) / sqrt(RowSums<C>::sum_of_squares(in, mean, n) / static_cast<C>(n) + epsilon);
    statistics[2 * r] = mean;
    statistics[2 * r + 1] = inverse;
    KOLMO_INDEPENDENT
    for (index_t c = 0; c < n; ++c) out[c] = T(function(scale[c] * ((in[c] - mean) * inverse) + shift[c]));
  }
};

template <class T, class F>
struct LayerNormPullKernel {
  using C = ComputeOf<T>;

  F f;
  const T* x;
  const T* gamma;
  const T* beta;
  const C* statistics;
  const T* gradient;
  T* gradient_x;
  C* partial;  // [items, 2, columns]: gradients of gamma and beta from the rows of each item
  index_t rows, columns, rows_per_item;

  KOLMO_HD void operator()(index_t item) const {
    const index_t n = columns;
    C* gradient_gamma = partial + item * 2 * n;
    C* gradient_beta = gradient_gamma + n;
    for (index_t c = 0; c < 2 * n; ++c) gradient_gamma[c] = C(0);
    const index_t end = smaller(rows, (item + 1) * rows_per_item);
    for (index_t r = item * rows_per_item; r < end; ++r) row(r, gradient_gamma, gradient_beta);
  }

  KOLMO_HD void row(index_t r, C* gradient_gamma, C* gradient_beta) const {
    using D = Dual<C, 1>;
    const index_t n = columns;
    const T* in = x + r * n;
    const T* g = gradient + r * n;
    const T* scale = gamma;
    const T* shift = beta;
    T* h = gradient_x + r * n;
    const F function = f;
    const C mean = statistics[2 * r], inverse = statistics[2 * r + 1];
    KOLMO_INDEPENDENT
    for (index_t c = 0; c < n; ++c) {
      const C normal = (in[c] - mean) * inverse;
      const C inner = g[c] * function(D(scale[c] * normal + shift[c], {{C(1)}})).d[0];
      gradient_beta[c] += inner;
      gradient_gamma[c] += inner * normal;
      h[c] = T(inner * scale[c]);
    }
    const C mean_h = RowSums<C>::sum(static_cast<const T*>(h), n) / static_cast<C>(n);
    const C slope =
        RowSums<C>::sum_of_products(static_cast<const T*>(h), in, mean, n) * inverse * inverse / static_cast<C>(n);
    KOLMO_INDEPENDENT
    for (index_t c = 0; c < n; ++c) h[c] = T(inverse * (h[c] - mean_h - (in[c] - mean) * slope));
  }
};

template <class F, PlainTensor V>
struct LayerNormPullBack {
  F f;
  V x, gamma, beta;
  ComputeTensor<V> statistics;

  auto operator()(const V& gradient, const Wanted<3>& wanted) const {
    using T = typename V::Scalar;
    using B = typename V::Backend;
    const index_t columns = x.shape()[-1], rows = x.size() / columns;
    const V g = gradient.contiguous();
    V gradient_x = V::uninitialized(x.shape()), gradient_gamma, gradient_beta;
    const bool sums_wanted = wanted[1] || wanted[2];
    V sums;
    if constexpr (HasTeams<B>) {
      const index_t per_item = norm_team_rows(rows, rows, columns, sizeof(T)), items = divide_up(rows, per_item);
      ComputeTensor<V> partial;
      if (sums_wanted) partial = ComputeTensor<V>::uninitialized(Shape{items, 2, columns});
      ComputeOf<T>* const blocks = sums_wanted ? partial.mutable_data() : nullptr;
      T* const target = gradient_x.mutable_data();
      with_norm_team<T>(columns, in_packs<T>(columns, x.data(), gamma.data(), beta.data(), g.data(), target),
                        [&](auto team) {
                          for_each_team<B>(items, LayerNormPullTeam<decltype(team), T, F>{
                                                      f, x.data(), gamma.data(), beta.data(), statistics.data(),
                                                      g.data(), target, blocks, rows, columns, per_item});
                        });
      if (sums_wanted) {
        sums = V::uninitialized(Shape{2, columns});
        sum_norm_blocks<B, T>(1, items, 2 * columns, blocks, sums.mutable_data());
      }
    } else {
      const index_t rows_per_item = norm_rows_per_item(columns), items = divide_up(rows, rows_per_item);
      auto partial = ComputeTensor<V>::uninitialized(Shape{items, 2, columns});
      for_each_item<B>(items, LayerNormPullKernel<T, F>{f, x.data(), gamma.data(), beta.data(), statistics.data(),
                                                        g.data(), gradient_x.mutable_data(), partial.mutable_data(),
                                                        rows, columns, rows_per_item});
      if (sums_wanted)
        sums = CastTo<T>{}(items == 1 ? partial.reshaped(Shape{2, columns})
                                      : SumOver{AxisSet({0}, 3, "layer_norm"), false}(partial));
    }
    if (sums_wanted) {
      gradient_gamma = sums.view(Shape{columns}, row_major_strides(Shape{columns}), 0);
      gradient_beta = sums.view(Shape{columns}, row_major_strides(Shape{columns}), columns);
    }
    return std::make_tuple(gradient_x, gradient_gamma, gradient_beta);
  }
};

/// f(gamma x + beta) for the form made of ordinary operations.
template <class F>
struct ScaleShiftActivate {
  F f;
  KOLMO_HD auto operator()(auto x, auto gamma, auto beta) const { return f(gamma * x + beta); }
};

}  // namespace detail

namespace nn {

/// f(gamma (x - mean) / deviation + beta) over the last axis: x [..., n], gamma and beta [n]. Population variance
/// plus epsilon under the root. Throws ShapeError when the shapes do not fit, ArgumentError unless epsilon > 0.
template <TensorLike X, TensorLike G, TensorLike S, class F = fn::Identity>
auto layer_norm(const X& x, const G& gamma, const S& beta, double epsilon = 1e-5, const F& f = {}) {
  using T = ScalarOf<X>;
  if (x.rank() < 1 || x.shape()[-1] == 0)
    throw ShapeError("layer_norm: expected at least one column in the last axis, given shape " + x.shape().to_string());
  const Shape row{x.shape()[-1]};
  if (!(gamma.shape() == row) || !(beta.shape() == row))
    throw ShapeError("layer_norm: x has shape " + x.shape().to_string() + ", expected gamma and beta of shape " +
                     row.to_string() + ", given " + gamma.shape().to_string() + " and " + beta.shape().to_string());
  if (!(epsilon > 0)) throw ArgumentError("layer_norm: epsilon must be positive, given " + std::to_string(epsilon));
  using V = ValueOf<X>;
  if constexpr (PlainTensor<V> && PlainTensor<ValueOf<G>> && PlainTensor<ValueOf<S>>) {
    const V input = value(x).contiguous(), scale = value(gamma).contiguous(), shift = value(beta).contiguous();
    using B = typename V::Backend;
    const index_t columns = row[0], rows = input.size() / columns;
    V y = V::uninitialized(x.shape());
    auto statistics = kolmo::ComputeTensor<V>::uninitialized(Shape{rows, 2});
    const auto small = static_cast<ComputeOf<T>>(epsilon);
    if constexpr (kolmo::detail::HasTeams<B>) {
      T* const target = y.mutable_data();
      ComputeOf<T>* const kept = statistics.mutable_data();
      kolmo::detail::with_norm_team<T>(
          columns, kolmo::detail::in_packs<T>(columns, input.data(), scale.data(), shift.data(), target),
          [&](auto team) {
            for_each_team<B>(rows, kolmo::detail::LayerNormTeam<decltype(team), T, F>{
                                       f, input.data(), scale.data(), shift.data(), target, kept, columns, small});
          });
    } else {
      const index_t rows_per_item = kolmo::detail::norm_rows_per_item(columns);
      kolmo::detail::for_each_item<B>(
          divide_up(rows, rows_per_item),
          kolmo::detail::LayerNormKernel<T, F>{f, input.data(), scale.data(), shift.data(), y.mutable_data(),
                                               statistics.mutable_data(), rows, columns, rows_per_item, small});
    }
    return record(y, kolmo::detail::LayerNormPullBack<F, V>{f, input, scale, shift, statistics}, x, gamma, beta);
  } else {
    // Jets, and variables over jets, take the form made of operations that know their tangents.
    const auto centred = x - mean(x, {-1}, true);
    const auto deviation = sqrt(mean(square(centred), {-1}, true) + epsilon);
    return map(kolmo::detail::ScaleShiftActivate<F>{f}, centred / deviation, gamma, beta);
  }
}

/// max(layer_norm(x), 0)
template <TensorLike X, TensorLike G, TensorLike S>
auto layer_norm_relu(const X& x, const G& gamma, const S& beta, double epsilon = 1e-5) {
  return layer_norm(x, gamma, beta, epsilon, fn::Relu{});
}

}  // namespace nn
}  // namespace kolmo

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
