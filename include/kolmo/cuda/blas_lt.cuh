#pragma once
// Matrix products of cuBLASLt: float (exact, or TF32 by Cuda::Math), double, and BFloat16 with sums in float.
//
// cuBLASLt counts columns first. A row-major matrix is its transpose there, and C^T = op(B)^T op(A)^T, so the operands
// are exchanged and nothing is copied. What the library answers for a shape is asked once per thread. Only algorithms
// that add in a fixed order are admitted: none that splits k, or parts kept in a workspace in the type of the sums and
// added afterwards.

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include <cublasLt.h>

#include <kolmo/cuda/launch.cuh>

namespace kolmo::detail {

inline void check_cublas(cublasStatus_t status, const std::string& call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(call + ": " + cublasLtGetStatusName(status) + " (" + std::to_string(static_cast<int>(status)) +
                      "), " + cublasLtGetStatusString(status));
}

/// The handle of one thread on its current device.
class LtHandle {
 public:
  LtHandle() { check_cublas(cublasLtCreate(&handle_), "cublasLtCreate"); }
  ~LtHandle() { static_cast<void>(cublasLtDestroy(handle_)); }
  LtHandle(const LtHandle&) = delete;
  LtHandle& operator=(const LtHandle&) = delete;
  cublasLtHandle_t get() const { return handle_; }

 private:
  cublasLtHandle_t handle_ = nullptr;
};

/// What decides how a product is computed, as numbers.
struct LtKey {
  static constexpr int count = 16;
  index_t values[count] = {};

  bool operator==(const LtKey& other) const {
    for (int i = 0; i < count; ++i)
      if (values[i] != other.values[i]) return false;
    return true;
  }
};
struct LtHash {
  std::size_t operator()(const LtKey& key) const {
    std::uint64_t hash = 1469598103934665603u;
    for (const index_t value : key.values) hash = (hash ^ static_cast<std::uint64_t>(value)) * 1099511628211u;
    return static_cast<std::size_t>(hash ^ (hash >> 32));
  }
};

/// Descriptors of a product and the algorithm chosen for it.
struct LtPlan {
  cublasLtMatmulDescOpaque_t operation{};
  cublasLtMatrixLayoutOpaque_t left{}, right{}, result{};
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace_bytes = 0;
};

/// How cuBLASLt names a scalar: of the matrices, of the sums.
template <class T>
struct LtScalar {};
template <>
struct LtScalar<float> {
  static constexpr cudaDataType_t stored = CUDA_R_32F, scale = CUDA_R_32F;
  static constexpr cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
};
template <>
struct LtScalar<double> {
  static constexpr cudaDataType_t stored = CUDA_R_64F, scale = CUDA_R_64F;
  static constexpr cublasComputeType_t compute = CUBLAS_COMPUTE_64F;
};
template <>
struct LtScalar<BFloat16> {
  static constexpr cudaDataType_t stored = CUDA_R_16BF, scale = CUDA_R_32F;
  static constexpr cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
};

template <class T>
concept LtProduct = requires {
  LtScalar<T>::stored;
};

/// Largest power of two, up to 256, that divides an address.
inline index_t address_alignment(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address);
  index_t alignment = 1;
  while (alignment < 256 && bits % (2 * static_cast<std::uintptr_t>(alignment)) == 0) alignment *= 2;
  return alignment;
}

template <class T>
class LtProducts {
  using Scalar = LtScalar<T>;

 public:
  /// This thread's products on the current device.
  static LtProducts& current() {
    thread_local std::vector<std::unique_ptr<LtProducts>> all;
    const auto device = static_cast<std::size_t>(current_cuda_device());
    if (all.size() <= device) all.resize(device + 1);
    if (all[device] == nullptr) all[device] = std::make_unique<LtProducts>();
    return *all[device];
  }

  /// Any batch: the library takes 65535 matrices at once.
  void run(const GemmCall<T>& call) {
    constexpr index_t most = 65535;
    for (index_t first = 0; first < call.batch; first += most) {
      GemmCall<T> part = call;
      part.batch = smaller(most, call.batch - first);
      part.a += first * call.batch_stride_a;
      part.b += first * call.batch_stride_b;
      part.c += first * call.batch_stride_c;
      run_part(part);
    }
  }

 private:
  // What NVIDIA recommends for Hopper.
  static constexpr std::size_t most_workspace = std::size_t{32} << 20;

