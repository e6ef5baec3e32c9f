#pragma once
// A guidance method chosen at run time, by name or by number: what programs take from their command line. And the
// library's default.

#include <string>
#include <variant>
#include <vector>

#include <kolmo/score/guidance/dps.hpp>
#include <kolmo/score/guidance/jfps.hpp>
#include <kolmo/score/guidance/mmps.hpp>

namespace kolmo {

namespace score {

/// Moment matching, made safe for learned networks. Of the symmetric part of the observation's covariance in a Krylov
/// space of at most eight products with J^T only what is positive is believed (clipped_lanczos.hpp), and the estimate is
/// never longer than noise can be (GuidanceOptions::limit). Each solution starts from the last step's and ends at a
/// residual of 2 % of the sensor's noise. Nothing depends on the number of observations. With the default sampler (32
/// steps) the samples of the linear-Gaussian problem are unbiased and of the right spread from one observation to 10^4
/// (tests/test_score_default_guidance.cpp); conjugate gradients and GMRES are as good there, but leave the numbers with
/// the network of a chaotic system, whose J is not symmetric and not positive.
inline MmpsGuidance default_guidance() {
  MmpsGuidance method;
  method.iterations = 8;
  method.tolerance = 0.02;
  method.solver = Solver::clipped_lanczos;
  method.warm_start = true;
  method.limit = true;
  return method;
}

enum class GuidanceMethod {
  standard,  ///< default_guidance()
  sda,
  sda_detached,
  dps,
  pigdm,
  pigdm_diagonal,
  tmpd,
  mmps,  ///< conjugate gradients from zero, as published
  jfps,
  proximal,
  projection,
  adaptive,
  likelihood_weighting,
  dual_scaling,
  linear_scaling,
  clamped_linear,
  gamma_only,
  mean_reduction
};

}  // namespace score

namespace detail {

struct NamedGuidance {
  const char* name;
  score::GuidanceMethod method;
};
inline constexpr NamedGuidance guidance_names[] = {
    {"default", score::GuidanceMethod::standard},
    {"sda", score::GuidanceMethod::sda},
    {"sda_detached", score::GuidanceMethod::sda_detached},
    {"dps", score::GuidanceMethod::dps},
    {"pigdm", score::GuidanceMethod::pigdm},
    {"pigdm_diagonal", score::GuidanceMethod::pigdm_diagonal},
    {"tmpd", score::GuidanceMethod::tmpd},
    {"mmps", score::GuidanceMethod::mmps},
    {"jfps", score::GuidanceMethod::jfps},
    {"proximal", score::GuidanceMethod::proximal},
    {"projection", score::GuidanceMethod::projection},
    {"adaptive", score::GuidanceMethod::adaptive},
    {"likelihood_weighting", score::GuidanceMethod::likelihood_weighting},
    {"dual_scaling", score::GuidanceMethod::dual_scaling},
    {"linear_scaling", score::GuidanceMethod::linear_scaling},
    {"clamped_linear", score::GuidanceMethod::clamped_linear},
    {"gamma_only", score::GuidanceMethod::gamma_only},
    {"mean_reduction", score::GuidanceMethod::mean_reduction},
};

}  // namespace detail

namespace score {

/// The names that guidance_by_name knows.
inline std::vector<std::string> guidance_names() {
  std::vector<std::string> result;
  for (const auto& entry : kolmo::detail::guidance_names) result.push_back(entry.name);
  return result;
}

/// Throws ArgumentError, listing all names, for an unknown one.
inline GuidanceMethod guidance_method(const std::string& name) {
  std::string known;
  for (const auto& entry : kolmo::detail::guidance_names) {
    if (name == entry.name) return entry.method;
    known += known.empty() ? entry.name : std::string(", ") + entry.name;
  }
  throw ArgumentError("guidance: there is no method '" + name + "'; expected one of " + known);
}

inline std::string name_of(GuidanceMethod method) {
  for (const auto& entry : kolmo::detail::guidance_names)
    if (method == entry.method) return entry.name;
  throw ArgumentError("guidance: no method has the number " + std::to_string(static_cast<int>(method)));
}

/// Parameters of all methods; each reads its own.
template <PlainTensor V>
struct GuidanceSettings {
  double gamma = 1e-2;                            ///< sda and the scalings
  double reference_count = 1;                     ///< the scalings: N_ref
  double zeta = 1;                                ///< dps
  double xi = 1;                                  ///< adaptive
  double lambda = 10;                             ///< proximal
  double prior_variance = 1;                      ///< pigdm, and jfps without a spectrum
  std::optional<int> iterations;                  ///< default, mmps, jfps, proximal; without a value the method's own
  std::optional<double> tolerance;                ///< the same
  std::optional<SpectralCovariance<V>> spectrum;  ///< jfps: the prior's covariance
};

/// One of the methods, with its parameters.
template <PlainTensor V>
class AnyGuidance {
 public:
  using Method = std::variant<MmpsGuidance, SdaGuidance<>, DpsGuidance, PigdmGuidance, TmpdGuidance,
                              JfpsGuidance<WhiteCovariance>, JfpsGuidance<SpectralCovariance<V>>, ProximalGuidance,
                              ProjectionGuidance, AdaptiveGuidance, ScaledGuidance>;

