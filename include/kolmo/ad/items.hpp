#pragma once
// item_map: small per-item algorithms (an E-step of one density, one parameter transform) as recorded
// operations. The algorithm is a kernel over plain pointers, generic in its scalar, that the backend runs
// one item at a time; the kernel brings its own reverse rule. Jets run the same kernel on dual numbers.
//
//   struct Kernel {                                        // scalars and pointers to constants only
//     template <class S> KOLMO_HD void forward(index_t item, const S* x0, ..., S* y) const;
//     template <class S> KOLMO_HD void pull(index_t item, const S* x0, ..., const S* gy, S* gx0, ...) const;
//   };
//
// An input of shape [batch, ...] gives item b its b-th row; a rank-0 input is shared by all items, and the
// gradients that the items return for it are summed in a fixed order.

#include <kolmo/ad/map.hpp>
#include <kolmo/backend/team.hpp>

namespace kolmo {

namespace detail {

template <class T>
struct ZipKernel {
  const T* value;
  const T* tangent;
  Dual<T, 1>* target;
  KOLMO_HD void operator()(index_t i) const { target[i] = Dual<T, 1>(value[i], {{tangent ? tangent[i] : T(0)}}); }
};

template <class T>
struct UnzipKernel {
  const Dual<T, 1>* source;
  T* value;
  T* tangent;
  KOLMO_HD void operator()(index_t i) const {
    value[i] = source[i].v;
    tangent[i] = source[i].d[0];
  }
};

/// A value as a tensor of duals, and back.
template <Value X>
auto zip_dual(const X& x) {
  using T = typename X::Scalar;
  using B = typename X::Backend;
  auto result = Tensor<Dual<T, 1>, B>::uninitialized(x.shape());
  const auto value = primal(x).contiguous();
  if constexpr (JetLike<X>) {
    const auto tangent = x.tangent.contiguous();
    B::for_each(x.size(), ZipKernel<T>{value.data(), tangent.data(), result.mutable_data()});
  } else {
    B::for_each(x.size(), ZipKernel<T>{value.data(), nullptr, result.mutable_data()});
  }
  return result;
}

template <class T, class B>
Jet<Tensor<T, B>> unzip_dual(const Tensor<Dual<T, 1>, B>& x) {
  using V = Tensor<T, B>;
  Jet<V> result{V::uninitialized(x.shape()), V::uninitialized(x.shape())};
  B::for_each(x.size(), UnzipKernel<T>{x.data(), result.value.mutable_data(), result.tangent.mutable_data()});
  return result;
}

template <class Kernel, class S, int N>
struct ItemForward {
  Kernel kernel;
  Array<const S*, N> x;
  Array<index_t, N> stride;
  S* y;
  index_t y_stride;

  KOLMO_HD void operator()(index_t item) const { run(item, std::make_integer_sequence<int, N>{}); }
  template <int... I>
  KOLMO_HD void run(index_t item, std::integer_sequence<int, I...>) const {
    kernel.forward(item, (x[I] + item * stride[I])..., y + item * y_stride);
  }
};

template <class Kernel, class S, int N>
struct ItemPull {
  Kernel kernel;
  Array<const S*, N> x;
  Array<index_t, N> stride;
  const S* gy;
  index_t y_stride;
  Array<S*, N> gx;
  Array<index_t, N> gx_stride;

