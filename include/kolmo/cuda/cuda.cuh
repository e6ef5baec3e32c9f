#pragma once
// The kernels of the CUDA backend, for nvcc. Include this header in the .cu files of a program that
// instantiate what it computes; other files include cuda/runtime.hpp.

// First, since it explains itself to other compilers.
#include <kolmo/cuda/launch.cuh>

#include <kolmo/cuda/conv.cuh>
#include <kolmo/cuda/fft.cuh>
#include <kolmo/cuda/gemm.cuh>
#include <kolmo/cuda/elementwise.cuh>
#include <kolmo/cuda/loops.cuh>
#include <kolmo/cuda/reduce.cuh>
#include <kolmo/cuda/nearest.cuh>
#include <kolmo/cuda/team.cuh>
