// The instructions of cuda/instructions.cuh, each against a plain product or copy on the host.
#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/cuda/cuda.cuh>

#include "check.hpp"

namespace instructions {

using kolmo::BFloat16;
using kolmo::Cuda;
using kolmo::index_t;
namespace detail = kolmo::detail;

/// A product of one warp and of 16 rows, whose operands pass through shared memory.
struct WarpProduct {
  const void* a;
  const void* b;
  float* d;
  float* rounded;
};

__device__ unsigned char* row_of(unsigned char* tile, int row, int chunk) { return tile + row * 48 + chunk * 16; }

// a is [16, 16], b is [16, 8] row-major: the one is loaded as it lies, the other transposed.
KOLMO_KERNEL bfloat16_kernel(const __grid_constant__ WarpProduct call) {
  unsigned char* const a_tile = detail::dynamic_shared();
  unsigned char* const b_tile = a_tile + 16 * 48;
  const int lane = static_cast<int>(threadIdx.x);
  detail::copy_async_16(row_of(a_tile, lane / 2, lane % 2), static_cast<const unsigned char*>(call.a) + lane * 16);
  detail::commit_copies();
  if (lane < 16)
    detail::copy_async_16_cached(row_of(b_tile, lane, 0), static_cast<const unsigned char*>(call.b) + lane * 16);
  detail::commit_copies();
  detail::wait_copies<1>();
  __syncthreads();
  std::uint32_t a[4], b[2];
  detail::load_matrices<4>(a, row_of(a_tile, lane % 16, lane / 16));
  detail::wait_copies<0>();
  __syncthreads();
  detail::load_matrices_transposed<2>(b, row_of(b_tile, lane % 16, 0));
  float d[4] = {1, 1, 1, 1};
  detail::multiply_add_bfloat16(d, a, b);
  for (int i = 0; i < 4; ++i) call.d[(lane / 4 + 8 * (i / 2)) * 8 + 2 * (lane % 4) + i % 2] = d[i];
}

// a is [16, 8], b is [8 columns, 8 rows]; the last row of a and the last column of b are left out.
KOLMO_KERNEL tf32_kernel(const __grid_constant__ WarpProduct call) {
  unsigned char* const a_tile = detail::dynamic_shared();
  unsigned char* const b_tile = a_tile + 16 * 48;
  const int lane = static_cast<int>(threadIdx.x);
  detail::copy_async_16(row_of(a_tile, lane / 2, lane % 2), static_cast<const unsigned char*>(call.a) + lane * 16,
                        lane < 30);
  for (int i = lane; i < 64; i += 32)
    detail::copy_async_4(b_tile + i / 8 * 48 + i % 8 * 4, static_cast<const unsigned char*>(call.b) + i * 4, i < 56);
  detail::commit_copies();
  detail::wait_copies<0>();
  __syncthreads();
  std::uint32_t a[4], b[2], low[1];
  detail::load_matrices<4>(a, row_of(a_tile, lane % 16, lane / 16));
  detail::load_matrices<2>(b, row_of(b_tile, lane % 8, lane / 8 % 2));
  detail::load_matrices<1>(low, row_of(b_tile, lane % 8, 0));
  for (std::uint32_t& x : a) x = detail::to_tf32(__builtin_bit_cast(float, x));
  for (std::uint32_t& x : b) x = detail::to_tf32(__builtin_bit_cast(float, x));
  float d[4] = {};
  detail::multiply_add_tf32(d, a, b);
  for (int i = 0; i < 4; ++i) call.d[(lane / 4 + 8 * (i / 2)) * 8 + 2 * (lane % 4) + i % 2] = d[i];
  call.rounded[lane] = __builtin_bit_cast(float, low[0]);
}

// Products of a warpgroup: a [64, 32 bytes] is loaded into registers from rows of 32 bytes and 16 between; b lies
// swizzled in rows along k ([64, k]) or along the columns ([k, 64]), from the second step of 32 bytes along k on. The
// image that a plain sm_90 has bounds the launch by one warp.
template <class T, bool transposed>
KOLMO_KERNEL __launch_bounds__(detail::warpgroup_products ? 128 : 32)
    warpgroup_kernel(const __grid_constant__ WarpProduct call) {
  if constexpr (detail::warpgroup_products) {
    unsigned char* const b_tile = detail::dynamic_shared();
    unsigned char* const a_tile = b_tile + 64 * 128;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
    detail::copy_async_16(row_of(a_tile, thread / 2, thread % 2),
                          static_cast<const unsigned char*>(call.a) + thread * 16);
    for (int item = thread; item < 64 * 8; item += 128)
      detail::copy_async_16(b_tile + item / 8 * 128 + (item % 8 ^ item / 8 % 8) * 16,
                            static_cast<const unsigned char*>(call.b) + item * 16);
    detail::commit_copies();
    detail::wait_copies<0>();
    detail::fence_shared_for_products();
    __syncthreads();
    float d[32] = {};
    std::uint32_t a[4];
    detail::load_matrices<4>(a, row_of(a_tile, thread / 32 * 16 + lane % 16, lane / 16));
    const std::uint32_t address = detail::shared_address(b_tile);
    detail::begin_products();
    detail::multiply_add_warpgroup<T, 64, transposed>(
        d, a, transposed ? detail::product_columns(address + 2048, 8192) : detail::product_rows(address + 32));
    detail::commit_products();
    detail::wait_products<0>();
    detail::hold_registers(d);
    for (int j = 0; j < 8; ++j)
      for (int i = 0; i < 4; ++i)
        call.d[(thread / 32 * 16 + lane / 4 + 8 * (i / 2)) * 64 + 8 * j + 2 * (lane % 4) + i % 2] = d[4 * j + i];
  }
}

template <class T>
using Device = kolmo::Tensor<T, Cuda>;

void bfloat16_products() {
  std::vector<BFloat16> a(256), b(128);
  for (int i = 0; i < 256; ++i) a[static_cast<std::size_t>(i)] = BFloat16(static_cast<float>(i * 37 % 64 - 31) / 8);
  for (int i = 0; i < 128; ++i) b[static_cast<std::size_t>(i)] = BFloat16(static_cast<float>(i * 29 % 32 - 15) / 4);
  std::vector<float> expected(128, 1.0f);
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = 0; j < 8; ++j)
      for (std::size_t k = 0; k < 16; ++k)
        expected[i * 8 + j] += static_cast<float>(a[i * 16 + k]) * static_cast<float>(b[k * 8 + j]);
  const auto da = Device<BFloat16>::from(a, kolmo::Shape{16, 16}), db = Device<BFloat16>::from(b, kolmo::Shape{16, 8});
  auto d = Device<float>::uninitialized(kolmo::Shape{16, 8});
  detail::launch<WarpProduct>("bfloat16_kernel", bfloat16_kernel, detail::LaunchShape{1, 32, 2048},
                              WarpProduct{da.data(), db.data(), d.mutable_data(), nullptr});
  check::identical(d.to_vector(), expected, "a product of bfloat16 matrices");
}

