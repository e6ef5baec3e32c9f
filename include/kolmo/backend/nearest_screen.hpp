#pragma once
// Screening of codewords in reduced precision. With vectors x~ and codewords c~ rounded to bytes or to bfloat16 the
// score a = <x~, c~> - |c|^2 / 2 differs from that in float, s, by at most
//
//   |a - s| <= |x - x~| |c| + |x~| |c - c~| + g ((|x~| + |x - x~|) (|c~| + |c - c~|) + |c|^2 / 2) + tiny
//
// by the inequality of Cauchy and Schwarz and the distances that rounding did move the vectors; g covers the rounding
// of either sum in float, 2 d + 32 roundings, and tiny what underflows. A codeword whose a + bound is below the largest
// a - bound cannot be the nearest. The others, mostly one or two, are candidates, whose scores are then computed in
// float: the codes are those of a search in float, bit for bit. Bounds are kept per panel of 64 codewords.

#include <algorithm>
#include <vector>

#include <kolmo/backend/bf16_gemm.hpp>
#include <kolmo/backend/int8_kernel.hpp>
#include <kolmo/backend/nearest_options.hpp>
#include <kolmo/backend/nearest_quantize.hpp>

// Vector types of the host; in CUDA files the compiled library has them.
#if !defined(KOLMO_CUDA_FILE)

namespace kolmo::detail {

/// Codewords of one row that may be the best; `found` is -1 when they cannot be told apart.
struct Candidates {
  static constexpr int most = 64;
  int found = 0;
  float rounding = 0;  ///< how far two scores of the row, summed in float in any two orders, lie apart at most
  std::int32_t code[most];

