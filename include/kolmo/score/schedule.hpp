#pragma once
// How a clean state becomes noise: x_t = mu(t) x + sigma(t) eps with eps ~ N(0, I), t from 0 (data) to 1 (noise). One
// value describes it and is shared by the loss, the sampler and the guidance; a model file stores it as text.
//
// Score-based data assimilation (Rozet and Louppe 2023, arXiv:2306.10574) takes mu = alpha(t) with
//   lin  1 - (1 - eta) t        cos  cos(t arccos sqrt(eta))^2        exp  exp(ln(eta) t^2)
// and sigma by the process:
//   vp  sqrt(1 - alpha^2 + eta^2)     sub_vp  1 - alpha^2 + eta     sub_sub_vp  1 - alpha + eta     ve  see below.

#include <cmath>
#include <kolmo/core/math.hpp>
#include <kolmo/error.hpp>
#include <kolmo/io/number_text.hpp>
#include <map>
#include <string>

namespace kolmo::score {

/// The curve of mu over t. The last five are those of other libraries:
///   rectified    mu = 1 - t + t alpha_min, sigma = t + (1 - t) sigma_min
///   decay        rectified in the time (1 - decay^t) / (1 - decay)
///   cosine       mu = cos(t arccos alpha_min), not squared; sigma by the process with sigma_min in place of eta
///   log_logit    mu = 1, sigma = sqrt(sigma_min sigma_max) exp(power logit(t (1 - 2 e) + e)),
///                e = (sigma_min / sigma_max)^(1 / (2 power))
///   linear_beta  ln mu = -t^2 (beta_max - beta_min) / 4 - t beta_min / 2; vp: sigma^2 = 1 - mu^2, sub_vp: sigma = 1 -
///   mu^2
///                (Song et al. 2021, arXiv:2011.13456)
enum class ScheduleKind { lin, cos, exp, rectified, decay, cosine, log_logit, linear_beta };

/// How sigma follows from alpha. With ve, mu = 1 and sigma runs from sigma_min to sigma_max geometrically.
enum class ProcessKind { vp, sub_vp, sub_sub_vp, ve };

inline const char* name_of(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::lin:
      return "lin";
    case ScheduleKind::cos:
      return "cos";
    case ScheduleKind::exp:
      return "exp";
    case ScheduleKind::rectified:
      return "rectified";
    case ScheduleKind::decay:
      return "decay";
    case ScheduleKind::cosine:
      return "cosine";
    case ScheduleKind::log_logit:
      return "log_logit";
    case ScheduleKind::linear_beta:
      return "linear_beta";
  }
  throw ArgumentError("no schedule has the number " + std::to_string(static_cast<int>(kind)));
}

inline const char* name_of(ProcessKind process) {
  switch (process) {
    case ProcessKind::vp:
      return "vp";
    case ProcessKind::sub_vp:
      return "sub_vp";
    case ProcessKind::sub_sub_vp:
      return "sub_sub_vp";
    case ProcessKind::ve:
      return "ve";
  }
  throw ArgumentError("no process has the number " + std::to_string(static_cast<int>(process)));
}

struct Schedule {
  ScheduleKind kind = ScheduleKind::cos;
  ProcessKind process = ProcessKind::vp;
  double eta = 1e-3;        ///< lin, cos, exp: alpha(1), and the noise left at t = 0
  double alpha_min = 1e-3;  ///< rectified, decay, cosine: mu(1)
  double sigma_min = 1e-3;  ///< rectified, decay, cosine, log_logit and ve: the noise left at t = 0
  double sigma_max = 1e3;   ///< log_logit and ve: the noise at t = 1
  double decay = 1e-3;      ///< decay: the base, not 1
  double power = 2;         ///< log_logit
  double beta_min = 0.1;    ///< linear_beta
  double beta_max = 20;     ///< linear_beta

  friend bool operator==(const Schedule&, const Schedule&) = default;

