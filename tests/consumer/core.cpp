// A program of somebody who has only kolmo's headers and the standard library.
#include <cstdio>

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

int main() {
  const kolmo::Array<double, 3> weights{{0.5, 0.25, 0.25}};
  double sum = 0;
  for (double weight : weights) sum += weight;
  std::printf("kolmo %d.%d.%d: %g\n", KOLMO_VERSION_MAJOR, KOLMO_VERSION_MINOR, KOLMO_VERSION_PATCH, sum);
  return sum == 1 ? 0 : 1;
}
