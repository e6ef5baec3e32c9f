#pragma once
// A table of codewords made ready for the host's search: packed in panels, and rounded for screening where that is
// faster. One thread searches a few rows at a time.

#include <optional>
#include <vector>

#include <kolmo/backend/nearest_blocks.hpp>
#include <kolmo/backend/nearest_screen.hpp>

// Vector types of the host; in CUDA files the compiled library has them.
#if !defined(KOLMO_CUDA_FILE)

namespace kolmo::detail {

/// The screen that `automatic` stands for, with `rows` vectors to be searched; none for what must be exact anyway.
template <class T>
Screen chosen_screen(Screen screen, index_t rows, index_t codes, index_t d) {
  if constexpr (!std::is_same_v<T, float>) {
    return Screen::none;
  } else {
    if (screen != Screen::automatic) return screen;
    // Rounding the table must be repaid, and short sums cost no more than their screening.
    if (rows < 256 || codes < 128 || d < 24) return Screen::none;
    if (bf16_kernel() == Bf16Kernel::tiles) return Screen::bf16;
    return has_avx512_vnni() ? Screen::int8 : Screen::none;
  }
}

/// Several scores of one vector: chains that do not wait for each other.
template <int chains, class T>
KOLMO_INLINE void score_chains(index_t d, const T* x, const T* const* c, T* sum) {
  T s[chains];
  const T* b[chains];
  for (int i = 0; i < chains; ++i) s[i] = sum[i], b[i] = c[i];
  KOLMO_ROLLED
  for (index_t j = 0; j < d; ++j)
    for (int i = 0; i < chains; ++i) s[i] = multiply_add(x[j], b[i][j], s[i]);
  for (int i = 0; i < chains; ++i) sum[i] = s[i];
}

template <class T>
class NearestTable {
  using Blocks = NearestBlocks<T>;

 public:
  static constexpr index_t tile = 96;  // rows searched at once: their sums of a panel stay in the first-level cache

  /// The table [codes, d] and its norms are not copied: they must outlive this object. `screen` is not automatic.
  NearestTable(index_t codes, index_t d, const T* table, const T* half_norms, Screen screen)
      : codes_(codes),
        d_(d),
        table_(table),
        half_norms_(half_norms),
        packed_(Blocks::padded(codes) * d),
        starts_(Blocks::padded(codes)) {
    Blocks::pack(codes, d, table, half_norms, packed_.data(), starts_.data());
    if constexpr (std::is_same_v<T, float>) {
      // A codeword that is not finite has no rounding error to bound.
      bool finite = true;
      for (index_t i = 0; i < codes * d; ++i) finite = finite && is_finite(table[i]);
      if (screen != Screen::none && finite) screen_.emplace(screen, codes, d, table, half_norms);
    }
  }

  index_t codes() const { return codes_; }
  index_t dimension() const { return d_; }
  const T* codeword(index_t k) const { return table_ + k * d_; }

  /// Room for the searches of one thread.
  class Workspace {
   public:
    explicit Workspace(const NearestTable& table)
        : best(tile),
          spare(tile * table.d_),
          score(Blocks::rows_at_once * Blocks::padded(table.codes_)),
          pending(static_cast<std::size_t>(tile)) {
      if (table.screen_) screen.emplace(*table.screen_);
    }

   private:
    friend class NearestTable;
    HostScratch<typename Blocks::Best> best;
    HostScratch<T> spare, score;
    std::vector<index_t> pending;
    std::optional<NearestScreen::Workspace> screen;
  };

