#pragma once
// Activations chosen at run time, as an option that a model saves with its weights.

#include <string>

#include <kolmo/nn/activation.hpp>

namespace kolmo::nn {

enum class ActivationKind { relu, elu, gelu, selu, silu };

/// The name, as in configuration files: "ReLU", "ELU", "GELU", "SELU", "SiLU".
inline const char* name_of(ActivationKind kind) {
  constexpr const char* names[] = {"ReLU", "ELU", "GELU", "SELU", "SiLU"};
  const auto number = static_cast<int>(kind);
  if (number < 0 || number > 4)
    throw ArgumentError("no activation has the number " + std::to_string(number) + "; expected 0 to 4");
  return names[number];
}

/// The kind of a name, whatever its case. Throws ArgumentError for another name.
inline ActivationKind activation_of(const std::string& name) {
  const auto lower = [](std::string text) {
    for (char& c : text)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
  };
  for (int i = 0; i < 5; ++i)
    if (lower(name) == lower(name_of(static_cast<ActivationKind>(i)))) return static_cast<ActivationKind>(i);
  throw ArgumentError("no activation is called '" + name + "'; expected ReLU, ELU, GELU, SELU or SiLU");
}

/// The functor of a kind known at run time.
struct AnyActivation {
  ActivationKind kind;

  template <class S>
  KOLMO_HD S operator()(S x) const {
    switch (kind) {
      case ActivationKind::relu:
        return fn::Relu{}(x);
      case ActivationKind::elu:
        return fn::Elu{}(x);
      case ActivationKind::gelu:
        return fn::Gelu{}(x);
      case ActivationKind::selu:
        return fn::Selu{}(x);
      case ActivationKind::silu:
        break;
    }
    return fn::Silu{}(x);
  }
};

/// Calls f with the functor of a kind: the one that every published network uses has a loop of its own, the others
/// share one, which keeps compile times in bounds. Throws ArgumentError for a number that is no kind.
template <class F>
auto with_activation(ActivationKind kind, const F& f) {
  static_cast<void>(name_of(kind));
  if (kind == ActivationKind::silu) return f(fn::Silu{});
  return f(AnyActivation{kind});
}

/// f(x) elementwise, for the functor of a kind.
template <TensorLike X>
auto activate(ActivationKind kind, const X& x) {
  return with_activation(kind, [&](const auto& f) { return map(f, x); });
}

}  // namespace kolmo::nn
