#pragma once
// Elementwise work over many tensors at once, for backends with teams: the parameters of a model, which an optimiser
// updates in one launch instead of one each. Every tensor is cut into tiles; a team finds the tensor of its tile in a
// table that travels with the functor, so nothing is uploaded.

#include <cstdint>
#include <utility>
#include <vector>

#include <kolmo/backend/team.hpp>
#include <kolmo/core/apply.hpp>
#include <kolmo/core/array.hpp>

namespace kolmo::detail {

/// Neighbouring numbers that are read and written at once.
template <class T, int width>
struct alignas(sizeof(T) * static_cast<std::size_t>(width)) Pack {
  T v[width];
};

/// Elements of a tensor that a team takes.
inline constexpr index_t list_tile = 2048;

/// Work is called as work(team, operands, begin, end, tile) for elements [begin, end) of tensors of one size; `tile`
/// counts all tiles of the list.
template <class Work, int N>
struct TensorListTeam {
  static constexpr int team_threads = 256;
  // Kernels take 4096 bytes of arguments.
  static constexpr int capacity = (3840 - static_cast<int>(sizeof(Work))) / (12 + 8 * N);
  static_assert(capacity > 8);

  Work work;
  index_t first_of_all = 0;  // tiles before this table
  int count = 0;
  std::int32_t first[capacity + 1] = {};  // tiles before each tensor
  index_t size[capacity] = {};
  void* operands[capacity][N] = {};

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t tile) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first[middle] <= tile)
        low = middle;
      else
        high = middle;
    }
    const index_t begin = (tile - first[low]) * list_tile;
    work(team, operands[low], begin, smaller(size[low], begin + list_tile), first_of_all + tile);
  }
};

template <class B, class Work, int N>
class TensorList {
 public:
  void add(const Array<void*, N>& operands, index_t size) {
    if (size > 0) entries_.push_back({operands, size});
  }

  index_t tiles() const {
    index_t sum = 0;
    for (const Entry& entry : entries_) sum += divide_up(entry.size, list_tile);
    return sum;
  }

  void run(const Work& work) const {
    using Table = TensorListTeam<Work, N>;
    index_t done = 0;
    std::size_t at = 0;
    while (at < entries_.size()) {
      Table table{work};
      table.first_of_all = done;
      index_t tiles = 0;
      for (; at < entries_.size() && table.count < Table::capacity; ++at) {
        const index_t own = divide_up(entries_[at].size, list_tile);
        if (table.count > 0 && tiles + own > INT32_MAX) break;
        table.size[table.count] = entries_[at].size;
        for (int i = 0; i < N; ++i) table.operands[table.count][i] = entries_[at].operands[i];
        tiles += own;
        table.first[++table.count] = static_cast<std::int32_t>(tiles);
      }
      for_each_team<B>(tiles, table);
      done += tiles;
    }
  }

 private:
  struct Entry {
    Array<void*, N> operands;
    index_t size;
  };
  std::vector<Entry> entries_;
};

/// The first M of N tensors become the M results of f on all of them.
template <class F, class T, int N, int M>
struct UpdateTile {
  using C = ComputeOf<T>;
  static constexpr int width = sizeof(T) < 16 ? static_cast<int>(16 / sizeof(T)) : 1;
  using Numbers = Pack<T, width>;

  F f;

  template <class Team>
  KOLMO_HD void operator()(const Team& team, void* const* operands, index_t begin, index_t end, index_t) const {
    run(team, operands, begin, end, std::make_integer_sequence<int, N>{}, std::make_integer_sequence<int, M>{});
  }

  template <class Team, int... I, int... J>
  KOLMO_HD void run(const Team& team, void* const* operands, index_t begin, index_t end,
                    std::integer_sequence<int, I...>, std::integer_sequence<int, J...>) const {
    const std::uintptr_t addresses = (reinterpret_cast<std::uintptr_t>(operands[I]) | ...);
    // A tile begins at a multiple of a pack.
    const index_t packed = addresses % sizeof(Numbers) == 0 ? begin + (end - begin) / width * width : begin;
    for (index_t p = begin / width + team.rank(); p < packed / width; p += team.size()) {
      Numbers in[N] = {static_cast<const Numbers*>(operands[I])[p]...};
      KOLMO_UNROLLED
      for (int j = 0; j < width; ++j) {
        const auto result = f(C(in[I].v[j])...);
        ((in[J].v[j] = T(output<J>(result))), ...);
      }
      ((static_cast<Numbers*>(operands[J])[p] = in[J]), ...);
    }
    for (index_t i = packed + team.rank(); i < end; i += team.size()) {
      const auto result = f(C(static_cast<const T*>(operands[I])[i])...);
      ((static_cast<T*>(operands[J])[i] = T(output<J>(result))), ...);
    }
  }
};

/// The first of two tensors becomes the second, in another scalar.
template <class From, class To>
struct CastTile {
  static constexpr int width = static_cast<int>(16 / smaller(smaller(sizeof(From), sizeof(To)), std::size_t{16}));

  template <class Team>
  KOLMO_HD void operator()(const Team& team, void* const* operands, index_t begin, index_t end, index_t) const {
    using Source = Pack<From, width>;
    using Target = Pack<To, width>;
    To* const to = static_cast<To*>(operands[0]);
    const From* const from = static_cast<const From*>(operands[1]);
    const bool aligned = reinterpret_cast<std::uintptr_t>(to) % alignof(Target) == 0 &&
                         reinterpret_cast<std::uintptr_t>(from) % alignof(Source) == 0;
    const index_t packed = aligned ? begin + (end - begin) / width * width : begin;
    for (index_t p = begin / width + team.rank(); p < packed / width; p += team.size()) {
      const Source source = reinterpret_cast<const Source*>(from)[p];
      Target target;
      KOLMO_UNROLLED
      for (int j = 0; j < width; ++j) target.v[j] = static_cast<To>(source.v[j]);
      reinterpret_cast<Target*>(to)[p] = target;
    }
    for (index_t i = packed + team.rank(); i < end; i += team.size()) to[i] = static_cast<To>(from[i]);
  }
};

/// The sum of squares of each tile, in double.
template <class T>
struct SquaresTile {
  double* sums;

  template <class Team>
  KOLMO_HD void operator()(const Team& team, void* const* operands, index_t begin, index_t end, index_t tile) const {
    constexpr int width = sizeof(T) < 16 ? static_cast<int>(16 / sizeof(T)) : 1;
    using Numbers = Pack<T, width>;
    const T* const from = static_cast<const T*>(operands[0]);
    const bool aligned = reinterpret_cast<std::uintptr_t>(from) % alignof(Numbers) == 0;
    const index_t packed = aligned ? begin + (end - begin) / width * width : begin;
    double sum = 0;
    for (index_t p = begin / width + team.rank(); p < packed / width; p += team.size()) {
      const Numbers numbers = reinterpret_cast<const Numbers*>(from)[p];
      KOLMO_UNROLLED
      for (int j = 0; j < width; ++j) sum += static_cast<double>(numbers.v[j]) * static_cast<double>(numbers.v[j]);
    }
    for (index_t i = packed + team.rank(); i < end; i += team.size())
      sum += static_cast<double>(from[i]) * static_cast<double>(from[i]);
    sum = team.sum(sum);
    if (team.rank() == 0) sums[tile] = sum;
  }
};

}  // namespace kolmo::detail
