// Definitions that users of kolmo::compiled link instead of instantiating.

#define KOLMO_COMPILING
#include <kolmo/backend/eigen.hpp>

#include "compiled_instances.hpp"
