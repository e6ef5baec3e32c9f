#pragma once
// One pass over a tile of points, run one tile at a time by a backend: the log densities of all components, their
// shares in every point, and the weighted sums of which EM and k-means make new parameters. Every point is read once.
//
// Points are standardised as they are read, (x - centre) * scale, and stored coordinate by coordinate in chunks, so
// that loops over points vectorise. Sums are about the component's present mean: nothing cancels near convergence.

#include <cstdint>

#include <kolmo/gmm/sample_blocks.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::gmm::detail {

/// Points processed together; a multiple of four packs.
inline constexpr int sample_chunk = 256;

/// Components as the tiles read them, `size` numbers each: constant, mean [D], then for whole matrices -W m [D] and the
/// whitening triangle W by columns [D, D], else the diagonal of W [D].
struct ComponentLayout {
  int dimensions;
  bool whole;
  KOLMO_HD index_t size() const {
    const index_t d = dimensions;
    return whole ? 1 + 2 * d + d * d : 1 + 2 * d;
  }
};

/// Sums over points, `size` numbers for each component: sum r, sum r (x - m) [D], and sum r (x - m)(x - m)^T, its lower
/// triangle by rows or its diagonal.
struct MomentLayout {
  int dimensions;
  bool whole;
  KOLMO_HD index_t size() const {
    const index_t d = dimensions;
    return 1 + d + (whole ? d * (d + 1) / 2 : d);
  }
};

/// The points and how they are standardised; pointers are in the backend's memory.
template <class T>
struct SamplePoints {
  const T* points;   // [count, dimensions]
  const T* weights;  // [count], or null for ones
  index_t count;
  int dimensions;
  const T* centre;  // [dimensions]
  const T* scale;   // [dimensions]
  index_t tile;     // points of a tile, a multiple of the chunk

  KOLMO_HD index_t begin(index_t t) const { return t * tile; }
  KOLMO_HD index_t end(index_t t) const { return smaller(count, (t + 1) * tile); }

  /// Standardises `size` points from `first` on into x [dimensions, chunk] with their weights. Those from `size` to
  /// `padded` repeat the first one without weight.
  KOLMO_HD void read(index_t first, int size, int padded, T* x, T* weight) const {
    const T* source = points + first * dimensions;
    constexpr int block = 16;
    for (int p = 0; p < padded; p += block)
      for (int j = 0; j < dimensions; ++j) {
        const T middle = centre[j], factor = scale[j];
        T* target = x + index_t(j) * sample_chunk;
        const int last = smaller(p + block, padded);
        for (int i = p; i < last; ++i)
          target[i] = (source[(i < size ? i : 0) * index_t(dimensions) + j] - middle) * factor;
      }
    for (int i = 0; i < padded; ++i) weight[i] = i < size ? (weights != nullptr ? weights[first + i] : T(1)) : T(0);
  }
};

/// What the tiles share; results that are not wanted are null.
template <class T>
struct SampleProblem {
  SamplePoints<T> samples;
  int components;
  const T* parameters;  // [components, ComponentLayout.size()]
  bool whole_components;
  bool whole_moments;
  // A point belongs to its most probable component alone; second moments only where whole ones are asked for.
  bool hard;
  T* scratch;            // [tiles, scratch_size()]
  double* sums;          // [tiles, sums_size()]: sum w log density, then the moments
  std::int32_t* labels;  // [count]
  T* log_density;        // [count]
  T* responsibilities;   // [count, components]

  KOLMO_HD ComponentLayout component_layout() const { return {samples.dimensions, whole_components}; }
  KOLMO_HD MomentLayout moment_layout() const { return {samples.dimensions, whole_moments}; }
  KOLMO_HD index_t sums_size() const { return 1 + components * moment_layout().size(); }
  KOLMO_HD index_t scratch_size() const { return index_t(sample_chunk) * (samples.dimensions + components + 4); }
};