  KOLMO_INLINE bool add(index_t k) {
    if (found == most) return false;
    code[found++] = static_cast<std::int32_t>(k);
    return true;
  }
};

/// Looks for scores of at least limit[p] in panel p; false when there are too many.
inline bool portable_collect(index_t panels, const float* limit, const float* score, const float* largest,
                             Candidates& candidates) {
  for (index_t p = 0; p < panels; ++p)
    for (index_t lane = 0; lane < screen_lanes; ++lane) {
      if (!(largest[p * screen_lanes + lane] >= limit[p])) continue;
      for (index_t k = p * screen_panel + lane; k < (p + 1) * screen_panel; k += screen_lanes)
        if (score[k] >= limit[p] && !candidates.add(k)) return false;
    }
  return true;
}

#if defined(__x86_64__) && defined(__linux__)

__attribute__((target("avx512f,avx512bw"))) KOLMO_NOINLINE inline bool avx512_collect(
    index_t panels, const float* limit, const float* score, const float* largest, Candidates& candidates) {
  // Few panels have any, and which do cannot be foreseen: first a bit per panel, then a bit per codeword.
  for (index_t begin = 0; begin < panels; begin += 64) {
    std::uint64_t hits = 0;
    std::uint16_t mask;
    Float16Lanes lanes;
    for (index_t p = begin; p < smaller(panels, begin + 64); ++p) {
      const Float16Lanes least = Float16Lanes{} + limit[p];
      __builtin_memcpy(&lanes, largest + p * screen_lanes, sizeof lanes);
      asm("vcmpps $13, %2, %1, %0" : "=k"(mask) : "v"(lanes), "v"(least));
      hits |= static_cast<std::uint64_t>(mask != 0) << (p - begin);
    }
    for (; hits != 0; hits &= hits - 1) {
      const index_t p = begin + __builtin_ctzll(hits);
      const Float16Lanes least = Float16Lanes{} + limit[p];
      std::uint64_t found = 0;
      for (index_t v = 0; v < screen_panel; v += screen_lanes) {
        __builtin_memcpy(&lanes, score + p * screen_panel + v, sizeof lanes);
        asm("vcmpps $13, %2, %1, %0" : "=k"(mask) : "v"(lanes), "v"(least));
        found |= static_cast<std::uint64_t>(mask) << v;
      }
      for (; found != 0; found &= found - 1)
        if (!candidates.add(p * screen_panel + __builtin_ctzll(found))) return false;
    }
  }
  return true;
}

#endif

/// The largest `count`-th of 32 numbers, of which those in `first` are not below those in `second` lane by lane. Equal
/// numbers count once, so the result may be smaller. The lanes are lost.
KOLMO_INLINE float kth_of_lanes(index_t count, Float16Lanes& first, Float16Lanes& second) {
  const Float16Lanes none = Float16Lanes{} - infinity<float>();
  for (;;) {
    const float most = fold_lanes<false>(first);
    if (--count == 0) return most;
    const auto taken = first == most;
    first = taken ? second : first;
    second = taken ? none : second;
  }
}

/// A table rounded for screening.
class NearestScreen {
 public:
  /// `form` is int8 or bf16. The table is not copied.
  NearestScreen(Screen form, index_t codes, index_t d, const float* table, const float* half_norms)
      : form_(form),
        codes_(codes),
        d_(d),
        table_(table),
        depth_(divide_up(d, form == Screen::int8 ? index_t{4} : tile_depth) * (form == Screen::int8 ? 4 : tile_depth)),
        panels_(divide_up(codes, screen_panel)),
        wide_(has_avx512_vnni()),
        rounding_(6.1e-8f * static_cast<float>(2 * d + 32)),
        tiny_(2e-37f * static_cast<float>(d + 16)),
        starts_(panels_ * screen_panel),
        bounds_(3 * panels_),
        scales_(form == Screen::int8 ? panels_ * screen_panel : 0),
        corrections_(form == Screen::int8 ? panels_ * screen_panel : 0),
        bytes_(form == Screen::int8 ? panels_ * screen_panel * depth_ : 0),
        halves_(form == Screen::bf16 ? panels_ * screen_panel * depth_ : 0) {
    for (index_t k = 0; k < panels_ * screen_panel; ++k) {
      const bool padding = k >= codes;
      starts_.data()[k] = padding ? -infinity<float>() : -half_norms[k];
      if (form == Screen::int8) scales_.data()[k] = 0, corrections_.data()[k] = 0;
    }
    for (index_t p = 0; p < panels_; ++p) {
      const index_t count = smaller(screen_panel, codes - p * screen_panel);
      float norm = 0, error = 0, half_norm = 0;
      round_panel(p, count, table + p * screen_panel * d, norm, error);
      for (index_t k = 0; k < count; ++k) half_norm = larger(half_norm, abs(half_norms[p * screen_panel + k]));
      // Of the vector: |x - x~| and |x~| + |x - x~|.
      float* bound = bounds_.data();
      bound[p] = 1.00001f * norm;
      bound[panels_ + p] = 1.00001f * (error + rounding_ * norm);
      bound[2 * panels_ + p] = 1.00001f * rounding_ * half_norm + tiny_;
      largest_norm_ = larger(largest_norm_, norm);
      largest_half_norm_ = larger(largest_half_norm_, half_norm);
      if (!is_finite(norm) || !is_finite(half_norm) || is_nan(error)) usable_ = false;
    }
  }

  /// Rows that are screened at once: few enough that their scores stay near, and more than one block of them to use a
  /// panel while it is in the first-level cache.
  index_t rows() const { return form_ == Screen::int8 ? 2 * int8_rows : tile_rows; }

  /// Room for the scores of a block of rows.
  class Workspace {
   public:
    explicit Workspace(const NearestScreen& screen)
        : score(screen.rows() * screen.panels_ * screen_panel),
          largest(screen.rows() * screen.panels_ * screen_lanes),
          limit(2 * screen.panels_),
          row(screen.rows() * (screen.depth_ + quantize_width)) {}

   private:
    friend class NearestScreen;
    HostScratch<float> score, largest, limit;
    HostScratch<BFloat16> row;
    Rounded rounded[tile_rows];
  };

  /// Screens up to rows() vectors x [rows, d].
  void score(index_t rows, const float* x, Workspace& work) const {
    if (form_ == Screen::int8)
      score_bytes(rows, x, work);
    else
      score_halves(rows, x, work);
  }

  /// The candidates for the `count` nearest codewords of a screened row whose scores are at least `floor`. With a count
  /// of 0 the floor alone decides.
  void candidates(index_t r, index_t count, float floor, Workspace& work, Candidates& found) const {
    found.found = 0;
    if (!collect(work.rounded[r], count, floor, work.score.data() + r * panels_ * screen_panel,
                 work.largest.data() + r * panels_ * screen_lanes, work.limit.data(), found))
      found.found = -1;
    // The codewords of the table lie anywhere: they come while other rows are looked at.
    for (int i = 0; i < smaller(found.found, 16); ++i)
      for (index_t j = 0; j < smaller<index_t>(d_, 256); j += 16) __builtin_prefetch(table_ + found.code[i] * d_ + j);
  }

