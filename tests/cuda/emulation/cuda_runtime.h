#pragma once
// Kernels on the CPU, see cuda_runtime_api.h. One translation unit per program includes this.

#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "cuda_runtime_api.h"

#define __host__
#define __device__
#define __global__
#define __grid_constant__
#define __shared__ static

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8, cudaFuncAttributePreferredSharedMemoryCarveout = 9 };
inline constexpr int cudaSharedmemCarveoutMaxShared = 100;

namespace emulation {

/// Dynamic shared memory of the running block; what it holds at the start of a block is no number.
inline constexpr std::size_t most_shared_bytes = 232448;
alignas(1024) inline unsigned char shared_memory[most_shared_bytes];
inline std::size_t granted_shared_bytes = 49152;
inline unsigned char* dynamic_shared() { return shared_memory; }

/// Ends the program with what a kernel did wrong and where.
[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "emulated kernel: %s (block %u, thread %u)\n", what, blockIdx.x, threadIdx.x);
  std::abort();
}

/// The operations of a warp; the lanes that meet must ask for the same one.
enum class Collective { synchronize, shuffle, vote, reduction, match, matrices, product };

/// Runs one block at a time. A fiber runs until it ends or waits; a barrier opens when every living thread of
/// the block waits at it, an operation of a warp when every lane that its mask names has come.
class Block {
 public:
  static Block*& running() {
    static Block* block = nullptr;
    return block;
  }

  Block(unsigned threads, const std::function<void()>& body) : body_(body), fibers_(threads) {
    while (stacks().size() < threads) stacks().push_back(std::unique_ptr<char[]>(new char[stack_bytes]));
  }

  void run() {
    running() = this;
    for (std::size_t i = 0; i < fibers_.size(); ++i) prepare(fibers_[i].context, stacks()[i].get());
    while (step()) {
    }
    running() = nullptr;
  }

  enum class State { ready, at_warp_operation, at_block_barrier, ended };

  /// __syncthreads; returns for how many threads the predicate holds.
  int synchronize(bool predicate) {
    fibers_[current_].predicate = predicate;
    wait(State::at_block_barrier);
    return fibers_[current_].holding;
  }

  /// What the lanes of the warp brought to an operation that the lanes of `mask` take part in.
  const unsigned long long* meet(Collective kind, unsigned mask, unsigned long long value) {
    Fiber& fiber = fibers_[current_];
    if ((mask >> (current_ % 32) & 1) == 0) fail("a lane takes part in an operation of a warp whose mask leaves it out");
    fiber.kind = kind;
    fiber.mask = mask;
    fiber.value = value;
    wait(State::at_warp_operation);
    return fibers_[current_].values;
  }

 private:
  static constexpr std::size_t stack_bytes = std::size_t{256} << 10;
  static std::vector<std::unique_ptr<char[]>>& stacks() {
    static std::vector<std::unique_ptr<char[]>> pool;
    return pool;
  }
  struct Fiber {
    ucontext_t context{};
    State state = State::ready;
    bool predicate = false;
    int holding = 0;
    Collective kind = Collective::synchronize;
    unsigned mask = 0;
    unsigned long long value = 0;
    unsigned long long values[32] = {};
  };

  void wait(State at) {
    Fiber& fiber = fibers_[current_];
    fiber.state = at;
    swapcontext(&fiber.context, &scheduler_);
    threadIdx = dim3(static_cast<unsigned>(current_));
  }

