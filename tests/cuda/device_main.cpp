// main of the test programs that need a device: without one they are skipped.

#define CATCH_CONFIG_RUNNER
#include "catch.hpp"

#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#endif
#include <cuda_runtime_api.h>

int main(int argc, char** argv) {
  constexpr int skipped = 77;
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return skipped;
  return Catch::Session().run(argc, argv);
}