  /// Offers the codewords of up to `tile` rows x [rows, d], which are numbered from `first` on, to list(row) by
  /// add(row, code, score): all whose score is at least list(row).floor(row); where that is minus infinity at first,
  /// the `count` best of the row and perhaps others.
  template <class List>
  void offer(index_t first, index_t rows, const T* x, index_t count, Workspace& work, const List& list) const {
    const index_t at_once = screen_ ? screen_->rows() : Blocks::rows_at_once, step = Blocks::padded(codes_);
    Candidates candidates;
    for (index_t i = 0; i < rows; i += at_once) {
      const index_t block = smaller(at_once, rows - i);
      if (!screen_) Blocks::scores(block, codes_, d_, x + i * d_, packed_.data(), starts_.data(), work.score.data());
      if constexpr (std::is_same_v<T, float>) {
        if (screen_) screen_->score(block, x + i * d_, *work.screen);
      }
      for (index_t r = 0; r < block; ++r) {
        auto& kept = list(first + i + r);
        const T floor = kept.floor(first + i + r);
        const T* scores = work.score.data() + r * step;
        if constexpr (std::is_same_v<T, float>) {
          if (screen_) {
            screen_->candidates(r, floor > -infinity<T>() ? 0 : count, floor, *work.screen, candidates);
            if (candidates.found >= 0) {
              offer_candidates(first + i + r, x + (i + r) * d_, candidates, kept);
              continue;
            }
            Blocks::scores(1, codes_, d_, x + (i + r) * d_, packed_.data(), starts_.data(), work.score.data());
            scores = work.score.data();
          }
        }
        offer_all(first + i + r, scores, kept);
      }
    }
  }

  /// The `count` nearest codewords of up to `tile` rows x [rows, d], best first, and their scores: [rows, count]. With
  /// a count of one `score` may be null.
  void nearest(index_t rows, const T* x, index_t count, Workspace& work, std::int32_t* index, T* score) const {
    if (!screen_) {
      T unwanted[tile];
      search(rows, x, count, work, index, score == nullptr ? unwanted : score);
      return;
    }
    if constexpr (std::is_same_v<T, float>) {
      index_t left = 0;
      Candidates candidates[tile_rows];
      for (index_t i = 0; i < rows; i += screen_->rows()) {
        const index_t block = smaller(screen_->rows(), rows - i);
        screen_->score(block, x + i * d_, *work.screen);
        for (index_t r = 0; r < block; ++r) {
          screen_->candidates(r, count, -infinity<T>(), *work.screen, candidates[r]);
          if (candidates[r].found < 0) work.pending[static_cast<std::size_t>(left++)] = i + r;
        }
        compare(block, x + i * d_, candidates, count, index + i * count,
                score == nullptr ? nullptr : score + i * count);
      }
      if (left > 0) search_pending(left, x, count, work, index, score);
    }
  }

 private:
  static constexpr int chains = 8;

  void search(index_t rows, const T* x, index_t count, Workspace& work, std::int32_t* index, T* score) const {
    if (count == 1) {
      Blocks::search(rows, codes_, d_, x, packed_.data(), starts_.data(), work.best.data(), index, score);
      return;
    }
    const index_t step = Blocks::padded(codes_);
    for (index_t i = 0; i < rows; i += Blocks::rows_at_once) {
      const index_t block = smaller<index_t>(Blocks::rows_at_once, rows - i);
      Blocks::scores(block, codes_, d_, x + i * d_, packed_.data(), starts_.data(), work.score.data());
      for (index_t r = 0; r < block; ++r) {
        BestScores<T> best(index + (i + r) * count, score + (i + r) * count, count);
        const T* s = work.score.data() + r * step;
        for (index_t k = 0; k < codes_; ++k)
          if (s[k] > best.score[count - 1]) best.add(s[k], static_cast<std::int32_t>(k));
      }
    }
  }

  /// Drops the candidates that sums in any order, which vectors form fast, show to be behind by more than rounding.
  void refine(const T* x, Candidates& candidates, index_t count) const {
    const int found = candidates.found;
    float score[Candidates::most], ordered[Candidates::most];
    for (int i = 0; i < found; ++i) {
      const std::int32_t k = candidates.code[i];
      score[i] = fast_dot(x, codeword(k), d_) - half_norms_[k];
    }
    float least = score[0];
    if (count == 1) {
      for (int i = 1; i < found; ++i) least = larger(least, score[i]);
    } else {
      __builtin_memcpy(ordered, score, sizeof ordered);
      std::nth_element(ordered, ordered + count - 1, ordered + found, std::greater<>());
      least = ordered[count - 1];
    }
    least -= 2 * candidates.rounding;
    candidates.found = 0;
    for (int i = 0; i < found; ++i)
      if (score[i] >= least) candidates.code[candidates.found++] = candidates.code[i];
  }

