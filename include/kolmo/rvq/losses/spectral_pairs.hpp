#pragma once
// Elementwise comparisons of two spectra, each one functor, so that a loss walks its spectra once.

#include <kolmo/ops/reduce.hpp>

namespace kolmo::detail {

/// |log max(a, floor) - log max(b, floor)| times a factor: 1 / ln 10 for decades.
template <class T>
struct LogDistance {
  T floor, factor;
  template <class S>
  KOLMO_HD S operator()(S a, S b) const {
    return abs(log(maximum(a, S(floor))) - log(maximum(b, S(floor)))) * S(factor);
  }
};

/// The square of the same.
template <class T>
struct SquaredLogDistance {
  T floor, factor;
  template <class S>
  KOLMO_HD S operator()(S a, S b) const {
    const S d = (log(maximum(a, S(floor))) - log(maximum(b, S(floor)))) * S(factor);
    return d * d;
  }
};

struct AbsoluteDistance {
  template <class S>
  KOLMO_HD S operator()(S a, S b) const {
    return abs(a - b);
  }
};

struct SquaredDistance {
  template <class S>
  KOLMO_HD S operator()(S a, S b) const {
    return (a - b) * (a - b);
  }
};

/// sqrt(max(x, least^2)): a norm from the sum of its squares, without a gradient at the smallest.
template <class T>
struct SafeRoot {
  T least;
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return sqrt(maximum(x, S(least * least)));
  }
};

inline constexpr double decades = 0.43429448190325182765;  // 1 / ln 10

template <template <class> class F, TensorLike A, TensorLike B>
auto log_pair(const A& a, const B& b, double floor, double factor) {
  using T = ScalarOf<A>;
  return map(F<T>{static_cast<T>(floor), static_cast<T>(factor)}, a, b);
}

/// Throws ShapeError unless two waves to be compared have one shape.
inline void check_waves(const char* name, const Shape& reference, const Shape& estimate) {
  if (reference.rank() < 1 || !(reference == estimate))
    throw ShapeError(std::string(name) + ": expected a reference and an estimate of one shape [..., points], given " +
                     reference.to_string() + " and " + estimate.to_string());
}

}  // namespace kolmo::detail
