#pragma once
// The arithmetic that a program is compiled for: nvcc -DGPU_PRECISION=1 (bf16), 2 (float rounded to TF32) or 3 (float).
// A program for each is three short compilations beside each other instead of one long one.

#include <type_traits>

#include <kolmo/core/bfloat16.hpp>
#include <kolmo/cuda/runtime.hpp>

#if !defined(GPU_PRECISION)
#define GPU_PRECISION 3
#endif

namespace gpu {

inline constexpr int precision_number = GPU_PRECISION;
static_assert(precision_number >= 1 && precision_number <= 3, "GPU_PRECISION is 1 (bf16), 2 (TF32) or 3 (float)");

inline constexpr const char* precision = precision_number == 1 ? "bf16" : precision_number == 2 ? "TF32" : "float";
/// The ceiling of its products.
inline constexpr const char* unit = precision_number == 1 ? "bf16" : precision_number == 2 ? "tf32" : "float";

/// Of tensors that products read and write.
using Scalar = std::conditional_t<precision_number == 1, kolmo::BFloat16, float>;

/// Of the largest result: bf16 rounds every number to 8 bits, TF32 every factor to 11.
inline constexpr double product_tolerance = precision_number == 1 ? 1e-2 : precision_number == 2 ? 2e-3 : 1e-5;

/// The mode of products of float for the time of a scope.
struct Precision {
  kolmo::Cuda::Math math{precision_number == 2 ? kolmo::MatrixMath::tf32 : kolmo::MatrixMath::exact};
};

}  // namespace gpu
