#pragma once
// Ordinary differential equations dx/dt = f(x) on rows of numbers, as operations on batches of states [..., d].
//
// A law is a struct of parameters that gives one component of the rate, and one of the transposed Jacobian applied to a
// cotangent; everything else (batches, devices, forward and reverse mode, time steps) follows from these two:
//
//   struct Decay {
//     double gamma = 1;
//     index_t dimensions() const { return 2; }
//     template <class S> KOLMO_HD S rate(index_t i, const S* x) const { return S(-gamma) * x[i]; }
//     template <class S> KOLMO_HD S pull(index_t i, const S* x, const S* g) const { return S(-gamma) * g[i]; }
//   };

#include <string>
#include <tuple>

#include <kolmo/ad/items.hpp>
#include <kolmo/flow/runge_kutta.hpp>

namespace kolmo::flow {

namespace detail {

template <class Law, class S>
struct RateKernel {
  Law law;
  const S* x;
  S* y;
  index_t n;
  KOLMO_HD void operator()(index_t e) const {
    const index_t i = e % n;
    y[e] = law.rate(i, x + (e - i));
  }
};

template <class Law, class S>
struct RatePullKernel {
  Law law;
  const S* x;
  const S* g;
  S* gx;
  index_t n;
  KOLMO_HD void operator()(index_t e) const {
    const index_t i = e % n, row = e - i;
    gx[e] = law.pull(i, x + row, g + row);
  }
};

template <class Law, PlainTensor X>
X rate_plain(const Law& law, const X& x) {
  using S = typename X::Scalar;
  X y = X::uninitialized(x.shape());
  X::Backend::for_each(x.size(), RateKernel<Law, S>{law, x.data(), y.mutable_data(), law.dimensions()});
  return y;
}

template <class Law, PlainTensor X>
X rate_pull_plain(const Law& law, const X& x, const X& g) {
  using S = typename X::Scalar;
  X gx = X::uninitialized(x.shape());
  X::Backend::for_each(x.size(), RatePullKernel<Law, S>{law, x.data(), g.data(), gx.mutable_data(), law.dimensions()});
  return gx;
}

template <class Law, Value X>
X rate_values(const Law& law, const X& x) {
  if constexpr (JetLike<X>)
    return kolmo::detail::unzip_dual(rate_plain(law, kolmo::detail::zip_dual(x)));
  else
    return rate_plain(law, x.contiguous());
}

template <class Law, Value X>
struct RatePullBack {
  Law law;
  X x;
  template <Value G>
  auto operator()(const G& g, const Wanted<1>&) const {
    if constexpr (JetLike<G>) {
      return std::make_tuple(
          kolmo::detail::unzip_dual(rate_pull_plain(law, kolmo::detail::zip_dual(x), kolmo::detail::zip_dual(g))));
    } else {
      return std::make_tuple(rate_pull_plain(law, x.contiguous(), g.contiguous()));
    }
  }
};

template <class Law>
void check_state(const Law& law, const Shape& shape, const char* operation) {
  if (shape.rank() < 1 || shape[-1] != law.dimensions())
    throw ShapeError(std::string(operation) + ": expected states of shape [..., " + std::to_string(law.dimensions()) +
                     "], given " + shape.to_string());
}

}  // namespace detail

/// The rate of change of states [..., d]. Throws ShapeError for another last extent.
template <class Law, TensorLike X>
auto rate_of(const Law& law, const X& x) {
  detail::check_state(law, x.shape(), "rate_of");
  return record(detail::rate_values(law, value(x)), detail::RatePullBack<Law, ValueOf<X>>{law, value(x)}, x);
}

/// rate_of with the law bound: what rk4 takes.
template <class Law>
struct RateOf {
  Law law;
  template <TensorLike X>
  auto operator()(const X& x) const {
    return rate_of(law, x);
  }
};

/// States [..., d] a time dt later, by `steps` steps of fourth order. Throws as rk4 and rate_of.
template <class Law, TensorLike X>
X transition(const Law& law, const X& x, double dt, index_t steps = 1) {
  return rk4(RateOf<Law>{law}, x, dt, steps);
}

}  // namespace kolmo::flow
