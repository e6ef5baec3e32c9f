#pragma once
// Arithmetic on models as vectors: norms, inner products, sums, and fused updates of several leaves in place. Only
// parameters take part; states and options are left alone. Sums run in a fixed order in double precision.

#include <cmath>

#include <kolmo/ad/module.hpp>
#include <kolmo/backend/tensor_list.hpp>
#include <kolmo/core/reduce.hpp>

namespace kolmo {

namespace detail {

struct SquareInDouble {
  template <class T>
  KOLMO_HD double operator()(T value, index_t) const {
    return static_cast<double>(value) * static_cast<double>(value);
  }
};

template <class T>
struct LoadProductInDouble {
  const T* a;
  const T* b;
  KOLMO_HD double operator()(index_t, index_t c) const { return static_cast<double>(a[c]) * static_cast<double>(b[c]); }
};

struct StoreAt {
  double* target;
  KOLMO_HD void operator()(index_t, double value) const { *target = value; }
};

template <class T>
struct ScaleInPlace {
  T factor;
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return factor * x;
  }
};

template <class T>
struct AddScaled {
  T factor;
  template <class S>
  KOLMO_HD S operator()(S x, S y) const {
    return x + factor * y;
  }
};

/// Number of parameter leaves.
template <class M>
index_t leaf_count(const M& model) {
  index_t count = 0;
  visit_parameters([&](const std::string&, const auto&) { ++count; }, model);
  return count;
}

/// One number per leaf stays on the device; they are added on the host in the order of the leaves.
template <class B>
class LeafSums {
 public:
  explicit LeafSums(index_t count) : sums_(Tensor<double, B>::zeros(Shape{larger<index_t>(1, count)})) {}
  StoreAt next() { return StoreAt{sums_.mutable_data() + position_++}; }
  double total() const {
    double sum = 0;
    for (const double value : sums_.to_vector()) sum += value;
    return sum;
  }

 private:
  Tensor<double, B> sums_;
  index_t position_ = 0;
};

/// A bare tensor is a model with one parameter.
template <class F, class First, class... Rest>
void visit_leaves(const F& f, First& first, Rest&... rest) {
  if constexpr (TensorLike<std::remove_cvref_t<First>>)
    f(std::string(), first, rest...);
  else
    visit_parameters(f, first, rest...);
}

template <PlainTensor V>
void check_leaf(const std::string& path, const V& x, const V& other, const char* name) {
  if (!(x.shape() == other.shape()))
    throw ShapeError(std::string(name) + ": field '" + path + "' has shape " + x.shape().to_string() +
                     " in one model and " + other.shape().to_string() + " in another");
}

/// Overwrites M tensors of one shape with the M outputs of f(targets..., inputs...) in one pass. All must be
/// contiguous.
template <int M, class F, PlainTensor V, class... X>
void update_in_place(const F& f, const Array<V*, M>& targets, const X&... inputs) {
  using T = typename V::Scalar;
  constexpr int N = M + static_cast<int>(sizeof...(X));
  const index_t size = targets[0]->size();
  if (size == 0) return;
  ElementwiseKernel<F, T, N, M, false> kernel{f, Shape{size}, {}, {}, {}, {}, {}};
  const Array<const T*, N - M> sources{{inputs.data()...}};
  for (int i = 0; i < N; ++i) kernel.strides[i][0] = 1;
  for (int i = 0; i < M; ++i) {
    kernel.y[i] = targets[i]->mutable_data();
    kernel.x[i] = kernel.y[i];
  }
  for (int i = M; i < N; ++i) kernel.x[i] = sources[i - M];
  run_elementwise<decltype(kernel), typename V::Backend>(kernel);
}

/// update_in_place of many leaves by one functor: at once where a backend has teams, one by one elsewhere. Nothing is
/// done before run() on the former.
template <int M, PlainTensor V, class F, int inputs>
class LeafUpdates {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  static constexpr int N = M + inputs;

 public:
  explicit LeafUpdates(const F& f) : f_(f) {}

  template <class... X>
  requires(sizeof...(X) == inputs) void add(const Array<V*, M>& targets, const X&... sources) {
    if constexpr (HasTeams<B>) {
      Array<void*, N> operands{};
      for (int i = 0; i < M; ++i) operands[i] = targets[i]->mutable_data();
      const Array<const T*, inputs> from{{sources.data()...}};
      for (int i = M; i < N; ++i) operands[i] = const_cast<T*>(from[i - M]);
      list_.add(operands, targets[0]->size());
      (held_.push_back(sources), ...);
    } else {
      update_in_place<M>(f_, targets, sources...);
    }
  }

