#pragma once
// Cutting a batch of long, independent computations for a backend: on the host every item is a task of its own, whose
// working set stays in the caches of one core; a device takes the whole batch at once.

#include <kolmo/backend/concept.hpp>

namespace kolmo::detail {

/// Calls f(begin, count) for parts that cover [0, batch). Loops inside f run on f's own thread where items are tasks.
template <class B, class F>
void for_each_part(index_t batch, const F& f) {
  if constexpr (requires { B::for_each_part(batch, f); }) {
    B::for_each_part(batch, f);
  } else if (batch > 0) {
    f(index_t{0}, batch);
  }
}

}  // namespace kolmo::detail