template <class T>
struct ShareConstants;
template <>
struct ShareConstants<float> {
  // Smaller shares are zero: their products would be subnormal, which costs a hundred cycles each.
  static constexpr float cut = 60.0f;
};
template <>
struct ShareConstants<double> {
  static constexpr double cut = 500.0;
};

template <class T, class P>
struct SampleTile {
  SampleProblem<T> problem;

  /// A chunk in the scratch of a tile.
  struct Chunk {
    T* x;      // [dimensions, chunk]
    T* share;  // [components, chunk]
    T* weight;
    T* top;     // the largest score, then the log density
    T* factor;  // that the shares lack
    T* label;   // the component with the largest score, for hard assignment
    int count, padded;
  };

  KOLMO_HD void operator()(index_t tile) const {
    const index_t begin = problem.samples.begin(tile), end = problem.samples.end(tile);
    double* sums = problem.sums != nullptr ? problem.sums + tile * problem.sums_size() : nullptr;
    if (sums != nullptr)
      for (index_t i = 0; i < problem.sums_size(); ++i) sums[i] = 0.0;
    T* scratch = problem.scratch + tile * problem.scratch_size();
    Chunk c{};
    c.x = scratch;
    c.share = c.x + index_t(sample_chunk) * problem.samples.dimensions;
    c.weight = c.share + index_t(sample_chunk) * problem.components;
    c.top = c.weight + sample_chunk;
    c.factor = c.top + sample_chunk;
    c.label = c.factor + sample_chunk;
    for (index_t first = begin; first < end; first += sample_chunk) {
      c.count = static_cast<int>(smaller<index_t>(sample_chunk, end - first));
      constexpr int unit = 4 * pack_width<T, P>;
      c.padded = (c.count + unit - 1) / unit * unit;
      read(first, c);
      score(c);
      if (!problem.hard) share(c);
      if (problem.hard && problem.whole_moments) assign(c);
      write(first, c);
      if (sums == nullptr) continue;
      if (problem.hard && !problem.whole_moments)
        add_assigned(c, sums);
      else
        add(c, sums);
    }
  }

  KOLMO_HD void read(index_t first, const Chunk& c) const {
    problem.samples.read(first, c.count, c.padded, c.x, c.weight);
  }

  /// Log densities of the components, and the largest.
  KOLMO_HD void score(const Chunk& c) const {
    const int dimensions = problem.samples.dimensions;
    const index_t size = problem.component_layout().size();
    for (int k = 0; k < problem.components; ++k) {
      const T* parameters = problem.parameters + k * size;
      T* target = c.share + index_t(k) * sample_chunk;
      if (problem.whole_components)
        log_normals<P>(parameters[0], parameters + 1 + 2 * dimensions, parameters + 1 + dimensions, dimensions, c.x,
                       sample_chunk, c.padded, target);
      else
        log_normals_diagonal<P>(parameters[0], parameters + 1 + dimensions, parameters + 1, dimensions, c.x,
                                sample_chunk, c.padded, target);
    }
    if (problem.hard)
      find_largest<P, true>(c.share, problem.components, sample_chunk, c.padded, c.top, c.label);
    else
      find_largest<P, false>(c.share, problem.components, sample_chunk, c.padded, c.top, c.label);
  }

  /// Shares exp(score - top) with `factor`, one over their sum, and the log density in `top`.
  KOLMO_HD void share(const Chunk& c) const {
    for (int i = 0; i < c.padded; ++i) c.factor[i] = T(0);
    for (int k = 0; k < problem.components; ++k) {
      T* target = c.share + index_t(k) * sample_chunk;
      KOLMO_INDEPENDENT
      for (int i = 0; i < c.padded; ++i) {
        target[i] = exp_above_cut(target[i] - c.top[i]);
        c.factor[i] += target[i];
      }
    }
    KOLMO_INDEPENDENT
    for (int i = 0; i < c.padded; ++i) {
      c.top[i] = c.top[i] + log(c.factor[i]);
      c.factor[i] = T(1) / c.factor[i];
    }
  }

