#pragma once
// The products of cuBLAS by their definition, columns first, with its checks of the arguments.

#include <algorithm>
#include <cstdint>

#include "cuda_runtime_api.h"

enum cublasStatus_t {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_INTERNAL_ERROR = 14,
  CUBLAS_STATUS_NOT_SUPPORTED = 15
};
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasMath_t { CUBLAS_DEFAULT_MATH };
enum cublasAtomicsMode_t { CUBLAS_ATOMICS_NOT_ALLOWED };
enum cublasPointerMode_t { CUBLAS_POINTER_MODE_HOST };
struct cublasContext {
  cudaStream_t stream = cudaStreamLegacy;
};
using cublasHandle_t = cublasContext*;

inline const char* cublasGetStatusName(cublasStatus_t) { return "CUBLAS_STATUS_EMULATED"; }
inline const char* cublasGetStatusString(cublasStatus_t) { return "an emulated status"; }
inline cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, std::size_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetAtomicsMode(cublasHandle_t, cublasAtomicsMode_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasSetPointerMode(cublasHandle_t, cublasPointerMode_t) { return CUBLAS_STATUS_SUCCESS; }

namespace emulation {

template <class T>
cublasStatus_t product(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, std::int64_t m, std::int64_t n, std::int64_t k,
                       const T* alpha, const T* a, std::int64_t lda, std::int64_t stride_a, const T* b, std::int64_t ldb,
                       std::int64_t stride_b, const T* beta, T* c, std::int64_t ldc, std::int64_t stride_c,
                       std::int64_t batch) {
  constexpr std::int64_t one = 1;
  if (m < 0 || n < 0 || k < 0 || batch < 0 || lda < std::max(one, op_a == CUBLAS_OP_N ? m : k) ||
      ldb < std::max(one, op_b == CUBLAS_OP_N ? k : n) || ldc < std::max(one, m))
    return CUBLAS_STATUS_INVALID_VALUE;
  const T by = *alpha, keep = *beta;
  const cudaError_t code = submit(handle->stream, NodeKind::library, [=] {
    for (std::int64_t s = 0; s < batch; ++s)
      for (std::int64_t j = 0; j < n; ++j)
        for (std::int64_t i = 0; i < m; ++i) {
          const T *const x = a + s * stride_a, *const y = b + s * stride_b;
          T sum = 0;
          for (std::int64_t l = 0; l < k; ++l)
            sum += (op_a == CUBLAS_OP_N ? x[l * lda + i] : x[i * lda + l]) * (op_b == CUBLAS_OP_N ? y[j * ldb + l] : y[l * ldb + j]);
          T& element = c[s * stride_c + j * ldc + i];
          element = keep == 0 ? by * sum : by * sum + keep * element;
        }
  });
  return code == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INTERNAL_ERROR;
}

}  // namespace emulation

inline cublasStatus_t cublasSgemmStridedBatched_64(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                                                   std::int64_t m, std::int64_t n, std::int64_t k, const float* alpha,
                                                   const float* a, std::int64_t lda, std::int64_t stride_a, const float* b,
                                                   std::int64_t ldb, std::int64_t stride_b, const float* beta, float* c,
                                                   std::int64_t ldc, std::int64_t stride_c, std::int64_t batch) {
  return emulation::product(handle, op_a, op_b, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc, stride_c, batch);
}
inline cublasStatus_t cublasDgemmStridedBatched_64(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                                                   std::int64_t m, std::int64_t n, std::int64_t k, const double* alpha,
                                                   const double* a, std::int64_t lda, std::int64_t stride_a,
                                                   const double* b, std::int64_t ldb, std::int64_t stride_b,
                                                   const double* beta, double* c, std::int64_t ldc, std::int64_t stride_c,
                                                   std::int64_t batch) {
  return emulation::product(handle, op_a, op_b, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc, stride_c, batch);
}
