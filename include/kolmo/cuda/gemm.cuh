#pragma once
// Matrix products on CUDA: cuBLAS for float and double, a tiled kernel for every other scalar.
//
// cuBLAS counts columns first. A row-major matrix is its transpose there, and C^T = op(B)^T op(A)^T, so
// the operands are exchanged and nothing is copied.

#include <memory>
#include <type_traits>
#include <vector>

#include <cublas_v2.h>

#include <kolmo/cuda/launch.cuh>

namespace kolmo {

namespace detail {

inline void check_cublas(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(std::string(call) + ": " + cublasGetStatusName(status) + " (" +
                      std::to_string(static_cast<int>(status)) + "), " + cublasGetStatusString(status));
}

/// The handle of one thread on one device. cuBLAS repeats its bits when a handle has a workspace of its
/// own, no atomic sums and one stream at a time; the order of scopes makes it one at a time.
class CublasHandle {
 public:
  CublasHandle() {
    check_cublas(cublasCreate(&handle_), "cublasCreate");
    const cudaError_t code = cudaMalloc(&workspace_, workspace_bytes);
    if (code != cudaSuccess) {
      cublasDestroy(handle_);
      if (code == cudaErrorMemoryAllocation) {
        static_cast<void>(cudaGetLastError());
        throw OutOfMemory("could not allocate the " + std::to_string(workspace_bytes) +
                          " bytes of device memory that cuBLAS works in; use a smaller batch or checkpoint");
      }
      throw_cuda(code, "cudaMalloc of " + std::to_string(workspace_bytes) + " bytes for cuBLAS");
    }
  }
  ~CublasHandle() {
    static_cast<void>(cublasDestroy(handle_));
    static_cast<void>(cudaFree(workspace_));
  }
  CublasHandle(const CublasHandle&) = delete;
  CublasHandle& operator=(const CublasHandle&) = delete;

  /// This thread's handle on the current device, set to the current stream.
  static cublasHandle_t current() {
    thread_local std::vector<std::unique_ptr<CublasHandle>> handles;
    const auto device = static_cast<std::size_t>(current_cuda_device());
    if (handles.size() <= device) handles.resize(device + 1);
    if (handles[device] == nullptr) handles[device] = std::make_unique<CublasHandle>();
    CublasHandle& own = *handles[device];
    if (!own.configured_ || own.stream_ != Cuda::stream()) {
      check_cublas(cublasSetStream(own.handle_, Cuda::stream()), "cublasSetStream");
      // Setting the stream takes the workspace away.
      check_cublas(cublasSetWorkspace(own.handle_, own.workspace_, workspace_bytes), "cublasSetWorkspace");
      check_cublas(cublasSetMathMode(own.handle_, CUBLAS_DEFAULT_MATH), "cublasSetMathMode");
      check_cublas(cublasSetAtomicsMode(own.handle_, CUBLAS_ATOMICS_NOT_ALLOWED), "cublasSetAtomicsMode");
      check_cublas(cublasSetPointerMode(own.handle_, CUBLAS_POINTER_MODE_HOST), "cublasSetPointerMode");
      own.stream_ = Cuda::stream();
      own.configured_ = true;
    }
    return own.handle_;
  }

 private:
  // What NVIDIA recommends for Hopper.
  static constexpr std::size_t workspace_bytes = std::size_t{32} << 20;

  cublasHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  cudaStream_t stream_ = nullptr;
  bool configured_ = false;
};

inline cublasStatus_t cublas_product(cublasHandle_t handle, cublasOperation_t b, cublasOperation_t a,
                                     const GemmCall<float>& call) {
  return cublasSgemmStridedBatched_64(handle, b, a, call.n, call.m, call.k, &call.alpha, call.b, call.leading_b,
                                      call.batch_stride_b, call.a, call.leading_a, call.batch_stride_a, &call.beta, call.c,
                                      call.leading_c, call.batch_stride_c, call.batch);
}
inline cublasStatus_t cublas_product(cublasHandle_t handle, cublasOperation_t b, cublasOperation_t a,
                                     const GemmCall<double>& call) {
  return cublasDgemmStridedBatched_64(handle, b, a, call.n, call.m, call.k, &call.alpha, call.b, call.leading_b,
                                      call.batch_stride_b, call.a, call.leading_a, call.batch_stride_a, &call.beta, call.c,
                                      call.leading_c, call.batch_stride_c, call.batch);
}

/// Edge of the tiles of which two fit into shared memory.
template <class T>
inline constexpr int gemm_tile = sizeof(T) <= 96 ? 16 : sizeof(T) <= 384 ? 8 : 4;

/// A block computes a square tile of C and walks along k; every element is summed in the order of k.
template <class T>
KOLMO_KERNEL gemm_kernel(const __grid_constant__ GemmCall<T> call) {
  constexpr int tile = gemm_tile<T>;
  static_assert(2 * tile * tile * sizeof(T) <= 49152, "a scalar of a matrix product has at most 1536 bytes");
  alignas(T) __shared__ unsigned char memory[2 * tile * tile * sizeof(T)];
  T* const tile_a = reinterpret_cast<T*>(memory);
  T* const tile_b = tile_a + tile * tile;
  const int column = static_cast<int>(threadIdx.x) % tile, row = static_cast<int>(threadIdx.x) / tile;
  const index_t tiles_m = divide_up(call.m, tile), tiles_n = divide_up(call.n, tile);
  const index_t items = tiles_m * tiles_n * call.batch;
  for (index_t item = blockIdx.x; item < items; item += gridDim.x) {
    const index_t matrix = item / (tiles_m * tiles_n), rest = item % (tiles_m * tiles_n);
    const index_t i = rest / tiles_n * tile + row, j = rest % tiles_n * tile + column;
    const T* const a = call.a + matrix * call.batch_stride_a;
    const T* const b = call.b + matrix * call.batch_stride_b;
    T sum = T(0);
    for (index_t begin = 0; begin < call.k; begin += tile) {
      const index_t la = begin + column, lb = begin + row;
      tile_a[row * tile + column] =
          i < call.m && la < call.k ? (call.transpose_a ? a[la * call.leading_a + i] : a[i * call.leading_a + la]) : T(0);
      tile_b[row * tile + column] =
          j < call.n && lb < call.k ? (call.transpose_b ? b[j * call.leading_b + lb] : b[lb * call.leading_b + j]) : T(0);
      __syncthreads();
      const int depth = static_cast<int>(smaller<index_t>(tile, call.k - begin));
      for (int l = 0; l < depth; ++l) sum = sum + tile_a[row * tile + l] * tile_b[l * tile + column];
      __syncthreads();
    }
    if (i < call.m && j < call.n) {
      T& c = call.c[matrix * call.batch_stride_c + i * call.leading_c + j];
      c = call.beta == T(0) ? call.alpha * sum : call.alpha * sum + call.beta * c;
    }
  }
}

}  // namespace detail

/// Throws DeviceError.
template <class T>
KOLMO_LINKABLE void Cuda::gemm(const GemmCall<T>& call) {
  if (call.m <= 0 || call.n <= 0 || call.batch <= 0) return;
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    if (call.k > 0) {
      detail::check_cublas(detail::cublas_product(detail::CublasHandle::current(), call.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                                                  call.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, call),
                           "cublasGemmStridedBatched");
      if (debug()) synchronize();
      return;
    }
  }
  constexpr int tile = detail::gemm_tile<T>;
  detail::launch<GemmCall<T>>("gemm", detail::gemm_kernel<T>,
                              divide_up(call.m, tile) * divide_up(call.n, tile) * call.batch, tile * tile, call);
}

}  // namespace kolmo
