#pragma once
// How the nearest codewords are looked for.

#include <kolmo/core/array.hpp>

namespace kolmo {

/// A first look in reduced precision that leaves few codewords to compare in float. It changes no code, only the time.
/// Double searches without. A GPU looks in bfloat16 unless the choice is none.
enum class Screen {
  automatic,  ///< what is fastest on this processor for the size
  none,
  bf16,  ///< bfloat16, by matrix tiles or dot products where there are such instructions
  int8,  ///< bytes, by dot products where there are such instructions
};

}  // namespace kolmo
