#pragma once
// Teams: an item is the work of several threads that share it. On the host a team is one thread, and the code is the
// plain loop; on a GPU it is a group of lanes, a warp or a block.
//
//   struct RowMeans {                                   // scalars and pointers only
//     static constexpr int team_threads = 32;           // wish: a power of two up to 1024
//     template <class Team>
//     KOLMO_HD void operator()(const Team& team, index_t row) const {
//       T sum = 0;
//       for (index_t c = team.rank(); c < columns; c += team.size()) sum += x[row * columns + c];
//       sum = team.sum(sum);                            // the same bits in every member
//       if (team.rank() == 0) mean[row] = sum / columns;
//     }
//   };
//   for_each_team<B>(rows, RowMeans{...});
//
// A team has
//
//   size(), rank()          constants on the host
//   synchronize()           every member sees what the others wrote to scratch or global memory before
//   sum(x), fold(x, f)      of one value per member in a fixed binary tree over halves of the ranks, the lower rank's
//                           value on the left; all get the result. f is commutative and associative but for rounding
//   largest(x)              likewise; NaN loses against a number
//   any(b)                  whether b holds for a member
//   broadcast(x, from)      the value of the member of that rank
//   scratch<S>()            memory that the team shares, of the functor's type `Scratch` or of `scratch_bytes()` bytes,
//                           aligned to 64 bytes; what it holds at the start of an item is undefined
//
// and all members call the ones that meet, in the same order. Two optional members of a functor:
//
//   using Scratch = ...;                      a trivial type, or
//   KOLMO_HD index_t scratch_bytes() const;   for a size known at run time

#include <new>
#include <type_traits>

#include <kolmo/backend/concept.hpp>

namespace kolmo {

namespace detail {

/// Runs f(item) where an item is much work: on the host every item may go to another thread.
template <class B, class F>
void for_each_item(index_t n, const F& f) {
  if constexpr (requires { B::for_each_item(n, f); })
    B::for_each_item(n, f);
  else
    B::for_each(n, f);
}

/// A backend on which an item of for_each_team is the work of many threads.
template <class B>
concept HasTeams = requires(index_t n, const ProbeEach& f) { B::for_each_team(n, f); };

struct NoScratch {};

template <class F>
struct TeamScratch {
  using Type = NoScratch;
};
template <class F>
requires requires { typename F::Scratch; }
struct TeamScratch<F> {
  using Type = typename F::Scratch;
};

template <class F>
concept SizedScratch = requires(const F& f) {
  { f.scratch_bytes() } -> std::convertible_to<index_t>;
};

/// Bytes of scratch memory that a functor's teams share.
template <class F>
index_t team_scratch_bytes(const F& f) {
  if constexpr (SizedScratch<F>)
    return static_cast<index_t>(f.scratch_bytes());
  else if constexpr (std::is_empty_v<typename TeamScratch<F>::Type>)
    return 0;
  else
    return static_cast<index_t>(sizeof(typename TeamScratch<F>::Type));
}

}  // namespace detail

/// The team of a host's thread: itself.
class TeamOfOne {
 public:
  KOLMO_HD explicit TeamOfOne(void* scratch) : scratch_(scratch) {}

  KOLMO_HD static constexpr int size() { return 1; }
  KOLMO_HD static constexpr int rank() { return 0; }
  KOLMO_HD void synchronize() const {}
  template <class T>
  KOLMO_HD T sum(T value) const {
    return value;
  }
  template <class T>
  KOLMO_HD T largest(T value) const {
    return value;
  }
  template <class T, class Combine>
  KOLMO_HD T fold(T value, const Combine&) const {
    return value;
  }
  KOLMO_HD bool any(bool value) const { return value; }
  template <class T>
  KOLMO_HD T broadcast(T value, int) const {
    return value;
  }
  template <class S>
  KOLMO_HD S* scratch() const {
    return static_cast<S*>(scratch_);
  }

 private:
  void* scratch_;
};

namespace detail {

/// Memory of a thread for functors that say its size at run time.
class ThreadScratch {
 public:
  ThreadScratch() = default;
  ~ThreadScratch() { ::operator delete(data_, alignment); }
  ThreadScratch(const ThreadScratch&) = delete;
  ThreadScratch& operator=(const ThreadScratch&) = delete;

  void* of(index_t bytes) {
    if (bytes > bytes_) {
      ::operator delete(data_, alignment);
      data_ = nullptr;
      bytes_ = 0;
      data_ = ::operator new(static_cast<std::size_t>(bytes), alignment);
      bytes_ = bytes;
    }
    return data_;
  }

 private:
  static constexpr std::align_val_t alignment{64};
  void* data_ = nullptr;
  index_t bytes_ = 0;
};

/// Consecutive items as one task of the host, each run by a team of one.
template <class F>
struct TeamsOfOne {
  F f;
  index_t items, items_per_task;

  void operator()(index_t task) const {
    const index_t end = smaller(items, (task + 1) * items_per_task);
    if constexpr (SizedScratch<F>) {
      // On the heap: nested loops of a thread must not share it.
      ThreadScratch memory;
      const TeamOfOne team(memory.of(team_scratch_bytes(f)));
      for (index_t item = task * items_per_task; item < end; ++item) f(team, item);
    } else {
      alignas(64) typename TeamScratch<F>::Type scratch;
      const TeamOfOne team(&scratch);
      for (index_t item = task * items_per_task; item < end; ++item) f(team, item);
    }
  }
};

}  // namespace detail

/// Runs f(team, item) for items in [0, n), in any order. On the host a task is `items_per_task` consecutive items; a
/// device has a team for each.
template <class B, class F>
void for_each_team(index_t n, const F& f, index_t items_per_task = 1) {
  if (n <= 0) return;
  if constexpr (requires { B::for_each_team(n, f); })
    B::for_each_team(n, f);
  else
    detail::for_each_item<B>(divide_up(n, items_per_task), detail::TeamsOfOne<F>{f, n, items_per_task});
}

/// The sum of term(i) over [0, n) by a team, the same bits in every member. A host sums in 32 lanes and folds them in
/// the tree of a warp, so that its loop vectorises and a warp gives the same bits but for contracted products.
template <class T, class Team, class Term>
KOLMO_HD T team_sum(const Team& team, index_t n, const Term& term) {
  if constexpr (Team::size() == 1) {
    constexpr int lanes = 32;
    T lane[lanes] = {};
    index_t i = 0;
    for (; i + lanes <= n; i += lanes)
      for (int j = 0; j < lanes; ++j) lane[j] = lane[j] + term(i + j);
    for (int j = 0; i + j < n; ++j) lane[j] = lane[j] + term(i + j);
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int j = 0; j < width; ++j) lane[j] = lane[j] + lane[j + width];
    return lane[0];
  } else {
    T sum = T(0);
    for (index_t i = team.rank(); i < n; i += team.size()) sum = sum + term(i);
    return team.sum(sum);
  }
}

}  // namespace kolmo
