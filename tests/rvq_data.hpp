#pragma once
// The synthetic sets that the tests of vector quantization share: G64 is gaussian with 64 columns, MIX8, CL64, HEAVY.

#include "../examples/synthetic_vectors.hpp"

namespace kolmo_test {

using synthetic::cl64;
using synthetic::g64;
using synthetic::gaussian;
using synthetic::heavy;
using synthetic::mix8;

}  // namespace kolmo_test
