#pragma once
// Sampling from a posterior: the noise estimate of a prior, corrected by an observation,
//
//   eps_post(x_t, t) = eps(x_t, t) - sigma l,   l ~ grad log p(y | x_t),
//
// takes the place of eps in any sampler. A method is a struct that gives sigma l; `guided` joins estimator, schedule,
// observation and method. The methods need, at most, products of a vector with J^T and J, J = d xhat / d x_t =
// (I - sigma d eps / d x) / mu, xhat = (x_t - sigma eps) / mu: one recorded forward pass serves any number of J^T v.

#include <memory>
#include <optional>

#include <kolmo/score/krylov.hpp>
#include <kolmo/score/observation.hpp>

namespace kolmo::score {

/// What happened in the last call of a guided estimator. Norms are root mean squares over the batch of norms over an
/// event.
struct GuidanceReport {
  double time = 0;
  double prior_norm = 0;       ///< of eps
  double likelihood_norm = 0;  ///< of sigma l
  double chi_squared = 0;      ///< mean of ((y - A(xhat)) / deviation)^2
  double effective_noise = 0;  ///< rms of y - A(xhat)
  int solver_iterations = 0;   ///< products with the covariance of y, where the method solves with it
  double solver_residual = 0;  ///< rms of what is left of the residual, in units of the deviation
  double stability = 0;  ///< explicit steps are stable below one; zero where it was not asked for (see stability.hpp)
  double variance_factor = 1;  ///< by how much the variance was raised to keep the step stable
  index_t limited = 0;         ///< samples whose likelihood term was shortened; see GuidanceOptions::limit
  int substeps = 1;            ///< equal parts of the present step that would be stable

  /// Size of the likelihood's term relative to the prior's.
  double ratio() const { return prior_norm > 0 ? likelihood_norm / prior_norm : 0; }
};

/// What to do about the stability number of section "stability" in stability.hpp.
enum class StabilityPolicy {
  none,          ///< not computed: it costs a few products with J and J^T per step
  report,        ///< computed at each step
  cap_variance,  ///< and the variance of methods with a variance is raised to the smallest stable one
  substep        ///< and the number of equal parts that would be stable is offered to the sampler
};

struct GuidanceOptions {
  StabilityPolicy stability = StabilityPolicy::none;
  int power_iterations = 4;
  /// Shortens the likelihood's term of a sample where the posterior's estimate would be longer than standard normal
  /// noise can be. The estimate is a mean of such noise given x_t and y, so its mean square is at most one per element;
  /// a longer one comes from steps that are not stable or a network outside of what it knows. The published methods do
  /// not have it; default_guidance() always has.
  bool limit = false;
};

}  // namespace kolmo::score

namespace kolmo::detail {

template <class Eps>
struct EstimatorAt {
  const Eps& eps;
  double time;
  template <TensorLike X>
  auto operator()(const X& x) const {
    return eps(x, time);
  }
};

/// An estimator of any type at one state and time.
template <PlainTensor V>
class EstimatorPort {
 public:
  virtual ~EstimatorPort() = default;
  /// eps(x)
  virtual V value() const = 0;
  /// The same, recorded for pull.
  virtual const V& record() = 0;
  /// (d eps / d x)^T v, any number of times after record.
  virtual V pull(const V& v) = 0;
  /// (d eps / d x) v
  virtual V push(const V& v) const = 0;
};

template <class Eps, PlainTensor V>
class EstimatorPortOf final : public EstimatorPort<V> {
 public:
  EstimatorPortOf(const Eps& eps, const V& x, double t) : at_{eps, t}, x_(x) {}

  V value() const override { return at_(x_); }
  const V& record() override {
    if (!recorded_.has_value()) recorded_.emplace(at_, x_);
    return recorded_->value();
  }
  V pull(const V& v) override { return recorded_->pull_and_keep(v); }
  V push(const V& v) const override { return jvp(at_, x_, v).tangent; }

 private:
  EstimatorAt<Eps> at_;
  const V& x_;
  std::optional<Vjp<V, V>> recorded_;
};

/// The measured values and where to get the operator at a state.
template <PlainTensor V>
class ObservationPort {
 public:
  virtual ~ObservationPort() = default;
  virtual std::unique_ptr<OperatorAt<V>> at(const V& x) const = 0;
  virtual const V& value() const = 0;
  virtual const V& deviation() const = 0;
};

template <class A, PlainTensor V>
class ObservationPortOf final : public ObservationPort<V> {
 public:
  explicit ObservationPortOf(const score::Observation<A, V>& observation) : observation_(observation) {}
  std::unique_ptr<OperatorAt<V>> at(const V& x) const override {
    return std::make_unique<LinearisedOperator<A, V>>(observation_.forward, x);
  }
  const V& value() const override { return observation_.value; }
  const V& deviation() const override { return observation_.deviation; }

