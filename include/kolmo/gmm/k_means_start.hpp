#pragma once
// Starting centres by k-means++ (Arthur, Vassilvitskii 2007), each the best of a few candidates: points drawn with
// probability proportional to weight times squared distance from the nearest centre there is.

#include <kolmo/core/random.hpp>
#include <kolmo/gmm/sample_set.hpp>

namespace kolmo::gmm::detail {

/// Minus half the squared distance of every point from its nearest centre, and per candidate the sum of weighted
/// squared distances if it were a centre too.
template <class T, class P>
struct SeedTile {
  SamplePoints<T> samples;
  const T* candidates;  // [candidates, D], standardised
  const T* ones;        // [D]
  int count;
  bool keep;     // candidate 0 becomes a centre
  bool first;    // there is no centre yet
  T* nearest;    // [N]
  T* scratch;    // [tiles, scratch_size()]
  double* sums;  // [tiles, count]

  KOLMO_HD index_t scratch_size() const { return index_t(sample_chunk) * (samples.dimensions + 2); }

  KOLMO_HD void operator()(index_t tile) const {
    double* target = sums + tile * count;
    for (int c = 0; c < count; ++c) target[c] = 0.0;
    T* x = scratch + tile * scratch_size();
    T* weight = x + index_t(sample_chunk) * samples.dimensions;
    T* score = weight + sample_chunk;
    for (index_t begin = samples.begin(tile); begin < samples.end(tile); begin += sample_chunk) {
      const int size = static_cast<int>(smaller<index_t>(sample_chunk, samples.end(tile) - begin));
      constexpr int unit = distance_packs * pack_width<T, P>;
      const int padded = (size + unit - 1) / unit * unit;
      samples.read(begin, size, padded, x, weight);
      T* known = nearest + begin;
      for (int c = 0; c < count; ++c) {
        log_normals_diagonal<P>(T(0), ones, candidates + index_t(c) * samples.dimensions, samples.dimensions, x,
                                sample_chunk, padded, score);
        if (!first) {
          KOLMO_INDEPENDENT
          for (int i = 0; i < size; ++i) score[i] = score[i] > known[i] ? score[i] : known[i];
        }
        if (keep)
          for (int i = 0; i < size; ++i) known[i] = score[i];
        target[c] -= 2.0 * multiply_and_sum<P>(score, weight, padded);
      }
    }
  }
};

/// Scans a tile for the point at which the running sum of weighted squared distances passes a level, and copies it.
template <class T>
struct PickPoint {
  SamplePoints<T> samples;
  const T* nearest;  // null to draw by weight alone
  const index_t* tiles;
  const double* levels;
  T* points;  // [candidates, D], standardised

  KOLMO_HD void operator()(index_t candidate) const {
    const index_t tile = tiles[candidate];
    double sum = 0.0;
    index_t found = samples.begin(tile);
    for (index_t p = samples.begin(tile); p < samples.end(tile); ++p) {
      const double weight = samples.weights != nullptr ? static_cast<double>(samples.weights[p]) : 1.0;
      const double part = nearest != nullptr ? weight * -2.0 * static_cast<double>(nearest[p]) : weight;
      if (!(part > 0.0)) continue;
      found = p;
      sum += part;
      if (sum > levels[candidate]) break;
    }
    for (int j = 0; j < samples.dimensions; ++j)
      points[candidate * samples.dimensions + j] =
          (samples.points[found * samples.dimensions + j] - samples.centre[j]) * samples.scale[j];
  }
};

template <class T>
struct LoadWeights {
  SamplePoints<T> samples;
  double* sums;
  KOLMO_HD void operator()(index_t tile) const {
    double sum = 0.0;
    for (index_t p = samples.begin(tile); p < samples.end(tile); ++p)
      sum += samples.weights != nullptr ? static_cast<double>(samples.weights[p]) : 1.0;
    sums[tile] = sum;
  }
};

template <PlainTensor V>
class KMeansStart {
  using T = typename V::Scalar;
  using B = typename V::Backend;