  void prepare(ucontext_t& context, char* stack) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = stack_bytes;
    context.uc_link = &scheduler_;
    makecontext(&context, &Block::enter, 0);
  }

  static void enter() {
    Block& block = *running();
    block.body_();
    block.fibers_[block.current_].state = State::ended;
  }

  bool step() {
    bool progressed = false;
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
      current_ = backwards ? fibers_.size() - 1 - i : i;
      if (fibers_[current_].state != State::ready) continue;
      threadIdx = dim3(static_cast<unsigned>(current_));
      swapcontext(&scheduler_, &fibers_[current_].context);
      progressed = true;
    }
    for (std::size_t i = 0; i < fibers_.size(); ++i)
      if (fibers_[i].state == State::at_warp_operation) progressed = open_warp(i) || progressed;
    progressed = open_block() || progressed;
    bool alive = false;
    for (const Fiber& fiber : fibers_) alive = alive || fiber.state != State::ended;
    if (alive && !progressed) fail("threads wait at a barrier, or in an operation of a warp, to which others never come");
    return alive;
  }

  bool open_block() {
    int holding = 0;
    bool any = false;
    for (const Fiber& fiber : fibers_) {
      if (fiber.state != State::at_block_barrier && fiber.state != State::ended) return false;
      any = any || fiber.state == State::at_block_barrier;
      if (fiber.state == State::at_block_barrier && fiber.predicate) ++holding;
    }
    for (Fiber& fiber : fibers_)
      if (fiber.state == State::at_block_barrier) {
        fiber.holding = holding;
        fiber.state = State::ready;
      }
    return any;
  }

  /// Completes the operation that thread i waits in, if all lanes of its mask are there.
  bool open_warp(std::size_t i) {
    const std::size_t warp = i / 32 * 32;
    const Fiber& first = fibers_[i];
    const unsigned mask = first.mask;
    const Collective kind = first.kind;
    current_ = i;
    threadIdx = dim3(static_cast<unsigned>(i));
    const bool barrier = kind == Collective::synchronize;
    unsigned long long values[32] = {};
    for (std::size_t lane = 0; lane < 32; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      if (warp + lane >= fibers_.size() || fibers_[warp + lane].state == State::ended) {
        if (barrier) continue;  // a barrier waits for the living lanes
        fail("an operation of a warp names a lane that has ended or is not there");
      }
      const Fiber& other = fibers_[warp + lane];
      if (other.state != State::at_warp_operation) return false;
      if (other.mask != mask || other.kind != kind) fail("lanes of one mask meet in different operations of a warp, or with different masks");
      values[lane] = other.value;
    }
    for (std::size_t lane = 0; lane < 32 && warp + lane < fibers_.size(); ++lane) {
      Fiber& other = fibers_[warp + lane];
      if ((mask >> lane & 1) == 0 || other.state == State::ended) continue;
      std::copy(values, values + 32, other.values);
      other.state = State::ready;
    }
    return true;
  }

  const std::function<void()>& body_;
  std::vector<Fiber> fibers_;
  ucontext_t scheduler_{};
  std::size_t current_ = 0;
};

}  // namespace emulation

#include "device_functions.h"

struct cudaFuncAttributes {
  int maxThreadsPerBlock;
};
inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  attributes->maxThreadsPerBlock = 1024;
  return cudaSuccess;
}
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute attribute, int value) {
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
  if (value < 0 || static_cast<std::size_t>(value) > emulation::most_shared_bytes) return cudaErrorInvalidValue;
  emulation::granted_shared_bytes = std::max(emulation::granted_shared_bytes, static_cast<std::size_t>(value));
  return cudaSuccess;
}

namespace emulation {

inline void run_kernel(const dim3& grid, const dim3& block, std::size_t shared_bytes, const std::function<void()>& body) {
  ++launches;
  gridDim = grid;
  blockDim = block;
  for (unsigned b = 0; b < grid.x; ++b) {
    blockIdx = dim3(b);
    std::memset(shared_memory, 0xff, shared_bytes);
    Block(block.x, body).run();
  }
}

}  // namespace emulation

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* configuration, void (*kernel)(Parameters...),
                               const Arguments&... arguments) {
  if (emulation::next_launch != cudaSuccess) return std::exchange(emulation::next_launch, cudaSuccess);
  if (emulation::launches_until_failure >= 0 && emulation::launches_until_failure-- == 0)
    return cudaErrorLaunchOutOfResources;
  const dim3 grid = configuration->gridDim, block = configuration->blockDim;
  if (grid.x == 0 || grid.x > 2147483647u || block.x == 0 || block.x > 1024) return cudaErrorInvalidConfiguration;
  const std::size_t shared_bytes = configuration->dynamicSmemBytes;
  if (shared_bytes > emulation::granted_shared_bytes) return cudaErrorInvalidValue;
  const std::tuple<std::remove_cv_t<Parameters>...> given(static_cast<Parameters>(arguments)...);
  return emulation::submit(configuration->stream, emulation::NodeKind::kernel, [=] {
    emulation::run_kernel(grid, block, shared_bytes, [&] { std::apply(kernel, given); });
  });
}
