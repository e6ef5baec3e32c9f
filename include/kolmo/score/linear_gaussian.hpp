#pragma once
// The inverse problem with a posterior in closed form, by which methods are judged. The prior is N(0, S) on a ring of D
// points with S of k(d) = exp(-(d / length)^2 / 2), d the distance on the ring, made positive, of unit diagonal, and
// mixed with a little white noise; every s-th point is observed, y = A x + deviation noise. With G* = S A^T (A S A^T +
// deviation^2)^-1 the posterior is N(G* y, C*), C* = S - G* A S, and a perfect sampler ends in N(G* y, C* + eta^2 I).
//
// Every method whose noise estimate is affine, eps = M x + B y, is a pair of matrices at each time; here they are built
// from their definitions. linear_gaussian_modes.hpp has the same in Fourier space, for any number of observations.

#include <kolmo/ops/cholesky.hpp>
#include <kolmo/ops/indexing.hpp>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/views.hpp>
#include <kolmo/score/schedule.hpp>
#include <vector>

namespace kolmo::score {

struct PeriodicProblem {
  index_t points = 64;     ///< D
  index_t every = 1;       ///< s, a divisor of D
  double length = 4;       ///< correlation length in points; 0 is white noise
  double deviation = 0.1;  ///< of the observations' noise
  double white = 1e-3;     ///< the share of white noise in the prior

  /// N
  index_t observations() const { return points / every; }

  /// Throws ArgumentError, naming the member, when one is out of range.
  void check() const {
    if (points < 1 || every < 1 || points % every != 0)
      throw ArgumentError("PeriodicProblem: expected a positive number of points and every a divisor of it, given " +
                          std::to_string(points) + " points, every " + std::to_string(every));
    if (!(length >= 0) || !is_finite(length))
      throw ArgumentError("PeriodicProblem: the length must not be negative, given " + io::to_text(length));
    if (!(deviation > 0) || !is_finite(deviation))
      throw ArgumentError("PeriodicProblem: the deviation must be positive, given " + io::to_text(deviation));
    if (!(white > 0 && white <= 1))
      throw ArgumentError("PeriodicProblem: the share of white noise must be in (0, 1], given " + io::to_text(white));
  }

  /// The eigenvalues of S at wave numbers 0, ..., D - 1.
  std::vector<double> spectrum() const;
};

inline std::vector<double> PeriodicProblem::spectrum() const {
  check();
  const std::size_t n = static_cast<std::size_t>(points);
  std::vector<double> result(n, 1);
  if (!(length > 0)) return result;
  // k falls below 1e-17 at a distance of nine lengths.
  const index_t reach = smaller(points / 2, static_cast<index_t>(std::ceil(9 * length)));
  const double turn = 2 * 3.14159265358979323846 / static_cast<double>(points);
  double total = 0;
  for (index_t k = 0; k <= points / 2; ++k) {
    double sum = 1;
    for (index_t d = 1; d <= reach; ++d) {
      const double x = static_cast<double>(d) / length;
      const double both = 2 * d == points ? 1 : 2;
      sum += both * std::exp(-0.5 * x * x) * std::cos(turn * static_cast<double>(k * d % points));
    }
    const double eigenvalue = larger(sum, 0.0);
    result[static_cast<std::size_t>(k)] = eigenvalue;
    if (k > 0) result[static_cast<std::size_t>(points - k)] = eigenvalue;
  }
  for (const double x : result) total += x;
  for (double& x : result) x = (1 - white) * x * static_cast<double>(points) / total + white;
  return result;
}

/// The orthonormal basis of sines and cosines [D, D] in columns, and the wave number of each.
template <PlainTensor V>
struct PeriodicBasis {
  V columns;
  std::vector<index_t> wave_numbers;

