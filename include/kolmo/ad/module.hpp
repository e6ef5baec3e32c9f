#pragma once
// Models are plain struct templates over their tensor kind. One static function per struct,
//
//   template <class V> struct Linear {
//     V weight, bias;
//     static void fields(auto&& f, auto&... s) { f(param("weight"), s.weight...); f(param("bias"), s.bias...); }
//     template <class U> using Rebind = Linear<U>;
//   };
//
// gives walking several objects of the same structure in lock-step, and from it names, counting,
// saving, gradients, optimiser moments and transfer.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/ad/tape.hpp>

namespace kolmo {

/// What a field is: a parameter is differentiated, optimised and saved; a state is saved; an option is a
/// plain value saved as metadata; a module has fields of its own.
enum class FieldKind { parameter, state, option, module };

struct Field {
  const char* name;
  FieldKind kind;
  /// What the absence of an option, of a list's length or of a part's presence means: its text in files that were
  /// written before the field existed. Null: every file has it.
  const char* absent = nullptr;
};

constexpr Field param(const char* name, const char* absent = nullptr) { return {name, FieldKind::parameter, absent}; }
constexpr Field state(const char* name, const char* absent = nullptr) { return {name, FieldKind::state, absent}; }
constexpr Field option(const char* name, const char* absent = nullptr) { return {name, FieldKind::option, absent}; }
constexpr Field submodule(const char* name, const char* absent = nullptr) { return {name, FieldKind::module, absent}; }

namespace detail {
struct IgnoreFields {
  void operator()(Field, auto&...) const {}
};
template <class X>
struct IsSequence : std::false_type {};
template <class X, class A>
struct IsSequence<std::vector<X, A>> : std::bool_constant<!std::is_arithmetic_v<X>> {};
template <class X, std::size_t N>
struct IsSequence<std::array<X, N>> : std::bool_constant<!std::is_arithmetic_v<X>> {};
template <class X>
struct IsOptional : std::false_type {};
template <class X>
struct IsOptional<std::optional<X>> : std::true_type {};
}  // namespace detail

/// A struct with a static `fields` function that visits its members.
template <class M>
concept Module = requires(std::remove_cvref_t<M>& m) { std::remove_cvref_t<M>::fields(detail::IgnoreFields{}, m); };

namespace detail {

inline std::string join_path(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

template <class F, class First, class... Rest>
void visit_member(const F& f, const std::string& path, FieldKind kind, First& first, Rest&... rest);

template <class F>
struct VisitFields {
  const F& f;
  const std::string& path;
  void operator()(Field field, auto& first, auto&... rest) const {
    visit_member(f, join_path(path, field.name), field.kind, first, rest...);
  }
};

template <class F, class First, class... Rest>
void visit_member(const F& f, const std::string& path, FieldKind kind, First& first, Rest&... rest) {
  using X = std::remove_cvref_t<First>;
  if constexpr (Module<X>) {
    X::fields(VisitFields<F>{f, path}, first, rest...);
  } else if constexpr (IsSequence<X>::value) {
    if (!((rest.size() == first.size()) && ...))
      throw ShapeError("model field '" + path + "': the models visited together have different numbers of elements");
    for (std::size_t i = 0; i < first.size(); ++i)
      visit_member(f, join_path(path, std::to_string(i)), kind, first[i], rest[i]...);
  } else if constexpr (IsOptional<X>::value) {
    if (!((rest.has_value() == first.has_value()) && ...))
      throw ShapeError("model field '" + path + "': present in one model and absent in another");
    if (first.has_value()) visit_member(f, path, kind, *first, *rest...);
  } else {
    f(path, kind, first, rest...);
  }
}

}  // namespace detail

/// Calls f(path, kind, member, members of the others...) for every leaf: tensors and options, in the
/// order of declaration. A path is dotted: "layers.0.weight".
template <class F, class First, class... Rest>
void visit(const F& f, First& first, Rest&... rest) {
  detail::visit_member(f, std::string(), FieldKind::module, first, rest...);
}

namespace detail {
template <class F>
struct VisitTensors {
  const F& f;
  void operator()(const std::string& path, FieldKind kind, auto& first, auto&... rest) const {
    if constexpr (TensorLike<std::remove_cvref_t<decltype(first)>>) f(path, kind, first, rest...);
  }
};
template <class F>
struct VisitParameters {
  const F& f;
  void operator()(const std::string& path, FieldKind kind, auto& first, auto&... rest) const {
    if constexpr (TensorLike<std::remove_cvref_t<decltype(first)>>)
      if (kind == FieldKind::parameter) f(path, first, rest...);
  }
};
}  // namespace detail

/// Calls f(path, kind, tensor, ...) for parameters and states.
template <class F, class First, class... Rest>
void visit_tensors(const F& f, First& first, Rest&... rest) {
  visit(detail::VisitTensors<F>{f}, first, rest...);
}

/// Calls f(path, tensor, ...) for the differentiable leaves.
template <class F, class First, class... Rest>
void visit_parameters(const F& f, First& first, Rest&... rest) {
  visit(detail::VisitParameters<F>{f}, first, rest...);
}

namespace detail {

template <class To, class M>
struct RebindOf;
template <class To, TensorLike M>
struct RebindOf<To, M> {
  using Type = To;
};
template <class To, Module M>
struct RebindOf<To, M> {
  using Type = typename M::template Rebind<To>;
};
template <class To, class X>
struct RebindOf<To, std::vector<X>> {
  using Type = std::vector<typename RebindOf<To, X>::Type>;
};
template <class To, class X, std::size_t N>
struct RebindOf<To, std::array<X, N>> {
  using Type = std::array<typename RebindOf<To, X>::Type, N>;
};
template <class To, class X>
struct RebindOf<To, std::optional<X>> {
  using Type = std::optional<typename RebindOf<To, X>::Type>;
};

template <class From, class To>
void resize_like(const From&, To&) {}
template <class X, class Y>
void resize_like(const std::vector<X>& from, std::vector<Y>& to) {
  to.resize(from.size());
}
template <class X, class Y>
void resize_like(const std::optional<X>& from, std::optional<Y>& to) {
  if (from.has_value()) to.emplace();
}

template <class F, class From, class To>
void convert_member(const F& f, const std::string& path, FieldKind kind, const From& from, To& to);

template <class F>
struct ConvertFields {
  const F& f;
  const std::string& path;
  void operator()(Field field, const auto& from, auto& to) const {
    convert_member(f, join_path(path, field.name), field.kind, from, to);
  }
};

template <class F, class From, class To>
void convert_member(const F& f, const std::string& path, FieldKind kind, const From& from, To& to) {
  if constexpr (TensorLike<From>) {
    to = f(path, kind, from);
  } else if constexpr (Module<From>) {
    // fields names the members of every object it is given, whatever their kinds.
    From::fields(ConvertFields<F>{f, path}, from, to);
  } else if constexpr (IsSequence<From>::value) {
    resize_like(from, to);
    for (std::size_t i = 0; i < from.size(); ++i)
      convert_member(f, join_path(path, std::to_string(i)), kind, from[i], to[i]);
  } else if constexpr (IsOptional<From>::value) {
    resize_like(from, to);
    if (from.has_value()) convert_member(f, path, kind, *from, *to);
  } else {
    to = from;
  }
}

}  // namespace detail

/// The model over another tensor kind: RebindTo<Var<V>, Linear<V>> is Linear<Var<V>>.
template <class To, class M>
using RebindTo = typename detail::RebindOf<To, std::remove_cvref_t<M>>::Type;

/// The same model with every tensor replaced by f(path, kind, tensor), which returns To; options are copied.
template <class To, class M, class F>
RebindTo<To, M> rebind(const M& model, const F& f) {
  RebindTo<To, M> result{};
  detail::convert_member(f, std::string(), FieldKind::module, model, result);
  return result;
}

namespace detail {
template <class V>
struct KindOfModel;
template <TensorLike V>
struct KindOfModel<V> {
  using Type = V;
};
template <template <class...> class M, class V, class... Rest>
  requires(!TensorLike<M<V, Rest...>>)
struct KindOfModel<M<V, Rest...>> : KindOfModel<V> {};
}  // namespace detail

/// The tensor kind of a model: its first template parameter.
template <class M>
using KindOf = typename detail::KindOfModel<std::remove_cvref_t<M>>::Type;

/// Number of scalars in the parameters of a model.
template <class M>
index_t parameter_count(const M& model) {
  index_t count = 0;
  visit_parameters([&](const std::string&, const auto& x) { count += x.size(); }, model);
  return count;
}

/// A model of the same structure whose tensors are zero: a gradient, a moment.
template <class M>
M zeros_like(const M& model) {
  using V = KindOf<M>;
  return rebind<V>(model, [](const std::string&, FieldKind, const V& x) { return V::zeros(x.shape()); });
}

}  // namespace kolmo
