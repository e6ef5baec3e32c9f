#pragma once
// The Gaussian score of SDA (Rozet and Louppe 2023, arXiv:2306.10574) and its scalings with the number N of
// observations:
//
//   l = J^T A'^T (y - A(xhat)) / var,   var = deviation^2 + gamma rho^2.
//
// With q = N / N_ref the scalings are
//
//   likelihood_weighting  deviation sqrt(q)
//   dual                  deviation sqrt(q), gamma q: var and with it N / var in fixed proportion at every time
//   linear                deviation q, gamma q^2
//   clamped_linear        the same, neither below a floor
//   gamma_only            gamma q
//   mean_reduction        l / N
//
// The sum over observations is Bayes' rule and the deviation is a property of the sensor: with q != 1 all of them but
// gamma_only sample another posterior (its spread grows as sqrt(q)). They are here to be compared with.

#include <kolmo/io/number_text.hpp>
#include <kolmo/score/guidance/stability.hpp>

namespace kolmo {

namespace detail {

inline void check_at_least(const char* method, const char* name, double value, double least) {
  if (!(value >= least) || !(value < 1e300))
    throw ArgumentError(std::string(method) + ": " + name + " must be finite and at least " + io::to_text(least) +
                        ", given " + io::to_text(value));
}
inline void check_positive(const char* method, const char* name, double value) {
  if (!(value > 0) || !(value < 1e300))
    throw ArgumentError(std::string(method) + ": " + name + " must be positive and finite, given " +
                        io::to_text(value));
}

/// deviation^2 scale + gamma rho^2
template <class T>
struct SquareAddScaled {
  T scale, rho_squared;
  KOLMO_HD auto operator()(auto deviation, auto gamma) const {
    return deviation * deviation * scale + gamma * rho_squared;
  }
};

/// sigma J^T A'^T (residual / variance), or with J = I / mu.
template <class Call, PlainTensor V>
V pull_likelihood(Call& call, const V& weighted, bool detach) {
  const V g = call.operation().pull(weighted);
  return detach ? g * (call.sigma / call.mu) : call.pull_clean(g) * call.sigma;
}

}  // namespace detail

namespace score {

/// `gamma` is a number, or a tensor that broadcasts against the observed value.
template <class G = double>
struct SdaGuidance {
  G gamma = G(1e-2);
  /// The estimator counts as constant: half the cost, and l = A'^T (y - A(xhat)) / (mu var).
  bool detach = false;

  void check() const {
    if constexpr (PlainTensor<G>) {
      if (const index_t bad = kolmo::detail::count_where(kolmo::detail::Negative{}, gamma))
        throw ArgumentError("sda: gamma must be finite and at least 0, but " + std::to_string(bad) + " of " +
                            std::to_string(gamma.size()) + " values are not");
    } else {
      kolmo::detail::check_at_least("sda", "gamma", gamma, 0);
    }
  }

  template <class Call>
  auto operator()(Call& call) const {
    using V = typename Call::Tensor;
    using T = typename V::Scalar;
    if (!detach) call.record();
    V g;
    if constexpr (PlainTensor<G>)
      g = gamma;
    else
      g = V::scalar(static_cast<T>(gamma));
    const kolmo::detail::SquareAddScaled<T> variance{T(1), static_cast<T>(call.rho * call.rho)};
    const V var = kolmo::detail::stable_variance(call, apply(variance, call.deviation(), g));
    return kolmo::detail::pull_likelihood(call, V(call.residual() / var), detach);
  }
};

enum class Scaling { likelihood_weighting, dual, linear, clamped_linear, gamma_only, mean_reduction };

struct ScaledGuidance {
  Scaling scaling = Scaling::dual;
  double reference_count = 1;  ///< N_ref
  double gamma = 1e-2;
  bool detach = false;
  double deviation_floor = 0.15;  ///< clamped_linear: of the scaled deviation
  double gamma_floor = 0.02;      ///< clamped_linear: of the scaled gamma

  void check() const {
    kolmo::detail::check_at_least("scaled guidance", "gamma", gamma, 0);
    kolmo::detail::check_at_least("scaled guidance", "reference_count", reference_count, 1);
    kolmo::detail::check_at_least("scaled guidance", "deviation_floor", deviation_floor, 0);
    kolmo::detail::check_at_least("scaled guidance", "gamma_floor", gamma_floor, 0);
  }

  template <class Call>
  auto operator()(Call& call) const {
    using V = typename Call::Tensor;
    using T = typename V::Scalar;
    if (!detach) call.record();
    const double n = static_cast<double>(call.observation_count()), q = n / reference_count;
    double square = 1, scaled_gamma = gamma, reduction = 1;
    switch (scaling) {
      case Scaling::likelihood_weighting:
        square = q;
        break;
      case Scaling::dual:
        square = q;
        scaled_gamma = gamma * q;
        break;
      case Scaling::linear:
      case Scaling::clamped_linear:
        square = q * q;
        scaled_gamma = gamma * q * q;
        break;
      case Scaling::gamma_only:
        scaled_gamma = gamma * q;
        break;
      case Scaling::mean_reduction:
        reduction = 1 / n;
        break;
    }
    V deviation = call.deviation() * std::sqrt(square);
    if (scaling == Scaling::clamped_linear) {
      deviation = maximum(deviation, V::scalar(static_cast<T>(deviation_floor)));
      scaled_gamma = larger(scaled_gamma, gamma_floor);
    }
    const kolmo::detail::SquareAddScaled<T> variance{T(1), static_cast<T>(call.rho * call.rho)};
    const V var = kolmo::detail::stable_variance(
        call, V(apply(variance, deviation, V::scalar(static_cast<T>(scaled_gamma))) / reduction));
    return kolmo::detail::pull_likelihood(call, V(call.residual() / var), detach);
  }
};

/// The likelihood's term takes the size of the prior's, sample by sample:
/// eps - xi (|eps| / |g|) g, g = -grad |y - A(xhat)|^2 / 2. It does not depend on the noise of the sensor, so the
/// spread of the samples cannot be right.
struct AdaptiveGuidance {
  double xi = 1;

  void check() const { kolmo::detail::check_at_least("adaptive", "xi", xi, 0); }

  template <class Call>
  auto operator()(Call& call) const {
    using V = typename Call::Tensor;
    call.record();
    const V g = call.pull_clean(call.operation().pull(call.residual()));
    std::vector<double> factor = sample_dots(g, g), prior = sample_dots(call.noise(), call.noise());
    for (std::size_t s = 0; s < factor.size(); ++s)
      factor[s] = xi * std::sqrt(prior[s]) / (std::sqrt(factor[s]) + 1e-8);
    return V(g * per_sample<V>(factor, g.rank()));
  }
};

}  // namespace score
}  // namespace kolmo
