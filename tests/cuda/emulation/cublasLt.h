#pragma once
// The matrix products of cuBLASLt by their definition, columns first, with its checks of the arguments: shapes, leading
// dimensions, addresses as aligned as the preference promised, a reduction whose order is fixed.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda_runtime_api.h"

enum cublasStatus_t {
  CUBLAS_STATUS_SUCCESS = 0,
  CUBLAS_STATUS_INVALID_VALUE = 7,
  CUBLAS_STATUS_INTERNAL_ERROR = 14,
  CUBLAS_STATUS_NOT_SUPPORTED = 15
};
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
inline const char* cublasGetStatusName(cublasStatus_t) { return "CUBLAS_STATUS_EMULATED"; }
inline const char* cublasGetStatusString(cublasStatus_t) { return "an emulated status"; }

enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16BF = 14 };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_64F = 70, CUBLAS_COMPUTE_32F_FAST_TF32 = 77 };
enum cublasLtMatrixLayoutAttribute_t {
  CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT = 5,
  CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET = 6
};
enum cublasLtMatmulDescAttributes_t { CUBLASLT_MATMUL_DESC_TRANSA = 3, CUBLASLT_MATMUL_DESC_TRANSB = 4 };
enum cublasLtReductionScheme_t { CUBLASLT_REDUCTION_SCHEME_NONE = 0, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2 };
enum cublasLtMatmulPreferenceAttributes_t {
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
  CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8
};

struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type;
  std::uint64_t rows, columns;
  std::int64_t leading, offset;
  std::int32_t batch;
};
struct cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t a, b;
};
struct cublasLtMatmulPreferenceOpaque_t {
  std::uint64_t workspace;
  std::uint32_t reduction, alignment[4];
};
/// What a product was promised when its algorithm was chosen.
struct cublasLtMatmulAlgo_t {
  std::uint32_t alignment[4];
  std::size_t workspace;
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  std::size_t workspaceSize;
  cublasStatus_t state;
};
using cublasLtHandle_t = struct cublasLtContext*;
using cublasLtMatrixLayout_t = cublasLtMatrixLayoutOpaque_t*;
using cublasLtMatmulDesc_t = cublasLtMatmulDescOpaque_t*;
using cublasLtMatmulPreference_t = cublasLtMatmulPreferenceOpaque_t*;

