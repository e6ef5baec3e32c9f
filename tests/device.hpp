#pragma once
// The device that the typed tests run on beside the host. In a test program it is FakeDevice, whose memory faults when
// host code touches it. tests/cuda compiles the same files once more with KOLMO_TEST_CUDA, and there it is Cuda.

#include <cmath>
#include <type_traits>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#ifdef KOLMO_TEST_CUDA
#include <kolmo/cuda/cuda.cuh>
#else
#include <kolmo/backend/fake_device.hpp>
#endif

namespace kolmo_test {

#ifdef KOLMO_TEST_CUDA
using TestDevice = kolmo::Cuda;
inline constexpr const char* device_name = "Cuda";
/// Whether the device adds in the order of the host and has its elementary functions, so that it gives the same bits.
inline constexpr bool device_has_host_bits = false;
#else
using TestDevice = kolmo::FakeDevice;
inline constexpr const char* device_name = "FakeDevice";
inline constexpr bool device_has_host_bits = true;
#endif

/// What one operation may differ by from the host on a device that rounds otherwise, relative to the largest value.
template <class T>
inline constexpr double device_tolerance = std::is_same_v<T, float> ? 1e-5 : 1e-12;

/// Whether numbers agree within `slack` tolerances of one operation, relative to the largest. NaN meets NaN.
template <class T>
bool near_host(const std::vector<T>& device, const std::vector<T>& host, double slack = 1) {
  if (device.size() != host.size()) return false;
  double largest = 0;
  for (const T v : host)
    if (std::abs(static_cast<double>(v)) > largest) largest = std::abs(static_cast<double>(v));
  for (std::size_t i = 0; i < host.size(); ++i) {
    const auto a = static_cast<double>(device[i]), b = static_cast<double>(host[i]);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    if (!(std::abs(a - b) <= slack * device_tolerance<T> * largest)) return false;
  }
  return true;
}

/// Whether an operation gave on the device what it gave on the host: the same bits where the device has the host's, and
/// the same whole numbers everywhere; otherwise near ones.
template <class T>
bool as_on_host(const std::vector<T>& device, const std::vector<T>& host, double slack = 1) {
  if constexpr (device_has_host_bits || std::is_integral_v<T>)
    return device == host;
  else
    return near_host(device, host, slack);
}

}  // namespace kolmo_test