  AnyGuidance(Method method) : method_(std::move(method)) {}

  void check() const { std::visit(Check{}, method_); }
  bool limits() const { return std::visit(Limits{}, method_); }
  template <class Call>
  V operator()(Call& call) const {
    return std::visit(Run<Call>{call}, method_);
  }

 private:
  struct Check {
    template <class M>
    void operator()(const M& method) const {
      method.check();
    }
  };
  struct Limits {
    template <class M>
    bool operator()(const M& method) const {
      return kolmo::detail::limits(method);
    }
  };
  template <class Call>
  struct Run {
    Call& call;
    template <class M>
    V operator()(const M& method) const {
      return method(call);
    }
  };
  Method method_;
};

/// The method with the parameters that it reads of the settings. Throws ArgumentError when they make no sense.
template <PlainTensor V>
AnyGuidance<V> make_guidance(GuidanceMethod method, const GuidanceSettings<V>& settings = {}) {
  const GuidanceSettings<V>& s = settings;
  const auto solved = [&](auto m) {
    if (s.iterations) m.iterations = *s.iterations;
    if (s.tolerance) m.tolerance = *s.tolerance;
    return AnyGuidance<V>(m);
  };
  const auto scaled = [&](Scaling scaling) {
    return AnyGuidance<V>(ScaledGuidance{scaling, s.reference_count, s.gamma});
  };
  const auto chosen = [&]() -> AnyGuidance<V> {
    switch (method) {
      case GuidanceMethod::standard:
        return solved(default_guidance());
      case GuidanceMethod::sda:
        return {SdaGuidance<>{s.gamma}};
      case GuidanceMethod::sda_detached:
        return {SdaGuidance<>{s.gamma, true}};
      case GuidanceMethod::dps:
        return {DpsGuidance{s.zeta}};
      case GuidanceMethod::pigdm:
        return {PigdmGuidance{s.prior_variance}};
      case GuidanceMethod::pigdm_diagonal:
        return {PigdmGuidance{s.prior_variance, true}};
      case GuidanceMethod::tmpd:
        return {TmpdGuidance{}};
      case GuidanceMethod::mmps:
        return solved(MmpsGuidance{});
      case GuidanceMethod::jfps:
        return s.spectrum ? solved(JfpsGuidance<SpectralCovariance<V>>{*s.spectrum})
                          : solved(JfpsGuidance<WhiteCovariance>{WhiteCovariance{s.prior_variance}});
      case GuidanceMethod::proximal: {
        ProximalGuidance proximal;
        proximal.lambda = s.lambda;
        return solved(proximal);
      }
      case GuidanceMethod::projection:
        return {ProjectionGuidance{}};
      case GuidanceMethod::adaptive:
        return {AdaptiveGuidance{s.xi}};
      case GuidanceMethod::likelihood_weighting:
        return scaled(Scaling::likelihood_weighting);
      case GuidanceMethod::dual_scaling:
        return scaled(Scaling::dual);
      case GuidanceMethod::linear_scaling:
        return scaled(Scaling::linear);
      case GuidanceMethod::clamped_linear:
        return scaled(Scaling::clamped_linear);
      case GuidanceMethod::gamma_only:
        return scaled(Scaling::gamma_only);
      case GuidanceMethod::mean_reduction:
        return scaled(Scaling::mean_reduction);
    }
    throw ArgumentError("guidance: no method has the number " + std::to_string(static_cast<int>(method)));
  }();
  chosen.check();
  return chosen;
}

/// The same by name. Throws ArgumentError, listing all names, for an unknown one.
template <PlainTensor V>
AnyGuidance<V> guidance_by_name(const std::string& name, const GuidanceSettings<V>& settings = {}) {
  return make_guidance<V>(guidance_method(name), settings);
}

}  // namespace score
}  // namespace kolmo