  /// The best among the candidates of a block. Scores are not wanted where `score` is null.
  void compare(index_t rows, const T* x, Candidates* candidates, index_t count, std::int32_t* index, T* score) const {
    for (index_t r = 0; r < rows; ++r) {
      if (candidates[r].found > count) refine(x + r * d_, candidates[r], count);
      const int found = candidates[r].found;
      if (found < 0) continue;
      if (found == 1 && score == nullptr) {
        index[r] = candidates[r].code[0];
        continue;
      }
      T unwanted;
      BestScores<T> best(index + r * count, score == nullptr ? &unwanted : score + r * count, count);
      for (int i = 0; i < found; i += chains) {
        T sum[chains];
        const int here = smaller(found - i, chains);
        chain(x + r * d_, candidates[r], i, sum);
        for (int c = 0; c < here; ++c) best.add(sum[c], candidates[r].code[i + c]);
      }
    }
  }

  template <class Kept>
  void offer_candidates(index_t row, const T* x, const Candidates& candidates, Kept& kept) const {
    for (int i = 0; i < candidates.found; i += chains) {
      T sum[chains];
      chain(x, candidates, i, sum);
      for (int c = 0; c < smaller(candidates.found - i, chains); ++c) kept.add(row, candidates.code[i + c], sum[c]);
    }
  }

  template <class Kept>
  void offer_all(index_t row, const T* score, Kept& kept) const {
    using Vector = typename Blocks::Vector;
    T floor = kept.floor(row);
    for (index_t first = 0; first < codes_; first += Blocks::panel) {
      Vector most, next;
      __builtin_memcpy(&most, score + first, sizeof most);
      for (index_t v = Blocks::width; v < Blocks::panel; v += Blocks::width) {
        __builtin_memcpy(&next, score + first + v, sizeof next);
        most = ((next > most) | (most != most)) ? next : most;  // never a NaN instead of a number
      }
      T largest = -infinity<T>();
      for (int lane = 0; lane < static_cast<int>(Blocks::width); ++lane) largest = larger(largest, T(most[lane]));
      if (largest < floor) continue;
      for (index_t k = first; k < smaller(codes_, first + Blocks::panel); ++k)
        if (score[k] >= floor && score[k] > -infinity<T>()) {
          kept.add(row, static_cast<std::int32_t>(k), score[k]);
          floor = kept.floor(row);
        }
    }
  }

  /// The scores of up to `chains` candidates from the i-th on.
  void chain(const T* x, const Candidates& candidates, int i, T* sum) const {
    const T* codewords[chains];
    const int here = smaller(candidates.found - i, chains);
    for (int c = 0; c < chains; ++c) {
      const std::int32_t k = candidates.code[i + smaller(c, here - 1)];
      codewords[c] = codeword(k);
      sum[c] = -half_norms_[k];
    }
    if (here <= 2)
      score_chains<2>(d_, x, codewords, sum);
    else if (here <= 5)
      score_chains<5>(d_, x, codewords, sum);
    else
      score_chains<chains>(d_, x, codewords, sum);
  }

  /// The rows that the screen could not tell.
  void search_pending(index_t rows, const T* x, index_t count, Workspace& work, std::int32_t* index, T* score) const {
    const HostScratch<std::int32_t> found(rows * count);
    const HostScratch<T> value(rows * count);
    for (index_t i = 0; i < rows; ++i)
      __builtin_memcpy(work.spare.data() + i * d_, x + work.pending[static_cast<std::size_t>(i)] * d_,
                       static_cast<std::size_t>(d_) * sizeof(T));
    search(rows, work.spare.data(), count, work, found.data(), value.data());
    for (index_t i = 0; i < rows; ++i)
      for (index_t c = 0; c < count; ++c) {
        index[work.pending[static_cast<std::size_t>(i)] * count + c] = found.data()[i * count + c];
        if (score != nullptr)
          score[work.pending[static_cast<std::size_t>(i)] * count + c] = value.data()[i * count + c];
      }
  }

  index_t codes_, d_;
  const T* table_;
  const T* half_norms_;
  HostScratch<T> packed_, starts_;
  std::optional<NearestScreen> screen_;
};

}  // namespace kolmo::detail

#endif
