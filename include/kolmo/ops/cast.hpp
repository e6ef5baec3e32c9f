#pragma once
// Changing the scalar of tensors and models: to BFloat16 for storage and speed, to double for a check. A cast is
// differentiable; the gradient of a cast is the gradient cast back.

#include <kolmo/ad/module.hpp>
#include <kolmo/ad/record.hpp>
#include <kolmo/backend/tensor_list.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo {

namespace detail {

/// Items of 1024 elements, so that the loop over neighbours is inside.
template <class From, class To>
struct CastKernel {
  static constexpr index_t block = 1024;
  const From* source;
  To* target;
  index_t size;
  KOLMO_HD void operator()(index_t item) const {
    const From* from = source + item * block;
    To* to = target + item * block;
    const index_t count = smaller(block, size - item * block);
    KOLMO_INDEPENDENT
    for (index_t i = 0; i < count; ++i) to[i] = static_cast<To>(from[i]);
  }
};

template <class To>
struct CastTo {
  template <PlainTensor V>
  auto operator()(const V& x) const {
    using From = typename V::Scalar;
    using Result = Tensor<To, typename V::Backend>;
    if constexpr (std::is_same_v<To, From>) {
      return x;
    } else {
      const V source = x.contiguous();
      Result result = Result::uninitialized(x.shape());
      using B = typename V::Backend;
      if constexpr (HasTeams<B>) {
        TensorList<B, CastTile<From, To>, 2> list;
        list.add({{result.mutable_data(), const_cast<From*>(source.data())}}, x.size());
        list.run({});
      } else {
        using Kernel = CastKernel<From, To>;
        B::for_each(divide_up(x.size(), Kernel::block), Kernel{source.data(), result.mutable_data(), x.size()});
      }
      return result;
    }
  }
};

/// Carries a gradient from the tape of the cast value to that of the original.
template <Value V>
struct CastPullBack {
  Tape<V>* tape;
  int slot;
  template <Value W>
  void operator()(Tape<W>&, const W& gradient) const {
    tape->accumulate(slot, linear(CastTo<typename V::Scalar>{}, gradient));
  }
};

template <class To, class X>
struct CastKindOf;
template <class To, class T, class B>
struct CastKindOf<To, Tensor<T, B>> {
  using Type = Tensor<To, B>;
};
template <class To, class V>
struct CastKindOf<To, Jet<V>> {
  using Type = Jet<typename CastKindOf<To, V>::Type>;
};
template <class To, class V>
struct CastKindOf<To, Var<V>> {
  using Type = Var<typename CastKindOf<To, V>::Type>;
};

template <class To, TensorLike X>
auto cast_tensor(const X& x) {
  if constexpr (std::is_same_v<To, ScalarOf<X>>) {
    return x;
  } else if constexpr (VarLike<X>) {
    auto y = linear(CastTo<To>{}, x.value);
    using W = decltype(y);
    if (x.tape == nullptr) return Var<W>{std::move(y), nullptr, -1};
    Tape<W>& tape = x.tape->template beside<W>();
    if (x.slot < 0) return tape.constant(std::move(y));
    return tape.push(std::move(y), CastPullBack<ValueOf<X>>{x.tape, x.slot});
  } else {
    return linear(CastTo<To>{}, x);
  }
}

/// Plain tensors cast in one pass; those without a value stay so.
template <class To, PlainTensor V>
auto cast_all(const std::vector<V>& given) {
  using From = typename V::Scalar;
  using B = typename V::Backend;
  std::vector<Tensor<To, B>> results;
  std::vector<V> sources;
  TensorList<B, CastTile<From, To>, 2> list;
  for (const V& x : given) {
    results.emplace_back();
    if (!x.has_value()) continue;
    sources.push_back(x.contiguous());
    results.back() = Tensor<To, B>::uninitialized(x.shape());
    list.add({{results.back().mutable_data(), const_cast<From*>(sources.back().data())}}, x.size());
  }
  list.run({});
  return results;
}

/// Carries gradients from the tape of cast values to that of the originals.
template <PlainTensor V>
struct CastAllPullBack {
  Tape<V>* tape;
  std::vector<int> slots;
  template <Value W>
  void operator()(Tape<W>&, const std::vector<W>& gradients) const {
    auto originals = cast_all<typename V::Scalar>(gradients);
    for (std::size_t i = 0; i < slots.size(); ++i)
      if (originals[i].has_value()) tape->accumulate(slots[i], std::move(originals[i]));
  }
};

/// Leaves of a model cast in one pass: tensors, or variables of one tape.
template <class To, TensorLike X>
auto cast_leaves(const std::vector<X>& leaves) {
  using V = ValueOf<X>;
  if constexpr (!VarLike<X>) {
    return cast_all<To>(leaves);
  } else {
    using W = Tensor<To, typename V::Backend>;
    std::vector<V> values;
    std::vector<int> slots;
    Tape<V>* tape = nullptr;
    for (const X& x : leaves) {
      values.push_back(x.value);
      if (x.tape == nullptr || x.slot < 0) continue;
      tape = x.tape;
      slots.push_back(x.slot);
    }
    std::vector<W> cast_values = cast_all<To>(values), recorded;
    std::vector<Var<W>> variables, results;
    for (std::size_t i = 0; i < leaves.size(); ++i)
      if (leaves[i].slot >= 0 && leaves[i].tape != nullptr) recorded.push_back(cast_values[i]);
    if (tape != nullptr)
      variables = tape->template beside<W>().push_many(std::move(recorded), CastAllPullBack<V>{tape, std::move(slots)});
    std::size_t next = 0;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (leaves[i].slot >= 0 && leaves[i].tape != nullptr)
        results.push_back(variables[next++]);
      else
        results.push_back({cast_values[i], nullptr, -1});
    }
    return results;
  }
}

/// Whether the leaves of a model are cast in one pass: on backends that launch kernels, for other scalars, unless they
/// carry tangents.
template <class To, class X>
concept CastTogether = HasTeams<typename X::Backend> && PlainTensor<ValueOf<X>> && !std::is_same_v<To, ScalarOf<X>>;

}  // namespace detail

/// The tensor kind with another scalar: CastKind<BFloat16, Var<Tensor<float, Cpu>>> is Var<Tensor<BFloat16, Cpu>>.
template <class To, TensorLike X>
using CastKind = typename detail::CastKindOf<To, std::remove_cvref_t<X>>::Type;

/// A tensor of any kind, or a model, with its values converted to the scalar To; numbers that To cannot hold are
/// rounded to nearest. Itself when it already has that scalar. Options of a model are copied.
template <class To, class M>
auto cast(const M& model) {
  if constexpr (TensorLike<M>) {
    return detail::cast_tensor<To>(model);
  } else {
    using X = KindOf<M>;
    using V = CastKind<To, X>;
    if constexpr (detail::CastTogether<To, X>) {
      std::vector<X> leaves;
      static_cast<void>(rebind<V>(model, [&](const std::string&, FieldKind, const X& x) -> V {
        leaves.push_back(x);
        return V();
      }));
      const std::vector<V> results = detail::cast_leaves<To>(leaves);
      std::size_t next = 0;
      return rebind<V>(model, [&](const std::string&, FieldKind, const X&) -> V { return results[next++]; });
    } else {
      return rebind<V>(model,
                       [](const std::string&, FieldKind, const auto& x) -> V { return detail::cast_tensor<To>(x); });
    }
  }
}

}  // namespace kolmo

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
