#pragma once
// Constants of the bounds by which screened scores may be off, for the host (backend/nearest_quantize.hpp) and for GPUs.

#include <kolmo/core/array.hpp>

namespace kolmo::detail {

/// Below this a vector is taken as zero, which its bound says; sums of squares of others neither vanish nor overflow.
inline constexpr float least_modulus = 1e-30f;

/// Factor on sums of d squares in float and their root that makes them upper bounds.
KOLMO_HD inline float norm_slack(index_t d) { return 1.00001f + 1.2e-7f * static_cast<float>(d); }

/// Largest score, or bound of one, that screening takes part in; others are searched in full precision.
inline constexpr float most_screened = 1e36f;

}  // namespace kolmo::detail
