#pragma once
// How the CUDA backend multiplies matrices of float: exactly, or on tensor cores with factors of 11 significant bits.

namespace kolmo {

/// `exact`: products of float as IEEE defines them. `tf32`: factors cut to 11 significant bits (a relative error below
/// 2^-10 each), sums in float, by tensor cores. Both leave double and BFloat16 as they are.
enum class MatrixMath { exact, tf32 };

namespace detail {

/// The mode of this thread, and its change for the time of a scope.
class CudaMathScope {
 public:
  explicit CudaMathScope(MatrixMath mode) noexcept : outer_(current()) { current() = mode; }
  ~CudaMathScope() { current() = outer_; }
  CudaMathScope(const CudaMathScope&) = delete;
  CudaMathScope& operator=(const CudaMathScope&) = delete;

  static MatrixMath mode() noexcept { return current(); }

 private:
  static MatrixMath& current() noexcept {
    thread_local MatrixMath mode = MatrixMath::exact;
    return mode;
  }

  MatrixMath outer_;
};

}  // namespace detail
}  // namespace kolmo
