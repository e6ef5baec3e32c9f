// expect: running averages are wrong in half precision
#include <kolmo/backend/cpu.hpp>
#include <kolmo/rvq/codebook.hpp>

#ifdef KOLMO_COMPILES
using Scalar = float;
#else
using Scalar = kolmo::BFloat16;
#endif

kolmo::rvq::Codebook<kolmo::Tensor<Scalar, kolmo::Cpu>> book;
