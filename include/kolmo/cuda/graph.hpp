#pragma once
// CUDA graphs: a thread's work is recorded instead of executed, and then executed as a whole, at the cost of one
// launch. ad/replay.hpp is the way to use them; cuda/runtime.hpp includes
// this header.

#include <algorithm>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <kolmo/cuda/runtime.hpp>

namespace kolmo::detail {

/// A graph that can be launched, and the host memory that its uploads read.
class CudaExecutable {
 public:
  CudaExecutable() = default;
  CudaExecutable(CudaExecutable&& other) noexcept { *this = std::move(other); }
  CudaExecutable& operator=(CudaExecutable&& other) noexcept {
    std::swap(exec_, other.exec_);
    std::swap(launched_, other.launched_);
    std::swap(staged_, other.staged_);
    return *this;
  }
  ~CudaExecutable() {
    if (launched_ != nullptr) {
      static_cast<void>(cudaEventSynchronize(launched_));
      static_cast<void>(cudaEventDestroy(launched_));
    }
    if (exec_ != nullptr) static_cast<void>(cudaGraphExecDestroy(exec_));
    give_back();
  }

  void stage(CudaStaging::Buffer& buffer) { staged_.push_back(&buffer); }

  /// Takes the work of a graph: into the nodes there are when their order and kinds are the same, else anew.
  void assign(cudaGraph_t graph) {
    if (exec_ != nullptr) {
      cudaGraphExecUpdateResultInfo info{};
      const cudaError_t code = cudaGraphExecUpdate(exec_, graph, &info);
      if (code == cudaSuccess) return;
      static_cast<void>(cudaGetLastError());
      if (code != cudaErrorGraphExecUpdateFailure) check_cuda(code, "cudaGraphExecUpdate");
      // One that still runs is freed by the driver when it has run.
      check_cuda(cudaGraphExecDestroy(std::exchange(exec_, nullptr)), "cudaGraphExecDestroy");
    }
    cudaError_t code = cudaGraphInstantiate(&exec_, graph, 0);
    if (code == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      Cuda::trim();
      code = cudaGraphInstantiate(&exec_, graph, 0);
    }
    if (code == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      throw OutOfMemory(
          "cudaGraphInstantiate: no device memory is left for a graph; use a smaller batch or checkpoint");
    }
    check_cuda(code, "cudaGraphInstantiate");
  }

