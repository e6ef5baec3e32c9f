// expect: a tensor's scalar must be trivially copyable
#include <string>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/tensor.hpp>

#ifdef KOLMO_COMPILES
using Scalar = double;
#else
using Scalar = std::string;
#endif

kolmo::Tensor<Scalar, kolmo::Cpu> tensor;
