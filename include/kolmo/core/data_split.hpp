#pragma once
// How data sets are cut into three parts: by index, so that a trajectory's part is known before any is made.

#include <string>

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>

namespace kolmo {

/// The parts of a data set by index: the first 80 %, the next 10 %, the rest.
struct DataSplit {
  index_t train = 0, valid = 0, test = 0;
};
inline DataSplit split_by_index(index_t count) {
  if (count < 0) throw ArgumentError("split_by_index: a negative count, " + std::to_string(count));
  const index_t train = count / 10 * 8 + count % 10 * 8 / 10, valid = count / 10 * 9 + count % 10 * 9 / 10;
  return {train, valid - train, count - valid};
}

}  // namespace kolmo