  void launch(cudaStream_t stream) {
    if (launched_ == nullptr)
      check_cuda(cudaEventCreateWithFlags(&launched_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    check_cuda(cudaGraphLaunch(exec_, stream), "cudaGraphLaunch");
    check_cuda(cudaEventRecord(launched_, stream), "cudaEventRecord after a graph");
    if (Cuda::debug()) Cuda::synchronize();
  }

  /// The uploads have their last launch behind them in the stream.
  void pass_staged(cudaStream_t stream) noexcept {
    for (CudaStaging::Buffer* const buffer : staged_) CudaStaging::instance().pass(*buffer, stream);
    staged_.clear();
  }

 private:
  void give_back() noexcept {
    for (CudaStaging::Buffer* const buffer : staged_) CudaStaging::instance().give_back(*buffer);
    staged_.clear();
  }

  cudaGraphExec_t exec_ = nullptr;
  cudaEvent_t launched_ = nullptr;
  std::vector<CudaStaging::Buffer*> staged_;
};

/// Records this thread's work on a stream of its own. Calls that wait cut an updated recording into several graphs,
/// each of which has run when the call does; a fixed recording refuses them.
class CudaRecorder final : public CudaCapture {
 public:
  /// With an arena, memory comes from there and the recording is fixed.
  explicit CudaRecorder(CudaHeap* arena = nullptr) : arena_(arena) {
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
  ~CudaRecorder() override {
    hand_over();
    static_cast<void>(cudaStreamDestroy(stream_));
  }
  CudaRecorder(const CudaRecorder&) = delete;
  CudaRecorder& operator=(const CudaRecorder&) = delete;

  /// Graphs launched by the last call.
  index_t graphs() const { return next_; }

  /// f(), recorded; then executed on the current stream. When f throws, what it gave to the device before is executed,
  /// as without a recording.
  template <class F>
  auto run(const F& f) {
    next_ = 0;
    begin();
    try {
      if constexpr (std::is_void_v<decltype(f())>) {
        f();
        if (recording_) execute(end());
      } else {
        auto result = f();
        if (recording_) execute(end());
        return result;
      }
    } catch (...) {
      try {
        if (recording_) execute(end());
      } catch (...) {
        // The first error says more.
      }
      throw;
    }
  }

  /// f(), recorded and not executed; the graph is taken over by `executable`.
  template <class F>
  void record(const F& f, CudaExecutable& executable) {
    begin();
    staging_for_ = &executable;
    try {
      f();
      const cudaGraph_t graph = end();
      const GraphEnd at_end{graph};
      executable.assign(graph);
    } catch (...) {
      if (recording_) {
        try {
          const GraphEnd dropped{end()};
        } catch (...) {
        }
      }
      throw;
    }
  }

  void pause(const char* call) override {
    if (arena_ != nullptr)
      throw DeviceError(
          std::string(call) +
          ": a fixed graph cannot hold a call that waits for the device or needs the driver; take it out of the "
          "replayed function, or use ReplayMode::updated, which executes what it has at such a call");
    if (cuda_context().stream != stream_)
      throw DeviceError(
          std::string(call) +
          ": inside a Cuda::Scope of a replayed function nothing may wait for the device; end the scope before");
    execute(end());
  }
  void resume() override { begin(); }
  bool can_pause() const override { return arena_ == nullptr && cuda_context().stream == stream_; }

  void* stage(std::size_t bytes) override {
    CudaStaging::Buffer* const buffer = CudaStaging::instance().take(bytes, current_cuda_device());
    try {
      executable().stage(*buffer);
    } catch (...) {
      CudaStaging::instance().give_back(*buffer);
      throw;
    }
    return buffer->memory;
  }

 private:
  struct GraphEnd {
    cudaGraph_t graph;
    ~GraphEnd() {
      if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
    }
  };

  CudaExecutable& executable() {
    if (staging_for_ != nullptr) return *staging_for_;
    if (executables_.size() <= static_cast<std::size_t>(next_))
      executables_.resize(static_cast<std::size_t>(next_) + 1);
    return executables_[static_cast<std::size_t>(next_)];
  }

  void begin() {
    CudaContext& context = cuda_context();
    outer_ = context;
    check_cuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    context.stream = stream_;
    context.capture = this;
    context.lender = {arena_ == nullptr, outer_.heap};
    // Memory that the recorded work returns must not reach other threads, or the driver, before it is launched.
    if (arena_ == nullptr && memory_ == nullptr)
      memory_ = CudaPool::instance().make_arena(current_cuda_device(), outer_.stream);
    if (memory_ != nullptr) memory_->stream = outer_.stream;
    context.heap = arena_ != nullptr ? arena_ : memory_.get();
    recording_ = true;
  }

  /// Ends the recording; the thread's work is executed again.
  cudaGraph_t end() {
    recording_ = false;
    cuda_context() = outer_;
    cudaGraph_t graph = nullptr;
    const cudaError_t code = cudaStreamEndCapture(stream_, &graph);
    if (code != cudaSuccess) {
      hand_over();
      throw_cuda(code,
                 "replay: the recording was broken by a call of CUDA inside the function that waits for the device or "
                 "uses another stream without Cuda::Scope; cudaStreamEndCapture");
    }
    return graph;
  }

  /// Gives the memory of what was recorded to the heap of the thread.
  void hand_over() noexcept {
    if (memory_ != nullptr) CudaPool::instance().merge(*memory_, cuda_context().heap);
  }
  struct HandOver {
    CudaRecorder& recorder;
    ~HandOver() { recorder.hand_over(); }
  };

  void execute(cudaGraph_t graph) {
    const GraphEnd at_end{graph};
    const HandOver launched{*this};
    std::size_t nodes = 0;
    check_cuda(cudaGraphGetNodes(graph, nullptr, &nodes), "cudaGraphGetNodes");
    if (nodes == 0) return;
    CudaExecutable& own = executable();
    own.assign(graph);
    own.launch(cuda_context().stream);
    own.pass_staged(cuda_context().stream);
    ++next_;
  }

  CudaHeap* arena_;
  std::unique_ptr<CudaHeap> memory_;  // of an updated recording, until its work is launched
  cudaStream_t stream_ = nullptr;
  CudaContext outer_;
  bool recording_ = false;
  CudaExecutable* staging_for_ = nullptr;
  std::vector<CudaExecutable> executables_;
  index_t next_ = 0;
};

/// A graph with memory of its own, launched as often as one likes.
class CudaFixedGraph {
 public:
  CudaFixedGraph()
      : arena_(CudaPool::instance().make_arena(current_cuda_device(), Cuda::stream())), recorder_(arena_.get()) {}
  ~CudaFixedGraph() {
    // After the last launch, for whose end the executable waits.
    { const CudaExecutable ended = std::move(executable_); }
    CudaPool::instance().merge(*arena_, cuda_context().heap);
  }
  CudaFixedGraph(const CudaFixedGraph&) = delete;
  CudaFixedGraph& operator=(const CudaFixedGraph&) = delete;

  /// A block that the graph writes although its tensor may end during the recording.
  void keep(const void* address) {
    if (address != nullptr) kept_.push_back(address);
    CudaPool::instance().keep(address);
  }
  bool is_kept(const void* address) const { return std::find(kept_.begin(), kept_.end(), address) != kept_.end(); }
  /// Whether the block's tensor has ended; it is then the caller's.
  bool reclaim(const void* address) noexcept { return CudaPool::instance().let_go(address, cuda_context().heap, true); }

  template <class F>
  void record(const F& f) {
    recorder_.record(f, executable_);
  }
  void launch() { executable_.launch(Cuda::stream()); }

  /// Whether this is the beginning of a block of the graph's memory.
  bool is_block_of_its_own(const void* address, std::size_t) const {
    return CudaPool::instance().is_used_block(*arena_, address);
  }
  /// Whether blocks other than these are in use.
  bool holds_more_than(std::vector<const void*> addresses) const {
    std::sort(addresses.begin(), addresses.end());
    addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
    index_t own = 0;
    for (const void* const address : addresses)
      if (CudaPool::instance().is_used_block(*arena_, address)) ++own;
    return CudaPool::instance().used_blocks(*arena_) > own;
  }

 private:
  std::unique_ptr<CudaHeap> arena_;
  CudaRecorder recorder_;
  CudaExecutable executable_;
  std::vector<const void*> kept_;
};

}  // namespace kolmo::detail
