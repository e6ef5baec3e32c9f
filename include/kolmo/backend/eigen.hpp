#pragma once
// Linear algebra of the default CPU backend: products by blocks in registers where these are faster, else from Eigen.
// With KOLMO_COMPILED, and in CUDA files, the float and double products come from the library target kolmo::compiled
// and Eigen is not parsed here.

#include <type_traits>

#include <kolmo/backend/bf16_gemm.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/backend/gemm_blocks.hpp>
#include <kolmo/backend/gemm_tiles.hpp>

#if defined(KOLMO_COMPILING) || !(defined(KOLMO_COMPILED) || defined(KOLMO_CUDA_FILE))

// The tiles are the parallelism; Eigen's own would make the bits depend on the number of threads.
#if !defined(EIGEN_DONT_PARALLELIZE)
#define EIGEN_DONT_PARALLELIZE
#endif
#include <Eigen/Core>

namespace kolmo::detail {

template <class T, bool transposed>
using EigenOperand =
    Eigen::Map<const Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, transposed ? Eigen::ColMajor : Eigen::RowMajor>,
               0, Eigen::OuterStride<>>;

template <class T, bool transpose_a, bool transpose_b>
void eigen_product(const GemmCall<T>& call) {
  using Result = Eigen::Map<Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>, 0, Eigen::OuterStride<>>;
  const EigenOperand<T, transpose_a> a(call.a, call.m, call.k, Eigen::OuterStride<>(call.leading_a));
  const EigenOperand<T, transpose_b> b(call.b, call.k, call.n, Eigen::OuterStride<>(call.leading_b));
  Result c(call.c, call.m, call.n, Eigen::OuterStride<>(call.leading_c));
  if (call.beta == T(0))
    c.setZero();
  else if (call.beta != T(1))
    c *= call.beta;
  c.noalias() += call.alpha * a * b;
}

template <class T>
void host_tile_product(const GemmCall<T>& call) {
  if (GemmBlocks<T>::suits(call))
    GemmBlocks<T>::product(call);
  else if (call.transpose_a)
    call.transpose_b ? eigen_product<T, true, true>(call) : eigen_product<T, true, false>(call);
  else
    call.transpose_b ? eigen_product<T, false, true>(call) : eigen_product<T, false, false>(call);
}

}  // namespace kolmo::detail

#else

namespace kolmo::detail {
template <class T>
void host_tile_product(const GemmCall<T>& call);
extern template void host_tile_product<float>(const GemmCall<float>&);
extern template void host_tile_product<double>(const GemmCall<double>&);
}  // namespace kolmo::detail

#endif

namespace kolmo {

template <class T>
void EigenLinalg::gemm(const GemmCall<T>& call) {
  if constexpr (std::is_same_v<T, BFloat16>)
    detail::host_bf16_gemm(call);
  else if constexpr (std::is_floating_point_v<T>)
    detail::for_each_gemm_tile(call, &detail::host_tile_product<T>);
  else
    detail::for_each_gemm_tile(call, &detail::plain_gemm<T>);
}

}  // namespace kolmo
