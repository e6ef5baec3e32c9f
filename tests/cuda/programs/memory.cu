// The memory of the device: blocks are cut, joined and given out again, within a stream at once and across streams when
// they are ordered; memory that runs out is taken back from the cache first.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/tensor.hpp>
#include <kolmo/cuda/cuda.cuh>

#include "check.hpp"

using namespace kolmo;

namespace {

using Bytes = Tensor<unsigned char, Cuda>;

void test_blocks() {
  Cuda::trim();
  const CudaMemory before = Cuda::memory();
  std::vector<void*> blocks;
  std::vector<std::size_t> sizes;
  std::uint64_t random = 1;
  bool aligned = true, apart = true;
  for (int round = 0; round < 2000; ++round) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const bool give_back = !blocks.empty() && (random >> 33) % 5 < 2;
    if (give_back) {
      const std::size_t i = (random >> 20) % blocks.size();
      Cuda::deallocate(blocks[i], sizes[i]);
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(i));
      sizes.erase(sizes.begin() + static_cast<std::ptrdiff_t>(i));
      continue;
    }
    const std::size_t size = (random >> 40) % ((random >> 36) % 16 == 0 ? 3000000 : 5000);
    auto* const block = static_cast<char*>(Cuda::allocate(size));
    aligned = aligned && reinterpret_cast<std::uintptr_t>(block) % 256 == 0;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const auto* const other = static_cast<char*>(blocks[i]);
      apart = apart && (block + size <= other || other + sizes[i] <= block);
    }
    blocks.push_back(block);
    sizes.push_back(size);
  }
  check::that(aligned, "blocks are aligned to 256 bytes");
  check::that(apart, "blocks do not overlap");
  std::size_t asked = 0;
  for (const std::size_t size : sizes) asked += size;
  const CudaMemory full = Cuda::memory();
  check::that(
      full.in_use - before.in_use >= asked && full.in_use - before.in_use <= asked + asked / 16 + 256 * blocks.size(),
      "less than 256 bytes or a sixteenth of a block is unused");
  check::that(full.peak >= full.in_use && full.allocations - before.allocations > 1000, "the statistics count");
  check::that(full.driver_calls - before.driver_calls < 20, "the driver is asked for large pieces");
  for (std::size_t i = 0; i < blocks.size(); ++i) Cuda::deallocate(blocks[i], sizes[i]);
  check::that(Cuda::memory().in_use == before.in_use, "all blocks are returned");
  Cuda::trim();
  check::that(Cuda::memory().cached == before.cached, "joined blocks are whole segments, which trim returns");
}

void test_reuse() {
  { const Bytes a = Bytes::uninitialized(Shape{5000000}), b = Bytes::uninitialized(Shape{70}); }
  const std::uint64_t calls = Cuda::memory().driver_calls;
  const void* first = nullptr;
  bool same = true;
  for (int i = 0; i < 10; ++i) {
    const Bytes a = Bytes::uninitialized(Shape{5000000}), b = Bytes::uninitialized(Shape{70});
    if (first == nullptr) first = a.data();
    same = same && a.data() == first;
  }
  check::that(same && Cuda::memory().driver_calls == calls, "a loop gets the same memory again without the driver");
}

void test_streams(cudaStream_t one, cudaStream_t two) {
  Bytes kept;
  const void* inner = nullptr;
  {
    const Cuda::Scope scope(one);
    kept = Bytes::uninitialized(Shape{3000});
    inner = Bytes::uninitialized(Shape{3000}).data();
    check::that(Bytes::uninitialized(Shape{3000}).data() == inner, "a stream uses its own memory again at once");
    const Cuda::Scope other(two);
    check::that(Bytes::uninitialized(Shape{3000}).data() != inner, "another stream does not, while the scope lasts");
    const Bytes foreign = std::exchange(kept, Bytes());
    const void* const address = foreign.data();
    { const Bytes ended = foreign; }
    check::that(Bytes::uninitialized(Shape{3000}).data() != address, "memory in use stays in use");
  }
  check::that(Cuda::memory().in_use == 0, "what was returned on another stream is free when the scopes have ended");
  bool found = false;
  std::vector<Bytes> all;
  for (int i = 0; i < 50 && !found; ++i) {
    all.push_back(Bytes::uninitialized(Shape{3000}));
    found = all.back().data() == inner;
  }
  check::that(found, "the outer stream takes over the memory of a scope that has ended");
}

void test_handles(cudaStream_t stream) {
  int blas = 0;
  const CudaHandles handles{.blas_lt = reinterpret_cast<cublasLtContext*>(&blas)};
  {
    const Cuda::Scope scope{stream, handles};
    check::that(Cuda::handles().blas_lt == handles.blas_lt, "a scope has the host program's handles");
    const Cuda::Scope inner{cudaStreamLegacy};
    check::that(Cuda::handles().blas_lt == handles.blas_lt, "which inner scopes keep");
  }
  check::that(Cuda::handles().blas_lt == nullptr, "until it ends");
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  // The pool is what is tested.
  Cuda::set_debug(false);
  cudaStream_t one = nullptr, two = nullptr;
  check::that(cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking) == cudaSuccess &&
                  cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking) == cudaSuccess,
              "two streams");
  test_blocks();
  test_reuse();
  test_streams(one, two);
  test_handles(one);
#if defined(KOLMO_TEST_EMULATION)
  Cuda::trim();
  emulation::capacity = std::size_t{80} << 20;
  {
    // 64 MiB are cached as one segment when 40 + 30 MiB of other sizes are wanted.
    static_cast<void>(Bytes::uninitialized(Shape{2000000}));
    const auto a = Bytes::uninitialized(Shape{70 << 20});
    check::that(a.has_value(), "memory that the cache holds is returned to the driver when it runs out");
    check::throws<OutOfMemory>([] { Bytes::uninitialized(Shape{20 << 20}); }, "20971520 bytes", "no memory is left");
    check::that(Bytes::uninitialized(Shape{100}).has_value(), "small blocks still are");
  }
  Cuda::trim();
  check::that(emulation::used == 0, "everything is returned");
#endif
  check::that(cudaStreamDestroy(one) == cudaSuccess && cudaStreamDestroy(two) == cudaSuccess, "streams end");
  return check::result();
}
