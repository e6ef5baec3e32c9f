#pragma once
// Fixed-size array and the few standard algorithms that kernels need. The standard library's own are
// not callable from CUDA device code without experimental compiler flags.

#include <cstddef>
#include <cstdint>

#include <kolmo/config.hpp>

namespace kolmo {

/// Index and extent type of the whole library.
using index_t = std::int64_t;

/// Aggregate of N values, usable on host and device.
template <class T, int N>
struct Array {
  T elements[N > 0 ? N : 1]{};

  KOLMO_HD constexpr T& operator[](index_t i) { return elements[i]; }
  KOLMO_HD constexpr const T& operator[](index_t i) const { return elements[i]; }
  KOLMO_HD static constexpr int size() { return N; }
  KOLMO_HD constexpr T* begin() { return elements; }
  KOLMO_HD constexpr T* end() { return elements + N; }
  KOLMO_HD constexpr const T* begin() const { return elements; }
  KOLMO_HD constexpr const T* end() const { return elements + N; }
  friend bool operator==(const Array&, const Array&) = default;
};

/// The smaller of two integers or floating-point numbers.
template <class T>
KOLMO_HD constexpr T smaller(T a, T b) {
  return b < a ? b : a;
}

/// The larger of two integers or floating-point numbers.
template <class T>
KOLMO_HD constexpr T larger(T a, T b) {
  return a < b ? b : a;
}

/// ceil(a / b) for a >= 0, b > 0.
KOLMO_HD constexpr index_t divide_up(index_t a, index_t b) { return (a + b - 1) / b; }

}  // namespace kolmo
