// cumsum on every tensor kind, backend and scalar.

#include <kolmo/ops/scan.hpp>

#include "expect_op.hpp"

using namespace kolmo;
using namespace kolmo_test;

namespace {

/// Running sum along the middle axis of [outer, n, inner] by its definition.
Result running_sum(const Input& x, int axis, ScanOptions options) {
  Result y{x.shape, std::vector<double>(x.values.size())};
  index_t inner = 1;
  for (int i = axis + 1; i < x.shape.rank(); ++i) inner *= x.shape[i];
  const index_t n = x.shape[axis];
  for (index_t k = 0; k < x.shape.size(); ++k) {
    const index_t position = k / inner % n, first = k - position * inner;
    double sum = 0;
    for (index_t j = 0; j < n; ++j) {
      const bool before = options.reverse ? j > position : j < position;
      if (before || (j == position && !options.exclusive)) sum += x.values[static_cast<std::size_t>(first + j * inner)];
    }
    y.values[static_cast<std::size_t>(k)] = sum;
  }
  return y;
}

}  // namespace

TEST_CASE("cumsum agrees with its definition and its derivative is a running sum the other way") {
  const Input x = random_input({3, 5, 2}, 1);
  for (const bool reverse : {false, true})
    for (const bool exclusive : {false, true}) {
      const ScanOptions options{reverse, exclusive};
      expect_op(
          "cumsum", [&](const auto& a) { return cumsum(a, 1, options); }, {x},
          [&](const Inputs& in) { return running_sum(in[0], 1, options); },
          {.bad = {{{Shape{4}}}, {{Shape{}}}}, .large = {{random_input({70, 300}, 2)}}});
    }
}
