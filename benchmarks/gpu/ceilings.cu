// What this GPU can do at most, by the vendor's own calls: a large copy in device memory, and large matrix products by
// cuBLASLt, the fastest of the algorithms that it proposes. All shares in the report are of these.

#include <string>
#include <vector>

#include <cublasLt.h>

#include <kolmo/cuda/cuda.cuh>
#include <kolmo/nn/init.hpp>
#include <kolmo/ops/cast.hpp>

#include "gpu_check.hpp"

using namespace kolmo;

namespace {

void require(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(std::string(call) + ": cuBLAS status " + std::to_string(static_cast<int>(status)));
}

/// C = A B of n x n numbers by every algorithm that cuBLASLt proposes.
struct LargeProduct {
  index_t n;
  cudaDataType_t type;
  cublasComputeType_t compute;
  cudaDataType_t factor;
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t layout = nullptr;
  // A plain array: nvcc's front end dies on std::vector of a struct whose only name is a typedef.
  cublasLtMatmulHeuristicResult_t algorithms[8] = {};
  int count = 0;
  static constexpr std::size_t workspace_bytes = std::size_t{64} << 20;
  void* workspace;

  LargeProduct(index_t size, cudaDataType_t scalar, cublasComputeType_t arithmetic, cudaDataType_t alpha)
      : n(size), type(scalar), compute(arithmetic), factor(alpha), workspace(Cuda::allocate(workspace_bytes)) {
    require(cublasLtCreate(&handle), "cublasLtCreate");
    require(cublasLtMatmulDescCreate(&product, compute, factor), "cublasLtMatmulDescCreate");
    require(cublasLtMatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(n), n),
            "cublasLtMatrixLayoutCreate");
    cublasLtMatmulPreference_t preference = nullptr;
    require(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    require(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes,
                                                 sizeof(workspace_bytes)),
            "cublasLtMatmulPreferenceSetAttribute");
    require(cublasLtMatmulAlgoGetHeuristic(handle, product, layout, layout, layout, layout, preference, 8, algorithms,
                                           &count),
            "cublasLtMatmulAlgoGetHeuristic");
    cublasLtMatmulPreferenceDestroy(preference);
    if (count == 0) throw DeviceError("cuBLASLt proposes no algorithm");
  }
  ~LargeProduct() {
    cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(product);
    cublasLtDestroy(handle);
    Cuda::deallocate(workspace, workspace_bytes);
  }
  LargeProduct(const LargeProduct&) = delete;
  LargeProduct& operator=(const LargeProduct&) = delete;

  void run(int algorithm, const void* a, const void* b, void* c) const {
    const float one = 1, zero = 0;
    const double one_double = 1, zero_double = 0;
    const bool wide = factor == CUDA_R_64F;
    // Columns first: B and A exchanged make the row-major product.
    require(cublasLtMatmul(handle, product, wide ? static_cast<const void*>(&one_double) : &one, b, layout, a, layout,
                           wide ? static_cast<const void*>(&zero_double) : &zero, c, layout, c, layout,
                           &algorithms[algorithm].algo, workspace, workspace_bytes, Cuda::stream()),
            "cublasLtMatmul");
  }
};

template <class T>
void add_product(gpu::Report& report, const std::string& row, const char* unit, cudaDataType_t type,
                 cublasComputeType_t compute, cudaDataType_t factor, double tolerance) {
  report.part(row, [&] {
    const index_t n = report.tiny() ? 256 : 8192;
    const LargeProduct product(n, type, compute, factor);
    using V = Tensor<double, Cuda>;
    const auto a = cast<T>(nn::normal_values<V>(Key{1}, Shape{n, n}));
    const auto b = cast<T>(nn::normal_values<V>(Key{2}, Shape{n, n}));
    auto c = Tensor<T, Cuda>::uninitialized(Shape{n, n});
    const gpu::Work work{.flops = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n),
                         .unit = unit};
    int best = 0;
    gpu::Timing timing;
    for (int i = 0; i < product.count; ++i) {
      const auto time = report.time([&](index_t) { product.run(i, a.data(), b.data(), c.mutable_data()); });
      if (i > 0 && !(time.median < timing.median)) continue;
      timing = time;
      best = i;
    }
    product.run(best, a.data(), b.data(), c.mutable_data());
    const gpu::Check check{gpu::product_error(a, b, c), tolerance, "sums in double of 64 elements"};
    report.add(row, work, check, timing, "best of " + std::to_string(product.count) + " algorithms");
  });
}

void add_copy(gpu::Report& report) {
  report.part("ceiling/copy", [&] {
    const index_t n = report.tiny() ? 4096 : index_t{1} << 30;
    const auto x = nn::uniform_values<Tensor<float, Cuda>>(Key{1}, Shape{n}, 0, 1);
    auto y = Tensor<float, Cuda>::uninitialized(Shape{n});
    const auto copy = [&](index_t) {
      Cuda::copy(y.mutable_data(), x.data(), static_cast<std::size_t>(n) * sizeof(float));
    };
    copy(0);
    const gpu::Check check{gpu::relative_error(gpu::sampled(y), gpu::sampled(x)), 0, "what was copied"};
    report.row("ceiling/copy", {.bytes = 8.0 * static_cast<double>(n)}, check, copy, "4 GiB, read and written");
  });
}

}  // namespace

int main(int argc, char** argv) {
  return gpu::run("What this GPU can do at most: copy and products.", argc, argv, [](gpu::Report& report) {
    add_copy(report);
    add_product<BFloat16>(report, "ceiling/bf16", "bf16", CUDA_R_16BF, CUBLAS_COMPUTE_32F, CUDA_R_32F, 1e-2);
    add_product<float>(report, "ceiling/tf32", "tf32", CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, 2e-3);
    add_product<float>(report, "ceiling/float", "float", CUDA_R_32F, CUBLAS_COMPUTE_32F, CUDA_R_32F, 1e-5);
    add_product<double>(report, "ceiling/double", "double", CUDA_R_64F, CUBLAS_COMPUTE_64F, CUDA_R_64F, 1e-13);
  });
}
