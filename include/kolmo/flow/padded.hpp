#pragma once
// The working layout of the finite-volume solver: rows of a periodic field with copies of two cells beyond each end, so
// that stencils along a row need no wrapping and its vector loads may be aligned. Rows wrap by index.

#include <type_traits>

#include <kolmo/ad/items.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow::detail {

/// Whether kernels take a whole field at a time, row by row with loops that vectorise, or one cell.
template <class B>
inline constexpr bool takes_fields = requires {
  B::for_each_item(index_t{0}, kolmo::detail::ProbeEach{});
};

/// n rows of n cells; cell (i, j) lies at i * row + left + j, and j may be -2 ... n + 1. There is memory, of no meaning,
/// up to j = n + 4, so that groups of four cells and those around them may be read whole.
struct PaddedGrid {
  index_t n = 0, left = 0, row = 0;

  template <class S>
  static PaddedGrid of(index_t n) {
    const index_t line = larger<index_t>(2, 64 / static_cast<index_t>(sizeof(S)));
    return {n, line, (line + n + 5 + line - 1) / line * line};
  }
  KOLMO_HD KOLMO_INLINE index_t field() const { return n * row; }
  KOLMO_HD KOLMO_INLINE index_t at(index_t i) const { return i * row + left; }
  /// For -n <= i < 2n.
  KOLMO_HD KOLMO_INLINE index_t wrapped(index_t i) const { return at(i < 0 ? i + n : i >= n ? i - n : i); }

  /// Copies the ends of a row to beyond its other end.
  template <class S>
  KOLMO_HD KOLMO_INLINE void close(S* first) const {
    first[-2] = first[n - 2];
    first[-1] = first[n - 1];
    first[n] = first[0];
    first[n + 1] = first[1];
  }
  /// Stores one cell of a row and its copies.
  template <class S>
  KOLMO_HD KOLMO_INLINE void store(S* first, index_t j, S value) const {
    first[j] = value;
    if (j < 2) first[n + j] = value;
    if (j >= n - 2) first[j - n] = value;
  }
};

/// Row-major fields to padded ones. An item is a row.
template <class S>
struct PadRows {
  PaddedGrid grid;
  const S* x;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const S* source = x + item * grid.n;
    S* target = y + grid.at(item);
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) target[j] = source[j];
    grid.close(target);
  }
};

template <class S>
struct PadCells {
  PaddedGrid grid;
  const S* x;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const index_t i = item / grid.n;
    grid.store(y + grid.at(i), item - i * grid.n, x[item]);
  }
};

/// Padded fields to row-major ones.
template <class S>
struct UnpadRows {
  PaddedGrid grid;
  const S* x;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const S* source = x + grid.at(item);
    S* target = y + item * grid.n;
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) target[j] = source[j];
  }
};

template <class S>
struct UnpadCells {
  PaddedGrid grid;
  const S* x;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const index_t i = item / grid.n;
    y[item] = x[grid.at(i) + item - i * grid.n];
  }
};

template <class B, class S>
void pad(const PaddedGrid& grid, index_t fields, const S* x, S* y) {
  if constexpr (takes_fields<B>)
    kolmo::detail::for_each_item<B>(fields * grid.n, PadRows<S>{grid, x, y});
  else
    B::for_each(fields * grid.n * grid.n, PadCells<S>{grid, x, y});
}

template <class B, class S>
void unpad(const PaddedGrid& grid, index_t fields, const S* x, S* y) {
  if constexpr (takes_fields<B>)
    kolmo::detail::for_each_item<B>(fields * grid.n, UnpadRows<S>{grid, x, y});
  else
    B::for_each(fields * grid.n * grid.n, UnpadCells<S>{grid, x, y});
}

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
