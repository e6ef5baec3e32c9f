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
  for (index_t q = 0; q < stages; ++q) {
    const NearestTable<T>& table = *tables[static_cast<std::size_t>(q)];
    typename NearestTable<T>::Workspace work(table);
    table.nearest(rows, residual.data(), 1, work, index, nullptr);
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

/// The best children of the paths of one vector, in the order of choose_children. It knows the errors of all paths, so
/// it can tell which scores are of no use.
template <class T>
class BestChildren {
 public:
  struct Child {
    double error;
    Code parent, code;
    T score;
  };

  BestChildren(index_t first_row, index_t width, const double* norm, Child* children)
      : first_row_(first_row), width_(width), norm_(norm), children_(children) {}

  /// A score below this one leaves too large an error; minus infinity while there is room.
  T floor(index_t row) const {
    if (found_ < width_) return -infinity<T>();
    const double norm = norm_[row - first_row_], most = children_[width_ - 1].error;
    // Less than what rounding the error in double, and the result to T, may hide.
    return static_cast<T>((norm - most) / 2 - slack * (norm + abs(most)));
  }

  void add(index_t row, Code code, T score) {
    const Child child{norm_[row - first_row_] - 2 * static_cast<double>(score), static_cast<Code>(row - first_row_),
                      code, score};
    index_t place = found_ < width_ ? found_++ : width_;
    for (; place > 0 && before(child, children_[place - 1]); --place)
      if (place < width_) children_[place] = children_[place - 1];
    if (place < width_) children_[place] = child;
  }

  index_t found() const { return found_; }
  const Child& operator[](index_t place) const { return children_[place]; }

 private:
  static constexpr double slack = std::is_same_v<T, float> ? 2e-7 : 1e-15;

  static bool before(const Child& a, const Child& b) {
    if (a.error != b.error) return a.error < b.error;
    if (a.parent != b.parent) return a.parent < b.parent;
    return a.score > b.score || (a.score == b.score && a.code < b.code);
  }

  index_t first_row_, width_, found_ = 0;
  const double* norm_;
  Child* children_;
};

/// Beam search of a few vectors.
template <class T>
class HostBeam {
  using Best = BestChildren<T>;
  using Workspace = typename NearestTable<T>::Workspace;

 public:
  HostBeam(const NearestTables<T>& tables, index_t rows, index_t beam)
      : tables_(tables),
        rows_(rows),
        beam_(beam),
        stages_(static_cast<index_t>(tables.size())),
        d_(tables[0]->dimension()),
        before_(rows * beam, stages_, d_),
        after_(rows * beam, stages_, d_),
        children_(rows * beam) {
    best_.reserve(static_cast<std::size_t>(rows));
  }

  void encode(const T* x, Code* codes) {
    HostPaths<T>*before = &before_, *after = &after_;
    __builtin_memcpy(before->residual.data(), x, static_cast<std::size_t>(rows_ * d_) * sizeof(T));
    for (index_t i = 0; i < rows_; ++i) before->norm.data()[i] = squared_norm(x + i * d_, d_);
    index_t paths = 1;
    for (index_t q = 0; q < stages_; ++q) {
      const NearestTable<T>& table = *tables_[static_cast<std::size_t>(q)];
      const index_t wanted = q + 1 < stages_ ? beam_ : 1;
      const index_t count = smaller(wanted, table.codes()), width = smaller(wanted, paths * count);
      search(table, *before, paths, count, width);
      for (index_t i = 0; i < rows_; ++i)
        for (index_t place = 0; place < width; ++place) {
          const typename Best::Child& child = best_[static_cast<std::size_t>(i)][place];
          const index_t from = i * paths + child.parent, to = i * width + place;
          T* residual = after->residual.data() + to * d_;
          follow_child(q, d_, before->codes.data() + from * stages_, before->residual.data() + from * d_, child.code,
                       table.codeword(child.code), after->codes.data() + to * stages_, residual);
          if (q + 1 < stages_) after->norm.data()[to] = squared_norm(residual, d_);
        }
      std::swap(before, after);
      paths = width;
    }
    __builtin_memcpy(codes, before->codes.data(), static_cast<std::size_t>(rows_ * stages_) * sizeof(Code));
  }

 private:
  void search(const NearestTable<T>& table, const HostPaths<T>& paths_of, index_t paths, index_t count, index_t width) {
    Workspace work(table);
    best_.clear();
    for (index_t i = 0; i < rows_; ++i)
      best_.emplace_back(i * paths, width, paths_of.norm.data() + i * paths, children_.data() + i * width);
    for (index_t first = 0; first < rows_ * paths; first += NearestTable<T>::tile)
      table.offer(first, smaller(NearestTable<T>::tile, rows_ * paths - first), paths_of.residual.data() + first * d_,
                  count, work, [&](index_t row) -> Best& { return best_[static_cast<std::size_t>(row / paths)]; });
    for (index_t i = 0; i < rows_; ++i)
      if (best_[static_cast<std::size_t>(i)].found() < width) choose(table, i, paths_of, paths, count, width, work);
  }

  /// By the definition, where scores are not finite and codewords are missing.
  void choose(const NearestTable<T>& table, index_t i, const HostPaths<T>& paths_of, index_t paths, index_t count,
              index_t width, Workspace& work) {
    const HostScratch<Code> index(paths * count), taken(paths), parent(width), code(width);
    const HostScratch<T> score(paths * count);
    for (index_t p = 0; p < paths; p += NearestTable<T>::tile)
      table.nearest(smaller(NearestTable<T>::tile, paths - p), paths_of.residual.data() + (i * paths + p) * d_, count,
                    work, index.data() + p * count, score.data() + p * count);
    choose_children(paths, count, width, paths_of.norm.data() + i * paths, index.data(), score.data(), taken.data(),
                    parent.data(), code.data());
    for (index_t place = 0; place < width; ++place)
      children_.data()[i * width + place] = {0, parent.data()[place], code.data()[place], T(0)};
  }

  const NearestTables<T>& tables_;
  index_t rows_, beam_, stages_, d_;
  HostPaths<T> before_, after_;
  HostScratch<typename Best::Child> children_;
  std::vector<Best> best_;
};

template <class T>
void host_encode_residual(const NearestTables<T>& tables, index_t n, const T* x, index_t beam, Code* codes) {
  const auto stages = static_cast<index_t>(tables.size());
  const index_t d = tables[0]->dimension(), tile = larger<index_t>(1, NearestTable<T>::tile / beam);
  threads::parallel_for(divide_up(n, tile), [&](index_t t) {
    const index_t first = t * tile, rows = smaller(tile, n - first);
    if (beam == 1)
      host_encode_tile(tables, rows, x + first * d, codes + first * stages);
    else
      HostBeam<T>(tables, rows, beam).encode(x + first * d, codes + first * stages);
  });
}

#else
extern template void host_encode_residual<float>(const NearestTables<float>&, index_t, const float*, index_t, Code*);
extern template void host_encode_residual<double>(const NearestTables<double>&, index_t, const double*, index_t, Code*);
#endif

}  // namespace kolmo::rvq::detail