  void run() {
    if constexpr (HasTeams<B>) list_.run(UpdateTile<F, T, N, M>{f_});
  }

 private:
  struct Nothing {};
  F f_;
  std::conditional_t<HasTeams<B>, TensorList<B, UpdateTile<F, T, N, M>, N>, Nothing> list_;
  std::vector<V> held_;
};

/// The sum of squares over all parameters, in double, into a number on the backend.
template <class M>
void sum_squares_by_teams(const M& model, double* target) {
  using V = KindOf<M>;
  using T = typename V::Scalar;
  using B = typename V::Backend;
  TensorList<B, SquaresTile<T>, 1> list;
  std::vector<V> held;
  visit_leaves(
      [&](const std::string&, const auto& x) {
        held.push_back(x.contiguous());
        list.add({{const_cast<T*>(held.back().data())}}, x.size());
      },
      model);
  auto sums = Tensor<double, B>::zeros(Shape{larger<index_t>(1, list.tiles())});
  list.run(SquaresTile<T>{sums.mutable_data()});
  fold(sums, AxisSet::all(1), PlainElement{}, SumCombine{}, 0.0, StoreAt{target});
}

}  // namespace detail

namespace optim {

/// Euclidean norm over all parameters.
template <class M>
double global_norm(const M& model) {
  using B = typename KindOf<M>::Backend;
  if constexpr (kolmo::detail::HasTeams<B>) {
    auto sum = Tensor<double, B>::uninitialized(Shape{});
    kolmo::detail::sum_squares_by_teams(model, sum.mutable_data());
    return std::sqrt(sum.item());
  } else {
    kolmo::detail::LeafSums<B> sums(kolmo::detail::leaf_count(model) + 1);
    kolmo::detail::visit_leaves(
        [&](const std::string&, const auto& x) {
          if (x.size() > 0)
            fold(x.reshaped(Shape{x.size()}), AxisSet::all(1), kolmo::detail::SquareInDouble{},
                 kolmo::detail::SumCombine{}, 0.0, sums.next());
        },
        model);
    return std::sqrt(sums.total());
  }
}

/// Sum of products over all parameters of two models of one structure.
template <class M>
double inner_product(const M& a, const M& b) {
  using B = typename KindOf<M>::Backend;
  kolmo::detail::LeafSums<B> sums(kolmo::detail::leaf_count(a) + 1);
  kolmo::detail::visit_leaves(
      [&](const std::string& path, const auto& x, const auto& y) {
        using T = typename std::remove_cvref_t<decltype(x)>::Scalar;
        kolmo::detail::check_leaf(path, x, y, "inner_product");
        const auto left = x.contiguous(), right = y.contiguous();
        if (x.size() > 0)
          B::reduce(1, x.size(), kolmo::detail::LoadProductInDouble<T>{left.data(), right.data()},
                    kolmo::detail::SumCombine{}, 0.0, sums.next());
      },
      a, b);
  return sums.total();
}

/// a += factor b, over the parameters.
template <class M>
void add_scaled(M& a, double factor, const M& b) {
  using V = KindOf<M>;
  using T = ComputeOf<typename V::Scalar>;
  using Update = kolmo::detail::AddScaled<T>;
  kolmo::detail::LeafUpdates<1, V, Update, 1> updates(Update{static_cast<T>(factor)});
  kolmo::detail::visit_leaves(
      [&](const std::string& path, auto& x, const auto& y) {
        kolmo::detail::check_leaf(path, x, y, "add_scaled");
        updates.add({{&x}}, y.contiguous());
      },
      a, b);
  updates.run();
}

/// a *= factor, over the parameters.
template <class M>
void scale(M& a, double factor) {
  using V = KindOf<M>;
  using T = ComputeOf<typename V::Scalar>;
  using Update = kolmo::detail::ScaleInPlace<T>;
  kolmo::detail::LeafUpdates<1, V, Update, 0> updates(Update{static_cast<T>(factor)});
  kolmo::detail::visit_leaves([&](const std::string&, auto& x) { updates.add({{&x}}); }, a);
  updates.run();
}

/// Scales a gradient down to `limit` when its norm is larger (Pascanu et al. 2013). Returns the norm before.
/// Throws ArgumentError unless limit > 0.
template <class M>
double clip_by_norm(M& gradient, double limit) {
  if (!(limit > 0)) throw ArgumentError("clip_by_norm: the limit must be positive, given " + std::to_string(limit));
  const double norm = global_norm(gradient);
  if (norm > limit) scale(gradient, limit / norm);
  return norm;
}

}  // namespace optim
}  // namespace kolmo
