#pragma once
// CpuBlas: the loops of Cpu with matrix products from the BLAS that xtensor-blas binds.

#include <complex>  // xflens uses it without including it
#include <type_traits>

// Makes cxxblas call the BLAS instead of its own loops; it has to come first.
#include <xtensor-blas/xblas_config.hpp>

#include <xflens/cxxblas/cxxblas.h>
#include <xflens/cxxblas/cxxblas.cxx>

#include <kolmo/backend/bf16_gemm.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/gemm_tiles.hpp>

// Present when the BLAS is OpenBLAS, null otherwise.
extern "C" void openblas_set_num_threads(int) __attribute__((weak));

namespace kolmo {

namespace detail {

template <class T>
void blas_tile(const GemmCall<T>& call) {
  const auto transpose = [](bool t) { return t ? cxxblas::Trans : cxxblas::NoTrans; };
  if (call.k == 0) {
    plain_gemm(call);
    return;
  }
  cxxblas::gemm<int>(cxxblas::RowMajor, transpose(call.transpose_a), transpose(call.transpose_b),
                     static_cast<int>(call.m), static_cast<int>(call.n), static_cast<int>(call.k), call.alpha, call.a,
                     static_cast<int>(call.leading_a), call.b, static_cast<int>(call.leading_b), call.beta, call.c,
                     static_cast<int>(call.leading_c));
}

/// The tiles are the parallelism; a threaded BLAS would make the bits depend on the number of threads.
inline void use_one_blas_thread() {
  static const bool done = [] {
    if (&openblas_set_num_threads != nullptr) openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace detail

/// Linear algebra from BLAS through xtensor-blas.
struct BlasLinalg {
  template <class T>
  static void gemm(const GemmCall<T>& call) {
    if constexpr (std::is_same_v<T, BFloat16>) {
      detail::host_bf16_gemm(call);
    } else if constexpr (std::is_floating_point_v<T>) {
      detail::use_one_blas_thread();
      detail::for_each_gemm_tile(call, &detail::blas_tile<T>);
    } else {
      detail::for_each_gemm_tile(call, &detail::plain_gemm<T>);
    }
  }
};

/// CPU backend with BLAS; link with a BLAS library (target kolmo::xtensor does).
using CpuBlas = CpuWith<BlasLinalg>;

static_assert(Backend<CpuBlas>);

}  // namespace kolmo
