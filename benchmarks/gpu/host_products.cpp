// What the library kolmo::compiled holds, without Eigen: GPU machines often lack it. Products that Eigen would compute
// are plain loops; everything else is the same code. The programs need it for what they compute on the host.

#define KOLMO_COMPILING
#include <kolmo/backend/bf16_gemm.hpp>
#include <kolmo/backend/host_conv.hpp>
#include <kolmo/backend/host_fft.hpp>
#include <kolmo/backend/host_nearest.hpp>
#include <kolmo/rvq/host_encode.hpp>
#undef KOLMO_COMPILING
#define KOLMO_COMPILED
#include <kolmo/backend/eigen.hpp>

namespace kolmo::detail {

template <class T>
void host_tile_product(const GemmCall<T>& call) {
  if (GemmBlocks<T>::suits(call))
    GemmBlocks<T>::product(call);
  else
    plain_gemm(call);
}

}  // namespace kolmo::detail

#include "../../src/compiled_instances.hpp"
