#pragma once
// The instructions of kolmo/cuda/instructions.cuh by their definition, on fibers. See ../../cuda_runtime.h.

#include "../../cuda_runtime.h"

namespace kolmo::detail {

inline unsigned char* dynamic_shared() { return emulation::dynamic_shared(); }

}  // namespace kolmo::detail
