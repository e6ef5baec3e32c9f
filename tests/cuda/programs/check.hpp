#pragma once
// Checks for the CUDA programs, which are compiled by nvcc and run where there may be no GPU.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <kolmo/cuda/runtime.hpp>

namespace check {

/// With KOLMO_TEST_DEBUG in the environment every tensor is an allocation of the driver, whose borders memcheck knows.
inline const bool debugged = [] {
  const bool wanted = std::getenv("KOLMO_TEST_DEBUG") != nullptr;
  if (wanted) kolmo::Cuda::set_debug(true);
  return wanted;
}();

/// What ctest takes for "skipped".
inline constexpr int skipped = 77;

inline int failures = 0;
inline int count = 0;

inline void that(bool holds, const std::string& what) {
  ++count;
  if (holds) return;
  ++failures;
  std::printf("FAILED: %s\n", what.c_str());
}

template <class T>
double tolerance() {
  return sizeof(T) == 4 ? 1e-5 : 1e-12;
}

/// Relative to the largest expected value, within `slack` tolerances; NaN must meet NaN.
template <class T>
void close(const std::vector<T>& actual, const std::vector<T>& expected, const std::string& what, double slack = 1) {
  double scale = 0, error = 0;
  bool same = actual.size() == expected.size();
  for (std::size_t i = 0; same && i < expected.size(); ++i) {
    const double a = static_cast<double>(actual[i]), e = static_cast<double>(expected[i]);
    if (e == e && std::fabs(e) > scale) scale = std::fabs(e);
    if ((a == a) != (e == e)) same = false;
    if (e == e && std::fabs(a - e) > error) error = std::fabs(a - e);
  }
  char text[64];
  std::snprintf(text, sizeof(text), " (error %.2e, scale %.2e)", error, scale);
  that(same && error <= slack * tolerance<T>() * scale, what + text);
}

template <class T>
void identical(const std::vector<T>& a, const std::vector<T>& b, const std::string& what) {
  that(a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0), what);
}

template <class Error, class F>
void throws(const F& f, const std::string& expected_text, const std::string& what) {
  try {
    f();
  } catch (const Error& error) {
    that(std::string(error.what()).find(expected_text) != std::string::npos,
         what + ": expected '" + expected_text + "' in '" + error.what() + "'");
    return;
  }
  that(false, what + ": no error");
}

inline int result() {
  std::printf("%d checks, %d failed\n", count, failures);
  return failures == 0 && count > 0 ? 0 : 1;
}

}  // namespace check
