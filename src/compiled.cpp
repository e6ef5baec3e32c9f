// Definitions that users of kolmo::compiled link instead of instantiating.

#define KOLMO_COMPILING
#include <kolmo/backend/eigen.hpp>

namespace kolmo::detail {
template void host_tile_product<float>(const GemmCall<float>&);
template void host_tile_product<double>(const GemmCall<double>&);
}  // namespace kolmo::detail
