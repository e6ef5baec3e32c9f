// Definitions that users of kolmo::compiled link instead of instantiating.

#define KOLMO_COMPILING
#include <kolmo/backend/eigen.hpp>

namespace kolmo::detail {
template void eigen_tile<float>(const GemmCall<float>&);
template void eigen_tile<double>(const GemmCall<double>&);
}  // namespace kolmo::detail