  explicit PeriodicBasis(index_t points) {
    using T = typename V::Scalar;
    const double turn = 2 * 3.14159265358979323846 / static_cast<double>(points);
    for (index_t c = 0; c < points; ++c) wave_numbers.push_back((c + 1) / 2);
    std::vector<T> values(static_cast<std::size_t>(points * points));
    for (index_t r = 0; r < points; ++r)
      for (index_t c = 0; c < points; ++c) {
        const index_t k = (c + 1) / 2;
        const double angle = turn * static_cast<double>(k * r % points);
        const double norm = k == 0 || 2 * k == points ? 1 : 2;
        values[static_cast<std::size_t>(r * points + c)] =
            static_cast<T>(std::sqrt(norm / static_cast<double>(points)) * (c % 2 == 1 ? std::cos(angle)
                                                                            : c == 0   ? 1
                                                                                       : std::sin(angle)));
      }
    columns = V::from(std::span<const T>(values), Shape{points, points});
  }
};

/// f(S) [D, D] for a function of the eigenvalue.
template <PlainTensor V, class F>
V periodic_matrix(const PeriodicProblem& problem, const F& f) {
  using T = typename V::Scalar;
  const std::vector<double> spectrum = problem.spectrum();
  const PeriodicBasis<V> basis(problem.points);
  std::vector<T> values;
  for (const index_t k : basis.wave_numbers) values.push_back(static_cast<T>(f(spectrum[static_cast<std::size_t>(k)])));
  return matmul(basis.columns * V::from(values), transpose(basis.columns));
}

/// The exact noise estimator of the prior, x [B, D] of any tensor kind, t a double.
template <PlainTensor V>
class PeriodicPrior {
 public:
  PeriodicPrior(const PeriodicProblem& problem, const Schedule& schedule)
      : schedule_(schedule), spectrum_(problem.spectrum()), basis_(problem.points) {}

  template <TensorLike X>
  auto operator()(const X& x, double t) const {
    using T = typename V::Scalar;
    const double mu = schedule_.mu(t), sigma = schedule_.sigma(t);
    std::vector<T> factor;
    for (const index_t k : basis_.wave_numbers)
      factor.push_back(static_cast<T>(sigma / (mu * mu * spectrum_[static_cast<std::size_t>(k)] + sigma * sigma)));
    return matmul(matmul(x, basis_.columns) * V::from(factor), transpose(basis_.columns));
  }

 private:
  Schedule schedule_;
  std::vector<double> spectrum_;
  PeriodicBasis<V> basis_;
};

/// G* [D, N] and C* [D, D]: mean G* y and covariance of the exact posterior.
template <PlainTensor V>
struct PeriodicPosterior {
  V gain, covariance;

  explicit PeriodicPosterior(const PeriodicProblem& problem) {
    using T = typename V::Scalar;
    const V prior = periodic_matrix<V>(problem, [](double x) { return x; });
    const V observed = slice(prior, 0, 0, axis_end, problem.every);  // A S
    const V both = slice(observed, 1, 0, axis_end, problem.every);   // A S A^T
    const V noise = V::full(Shape{problem.observations()}, static_cast<T>(problem.deviation * problem.deviation));
    const V factor = cholesky(both + kolmo::detail::PlaceDiagonal{both.shape()}(noise));
    gain = transpose(cholesky_solve(factor, observed)).contiguous();
    covariance = prior - matmul(gain, observed);
  }

  /// The exact noise estimate of the noisy posterior, sigma (mu^2 C* + sigma^2)^-1 (x - mu G* y), for x [B, D] and
  /// y [B, N].
  V eps(const V& x, const V& y, const Schedule& schedule, double t) const {
    using T = typename V::Scalar;
    const double mu = schedule.mu(t), sigma = schedule.sigma(t);
    const V noise = V::full(Shape{covariance.shape()[0]}, static_cast<T>(sigma * sigma));
    const V factor = cholesky(covariance * (mu * mu) + kolmo::detail::PlaceDiagonal{covariance.shape()}(noise));
    const V centred = x - matmul(y, transpose(gain)) * mu;
    return transpose(cholesky_solve(factor, transpose(centred) * sigma)).contiguous();
  }
};

/// The methods that are affine in x and y on this problem. MMPS solved to the end and JFPS with the true prior are
/// `exact`; so is, for a white prior, PiGDM.
enum class AffineKind {
  exact,           ///< the true likelihood of y given x_t
  sda,             ///< var = deviation^2 + gamma rho^2
  detached,        ///< SDA with J = I / mu in the likelihood
  mean_reduction,  ///< SDA with the likelihood divided by N
  pigdm,           ///< var = deviation^2 + sigma^2 / (mu^2 + sigma^2)
  tmpd,            ///< var = deviation^2 + A C A^T 1
  proximal         ///< DiffPIR: a step towards y with weight lambda against xhat, at each time
};

struct AffineMethod {
  AffineKind kind = AffineKind::exact;
  double gamma = 1e-2;
  double deviation = 0;  ///< what the method believes of the sensor; 0: the truth
  double lambda = 10;    ///< proximal

