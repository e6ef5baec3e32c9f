#pragma once
// What a backend with a search of its own is asked for: Backend::nearest and Backend::nearest_residual. The codes are
// those of the scores of backend/nearest_score.hpp, bit for bit.

#include <cstdint>

#include <kolmo/backend/nearest_options.hpp>

namespace kolmo {

/// The `count` nearest rows of table [codes, d], best first, for every row of x [n, d]. `half_norms` [codes] are half
/// the squared norms of the table's rows. All pointers are the backend's memory.
template <class T>
struct NearestCall {
  index_t n, codes, d, count;
  const T* x;
  const T* table;
  const T* half_norms;
  Screen screen;
  std::int32_t* index;  ///< [n, count]
  T* score;             ///< [n, count]
  /// Lowered to the first row of x that holds a NaN or an infinity. What such rows get is of no use.
  index_t* bad_row;
};

/// Table and norms of one stage of a residual search.
template <class T>
struct NearestStage {
  const T* table;
  const T* half_norms;
  index_t codes;
};

/// r_0 = x, k_q = the nearest row of r_q in table q, r_{q+1} = r_q - that row.
template <class T>
struct NearestResidualCall {
  index_t n, d, stage_count;
  const NearestStage<T>* stages;  ///< [stage_count], memory of the host's
  const T* x;                     ///< [n, d]
  Screen screen;
  std::int32_t* codes;  ///< [n, stage_count]
  index_t* bad_row;     ///< as above, of x
};

}  // namespace kolmo
