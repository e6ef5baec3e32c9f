#pragma once
// The CPU backends: our own loops on the deterministic thread pool, cached host memory, and linear
// algebra from a policy. `Cpu` takes it from Eigen, `CpuBlas` (backend/xtensor.hpp) from BLAS.

#include <cstring>

#include <kolmo/backend/concept.hpp>
#include <kolmo/backend/host_loops.hpp>
#include <kolmo/backend/pool.hpp>

namespace kolmo {

/// Host memory and loops; the product comes from LinearAlgebra::gemm.
template <class LinearAlgebra>
struct CpuWith : detail::HostLoops {
  using Linalg = LinearAlgebra;

  /// Throws OutOfMemory.
  static void* allocate(std::size_t bytes) { return detail::HostPool::allocate(bytes); }
  static void deallocate(void* block, std::size_t bytes) noexcept { detail::HostPool::deallocate(block, bytes); }
  static void upload(void* target, const void* source, std::size_t bytes) { copy(target, source, bytes); }
  static void download(void* target, const void* source, std::size_t bytes) { copy(target, source, bytes); }
  static void copy(void* target, const void* source, std::size_t bytes) {
    if (bytes != 0) std::memcpy(target, source, bytes);
  }
  static void synchronize() {}

  template <class T>
  static void gemm(const GemmCall<T>& call) {
    LinearAlgebra::gemm(call);
  }
};

/// Linear algebra from Eigen. Declared here so that headers stay cheap to include; backend/eigen.hpp
/// defines the members, and ops/linalg.hpp includes it.
struct EigenLinalg {
  template <class T>
  static void gemm(const GemmCall<T>& call);
};

/// The default backend.
using Cpu = CpuWith<EigenLinalg>;

static_assert(Backend<Cpu>);

}  // namespace kolmo