inline const char* cublasLtGetStatusName(cublasStatus_t status) { return cublasGetStatusName(status); }
inline const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasGetStatusString(status); }
inline cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(std::uintptr_t{1});
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasLtMatrixLayoutInit(cublasLtMatrixLayout_t layout, cudaDataType_t type, std::uint64_t rows,
                                               std::uint64_t columns, std::int64_t leading) {
  *layout = {type, rows, columns, leading, 0, 1};
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulDescInit(cublasLtMatmulDesc_t operation, cublasComputeType_t compute,
                                             cudaDataType_t scale) {
  *operation = {compute, scale, CUBLAS_OP_N, CUBLAS_OP_N};
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceInit(cublasLtMatmulPreference_t preference) {
  *preference = {0, 7, {256, 256, 256, 256}};
  return CUBLAS_STATUS_SUCCESS;
}

namespace emulation {

template <class Target>
cublasStatus_t set_attribute(Target& target, const void* value, std::size_t bytes) {
  if (bytes != sizeof(Target)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&target, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace emulation

inline cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                       cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                       std::size_t bytes) {
  return attribute == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT ? emulation::set_attribute(layout->batch, value, bytes)
                                                         : emulation::set_attribute(layout->offset, value, bytes);
}
inline cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                                     cublasLtMatmulDescAttributes_t attribute, const void* value,
                                                     std::size_t bytes) {
  return emulation::set_attribute(attribute == CUBLASLT_MATMUL_DESC_TRANSA ? operation->a : operation->b, value, bytes);
}
inline cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                           cublasLtMatmulPreferenceAttributes_t attribute,
                                                           const void* value, std::size_t bytes) {
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
    return emulation::set_attribute(preference->workspace, value, bytes);
  if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
    return emulation::set_attribute(preference->reduction, value, bytes);
  return emulation::set_attribute(preference->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value,
                                  bytes);
}

namespace emulation {

/// Number of products, and of algorithms asked for: a plan is made once.
inline int products = 0;
inline int plans = 0;

/// Whether rows and columns of the operands, their batches and their types make a product.
inline bool fits(const cublasLtMatmulDescOpaque_t& operation, const cublasLtMatrixLayoutOpaque_t& a,
                 const cublasLtMatrixLayoutOpaque_t& b, const cublasLtMatrixLayoutOpaque_t& d) {
  const bool ta = operation.a == CUBLAS_OP_T, tb = operation.b == CUBLAS_OP_T;
  const bool types = a.type == b.type && a.type == d.type &&
                     (a.type == CUDA_R_64F) == (operation.compute == CUBLAS_COMPUTE_64F) &&
                     operation.scale == (a.type == CUDA_R_64F ? CUDA_R_64F : CUDA_R_32F) &&
                     (operation.compute != CUBLAS_COMPUTE_32F_FAST_TF32 || a.type == CUDA_R_32F);
  bool good = types && a.batch == d.batch && b.batch == d.batch && d.batch >= 1 && d.batch <= 65535 &&
              (ta ? a.columns : a.rows) == d.rows && (tb ? b.rows : b.columns) == d.columns &&
              (ta ? a.rows : a.columns) == (tb ? b.columns : b.rows);
  for (const auto* x : {&a, &b, &d})
    good = good && x->rows > 0 && x->columns > 0 && x->leading >= static_cast<std::int64_t>(x->rows);
  // Matrices of a batch of results must not overlap.
  return good && (d.batch == 1 || d.offset >= (static_cast<std::int64_t>(d.columns) - 1) * d.leading +
                                                  static_cast<std::int64_t>(d.rows));
}

template <class Sum>
Sum stored(const void* data, std::int64_t index, cudaDataType_t type, bool tf32) {
  if (type == CUDA_R_64F) return static_cast<Sum>(static_cast<const double*>(data)[index]);
  std::uint32_t bits = 0;
  if (type == CUDA_R_16BF) {
    bits = static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(data)[index]) << 16;
  } else {
    std::memcpy(&bits, static_cast<const float*>(data) + index, sizeof(bits));
    // 11 significant bits; what is cut is cut, which is the larger of the errors that hardware may make.
    if (tf32) bits &= 0xffffe000u;
  }
  float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return static_cast<Sum>(value);
}

template <class Sum>
void store(void* data, std::int64_t index, cudaDataType_t type, Sum value) {
  if (type == CUDA_R_64F) {
    static_cast<double*>(data)[index] = static_cast<double>(value);
  } else if (type == CUDA_R_32F) {
    static_cast<float*>(data)[index] = static_cast<float>(value);
  } else {
    const float number = static_cast<float>(value);
    std::uint32_t bits = 0;
    std::memcpy(&bits, &number, sizeof(bits));
    const std::uint32_t rounded = number == number ? bits + 0x7fffu + ((bits >> 16) & 1u) : bits | 0x400000u;
    static_cast<std::uint16_t*>(data)[index] = static_cast<std::uint16_t>(rounded >> 16);
  }
}

template <class Sum>
void products_of(const cublasLtMatmulDescOpaque_t& operation, const void* alpha, const void* a,
                 const cublasLtMatrixLayoutOpaque_t& la, const void* b, const cublasLtMatrixLayoutOpaque_t& lb,
                 const void* beta, const void* c, void* d, const cublasLtMatrixLayoutOpaque_t& ld) {
  Sum factor = 0, keep = 0;
  std::memcpy(&factor, alpha, sizeof(Sum));
  std::memcpy(&keep, beta, sizeof(Sum));
  const bool ta = operation.a == CUBLAS_OP_T, tb = operation.b == CUBLAS_OP_T;
  const bool tf32 = operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  const auto rows = static_cast<std::int64_t>(ld.rows), columns = static_cast<std::int64_t>(ld.columns);
  const auto depth = static_cast<std::int64_t>(ta ? la.rows : la.columns);
  for (std::int64_t s = 0; s < ld.batch; ++s)
    for (std::int64_t j = 0; j < columns; ++j)
      for (std::int64_t i = 0; i < rows; ++i) {
        Sum sum = 0;
        for (std::int64_t l = 0; l < depth; ++l)
          sum += stored<Sum>(a, s * la.offset + (ta ? i * la.leading + l : l * la.leading + i), la.type, tf32) *
                 stored<Sum>(b, s * lb.offset + (tb ? l * lb.leading + j : j * lb.leading + l), lb.type, tf32);
        const std::int64_t at = s * ld.offset + j * ld.leading + i;
        const Sum before = keep == Sum(0) ? Sum(0) : keep * stored<Sum>(c, at, ld.type, false);
        store(d, at, ld.type, factor * sum + before);
      }
}

}  // namespace emulation

inline cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                                     cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                     cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                                     cublasLtMatmulPreference_t preference, int wanted,
                                                     cublasLtMatmulHeuristicResult_t* results, int* count) {
  *count = 0;
  if (handle == nullptr || wanted < 1 || !emulation::fits(*operation, *a, *b, *d)) return CUBLAS_STATUS_INVALID_VALUE;
  // Parts that are added in place, or in the type of the result, would change bits or lose them.
  if ((preference->reduction & ~static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)) != 0)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  ++emulation::plans;
  results[0] = {
      {{preference->alignment[0], preference->alignment[1], preference->alignment[2], preference->alignment[3]},
       std::min<std::size_t>(preference->workspace, 256)},
      std::min<std::size_t>(preference->workspace, 256),
      CUBLAS_STATUS_SUCCESS};
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}

