#pragma once
// The nearest codewords on the host, in fixed tiles of rows: see nearest_blocks.hpp for the search in full precision
// and nearest_screen.hpp for the faster one with equal results.

#include <memory>

#include <kolmo/backend/host_loops.hpp>
#include <kolmo/backend/nearest_options.hpp>
#if defined(KOLMO_COMPILING) || !(defined(KOLMO_COMPILED) || defined(KOLMO_CUDA_FILE))
#include <kolmo/backend/nearest_table.hpp>
#endif

namespace kolmo::detail {

template <class T>
class NearestTable;

// With KOLMO_COMPILED, and in CUDA files, these come from the library kolmo::compiled.

/// A table [codes, d] made ready for searches of about `rows` vectors. It and its norms are not copied.
template <class T>
std::shared_ptr<const NearestTable<T>> host_nearest_table(index_t codes, index_t d, const T* table, const T* half_norms,
                                                          Screen screen, index_t rows);

/// The `count` nearest codewords of x [n, d]: [n, count].
template <class T>
void host_nearest(const NearestTable<T>& table, index_t n, const T* x, index_t count, std::int32_t* index, T* score);

#if defined(KOLMO_COMPILING) || !(defined(KOLMO_COMPILED) || defined(KOLMO_CUDA_FILE))
template <class T>
std::shared_ptr<const NearestTable<T>> host_nearest_table(index_t codes, index_t d, const T* table, const T* half_norms,
                                                          Screen screen, index_t rows) {
  return std::make_shared<const NearestTable<T>>(codes, d, table, half_norms, chosen_screen<T>(screen, rows, codes, d));
}

template <class T>
void host_nearest(const NearestTable<T>& table, index_t n, const T* x, index_t count, std::int32_t* index, T* score) {
  constexpr index_t tile = NearestTable<T>::tile;
  const index_t d = table.dimension();
  threads::parallel_for(divide_up(n, tile), [&](index_t t) {
    typename NearestTable<T>::Workspace work(table);
    const index_t first = t * tile;
    table.nearest(smaller(tile, n - first), x + first * d, count, work, index + first * count, score + first * count);
  });
}
#else
extern template std::shared_ptr<const NearestTable<float>> host_nearest_table<float>(index_t, index_t, const float*,
                                                                                     const float*, Screen, index_t);
extern template std::shared_ptr<const NearestTable<double>> host_nearest_table<double>(index_t, index_t, const double*,
                                                                                       const double*, Screen, index_t);
extern template void host_nearest<float>(const NearestTable<float>&, index_t, const float*, index_t, std::int32_t*,
                                         float*);
extern template void host_nearest<double>(const NearestTable<double>&, index_t, const double*, index_t, std::int32_t*,
                                          double*);
#endif

}  // namespace kolmo::detail
