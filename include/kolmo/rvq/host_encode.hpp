#pragma once
// Residual encoding on the host: a tile of vectors goes through all stages, so that its residuals stay in the caches of
// one core.

#include <vector>

#include <kolmo/backend/host_nearest.hpp>
#include <kolmo/rvq/beam_kernels.hpp>

namespace kolmo::rvq::detail {

/// The tables of all stages, ready for searches.
template <class T>
using NearestTables = std::vector<std::shared_ptr<const NearestTable<T>>>;

// With KOLMO_COMPILED, and in CUDA files, these come from the library kolmo::compiled.

/// Codes [n, stages] of x [n, d], by the path of the least error among `beam` in every stage.
template <class T>
void host_encode_residual(const NearestTables<T>& tables, index_t n, const T* x, index_t beam, Code* codes);

#if defined(KOLMO_COMPILING) || !(defined(KOLMO_COMPILED) || defined(KOLMO_CUDA_FILE))

/// The greedy codes of up to NearestTable::tile vectors.
template <class T>
void host_encode_tile(const NearestTables<T>& tables, index_t rows, const T* x, Code* codes) {
  constexpr index_t tile = NearestTable<T>::tile;
  const auto stages = static_cast<index_t>(tables.size());
  const index_t d = tables[0]->dimension();
  const HostScratch<T> residual(rows * d);
  __builtin_memcpy(residual.data(), x, static_cast<std::size_t>(rows * d) * sizeof(T));
  std::int32_t index[tile];
  T score[tile];
  for (index_t q = 0; q < stages; ++q) {
    const NearestTable<T>& table = *tables[static_cast<std::size_t>(q)];
    typename NearestTable<T>::Workspace work(table);
    table.nearest(rows, residual.data(), 1, work, index, score);
    for (index_t i = 0; i < rows; ++i) {
      codes[i * stages + q] = index[i];
      if (q + 1 == stages) continue;
      const T* codeword = table.codeword(index[i]);
      T* r = residual.data() + i * d;
      KOLMO_INDEPENDENT
      for (index_t j = 0; j < d; ++j) r[j] -= codeword[j];
    }
  }
}

/// Paths of `rows` vectors: their codes [rows, width, stages], residuals and squared norms.
template <class T>
struct HostPaths {
  HostScratch<Code> codes;
  HostScratch<T> residual;
  HostScratch<double> norm;
  HostPaths(index_t paths, index_t stages, index_t d) : codes(paths * stages), residual(paths * d), norm(paths) {}
};

template <class T>
void host_encode_beam(const NearestTables<T>& tables, index_t rows, const T* x, index_t beam, Code* codes) {
  const auto stages = static_cast<index_t>(tables.size());
  const index_t d = tables[0]->dimension();
  HostPaths<T> one(rows * beam, stages, d), other(rows * beam, stages, d);
  HostPaths<T>*before = &one, *after = &other;
  const HostScratch<Code> index(rows * beam * beam), taken(beam), parent(beam), code(beam);
  const HostScratch<T> score(rows * beam * beam);
  __builtin_memcpy(one.residual.data(), x, static_cast<std::size_t>(rows * d) * sizeof(T));
  for (index_t i = 0; i < rows; ++i) one.norm.data()[i] = squared_norm(x + i * d, d);
  index_t paths = 1;
  for (index_t q = 0; q < stages; ++q) {
    const NearestTable<T>& table = *tables[static_cast<std::size_t>(q)];
    typename NearestTable<T>::Workspace work(table);
    const index_t wanted = q + 1 < stages ? beam : 1;
    const index_t count = smaller(wanted, table.codes()), width = smaller(wanted, paths * count);
    for (index_t i = 0; i < rows * paths; i += NearestTable<T>::tile)
      table.nearest(smaller(NearestTable<T>::tile, rows * paths - i), before->residual.data() + i * d, count, work,
                    index.data() + i * count, score.data() + i * count);
    for (index_t i = 0; i < rows; ++i) {
      choose_children(paths, count, width, before->norm.data() + i * paths, index.data() + i * paths * count,
                      score.data() + i * paths * count, taken.data(), parent.data(), code.data());
      for (index_t place = 0; place < width; ++place) {
        const index_t from = i * paths + parent.data()[place], to = i * width + place;
        T* residual = after->residual.data() + to * d;
        follow_child(q, d, before->codes.data() + from * stages, before->residual.data() + from * d, code.data()[place],
                     table.codeword(code.data()[place]), after->codes.data() + to * stages, residual);
        after->norm.data()[to] = squared_norm(residual, d);
      }
    }
    std::swap(before, after);
    paths = width;
  }
  __builtin_memcpy(codes, before->codes.data(), static_cast<std::size_t>(rows * stages) * sizeof(Code));
}

template <class T>
void host_encode_residual(const NearestTables<T>& tables, index_t n, const T* x, index_t beam, Code* codes) {
  const auto stages = static_cast<index_t>(tables.size());
  const index_t d = tables[0]->dimension(), tile = larger<index_t>(1, NearestTable<T>::tile / beam);
  threads::parallel_for(divide_up(n, tile), [&](index_t t) {
    const index_t first = t * tile, rows = smaller(tile, n - first);
    if (beam == 1)
      host_encode_tile(tables, rows, x + first * d, codes + first * stages);
    else
      host_encode_beam(tables, rows, x + first * d, beam, codes + first * stages);
  });
}

#else
extern template void host_encode_residual<float>(const NearestTables<float>&, index_t, const float*, index_t, Code*);
extern template void host_encode_residual<double>(const NearestTables<double>&, index_t, const double*, index_t, Code*);
#endif

}  // namespace kolmo::rvq::detail