 private:
  /// Rounds the codewords of a panel; the largest |c~| + |c - c~| and |c - c~|.
  void round_panel(index_t p, index_t count, const float* table, float& norm, float& error) {
    if (form_ == Screen::int8) {
      const index_t padded = divide_up(d_, quantize_width) * quantize_width;
      const HostScratch<std::uint8_t> bytes(padded);
      std::int8_t* panel = bytes_.data() + p * screen_panel * depth_;
      for (index_t k = 0; k < screen_panel; ++k) {
        if (k >= count) {
          for (index_t j = 0; j < depth_; ++j) panel[(j / 4 * screen_panel + k) * 4 + j % 4] = 0;
          continue;
        }
        const Rounded r = round_to_bytes(table + k * d_, d_, padded, 0, bytes.data());
        std::int32_t sum = 0;
        for (index_t j = 0; j < depth_; j += 4) {
          __builtin_memcpy(panel + (j / 4 * screen_panel + k) * 4, bytes.data() + j, 4);
          for (index_t i = j; i < j + 4; ++i) sum += static_cast<std::int8_t>(bytes.data()[i]);
        }
        scales_.data()[p * screen_panel + k] = r.scale;
        corrections_.data()[p * screen_panel + k] = -128 * sum;
        note(r, norm, error);
      }
    } else {
      const HostScratch<BFloat16> rows(screen_panel * depth_);
      for (index_t k = 0; k < count; ++k)
        note(round_to_bf16(table + k * d_, d_, depth_, rows.data() + k * depth_), norm, error);
      for (index_t v = 0; v < screen_panel; v += 16)
        pack_bf16_panel(rows.data() + v * depth_, 1, depth_, larger<index_t>(0, smaller<index_t>(16, count - v)),
                        depth_, depth_, halves_.data() + (p * screen_panel + v) * depth_);
    }
  }

  /// Comparisons with a NaN are false, so it stays.
  static void note(const Rounded& r, float& norm, float& error) {
    const float most = r.norm + r.error;
    if (!(most <= norm)) norm = most;
    if (!(r.error <= error)) error = r.error;
  }

  void score_bytes(index_t rows, const float* x, Workspace& work) const {
    auto* bytes = reinterpret_cast<std::uint8_t*>(work.row.data());
    float scale[tile_rows];
    for (index_t r = 0; r < rows; ++r) {
      // What is written behind a row is overwritten by the next one.
      work.rounded[r] =
          round_to_bytes(x + r * d_, d_, divide_up(d_, quantize_width) * quantize_width, 128, bytes + r * depth_);
      scale[r] = work.rounded[r].scale;
    }
    for (index_t p = 0; p < panels_; ++p) {
      const index_t first = p * screen_panel;
      const Int8Panel panel{bytes_.data() + first * depth_, corrections_.data() + first, scales_.data() + first,
                            starts_.data() + first};
      for (index_t r = 0; r < rows; r += int8_rows)
        int8_block(wide_, smaller(int8_rows, rows - r), depth_ / 4, bytes + r * depth_, panel, scale + r,
                   work.score.data() + r * panels_ * screen_panel + first, panels_ * screen_panel,
                   work.largest.data() + (r * panels_ + p) * screen_lanes, panels_ * screen_lanes);
    }
  }

