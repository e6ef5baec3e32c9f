// flags: -ffast-math
// expect: -ffast-math removes both guarantees
// expect: -fno-trapping-math
#include <kolmo/config.hpp>