  /// The signal scale at time t.
  KOLMO_HD double mu(double t) const {
    if (process == ProcessKind::ve || kind == ScheduleKind::log_logit) return 1;
    switch (kind) {
      case ScheduleKind::lin:
        return 1 - (1 - eta) * t;
      case ScheduleKind::cos: {
        const double c = std::cos(std::acos(std::sqrt(eta)) * t);
        return c * c;
      }
      case ScheduleKind::exp:
        return std::exp(std::log(eta) * t * t);
      case ScheduleKind::decay:
      case ScheduleKind::rectified:
        return 1 - straight_time(t) * (1 - alpha_min);
      case ScheduleKind::cosine:
        return std::cos(t * std::acos(alpha_min));
      case ScheduleKind::linear_beta:
        return std::exp(log_mu_of_beta(t));
      case ScheduleKind::log_logit:
        break;
    }
    return 1;
  }

  /// The noise scale at time t.
  KOLMO_HD double sigma(double t) const {
    if (process == ProcessKind::ve) return std::exp((1 - t) * std::log(sigma_min) + t * std::log(sigma_max));
    if (kind == ScheduleKind::log_logit) {
      const double e = std::pow(sigma_min / sigma_max, 1 / (2 * power));
      const double p = t * (1 - 2 * e) + e;
      return std::sqrt(sigma_min * sigma_max) * std::exp(power * std::log(p / (1 - p)));
    }
    if (kind == ScheduleKind::rectified || kind == ScheduleKind::decay) {
      const double s = straight_time(t);
      return s + (1 - s) * sigma_min;
    }
    if (kind == ScheduleKind::linear_beta) {
      const double lost = larger(-std::expm1(2 * log_mu_of_beta(t)), 0.0);
      return process == ProcessKind::vp ? std::sqrt(lost) : lost;
    }
    const double alpha = mu(t), floor = kind == ScheduleKind::cosine ? sigma_min : eta;
    switch (process) {
      case ProcessKind::sub_vp:
        return 1 - alpha * alpha + floor;
      case ProcessKind::sub_sub_vp:
        return 1 - alpha + floor;
      default:
        return std::sqrt(1 - alpha * alpha + floor * floor);
    }
  }

  /// The ratio of noise to signal, sigma / mu; it grows with t.
  double rho(double t) const { return sigma(t) / mu(t); }

  /// The time at which the ratio of noise to signal is `rho`. Throws ArgumentError when no time in [0, 1] has it.
  double time_of_rho(double rho) const;

  /// Throws ArgumentError, naming the parameter, unless mu and sigma are what they should be.
  void check() const;

  /// As text by name, exactly: what a model file stores. Only the parameters that the kind and process use.
  std::map<std::string, std::string> settings() const;

  /// From what `settings` returned; other names in the map are left alone. Throws ArgumentError when one is missing,
  /// unknown or out of range.
  static Schedule from_settings(const std::map<std::string, std::string>& settings);

 private:
  KOLMO_HD double straight_time(double t) const {
    return kind == ScheduleKind::decay ? std::expm1(t * std::log(decay)) / (decay - 1) : t;
  }
  KOLMO_HD double log_mu_of_beta(double t) const { return -t * t * (beta_max - beta_min) / 4 - t * beta_min / 2; }

  /// Calls f(name, member) for every number in use.
  template <class S, class F>
  static void visit_numbers(S& s, const F& f) {
    const bool ve = s.process == ProcessKind::ve, logit = s.kind == ScheduleKind::log_logit;
    const bool straight = s.kind == ScheduleKind::rectified || s.kind == ScheduleKind::decay;
    if (!ve && (s.kind == ScheduleKind::lin || s.kind == ScheduleKind::cos || s.kind == ScheduleKind::exp))
      f("eta", s.eta);
    if (!ve && (straight || s.kind == ScheduleKind::cosine)) f("alpha_min", s.alpha_min);
    if (ve || logit || straight || s.kind == ScheduleKind::cosine) f("sigma_min", s.sigma_min);
    if (ve || logit) f("sigma_max", s.sigma_max);
    if (!ve && logit) f("power", s.power);
    if (!ve && s.kind == ScheduleKind::decay) f("decay", s.decay);
    if (!ve && s.kind == ScheduleKind::linear_beta) {
      f("beta_min", s.beta_min);
      f("beta_max", s.beta_max);
    }
  }
};

