#pragma once
// Greedy k-means++ (Arthur, Vassilvitskii 2007): vectors drawn with probability proportional to their squared distance
// from the nearest codeword there is, each the best of 2 + floor(ln K).

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <kolmo/ad/items.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/ops/indexing.hpp>

namespace kolmo::rvq::detail {

/// Lanes of vectors side by side: block b holds coordinate j of vector b * seed_lanes + l at (b d + j) seed_lanes + l.
inline constexpr index_t seed_lanes = 64;

template <class T>
struct SeedBlocksKernel {
  const T* x;
  T* blocks;
  index_t count, d;
  KOLMO_HD void operator()(index_t block) const {
    for (index_t l = 0; l < seed_lanes; ++l) {
      const T* row = x + smaller(block * seed_lanes + l, count - 1) * d;
      for (index_t j = 0; j < d; ++j) blocks[(block * d + j) * seed_lanes + l] = row[j];
    }
  }
};

/// Squared errors of a block of vectors were the candidates codewords too, and their sums.
template <class T>
struct SeedKernel {
  const T* blocks;
  const T* candidates;  // [candidate_count, d]
  T* nearest;           // [count]
  double* sums;         // [blocks, candidate_count]
  index_t count, d, candidate_count;
  bool keep;  // the only candidate becomes a codeword
  KOLMO_HD void operator()(index_t block) const {
    const T* x = blocks + block * d * seed_lanes;
    const index_t begin = block * seed_lanes, lanes = smaller(seed_lanes, count - begin);
    for (index_t c = 0; c < candidate_count; ++c) {
      T square[seed_lanes];
      for (index_t l = 0; l < seed_lanes; ++l) square[l] = T(0);
      for (index_t j = 0; j < d; ++j) {
        const T centre = candidates[c * d + j];
        const T* values = x + j * seed_lanes;
        KOLMO_INDEPENDENT
        for (index_t l = 0; l < seed_lanes; ++l) square[l] += (values[l] - centre) * (values[l] - centre);
      }
      double sum = 0.0;
      for (index_t l = 0; l < lanes; ++l) {
        const T value = smaller(square[l], nearest[begin + l]);
        if (keep) nearest[begin + l] = value;
        sum += static_cast<double>(value);
      }
      sums[block * candidate_count + c] = sum;
    }
  }
};

/// Rows of x at positions of the host.
template <PlainTensor V>
V rows_at(const V& x, const std::vector<index_t>& positions) {
  return take(x, Tensor<index_t, typename V::Backend>::from(positions));
}

/// `count` different rows, drawn; x itself when there are no more.
template <PlainTensor V>
V drawn_rows(const V& x, index_t count, Key key) {
  if (count >= x.extent(0)) return x.contiguous();
  std::vector<index_t> order = permutation(key, x.extent(0));
  order.resize(static_cast<std::size_t>(count));
  return rows_at(x, order);
}

/// Greedy k-means++ over the rows of x. Fewer than K when all other vectors are equal to a chosen one.
template <PlainTensor V>
class PlusPlus {
  using T = typename V::Scalar;
  using B = typename V::Backend;

 public:
  PlusPlus(const V& x, Key key)
      : x_(x.contiguous()),
        key_(key),
        count_(x.extent(0)),
        d_(x.extent(1)),
        blocks_(divide_up(count_, seed_lanes)),
        lanes_(V::uninitialized(Shape{blocks_ * seed_lanes * d_})),
        nearest_(V::full(Shape{count_}, std::numeric_limits<T>::max())) {
    kolmo::detail::for_each_item<B>(blocks_, SeedBlocksKernel<T>{x_.data(), lanes_.mutable_data(), count_, d_});
  }

  /// Positions of the codewords among the rows.
  std::vector<index_t> choose(index_t codes) {
    const index_t tries = 2 + static_cast<index_t>(std::log(static_cast<double>(codes)));
    std::vector<index_t> chosen{integer_below(key_, 0, count_)};
    std::vector<double> sums = potentials(chosen, true);
    while (static_cast<index_t>(chosen.size()) < codes) {
      const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
      if (!(total > 0.0)) break;
      const Key key = fold_in(key_, static_cast<std::uint64_t>(chosen.size()));
      std::vector<index_t> candidates;
      for (index_t c = 0; c < tries; ++c)
        candidates.push_back(position(sums, total * uniform<double>(key, static_cast<std::uint64_t>(c))));
      const std::vector<double> tried = potentials(candidates, false);
      std::vector<double> totals(static_cast<std::size_t>(tries), 0.0);
      for (std::size_t i = 0; i < tried.size(); ++i) totals[i % totals.size()] += tried[i];
      const auto best = std::min_element(totals.begin(), totals.end()) - totals.begin();
      chosen.push_back(candidates[static_cast<std::size_t>(best)]);
      sums = potentials({chosen.back()}, true);
    }
    return chosen;
  }

 private:
  std::vector<double> potentials(const std::vector<index_t>& candidates, bool keep) {
    const V rows = rows_at(x_, candidates);
    const auto count = static_cast<index_t>(candidates.size());
    auto sums = Tensor<double, B>::uninitialized(Shape{blocks_, count});
    kolmo::detail::for_each_item<B>(blocks_, SeedKernel<T>{lanes_.data(), rows.data(), nearest_.mutable_data(),
                                                           sums.mutable_data(), count_, d_, count, keep});
    return sums.to_vector();
  }

  /// The vector at which the running sum of squared errors passes a level: never one without an error.
  index_t position(const std::vector<double>& sums, double level) const {
    std::size_t block = 0, last = 0;
    for (std::size_t b = 0; b < sums.size(); ++b)
      if (sums[b] > 0.0) last = b;
    while (block < last && level >= sums[block]) level -= sums[block++];
    const auto begin = static_cast<index_t>(block) * seed_lanes;
    const auto errors = nearest_.view(Shape{smaller(seed_lanes, count_ - begin)}, Strides{1}, begin).to_vector();
    std::size_t found = 0;
    for (std::size_t i = 0; i < errors.size(); ++i) {
      if (!(errors[i] > T(0))) continue;
      found = i;
      level -= static_cast<double>(errors[i]);
      if (level < 0.0) break;
    }
    return begin + static_cast<index_t>(found);
  }

  V x_;
  Key key_;
  index_t count_, d_, blocks_;
  V lanes_, nearest_;
};

}  // namespace kolmo::rvq::detail