 private:
  const score::Observation<A, V>& observation_;
};

struct SquaredRatio {
  KOLMO_HD auto operator()(auto r, auto s) const { return (r / s) * (r / s); }
};

/// Whether a method asks for GuidanceOptions::limit by itself.
template <class Method>
bool limits(const Method& method) {
  if constexpr (requires { method.limits(); })
    return method.limits();
  else
    return false;
}

/// By how much each sample's likelihood term is to be multiplied so that noise - likelihood is no longer than standard
/// normal noise of so many elements, or than `noise` itself. Three deviations of the length are granted, 20 % at least.
template <PlainTensor V>
std::vector<double> likelihood_factors(const V& noise, const V& likelihood) {
  const std::vector<double> nn = score::sample_dots(noise, noise), nl = score::sample_dots(noise, likelihood),
                            ll = score::sample_dots(likelihood, likelihood);
  const double elements = static_cast<double>(noise.size()) / larger(1.0, static_cast<double>(nn.size()));
  const double longest = larger(1.2, 1 + 3 / std::sqrt(elements)) * std::sqrt(elements);
  std::vector<double> factors(nn.size(), 1.0);
  for (std::size_t s = 0; s < nn.size(); ++s) {
    const double bound = larger(longest * longest, nn[s]);
    // A sum that is not finite is left to the sampler, which stops with it.
    if (!(nn[s] - 2 * nl[s] + ll[s] > bound) || !is_finite(ll[s])) continue;
    factors[s] = (nl[s] + std::sqrt(larger(nl[s] * nl[s] - ll[s] * (nn[s] - bound), 0.0))) / ll[s];
  }
  return factors;
}

/// What a guided estimator remembers between calls; shared by its copies.
template <PlainTensor V>
struct GuidanceMemory {
  score::GuidanceReport report;
  double step_from = -1, step_mu = 1, step_sigma = 0;  // the sampler's present step, when it tells
  V solution;                                          // of the last linear system, where the next one starts
  double solution_time = -1;
};

}  // namespace kolmo::detail

namespace kolmo::score {

/// One call of a guided estimator, as the methods see it: the estimator at (x, t) and the observation at xhat, each
/// evaluated once, when first asked for. It does not depend on the types of the two, so that every method is compiled
/// once for all networks and operators.
template <PlainTensor V>
class GuidanceCall {
 public:
  using Tensor = V;
  const double time, mu, sigma, rho;

  GuidanceCall(kolmo::detail::EstimatorPort<V>& estimator, const kolmo::detail::ObservationPort<V>& observation,
               const GuidanceOptions& options, kolmo::detail::GuidanceMemory<V>& memory, const V& x, double t,
               double mu_t, double sigma_t)
      : time(t),
        mu(mu_t),
        sigma(sigma_t),
        rho(sigma_t / mu_t),
        estimator_(estimator),
        observation_(observation),
        options_(options),
        memory_(memory),
        x_(x) {}
  GuidanceCall(const GuidanceCall&) = delete;
  GuidanceCall& operator=(const GuidanceCall&) = delete;

  const V& x() const { return x_; }
  const V& deviation() const { return observation_.deviation(); }
  GuidanceReport& report() { return memory_.report; }
  kolmo::detail::GuidanceMemory<V>& memory() { return memory_; }
  const GuidanceOptions& options() const { return options_; }

  /// eps(x, t)
  const V& noise() {
    if (!noise_.has_value()) noise_ = estimator_.value();
    return noise_;
  }

  /// Evaluates the estimator so that pull_noise and the products with J^T can be taken.
  void record() { noise_ = estimator_.record(); }

  /// xhat, the estimate of the clean state.
  const V& clean() {
    if (!clean_.has_value()) clean_ = (x_ - noise() * sigma) / mu;
    return clean_;
  }

  /// (d eps / d x)^T v
  V pull_noise(const V& v) {
    record();
    return estimator_.pull(v);
  }
  /// J^T v
  V pull_clean(const V& v) { return (v - pull_noise(v) * sigma) / mu; }
  /// J v, by a pass of the estimator in forward mode.
  V push_clean(const V& v) { return (v - estimator_.push(v) * sigma) / mu; }
  /// Cov[x | x_t] v = (sigma^2 / mu) J^T v: J is symmetric where eps is a gradient.
  V covariance(const V& v) { return (v - pull_noise(v) * sigma) * (rho * rho); }

  /// The observation operator at xhat.
  kolmo::detail::OperatorAt<V>& operation() {
    if (operation_ == nullptr) operation_ = observation_.at(clean());
    return *operation_;
  }

