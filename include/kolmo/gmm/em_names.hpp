#pragma once
// What EM begins with and how its iterations are made faster, and the names of both in programs and files.

#include <string>
#include <string_view>

#include <kolmo/error.hpp>

namespace kolmo::gmm {

/// What EM begins with.
enum class EmStartKind : std::int32_t {
  quantile = 0,  ///< means at the quantiles (k + 1/2) / K, equal weights, the overall deviation
  random = 1,    ///< means at K different points drawn at random, else like quantile
  qmi = 2,       ///< mass, mean and variance of the density between its quantiles k / K
  wqmi = 3,      ///< qmi of the parts of a maximum of two normals in which the one or the other is larger
  kmeans = 4,    ///< weighted k-means++ with Lloyd's iterations
  custom = 5,    ///< a given mixture
  mdn = 6,       ///< the mixture of a mixture density network
  lamf = 7,      ///< the mixture of the learned fitter
};

/// How the iterations of EM are made faster.
enum class Acceleration : std::int32_t {
  none = 0,      ///< every iteration is one E-step and one M-step
  anderson = 1,  ///< extrapolates from the last iterations; the likelihood still never falls
};

inline constexpr int em_start_kinds = 8;
inline constexpr int acceleration_kinds = 2;

/// The name that em_start_of_name reads.
constexpr const char* name_of(EmStartKind kind) {
  switch (kind) {
    case EmStartKind::quantile:
      return "quantile";
    case EmStartKind::random:
      return "random";
    case EmStartKind::qmi:
      return "qmi";
    case EmStartKind::wqmi:
      return "wqmi";
    case EmStartKind::kmeans:
      return "kmeans";
    case EmStartKind::custom:
      return "custom";
    case EmStartKind::mdn:
      return "mdn";
    case EmStartKind::lamf:
      return "lamf";
  }
  return "unknown start";
}

constexpr const char* name_of(Acceleration acceleration) {
  switch (acceleration) {
    case Acceleration::none:
      return "none";
    case Acceleration::anderson:
      return "anderson";
  }
  return "unknown acceleration";
}

namespace detail {

template <class Kind>
Kind kind_of_name(std::string_view name, int count, const char* what) {
  std::string names;
  for (int i = 0; i < count; ++i) {
    const Kind kind = static_cast<Kind>(i);
    if (name == name_of(kind)) return kind;
    names += (i == 0 ? "" : ", ") + std::string(name_of(kind));
  }
  throw ArgumentError("there is no " + std::string(what) + " \"" + std::string(name) + "\"; choose one of " + names);
}

}  // namespace detail

/// The start of that name. Throws ArgumentError that lists the names.
inline EmStartKind em_start_of_name(std::string_view name) {
  return detail::kind_of_name<EmStartKind>(name, em_start_kinds, "start of EM");
}

/// The acceleration of that name. Throws ArgumentError that lists the names.
inline Acceleration acceleration_of_name(std::string_view name) {
  return detail::kind_of_name<Acceleration>(name, acceleration_kinds, "acceleration of EM");
}

/// Whether a start needs a given mixture.
KOLMO_HD constexpr bool needs_mixture(EmStartKind kind) {
  return kind == EmStartKind::custom || kind == EmStartKind::mdn || kind == EmStartKind::lamf;
}

}  // namespace kolmo::gmm