void tf32_products() {
  std::vector<float> a(128), b(64);
  for (int i = 0; i < 128; ++i)
    a[static_cast<std::size_t>(i)] = static_cast<float>(i * 37 % 64 - 31) / 8 * (1 + 0x1p-12f);
  for (int i = 0; i < 64; ++i)
    b[static_cast<std::size_t>(i)] = static_cast<float>(i * 29 % 32 - 15) / 4 * (1 - 0x1p-12f);
  // The factors round away to numbers of few bits.
  std::vector<float> expected(128, 0.0f);
  for (std::size_t i = 0; i < 15; ++i)
    for (std::size_t j = 0; j < 7; ++j)
      for (std::size_t k = 0; k < 8; ++k)
        expected[i * 8 + j] += a[i * 8 + k] / (1 + 0x1p-12f) * (b[j * 8 + k] / (1 - 0x1p-12f));
  const auto da = Device<float>::from(a, kolmo::Shape{16, 8}), db = Device<float>::from(b, kolmo::Shape{8, 8});
  auto d = Device<float>::uninitialized(kolmo::Shape{16, 8}), low = Device<float>::uninitialized(kolmo::Shape{32});
  detail::launch<WarpProduct>("tf32_kernel", tf32_kernel, detail::LaunchShape{1, 32, 2048},
                              WarpProduct{da.data(), db.data(), d.mutable_data(), low.mutable_data()});
  check::identical(d.to_vector(), expected, "a product of TF32 matrices");
  std::vector<float> lower(32);
  for (std::size_t i = 0; i < 28; ++i) lower[i] = b[i / 4 * 8 + i % 4];
  check::identical(low.to_vector(), lower, "one matrix");
}

template <class T, bool transposed>
void warpgroup_products(const std::string& name) {
  cudaFuncAttributes attributes{};
  const auto kernel = warpgroup_kernel<T, transposed>;
  if (cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel)) != cudaSuccess ||
      attributes.maxThreadsPerBlock < 128)
    return;
  constexpr int depth = 32 / static_cast<int>(sizeof(T)), row = 128 / static_cast<int>(sizeof(T));
  std::vector<T> a(64 * depth), b(64 * row);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = T(static_cast<float>(static_cast<int>(i * 37 % 64) - 31) / 8);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = T(static_cast<float>(static_cast<int>(i * 29 % 32) - 15) / 4);
  std::vector<float> expected(64 * 64, 0.0f);
  for (std::size_t m = 0; m < 64; ++m)
    for (std::size_t n = 0; n < 64; ++n)
      for (std::size_t k = 0; k < depth; ++k)
        expected[m * 64 + n] += static_cast<float>(a[m * depth + k]) *
                                static_cast<float>(transposed ? b[(k + depth) * row + n] : b[n * row + k + depth]);
  const auto da = Device<T>::from(a, kolmo::Shape{64, depth}), db = Device<T>::from(b, kolmo::Shape{64, row});
  auto d = Device<float>::uninitialized(kolmo::Shape{64, 64});
  detail::launch<T>("warpgroup_kernel", kernel, detail::LaunchShape{1, 128, 64 * 128 + 64 * 48},
                    WarpProduct{da.data(), db.data(), d.mutable_data(), nullptr});
  check::identical(d.to_vector(), expected, name);
}

}  // namespace instructions

int main() {
  using namespace instructions;
  if (!Cuda::available()) return check::skipped;
  for (int order = 0; order < 2; ++order) {
#if defined(KOLMO_TEST_EMULATION)
    emulation::backwards = order == 1;
#endif
    bfloat16_products();
    tf32_products();
    warpgroup_products<BFloat16, false>("a product of a warpgroup in bfloat16");
    warpgroup_products<BFloat16, true>("a product of a warpgroup in bfloat16, transposed");
    warpgroup_products<float, false>("a product of a warpgroup in TF32");
  }
  return check::result();
}