inline double Schedule::time_of_rho(double wanted) const {
  const double first = rho(0), last = rho(1);
  constexpr double slack = 1e-9;
  if (!(wanted >= first * (1 - slack) && wanted <= last * (1 + slack)))
    throw ArgumentError("time_of_rho: the ratio of noise to signal " + io::to_text(wanted) +
                        " does not occur: the schedule runs from " + io::to_text(first) + " to " + io::to_text(last));
  double low = 0, high = 1;
  if (wanted <= first) return 0;
  if (wanted >= last) return 1;
  // Bisection to the last bit: once per step of a sampler, and no slope to divide by.
  for (int i = 0; i < 200; ++i) {
    const double middle = 0.5 * (low + high);
    if (middle <= low || middle >= high) break;
    (rho(middle) < wanted ? low : high) = middle;
  }
  return wanted - rho(low) < rho(high) - wanted ? low : high;
}

inline void Schedule::check() const {
  static_cast<void>(name_of(kind));
  static_cast<void>(name_of(process));
  const bool own_sigma =
      kind == ScheduleKind::rectified || kind == ScheduleKind::decay || kind == ScheduleKind::log_logit;
  if (own_sigma && process != ProcessKind::vp)
    throw ArgumentError(std::string("the schedule ") + name_of(kind) +
                        " has a sigma of its own; use the process vp, not " + name_of(process));
  if (kind == ScheduleKind::linear_beta && process == ProcessKind::sub_sub_vp)
    throw ArgumentError("the schedule linear_beta has the processes vp, sub_vp and ve, not sub_sub_vp");
  visit_numbers(*this, [](const char* name, double x) {
    if (!(x > 0) || !is_finite(x))
      throw ArgumentError("schedule: " + std::string(name) + " must be positive and finite, given " + io::to_text(x));
  });
  const double r0 = rho(0), r1 = rho(1);
  if (!(r0 >= 0 && r0 < r1) || !is_finite(r1))
    throw ArgumentError("schedule: the ratio of noise to signal must grow from t = 0 to 1, but goes from " +
                        io::to_text(r0) + " to " + io::to_text(r1) +
                        "; expected eta, alpha_min and sigma_min well below 1, sigma_min < sigma_max, decay != 1");
}

inline std::map<std::string, std::string> Schedule::settings() const {
  std::map<std::string, std::string> result{{"schedule", name_of(kind)}, {"process", name_of(process)}};
  visit_numbers(*this, [&](const char* name, double x) { result[name] = io::to_text(x); });
  return result;
}

inline Schedule Schedule::from_settings(const std::map<std::string, std::string>& settings) {
  const auto text_of = [&](const std::string& name) -> const std::string& {
    const auto found = settings.find(name);
    if (found == settings.end())
      throw ArgumentError("schedule: the setting '" + name +
                          "' is missing; expected what Schedule::settings() returns");
    return found->second;
  };
  const auto choose = [](const std::string& what, const std::string& text, auto last, auto& target) {
    std::string known;
    for (int i = 0; i <= static_cast<int>(last); ++i) {
      const auto candidate = static_cast<decltype(last)>(i);
      if (text == name_of(candidate)) {
        target = candidate;
        return;
      }
      known += (i > 0 ? ", " : "") + std::string(name_of(candidate));
    }
    throw ArgumentError("schedule: no " + what + " is called '" + text + "'; there are " + known);
  };
  Schedule result;
  choose("schedule", text_of("schedule"), ScheduleKind::linear_beta, result.kind);
  choose("process", text_of("process"), ProcessKind::ve, result.process);
  visit_numbers(result, [&](const char* name, double& x) {
    const std::string& text = text_of(name);
    if (io::detail::parse_number(text, x) != io::NumberProblem::none)
      throw ArgumentError("schedule: the setting '" + std::string(name) + "' is '" + text + "', which is not a number");
  });
  result.check();
  return result;
}

}  // namespace kolmo::score
