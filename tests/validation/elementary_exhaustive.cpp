// Every float through every elementary function, against the standard library in double precision.
// Prints a table of the worst distances; fails above 2 units in the last place.
// Usage: elementary_exhaustive [STRIDE] [FUNCTION...], about a quarter of an hour for all with stride 1 on two cores.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "../elementary_reference.hpp"

namespace {

bool wanted(const char* name, int argc, char** argv) {
  if (argc <= 2) return true;
  for (int i = 2; i < argc; ++i)
    if (std::strcmp(argv[i], name) == 0) return true;
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t stride = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  if (stride == 0) {
    std::fprintf(stderr, "usage: %s [STRIDE] [FUNCTION...]; the stride is a positive integer\n", argv[0]);
    return 2;
  }
  constexpr std::uint64_t count = std::uint64_t(1) << 32;
  bool failed = false;
  std::printf("| function | worst ULP | at | s |\n|---|---|---|---|\n");
  kolmo_test::for_each_elementary([&](auto f) {
    if (!wanted(f.name, argc, argv)) return;
    const auto start = std::chrono::steady_clock::now();
    kolmo_test::Worst halves[2];
    const std::uint64_t middle = (count / 2 + stride - 1) / stride * stride;
    std::thread other([&] { halves[1] = kolmo_test::worst_of_floats(f, middle, count, stride); });
    halves[0] = kolmo_test::worst_of_floats(f, 0, middle, stride);
    other.join();
    const auto worst = halves[1].ulp > halves[0].ulp ? halves[1] : halves[0];
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("| %s | %.3f | %a (%.9g) | %.0f |\n", f.name, worst.ulp, static_cast<double>(worst.at),
                static_cast<double>(worst.at), seconds);
    std::fflush(stdout);
    failed = failed || worst.ulp > 2;
  });
  return failed ? 1 : 0;
}