  KOLMO_HD void operator()(index_t item) const { run(item, std::make_integer_sequence<int, N>{}); }
  template <int... I>
  KOLMO_HD void run(index_t item, std::integer_sequence<int, I...>) const {
    kernel.pull(item, (x[I] + item * stride[I])..., gy + item * y_stride, (gx[I] + item * gx_stride[I])...);
  }
};

inline index_t item_stride(const Shape& shape) { return shape.rank() == 0 ? 0 : shape.size() / larger<index_t>(1, shape[0]); }

template <class Spec, PlainTensor... X>
auto item_forward_plain(const Spec& spec, const Shape& result_shape, const X&... x) {
  using V = std::remove_cvref_t<decltype((x, ...))>;
  using S = typename V::Scalar;
  constexpr int N = sizeof...(X);
  V y = V::uninitialized(result_shape);
  const auto kernel = spec.kernel();
  for_each_item<typename V::Backend>(
      result_shape[0], ItemForward<std::remove_cvref_t<decltype(kernel)>, S, N>{
                           kernel, {{x.data()...}}, {{item_stride(x.shape())...}}, y.mutable_data(), item_stride(result_shape)});
  return y;
}

/// Gradients of all inputs; those of shared inputs still have the batch axis.
template <class Spec, PlainTensor G, PlainTensor... X>
auto item_pull_plain(const Spec& spec, const G& gradient, const X&... x) {
  using S = typename G::Scalar;
  constexpr int N = sizeof...(X);
  const index_t batch = gradient.shape()[0];
  Array<G, N> result{{G::uninitialized(x.rank() == 0 ? Shape{batch} : x.shape())...}};
  Array<S*, N> targets{};
  Array<index_t, N> strides{};
  for (int i = 0; i < N; ++i) {
    strides[i] = item_stride(result[i].shape());
    targets[i] = result[i].mutable_data();
  }
  const auto kernel = spec.kernel();
  for_each_item<typename G::Backend>(
      batch, ItemPull<std::remove_cvref_t<decltype(kernel)>, S, N>{kernel,
                                                                  {{x.data()...}},
                                                                  {{item_stride(x.shape())...}},
                                                                  gradient.data(),
                                                                  item_stride(gradient.shape()),
                                                                  targets,
                                                                  strides});
  return result;
}

template <Value V>
V sum_items(const V& x, const Shape& shape) {
  return shape.rank() == 0 ? linear(SumOver{AxisSet::all(1), false}, x) : x;
}

template <class Spec, Value... X>
auto item_forward(const Spec& spec, const Shape& result_shape, const X&... x) {
  if constexpr ((JetLike<X> || ...))
    return unzip_dual(item_forward_plain(spec, result_shape, zip_dual(x)...));
  else
    return item_forward_plain(spec, result_shape, x.contiguous()...);
}

template <class Spec, Value... X>
struct ItemPullBack {
  Spec spec;
  std::tuple<X...> inputs;

  template <Value G>
  auto operator()(const G& gradient, const Wanted<static_cast<int>(sizeof...(X))>&) const {
    return evaluate(gradient, std::make_index_sequence<sizeof...(X)>{});
  }

  template <Value G, std::size_t... I>
  auto evaluate(const G& gradient, std::index_sequence<I...>) const {
    if constexpr (JetLike<G>) {
      const auto all = item_pull_plain(spec, zip_dual(gradient), zip_dual(std::get<I>(inputs))...);
      return std::make_tuple(sum_items(unzip_dual(all[static_cast<int>(I)]), std::get<I>(inputs).shape())...);
    } else {
      const auto all = item_pull_plain(spec, gradient.contiguous(), std::get<I>(inputs).contiguous()...);
      return std::make_tuple(sum_items(all[static_cast<int>(I)], std::get<I>(inputs).shape())...);
    }
  }
};

}  // namespace detail

/// Runs spec.kernel() for every item of a batch and records its reverse rule. `spec` owns the constants that
/// the kernel points to. `result_shape` starts with the batch; inputs are [batch, ...] or rank 0 (shared).
template <class Spec, TensorLike... X>
auto item_map(const Spec& spec, const Shape& result_shape, const X&... inputs) {
  return record(detail::item_forward(spec, result_shape, value(inputs)...),
                detail::ItemPullBack<Spec, ValueOf<X>...>{spec, std::tuple<ValueOf<X>...>(value(inputs)...)}, inputs...);
}

}  // namespace kolmo
