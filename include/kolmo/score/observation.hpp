#pragma once
// A measurement: y = A(x) + deviation noise. A is any callable that is generic in the tensor kind and maps states
// [B, event...] to [B, ...]; the operators of observations/ are such callables.

#include <kolmo/ad/transforms.hpp>
#include <kolmo/core/math.hpp>
#include <kolmo/io/number_text.hpp>
#include <kolmo/ops/elementwise.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/score/observations/composition.hpp>

namespace kolmo {

namespace detail {

/// Zero for a positive finite number, one otherwise.
struct NotPositive {
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return select(is_finite(x), select(x > S(0), S(0), S(1)), S(1));
  }
};
/// One for a negative, infinite or undefined number.
struct Negative {
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return select(is_finite(x), select(x < S(0), S(1), S(0)), S(1));
  }
};
struct NotFinite {
  template <class S>
  KOLMO_HD S operator()(S x) const {
    return select(is_finite(x), S(0), S(1));
  }
};

template <class F, PlainTensor V>
index_t count_where(const F& bad, const V& x) {
  return static_cast<index_t>(sum(apply(bad, x)).item());
}

}  // namespace detail

namespace score {

/// What was measured and how. Build it with `observe`, which checks.
template <class A, PlainTensor V>
struct Observation {
  A forward;
  V value;      ///< the shape of A(x), with a batch axis or without one
  V deviation;  ///< standard deviation of the sensor's noise, in the units of `value`; broadcasts against it
};

/// An observation whose noise level is a tensor that broadcasts against the value: one per point, or per channel.
/// Throws ArgumentError unless deviations are positive and finite and values finite, ShapeError unless they broadcast.
template <class A, PlainTensor V>
Observation<A, V> observe(A forward, V value, V deviation) {
  if (!(broadcast(value.shape(), deviation.shape(), "observe") == value.shape()))
    throw ShapeError("observe: deviations of shape " + deviation.shape().to_string() +
                     " do not broadcast to the measured value of shape " + value.shape().to_string());
  if (const index_t bad = kolmo::detail::count_where(kolmo::detail::NotPositive{}, deviation))
    throw ArgumentError("observe: the deviation of the noise must be positive and finite, but " + std::to_string(bad) +
                        " of " + std::to_string(deviation.size()) + " are not" +
                        (deviation.size() == 1 ? ": given " + io::to_text(deviation.item()) : std::string()));
  if (const index_t bad = kolmo::detail::count_where(kolmo::detail::NotFinite{}, value))
    throw ArgumentError("observe: " + std::to_string(bad) + " of " + std::to_string(value.size()) +
                        " measured values are NaN or infinite; leave such points out with Points or a mask");
  return {std::move(forward), std::move(value), std::move(deviation)};
}

/// An observation with one noise level. Throws ArgumentError unless it is positive and the values are finite.
template <class A, PlainTensor V>
Observation<A, V> observe(A forward, V value, double deviation) {
  return observe(std::move(forward), std::move(value), V::scalar(static_cast<typename V::Scalar>(deviation)));
}

}  // namespace score

namespace detail {

/// An observation operator at one state, whatever its type: methods are compiled once for all operators.
template <PlainTensor V>
class OperatorAt {
 public:
  virtual ~OperatorAt() = default;
  virtual const V& value() const = 0;
  /// A' dx
  virtual V push(const V& dx) const = 0;
  /// A'^T u, any number of times.
  virtual V pull(const V& u) = 0;
};

/// The forward pass runs once.
template <class A, PlainTensor V>
class LinearisedOperator final : public OperatorAt<V> {
 public:
  LinearisedOperator(const A& forward, const V& x) : forward_(forward), x_(x), recorded_(forward, x) {}

  const V& value() const override { return recorded_.value(); }
  V push(const V& dx) const override {
    if constexpr (score::LinearOperator<A>)
      return forward_(dx);
    else
      return jvp(forward_, x_, dx).tangent;
  }
  V pull(const V& u) override { return recorded_.pull_and_keep(u); }

 private:
  const A& forward_;
  V x_;
  Vjp<V, V> recorded_;
};

}  // namespace detail
}  // namespace kolmo