 public:
  KMeansStart(SampleSet<V>& set, Key key)
      : set_(set), key_(key), nearest_(V::uninitialized(Shape{set.count()})), ones_(V::ones(Shape{set.dimensions()})) {}

  /// Centres [K, D] in standard coordinates. Throws ArgumentError when there are fewer different points.
  std::vector<double> centres(index_t components) {
    int candidates = 2;  // and the logarithm of K, as is usual
    for (index_t k = components; k > 2; k = (k + 1) / 2) ++candidates;
    std::vector<double> result;
    kolmo::detail::for_each_item<B>(set_.tiles(), LoadWeights<T>{set_.samples(), set_.sums_memory(set_.tiles())});
    std::vector<double> tile_sums = set_.tile_sums(1);
    for (index_t k = 0; k < components; ++k) {
      const int count = k == 0 ? 1 : candidates;
      V drawn = draw(tile_sums, k, count);
      int best = 0;
      if (count > 1) {
        const std::vector<double> sums = potentials(drawn, count, false, false);
        for (int c = 1; c < count; ++c)
          if (total(sums, count, c) < total(sums, count, best)) best = c;
      }
      const V chosen = drawn.view(Shape{1, set_.dimensions()}, drawn.strides(), best * set_.dimensions());
      tile_sums = potentials(chosen, 1, true, k == 0);
      for (const T x : chosen.to_vector()) result.push_back(static_cast<double>(x));
      if (k + 1 < components && !(total(tile_sums, 1, 0) > 0.0))
        throw ArgumentError(set_.text(std::to_string(components) + " components, but only " + std::to_string(k + 1) +
                                      " different points of positive weight; ask for fewer components"));
    }
    return result;
  }

 private:
  static double total(const std::vector<double>& sums, int count, int candidate) {
    double sum = 0.0;
    for (std::size_t i = static_cast<std::size_t>(candidate); i < sums.size(); i += static_cast<std::size_t>(count))
      sum += sums[i];
    return sum;
  }

  /// Draws points with probability proportional to what `sums` adds up, tile by tile.
  V draw(const std::vector<double>& sums, index_t k, int count) {
    const Key key = fold_in(key_, static_cast<std::uint64_t>(k));
    std::vector<index_t> tiles;
    std::vector<double> levels;
    for (int c = 0; c < count; ++c) {
      double level = uniform<double>(key, static_cast<std::uint64_t>(c)) * total(sums, 1, 0);
      std::size_t tile = 0, last = 0;
      for (std::size_t t = 0; t < sums.size(); ++t)
        if (sums[t] > 0.0) last = t;
      while (tile < last && level >= sums[tile]) level -= sums[tile++];
      tiles.push_back(static_cast<index_t>(tile));
      levels.push_back(level);
    }
    V points = V::uninitialized(Shape{count, set_.dimensions()});
    const auto tiles_there = Tensor<index_t, B>::from(tiles);
    const auto levels_there = Tensor<double, B>::from(levels);
    kolmo::detail::for_each_item<B>(
        count, PickPoint<T>{set_.samples(), k == 0 ? nullptr : nearest_.data(), tiles_there.data(), levels_there.data(),
                            points.mutable_data()});
    return points;
  }

  /// Sums [tiles, count] of weighted squared distances with each candidate as a further centre.
  std::vector<double> potentials(const V& candidates, int count, bool keep, bool first) {
    SeedTile<T, typename SampleSet<V>::Pack> tile{set_.samples(),
                                                  candidates.data(),
                                                  ones_.data(),
                                                  count,
                                                  keep,
                                                  first,
                                                  nearest_.mutable_data(),
                                                  nullptr,
                                                  set_.sums_memory(set_.tiles() * count)};
    tile.scratch = set_.scratch(set_.tiles() * tile.scratch_size());
    kolmo::detail::for_each_item<B>(set_.tiles(), tile);
    return set_.tile_sums(count);
  }

  SampleSet<V>& set_;
  Key key_;
  V nearest_, ones_;
};

}  // namespace kolmo::gmm::detail
