#pragma once
// What a kernel asks of the GPU beyond C++: dynamic shared memory and instructions that only assembly can name.
// Everything else of the backend is plain CUDA C++, so that the tests can replace this one header and run the kernels
// on a CPU (tests/cuda/emulation).

#if !defined(__CUDACC__)
#error \
    "kolmo/cuda/*.cuh defines CUDA kernels: include it in a .cu file compiled by nvcc. A file for another \
compiler includes kolmo/cuda/runtime.hpp, which has the same type Cuda."
#endif

#include <cstdint>

#include <cuda_runtime.h>

namespace kolmo::detail {

/// The block's dynamic shared memory, aligned to 1024 bytes.
__device__ inline unsigned char* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char kolmo_dynamic_shared[];
  return kolmo_dynamic_shared;
}

/// The address of shared memory as instructions take it.
__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Begins to copy 16 bytes from global to shared memory, both aligned to 16; zeros where not `valid`, when the source
/// is not read but must be an address of the object. The bytes are there for this thread after wait_copies, and for
/// others after a barrier behind it. Bypasses the first level of the cache.
__device__ inline void copy_async_16(void* shared, const void* global, bool valid = true) {
  const std::uint32_t bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
               : "memory");
}
/// The same through the first level of the cache, for sources that the block reads again.
__device__ inline void copy_async_16_cached(void* shared, const void* global, bool valid = true) {
  const std::uint32_t bytes = valid ? 16 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
               : "memory");
}
/// The same for 4 bytes, aligned to 4.
__device__ inline void copy_async_4(void* shared, const void* global, bool valid = true) {
  const std::uint32_t bytes = valid ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
               : "memory");
}
/// Ends a group of this thread's copies; a group may be empty.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `pending` of this thread's groups, the latest, are under way.
template <int pending>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/// Loads `count` = 1, 2 or 4 matrices of 8 rows of 16 bytes from shared memory, by a whole warp. Lane 8 m + r gives the
/// address of row r of matrix m. Of each matrix, lane l gets the 4 bytes l % 4 of row l / 4: for 2-byte elements
/// columns 2 (l % 4) and the next, for 4-byte elements column l % 4.
template <int count>
__device__ inline void load_matrices(std::uint32_t (&result)[count], const void* row) {
  static_assert(count == 1 || count == 2 || count == 4);
  if constexpr (count == 1)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(result[0])
                 : "r"(shared_address(row))
                 : "memory");
  else if constexpr (count == 2)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(result[0]), "=r"(result[1])
                 : "r"(shared_address(row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
                 : "r"(shared_address(row))
                 : "memory");
}
/// The same with every matrix of 2-byte elements transposed: lane l gets rows 2 (l % 4) and the next of column l / 4.
template <int count>
__device__ inline void load_matrices_transposed(std::uint32_t (&result)[count], const void* row) {
  static_assert(count == 1 || count == 2 || count == 4);
  if constexpr (count == 1)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(result[0])
                 : "r"(shared_address(row))
                 : "memory");
  else if constexpr (count == 2)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(result[0]), "=r"(result[1])
                 : "r"(shared_address(row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/// d += a b by a whole warp, a 16 x 16 and b 16 x 8 of bfloat16 pairs, the lower column (row of b) in the lower half.
/// With g = lane / 4 and t = lane % 4, a lane holds
///   a[0]: row g, columns 2t, 2t+1;  a[1]: row g+8;  a[2]: row g, columns 2t+8, 2t+9;  a[3]: row g+8, these columns
///   b[0]: rows 2t, 2t+1 of column g;  b[1]: rows 2t+8, 2t+9
///   d[0], d[1]: row g, columns 2t, 2t+1;  d[2], d[3]: row g+8.
__device__ inline void multiply_add_bfloat16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// The same for a 16 x 8 and b 8 x 8 of TF32 numbers:
///   a[0]: row g, column t;  a[1]: row g+8;  a[2]: row g, column t+4;  a[3]: row g+8, this column
///   b[0]: row t of column g;  b[1]: row t+4.
__device__ inline void multiply_add_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Two numbers rounded to bfloat16, ties to even, the first in the lower half.
__device__ inline std::uint32_t to_bfloat16_pair(float low, float high) {
  std::uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}

/// The nearest number of 10 significand bits, ties away from zero, as the bits of a float.
__device__ inline std::uint32_t to_tf32(float x) {
  std::uint32_t result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(x));
  return result;
}

}  // namespace kolmo::detail