  double believed(const PeriodicProblem& problem) const { return deviation > 0 ? deviation : problem.deviation; }
};

/// eps = state x + observation y, with matrices [D, D] and [D, N].
template <PlainTensor V>
struct AffineEstimate {
  V state, observation;
};

/// The matrices of a method at time t from its definition, in physical space.
template <PlainTensor V>
AffineEstimate<V> affine_estimate(const PeriodicProblem& problem, const AffineMethod& method, const Schedule& schedule,
                                  double t) {
  using T = typename V::Scalar;
  const double mu = schedule.mu(t), sigma = schedule.sigma(t), rho = sigma / mu;
  const double own = method.believed(problem), variance = own * own;
  const index_t n = problem.observations();
  const auto take_rows = [&](const V& x) { return V(slice(x, 0, 0, axis_end, problem.every)); };
  const auto take_columns = [&](const V& x) { return V(slice(x, 1, 0, axis_end, problem.every)); };
  const auto add_diagonal = [&](const V& x, const V& d) { return V(x + kolmo::detail::PlaceDiagonal{x.shape()}(d)); };
  const auto constant = [&](double x) { return V::full(Shape{n}, static_cast<T>(x)); };
  const V prior = periodic_matrix<V>(problem, [&](double s) { return sigma / (mu * mu * s + sigma * sigma); });
  const V jacobian = periodic_matrix<V>(problem, [&](double s) { return mu * s / (mu * mu * s + sigma * sigma); });
  const V seen = take_rows(jacobian);                       // A J
  const V covariance = take_columns(seen) * (sigma * rho);  // A C A^T, C = sigma^2 / mu J
  if (method.kind == AffineKind::proximal) {
    // xhat' = xhat + g A^T (y - A xhat) with g = (1 / var) / (1 / var + lambda / rho^2), as A A^T = I.
    const double g = 1 / (1 + method.lambda * variance / (rho * rho));
    V moved = jacobian.copy(), gain = V::zeros(Shape{problem.points, n});
    T* rows = moved.mutable_data();
    T* to = gain.mutable_data();
    for (index_t i = 0; i < n; ++i) {
      for (index_t c = 0; c < problem.points; ++c)
        rows[i * problem.every * problem.points + c] *= static_cast<T>(1 - g);
      to[i * problem.every * n + i] = static_cast<T>(g);
    }
    const V unit = kolmo::detail::PlaceDiagonal{jacobian.shape()}(V::ones(Shape{problem.points}));
    return {(unit - moved * mu) / sigma, gain * (-mu / sigma)};
  }
  V weight_diagonal;
  switch (method.kind) {
    case AffineKind::pigdm:
      weight_diagonal = constant(variance + sigma * sigma / (mu * mu + sigma * sigma));
      break;
    case AffineKind::tmpd:
      weight_diagonal = sum(covariance, {1}) + constant(variance);
      break;
    case AffineKind::exact:
      break;
    default:
      weight_diagonal = constant((variance + method.gamma * rho * rho) *
                                 (method.kind == AffineKind::mean_reduction ? static_cast<double>(n) : 1));
  }
  V back = transpose(seen);  // J^T A^T [D, N]
  if (method.kind == AffineKind::detached) {
    const V unit =
        kolmo::detail::PlaceDiagonal{jacobian.shape()}(V::full(Shape{problem.points}, static_cast<T>(1 / mu)));
    back = take_columns(unit);
  }
  const V weighted = method.kind == AffineKind::exact
                         ? V(transpose(cholesky_solve(cholesky(add_diagonal(covariance, constant(variance))),
                                                      transpose(back).contiguous())))
                         : V(back / weight_diagonal);
  return {prior + matmul(weighted, seen) * sigma, weighted * (-sigma)};
}

}  // namespace kolmo::score
