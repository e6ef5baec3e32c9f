#pragma once
// The products of cuBLAS by their definition, columns first, with its checks of the arguments.

#include <algorithm>
#include <cstdint>

#include "cuda_runtime_api.h"

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INVALID_VALUE = 7, CUBLAS_STATUS_NOT_SUPPORTED = 15 };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasMath_t { CUBLAS_DEFAULT_MATH };
enum cublasAtomicsMode_t { CUBLAS_ATOMICS_NOT_ALLOWED };
enum cublasPointerMode_t { CUBLAS_POINTER_MODE_HOST };
using cublasHandle_t = struct EmulatedBlas*;

inline const char* cublasGetStatusName(cublasStatus_t) { return "CUBLAS_STATUS_EMULATED"; }
inline const char* cublasGetStatusString(cublasStatus_t) { return "an emulated status"; }
inline cublasStatus_t cublasCreate(cublasHandle_t*) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasDestroy(cublasHandle_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetStream(cublasHandle_t, cudaStream_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, std::size_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetAtomicsMode(cublasHandle_t, cublasAtomicsMode_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetPointerMode(cublasHandle_t, cublasPointerMode_t) { return CUBLAS_STATUS_SUCCESS; }

namespace emulation {

template <class T>
cublasStatus_t product(cublasOperation_t op_a, cublasOperation_t op_b, std::int64_t m, std::int64_t n, std::int64_t k,
                       const T* alpha, const T* a, std::int64_t lda, std::int64_t stride_a, const T* b, std::int64_t ldb,
                       std::int64_t stride_b, const T* beta, T* c, std::int64_t ldc, std::int64_t stride_c,
                       std::int64_t batch) {
  constexpr std::int64_t one = 1;
  if (m < 0 || n < 0 || k < 0 || batch < 0 || lda < std::max(one, op_a == CUBLAS_OP_N ? m : k) ||
      ldb < std::max(one, op_b == CUBLAS_OP_N ? k : n) || ldc < std::max(one, m))
    return CUBLAS_STATUS_INVALID_VALUE;
  for (std::int64_t s = 0; s < batch; ++s, a += stride_a, b += stride_b, c += stride_c)
    for (std::int64_t j = 0; j < n; ++j)
      for (std::int64_t i = 0; i < m; ++i) {
        T sum = 0;
        for (std::int64_t l = 0; l < k; ++l)
          sum += (op_a == CUBLAS_OP_N ? a[l * lda + i] : a[i * lda + l]) * (op_b == CUBLAS_OP_N ? b[j * ldb + l] : b[l * ldb + j]);
        T& element = c[j * ldc + i];
        element = *beta == 0 ? *alpha * sum : *alpha * sum + *beta * element;
      }
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace emulation

inline cublasStatus_t cublasSgemmStridedBatched_64(cublasHandle_t, cublasOperation_t op_a, cublasOperation_t op_b,
                                                   std::int64_t m, std::int64_t n, std::int64_t k, const float* alpha,
                                                   const float* a, std::int64_t lda, std::int64_t stride_a, const float* b,
                                                   std::int64_t ldb, std::int64_t stride_b, const float* beta, float* c,
                                                   std::int64_t ldc, std::int64_t stride_c, std::int64_t batch) {
  return emulation::product(op_a, op_b, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc, stride_c, batch);
}
inline cublasStatus_t cublasDgemmStridedBatched_64(cublasHandle_t, cublasOperation_t op_a, cublasOperation_t op_b,
                                                   std::int64_t m, std::int64_t n, std::int64_t k, const double* alpha,
                                                   const double* a, std::int64_t lda, std::int64_t stride_a,
                                                   const double* b, std::int64_t ldb, std::int64_t stride_b,
                                                   const double* beta, double* c, std::int64_t ldc, std::int64_t stride_c,
                                                   std::int64_t batch) {
  return emulation::product(op_a, op_b, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc, stride_c, batch);
}