inline cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha,
                                     const void* a, cublasLtMatrixLayout_t la, const void* b, cublasLtMatrixLayout_t lb,
                                     const void* beta, const void* c, cublasLtMatrixLayout_t, void* d,
                                     cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t* algo, void* workspace,
                                     std::size_t workspace_bytes, cudaStream_t stream) {
  if (handle == nullptr || !emulation::fits(*operation, *la, *lb, *ld)) return CUBLAS_STATUS_INVALID_VALUE;
  const void* addresses[4] = {a, b, c, d};
  for (int i = 0; i < 4; ++i)
    if (reinterpret_cast<std::uintptr_t>(addresses[i]) % algo->alignment[i] != 0) return CUBLAS_STATUS_INVALID_VALUE;
  if (workspace_bytes < algo->workspace || (algo->workspace > 0 && workspace == nullptr) ||
      reinterpret_cast<std::uintptr_t>(workspace) % 16 != 0)
    return CUBLAS_STATUS_INVALID_VALUE;
  ++emulation::products;
  const bool in_double = operation->compute == CUBLAS_COMPUTE_64F;
  double factor = 0, keep = 0;
  std::memcpy(&factor, alpha, in_double ? sizeof(double) : sizeof(float));
  std::memcpy(&keep, beta, in_double ? sizeof(double) : sizeof(float));
  const cudaError_t code = emulation::submit(
      stream, emulation::NodeKind::library, [=, what = *operation, of_a = *la, of_b = *lb, of_d = *ld] {
        if (in_double)
          emulation::products_of<double>(what, &factor, a, of_a, b, of_b, &keep, c, d, of_d);
        else
          emulation::products_of<float>(what, &factor, a, of_a, b, of_b, &keep, c, d, of_d);
      });
  if (code != cudaSuccess) return CUBLAS_STATUS_INTERNAL_ERROR;
  return CUBLAS_STATUS_SUCCESS;
}