  void run_part(const GemmCall<T>& call) {
    const cublasComputeType_t compute = std::is_same_v<T, float> && Cuda::Math::mode() == MatrixMath::tf32
                                            ? CUBLAS_COMPUTE_32F_FAST_TF32
                                            : Scalar::compute;
    const index_t align_a = address_alignment(call.a), align_b = address_alignment(call.b),
                  align_c = address_alignment(call.c);
    const LtKey key{{static_cast<index_t>(compute), call.transpose_a, call.transpose_b, call.m, call.n, call.k,
                     call.batch, call.leading_a, call.leading_b, call.leading_c, call.batch_stride_a,
                     call.batch_stride_b, call.batch_stride_c, align_a, align_b, align_c}};
    auto found = plans_.find(key);
    if (found == plans_.end()) {
      // Programs whose shapes never repeat must not fill the memory with plans.
      if (plans_.size() >= 4096) plans_.clear();
      found = plans_.emplace(key, make_plan(call, compute, align_a, align_b, align_c)).first;
    }
    LtPlan& plan = found->second;
    std::optional<CudaBuffer<unsigned char>> workspace;
    if (plan.workspace_bytes > 0) workspace.emplace(static_cast<index_t>(plan.workspace_bytes));
    const cublasStatus_t status =
        cublasLtMatmul(handle(), &plan.operation, &call.alpha, call.b, &plan.left, call.a, &plan.right, &call.beta,
                       call.c, &plan.result, call.c, &plan.result, &plan.algorithm,
                       workspace ? workspace->data() : nullptr, plan.workspace_bytes, Cuda::stream());
    if (status != CUBLAS_STATUS_SUCCESS) check_cublas(status, "cublasLtMatmul of " + describe(call));
    if (Cuda::debug()) Cuda::synchronize();
  }

  /// That of the host program where the scope has one.
  cublasLtHandle_t handle() const { return Cuda::handles().blas_lt != nullptr ? Cuda::handles().blas_lt : handle_.get(); }

  static std::string describe(const GemmCall<T>& call) {
    return std::to_string(call.batch) + " products [" + std::to_string(call.m) + ", " + std::to_string(call.k) +
           "] x [" + std::to_string(call.k) + ", " + std::to_string(call.n) + "]";
  }

  static void set(cublasLtMatmulDescOpaque_t& operation, cublasLtMatmulDescAttributes_t attribute,
                  cublasOperation_t value) {
    check_cublas(cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof(value)),
                 "cublasLtMatmulDescSetAttribute");
  }
  template <class Value>
  static void set(cublasLtMatmulPreferenceOpaque_t& preference, cublasLtMatmulPreferenceAttributes_t attribute,
                  Value value) {
    check_cublas(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof(value)),
                 "cublasLtMatmulPreferenceSetAttribute");
  }

  /// A batch of row-major matrices [rows, columns], which are [columns, rows] to the library.
  static cublasLtMatrixLayoutOpaque_t layout(index_t rows, index_t columns, index_t leading, index_t batch,
                                             index_t stride) {
    cublasLtMatrixLayoutOpaque_t result{};
    check_cublas(cublasLtMatrixLayoutInit(&result, Scalar::stored, static_cast<std::uint64_t>(columns),
                                          static_cast<std::uint64_t>(rows), leading),
                 "cublasLtMatrixLayoutInit");
    const auto count = static_cast<std::int32_t>(batch);
    const auto offset = static_cast<std::int64_t>(stride);
    check_cublas(cublasLtMatrixLayoutSetAttribute(&result, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof(count)),
                 "cublasLtMatrixLayoutSetAttribute");
    check_cublas(
        cublasLtMatrixLayoutSetAttribute(&result, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &offset, sizeof(offset)),
        "cublasLtMatrixLayoutSetAttribute");
    return result;
  }

  LtPlan make_plan(const GemmCall<T>& call, cublasComputeType_t compute, index_t align_a, index_t align_b,
                   index_t align_c) const {
    LtPlan plan;
    check_cublas(cublasLtMatmulDescInit(&plan.operation, compute, Scalar::scale), "cublasLtMatmulDescInit");
    set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, call.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, call.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    plan.left = layout(call.transpose_b ? call.n : call.k, call.transpose_b ? call.k : call.n, call.leading_b,
                       call.batch, call.batch_stride_b);
    plan.right = layout(call.transpose_a ? call.k : call.m, call.transpose_a ? call.m : call.k, call.leading_a,
                        call.batch, call.batch_stride_a);
    plan.result = layout(call.m, call.n, call.leading_c, call.batch, call.batch_stride_c);

    cublasLtMatmulPreferenceOpaque_t preference{};
    check_cublas(cublasLtMatmulPreferenceInit(&preference), "cublasLtMatmulPreferenceInit");
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(most_workspace));
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(align_b));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(align_a));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(align_c));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(align_c));

    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle(), &plan.operation, &plan.left, &plan.right, &plan.result,
                                       &plan.result, &preference, 1, &found, &count);
    if (status != CUBLAS_STATUS_SUCCESS || count == 0)
      check_cublas(status != CUBLAS_STATUS_SUCCESS ? status : CUBLAS_STATUS_NOT_SUPPORTED,
                   "cublasLtMatmulAlgoGetHeuristic of " + describe(call));
    check_cublas(found.state, "cublasLtMatmulAlgoGetHeuristic of " + describe(call));
    plan.algorithm = found.algo;
    plan.workspace_bytes = found.workspaceSize;
    return plan;
  }

  LtHandle handle_;
  std::unordered_map<LtKey, LtPlan, LtHash> plans_;
};

}  // namespace kolmo::detail