  /// exp(x) for x <= 0, zero below the cut; neither can the power of two be subnormal then.
  KOLMO_HD KOLMO_INLINE static T exp_above_cut(T x) {
    const bool small = x < -ShareConstants<T>::cut;
    const auto parts = kolmo::detail::exp_parts(small ? T(0) : x);
    const T e = (T(1) + parts.tail) * kolmo::detail::power_of_two<T>(parts.k);
    return small ? T(0) : e;
  }

  /// Shares one and zero.
  KOLMO_HD void assign(const Chunk& c) const {
    for (int i = 0; i < c.padded; ++i) c.factor[i] = T(1);
    for (int k = 0; k < problem.components; ++k) {
      T* target = c.share + index_t(k) * sample_chunk;
      KOLMO_INDEPENDENT
      for (int i = 0; i < c.padded; ++i) target[i] = c.label[i] == T(k) ? T(1) : T(0);
    }
  }

  KOLMO_HD void write(index_t first, const Chunk& c) const {
    if (problem.log_density != nullptr)
      for (int i = 0; i < c.count; ++i) problem.log_density[first + i] = c.top[i];
    if (problem.labels != nullptr)
      for (int i = 0; i < c.count; ++i) {
        int best = problem.hard ? static_cast<int>(c.label[i]) : 0;
        for (int k = problem.hard ? problem.components : 1; k < problem.components; ++k)
          if (c.share[index_t(k) * sample_chunk + i] > c.share[index_t(best) * sample_chunk + i]) best = k;
        problem.labels[first + i] = best;
      }
    if (problem.responsibilities != nullptr)
      for (int i = 0; i < c.count; ++i)
        for (int k = 0; k < problem.components; ++k)
          problem.responsibilities[(first + i) * problem.components + k] =
              c.share[index_t(k) * sample_chunk + i] * c.factor[i];
  }

  /// Masses and first moments alone, point by point: a point has one component.
  KOLMO_HD void add_assigned(const Chunk& c, double* sums) const {
    const int dimensions = problem.samples.dimensions;
    const index_t size = problem.moment_layout().size(), parameters_size = problem.component_layout().size();
    for (int i = 0; i < c.count; ++i) {
      const index_t k = static_cast<index_t>(c.label[i]);
      const T* mean = problem.parameters + k * parameters_size + 1;
      double* target = sums + 1 + k * size;
      const T weight = c.weight[i];
      sums[0] += static_cast<double>(weight * c.top[i]);
      target[0] += static_cast<double>(weight);
      for (int j = 0; j < dimensions; ++j)
        target[1 + j] += static_cast<double>(weight * (c.x[index_t(j) * sample_chunk + i] - mean[j]));
    }
  }

  KOLMO_HD void add(const Chunk& c, double* sums) const {
    const int dimensions = problem.samples.dimensions;
    const index_t size = problem.moment_layout().size(), parameters_size = problem.component_layout().size();
    KOLMO_INDEPENDENT
    for (int i = 0; i < c.padded; ++i) {
      c.factor[i] = c.weight[i] * c.factor[i];
      c.top[i] = c.weight[i] * c.top[i];
    }
    sums[0] += sum_of<P>(c.top, c.padded);
    for (int k = 0; k < problem.components; ++k) {
      T* r = c.share + index_t(k) * sample_chunk;
      const T* mean = problem.parameters + k * parameters_size + 1;
      double* target = sums + 1 + k * size;
      target[0] += multiply_and_sum<P>(r, c.factor, c.padded);
      if (problem.whole_moments)
        add_second_moments<P>(r, mean, dimensions, c.x, sample_chunk, c.padded, target + 1, target + 1 + dimensions);
      else
        add_diagonal_moments<P>(r, mean, dimensions, c.x, sample_chunk, c.padded, target + 1, target + 1 + dimensions);
    }
  }
};

}  // namespace kolmo::gmm::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