  void score_halves(index_t rows, const float* x, Workspace& work) const {
    for (index_t r = 0; r < rows; ++r)
      work.rounded[r] = round_to_bf16(x + r * d_, d_, depth_, work.row.data() + r * depth_);
    for (index_t i = rows * depth_; i < tile_rows * depth_; ++i) work.row.data()[i] = BFloat16();
    const index_t columns = panels_ * screen_panel;
    bf16_product(bf16_kernel(), tile_rows, columns / 16, depth_, work.row.data(), depth_, halves_.data(), 16 * depth_,
                 work.score.data(), columns, true);
    for (index_t r = 0; r < rows; ++r)
      for (index_t p = 0; p < panels_; ++p) {
        Float16Lanes most = Float16Lanes{} - infinity<float>();
        for (index_t v = 0; v < screen_panel; v += screen_lanes) {
          float* at = work.score.data() + r * columns + p * screen_panel + v;
          Float16Lanes sum, start;
          __builtin_memcpy(&sum, at, sizeof sum);
          __builtin_memcpy(&start, starts_.data() + p * screen_panel + v, sizeof start);
          sum += start;
          most = sum > most ? sum : most;
          __builtin_memcpy(at, &sum, sizeof sum);
        }
        __builtin_memcpy(work.largest.data() + (r * panels_ + p) * screen_lanes, &most, sizeof most);
      }
  }

  /// Leaves few candidates; false when there are too many.
  bool collect(const Rounded& x, index_t count, float floor, const float* score, const float* largest, float* limit,
               Candidates& candidates) const {
    const float all = x.norm + x.error;
    if (!usable_ || !(all * largest_norm_ + largest_half_norm_ <= most_screened) || !(all <= most_screened)) return false;
    candidates.rounding = 2.1f * rounding_ * (all * largest_norm_ + largest_half_norm_) + tiny_;
    const float* bound = bounds_.data();
    float* half_width = limit + panels_;
    for (index_t p = 0; p < panels_; ++p)
      half_width[p] = x.error * bound[p] + all * bound[panels_ + p] + bound[2 * panels_ + p];
    float least = floor;
    if (count == 1) least = larger(least, best_lower_bound(largest, half_width));
    if (count > 1) least = larger(least, lower_bound(count, largest, half_width));
    if (!is_finite(least)) return false;
    for (index_t p = 0; p < panels_; ++p) limit[p] = least - half_width[p];
#if defined(__x86_64__) && defined(__linux__)
    if (wide_) return avx512_collect(panels_, limit, score, largest, candidates);
#endif
    return portable_collect(panels_, limit, score, largest, candidates);
  }

  /// The largest score less its bound.
  float best_lower_bound(const float* largest, const float* half_width) const {
    Float16Lanes best = Float16Lanes{} - infinity<float>();
    for (index_t p = 0; p < panels_; ++p) {
      Float16Lanes lanes;
      __builtin_memcpy(&lanes, largest + p * screen_lanes, sizeof lanes);
      lanes -= half_width[p];
      best = lanes > best ? lanes : best;
    }
    return fold_lanes<false>(best);
  }

  /// A number that at least `count` codewords exceed by their bounds. With few places the largest two of every lane
  /// tell nearly as much as all.
  float lower_bound(index_t count, const float* largest, const float* half_width) const {
    if (count > 2 * screen_lanes) {
      std::vector<float> values(static_cast<std::size_t>(panels_ * screen_lanes));
      for (index_t i = 0; i < panels_ * screen_lanes; ++i)
        values[static_cast<std::size_t>(i)] = largest[i] - half_width[i / screen_lanes];
      if (count > panels_ * screen_lanes) return -infinity<float>();
      std::nth_element(values.begin(), values.begin() + (count - 1), values.end(), std::greater<>());
      return values[static_cast<std::size_t>(count - 1)];
    }
    Float16Lanes first = Float16Lanes{} - infinity<float>(), second = first;
    for (index_t p = 0; p < panels_; ++p) {
      Float16Lanes lanes;
      __builtin_memcpy(&lanes, largest + p * screen_lanes, sizeof lanes);
      lanes -= half_width[p];
      const Float16Lanes less = lanes > first ? first : lanes;
      second = less > second ? less : second;
      first = lanes > first ? lanes : first;
    }
    return kth_of_lanes(count, first, second);
  }

  Screen form_;
  index_t codes_, d_;
  const float* table_;
  index_t depth_, panels_;
  bool wide_, usable_ = true;
  float rounding_, tiny_;  // of a sum of products in float: relative to its moduli, and what underflows
  float largest_norm_ = 0, largest_half_norm_ = 0;
  HostScratch<float> starts_, bounds_, scales_;
  HostScratch<std::int32_t> corrections_;
  HostScratch<std::int8_t> bytes_;
  HostScratch<BFloat16> halves_;
};

}  // namespace kolmo::detail

#endif