  /// y - A(xhat), [B, ...]
  const V& residual() {
    if (residual_.has_value()) return residual_;
    const V& predicted = operation().value();
    const Shape shape = broadcast(observation_.value().shape(), predicted.shape(), "guided");
    if (!(shape == predicted.shape()))
      throw ShapeError("guided: the operator maps states " + x_.shape().to_string() + " to " +
                       predicted.shape().to_string() + ", but the measured value has shape " +
                       observation_.value().shape().to_string() +
                       "; expected the shape of the operator's result, with its batch axis or without");
    residual_ = observation_.value() - predicted;
    const double n = static_cast<double>(larger<index_t>(1, residual_.size()));
    report().chi_squared =
        static_cast<double>(sum(apply(kolmo::detail::SquaredRatio{}, residual_, deviation())).item()) / n;
    report().effective_noise = kolmo::detail::krylov_rms(sample_dots(residual_, residual_), residual_.size());
    return residual_;
  }

  /// Number of scalar observations of one sample.
  index_t observation_count() { return residual().size() / larger<index_t>(1, residual().shape()[0]); }

 private:
  kolmo::detail::EstimatorPort<V>& estimator_;
  const kolmo::detail::ObservationPort<V>& observation_;
  const GuidanceOptions& options_;
  kolmo::detail::GuidanceMemory<V>& memory_;
  const V& x_;
  V noise_, clean_, residual_;
  std::unique_ptr<kolmo::detail::OperatorAt<V>> operation_;
};

/// A noise estimator of the posterior: call it as (x, t). Copies share their report.
template <class Eps, class S, class A, PlainTensor V, class Method>
class Guided {
 public:
  Guided(Eps eps, S schedule, Observation<A, V> observation, Method method, const GuidanceOptions& options)
      : eps_(std::move(eps)),
        schedule_(std::move(schedule)),
        observation_(std::move(observation)),
        method_(std::move(method)),
        options_(options),
        memory_(std::make_shared<kolmo::detail::GuidanceMemory<V>>()) {
    if (options.power_iterations < 1)
      throw ArgumentError("guided: expected at least one power iteration, given " +
                          std::to_string(options.power_iterations));
    method_.check();
  }

  V operator()(const V& x, double t) const {
    const double mu = schedule_.mu(t), sigma = schedule_.sigma(t);
    if (!(mu > 0) || !(sigma > 0))
      throw ArgumentError("guided: the schedule has signal " + std::to_string(mu) + " and noise " +
                          std::to_string(sigma) + " at time " + std::to_string(t) + "; both must be positive");
    GuidanceReport& report = memory_->report;
    report = GuidanceReport{};
    report.time = t;
    kolmo::detail::EstimatorPortOf<Eps, V> estimator(eps_, x, t);
    const kolmo::detail::ObservationPortOf<A, V> observation(observation_);
    GuidanceCall<V> call(estimator, observation, options_, *memory_, x, t, mu, sigma);
    V likelihood = method_(call);
    if (options_.limit || kolmo::detail::limits(method_)) {
      const std::vector<double> factors = kolmo::detail::likelihood_factors(call.noise(), likelihood);
      for (const double f : factors) report.limited += f < 1 ? 1 : 0;
      if (report.limited > 0) likelihood = likelihood * per_sample<V>(factors, likelihood.rank());
    }
    report.prior_norm = kolmo::detail::krylov_rms(sample_dots(call.noise(), call.noise()), x.shape()[0]);
    report.likelihood_norm = kolmo::detail::krylov_rms(sample_dots(likelihood, likelihood), x.shape()[0]);
    return call.noise() - likelihood;
  }

  /// What a sampler tells before the first evaluation of a step from `time` to `next`; without it the stability number
  /// is not computed.
  void begin_step(double time, double next) const {
    memory_->step_from = time;
    memory_->step_mu = schedule_.mu(next);
    memory_->step_sigma = schedule_.sigma(next);
  }

  const GuidanceReport& report() const { return memory_->report; }
  const S& schedule() const { return schedule_; }
  const Method& method() const { return method_; }
  const Observation<A, V>& observation() const { return observation_; }
  const Eps& prior() const { return eps_; }

 private:
  Eps eps_;
  S schedule_;
  Observation<A, V> observation_;
  Method method_;
  GuidanceOptions options_;
  std::shared_ptr<kolmo::detail::GuidanceMemory<V>> memory_;
};

/// The posterior's noise estimator. `eps(x, t)` is generic in the kind of x and knows nothing of observations;
/// `schedule` is the one it was trained with. Throws ArgumentError when the method's parameters make no sense.
template <class Eps, class S, class A, PlainTensor V, class Method>
Guided<Eps, S, A, V, Method> guided(Eps eps, S schedule, Observation<A, V> observation, Method method,
                                    const GuidanceOptions& options = {}) {
  return {std::move(eps), std::move(schedule), std::move(observation), std::move(method), options};
}

}  // namespace kolmo::score
