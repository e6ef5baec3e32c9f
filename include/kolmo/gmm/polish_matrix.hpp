#pragma once
// Residuals, derivatives and the Gauss-Newton matrix of the polish of one mixture (see gmm/polish.hpp). An evaluation
// makes a pass over the points in chunks; the derivatives of a single chunk are kept for the matrix, those of several
// are computed again, so that the number of points has no bound. A team shares the points, each of which is one
// member's alone, and the blocks of the matrix.

#include <kolmo/backend/team.hpp>
#include <kolmo/gmm/lamf_lanes.hpp>
#include <kolmo/gmm/polish_density.hpp>

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::gmm::detail {

template <class T, int max_count>
struct PolishMatrix : PolishDensity<T> {
  using typename PolishDensity<T>::Target;
  using PolishDensity<T>::problem;

  static constexpr int max_parameters = 3 * max_count;
  /// Columns of derivatives and the residual, in blocks of four.
  static constexpr int max_columns = (max_parameters + 4) / 4 * 4;
  /// Rows of the Gauss-Newton matrix have room for whole vectors.
  static constexpr int row_length = (max_columns + 15) / 16 * 16;

  /// log weights (up to a common constant), means, log deviations.
  struct Parameters {
    T value[max_parameters];
  };

  struct Evaluation {
    T cost;
    T largest;
  };

  /// The order of the norm that is minimised, and the error that counts as one.
  struct Norm {
    int power = 2;
    T inverse_scale = T(1);
  };

  /// Derivatives and residuals at one chunk of points, the Gauss-Newton matrix that is summed from them, and the
  /// parameters: what a team shares.
  struct Workspace {
    alignas(64) T x[max_columns][points_per_chunk];  // by log weight, mean, log deviation; the residual
    alignas(64) T z[points_per_chunk], f[points_per_chunk], g[points_per_chunk];
    T matrix[max_columns][row_length];  // lower triangle of J^T W J; row 3K holds the gradient J^T W r
    T weight[max_count], amplitude[max_count], mean[max_count], inverse[max_count];
    T cost[lanes], largest[lanes];
    Parameters current, trial, best;
    T step[max_parameters], pivot[max_parameters];
    bool frozen[max_parameters];
  };

  /// Constants of the components.
  template <class Team>
  KOLMO_HD void prepare(const Team& team, const Parameters& p, Workspace& w) const {
    const int components = problem.components;
    for (int k = team.rank(); k < components; k += team.size()) w.weight[k] = exp(p.value[k]);
    team.synchronize();
    T total = T(0);
    for (int k = 0; k < components; ++k) total += w.weight[k];
    team.synchronize();
    for (int k = team.rank(); k < components; k += team.size()) {
      w.weight[k] /= total;
      w.mean[k] = p.value[components + k];
      w.inverse[k] = exp(-p.value[2 * components + k]);
      w.amplitude[k] = w.weight[k] * w.inverse[k] * T(0.39894228040143267794);
    }
    team.synchronize();
  }

  /// Points of the chunk that starts at `begin`, and these with those that fill its last lanes.
  KOLMO_HD static int chunk_count(const Target& t, index_t begin) {
    return static_cast<int>(smaller<index_t>(points_per_chunk, t.end - begin));
  }
  KOLMO_HD static int chunk_padded(const Target& t, index_t begin) {
    return (chunk_count(t, begin) + lanes - 1) / lanes * lanes;
  }

  /// Columns of the chunk of points that starts at `begin`.
  template <class Team>
  KOLMO_HD void differentiate(const Team& team, const Target& t, index_t begin, Workspace& w) const {
    const int components = problem.components, count = 3 * components;
    const int n = chunk_count(t, begin), padded = chunk_padded(t, begin), first = team.rank();
    if (problem.points == nullptr) {
      const T start = this->standard(t, begin), step = static_cast<T>(problem.spacing * t.inverse_deviation);
      for (int i = first; i < n; i += team.size()) w.z[i] = start + step * static_cast<T>(i);
    } else {
      for (int i = first; i < n; i += team.size()) w.z[i] = this->standard(t, begin + i);
    }
    for (int i = first; i < n; i += team.size())
      w.f[i] = static_cast<T>(static_cast<double>(larger(t.row[begin + i], T(0))) * t.density_scale);
    // No component reaches the points that fill the last lanes.
    for (int i = n + (first + padded - n) % team.size(); i < padded; i += team.size()) {
      w.z[i] = T(1e6);
      w.f[i] = T(0);
    }
    for (int i = first; i < padded; i += team.size()) w.g[i] = T(0);
    for (int k = 0; k < components; ++k) {
      T* share = w.x[k];
      T* by_mean = w.x[components + k];
      T* by_deviation = w.x[2 * components + k];
      const T m = w.mean[k], s = w.inverse[k], c = w.amplitude[k];
      KOLMO_INDEPENDENT
      for (int i = first; i < padded; i += team.size()) {
        const T q = (w.z[i] - m) * s;
        const T square = q * q;
        // Beyond twelve deviations a component is nothing; its products must not be subnormal numbers.
        const T bounded = smaller(square, T(144));
        const T value = square < T(144) ? c * exp(T(-0.5) * bounded) : T(0);
        share[i] = value;
        by_mean[i] = value * q * s;
        by_deviation[i] = value * (bounded - T(1));
        w.g[i] += value;
      }
    }
    for (int i = first; i < padded; i += team.size()) w.x[count][i] = w.g[i] - w.f[i];
    for (int k = 0; k < components; ++k) {
      const T weight = w.weight[k];
      for (int i = first; i < padded; i += team.size()) w.x[k][i] -= weight * w.g[i];
    }
  }

  /// |r / scale|^(p - 2) for p = 2, 4, 8, 16.
  KOLMO_HD KOLMO_INLINE static T weight_of(T r, const Norm& norm) {
    if (norm.power == 2) return T(1);
    const T u = r * norm.inverse_scale, square = u * u, fourth = square * square;
    return norm.power == 4 ? square : norm.power == 8 ? square * fourth : fourth * fourth * fourth * square;
  }

  /// Cost sum_i r_i^2 |r_i / scale|^(p - 2) and largest |r_i|.
  template <class Team>
  KOLMO_HD Evaluation evaluate(const Team& team, const Target& t, const Parameters& p, const Norm& norm,
                               Workspace& w) const {
    static_assert(lanes % Team::size() == 0, "a point and its lane are the same member's");
    prepare(team, p, w);
    for (int j = team.rank(); j < lanes; j += team.size()) w.cost[j] = w.largest[j] = T(0);
    const T* residual = w.x[3 * problem.components];
    for (index_t begin = t.begin; begin < t.end; begin += points_per_chunk) {
      differentiate(team, t, begin, w);
      const int padded = chunk_padded(t, begin);
      for (int i = 0; i < padded; i += lanes) {
        for (int j = team.rank(); j < lanes; j += team.size()) {
          const T r = residual[i + j];
          w.cost[j] += weight_of(r, norm) * r * r;
          w.largest[j] = larger(w.largest[j], abs(r));
        }
      }
    }
    Evaluation e{T(0), T(0)};
    if constexpr (Team::size() == 1)
      e.cost = sum_lanes(w.cost);
    else
      for (int j = team.rank(); j < lanes; j += team.size()) e.cost += w.cost[j];
    for (int j = team.rank(); j < lanes; j += team.size()) e.largest = larger(e.largest, w.largest[j]);
    e = {team.sum(e.cost), team.largest(e.largest)};
    team.synchronize();
    return e;
  }

  /// Adds the products of four rows and two columns over a chunk. Half as many lanes as elsewhere: the sums of the
  /// eight products then stay in registers.
  template <bool weighted>
  KOLMO_HD KOLMO_INLINE static void add_block(Workspace& w, int padded, int a, int b) {
    constexpr int rows = 4, columns = 2, width = 16;
    T sum[rows][columns][width];
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c)
        for (int j = 0; j < width; ++j) sum[r][c][j] = T(0);
    for (int i = 0; i < padded; i += width)
      for (int r = 0; r < rows; ++r)
        for (int c = 0; c < columns; ++c)
          for (int j = 0; j < width; ++j) sum[r][c][j] += left<weighted>(w, a + r, i + j) * w.x[b + c][i + j];
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < columns; ++c) {
        T eight[8], four[4];
        for (int j = 0; j < 8; ++j) eight[j] = sum[r][c][j] + sum[r][c][j + 8];
        for (int j = 0; j < 4; ++j) four[j] = eight[j] + eight[j + 4];
        w.matrix[a + r][b + c] += (four[0] + four[2]) + (four[1] + four[3]);
      }
    }
  }

  /// A derivative at a point, times the weight of the point.
  template <bool weighted>
  KOLMO_HD KOLMO_INLINE static T left(const Workspace& w, int a, int i) {
    if constexpr (weighted)
      return w.x[a][i] * w.g[i];
    else
      return w.x[a][i];
  }

  /// The same by a team: a member has a block of four rows and columns, and where there are fewer blocks than members,
  /// a part of the points. Members begin at different points, as those of a column lie in different banks of memory.
  template <bool weighted, class Team>
  KOLMO_HD static void add_blocks(const Team& team, Workspace& w, int padded, int columns) {
    constexpr int edge = 4;
    const int block_rows = columns / edge, blocks = block_rows * (block_rows + 1) / 2;
    const int parts = larger(1, team.size() / blocks);
    for (int begin = 0; begin < blocks * parts; begin += team.size()) {
      const int task = begin + team.rank(), part = task / blocks;
      int a = 0, b = task % blocks;
      while (b > a) b -= ++a;
      const int low = padded * part / parts, high = padded * (part + 1) / parts;
      T sum[edge][edge];
      for (int r = 0; r < edge; ++r)
        for (int c = 0; c < edge; ++c) sum[r][c] = T(0);
      if (part < parts) {
        int i = low + team.rank() % (high - low);
        for (int taken = low; taken < high; ++taken) {
          T x[edge], y[edge];
          for (int r = 0; r < edge; ++r) x[r] = left<weighted>(w, edge * a + r, i);
          for (int c = 0; c < edge; ++c) y[c] = w.x[edge * b + c][i];
          for (int r = 0; r < edge; ++r)
            for (int c = 0; c < edge; ++c) sum[r][c] += x[r] * y[c];
          i = i + 1 == high ? low : i + 1;
        }
      }
      for (int turn = 0; turn < parts; ++turn) {
        if (part == turn)
          for (int r = 0; r < edge; ++r)
            for (int c = 0; c < edge; ++c) w.matrix[edge * a + r][edge * b + c] += sum[r][c];
        team.synchronize();
      }
    }
  }

  template <bool weighted, class Team>
  KOLMO_HD void add_chunk(const Team& team, Workspace& w, int padded, int columns) const {
    if constexpr (Team::size() == 1) {
      for (int a = 0; a < columns; a += 4)
        for (int b = 0; b < a + 4; b += 2) add_block<weighted>(w, padded, a, b);
    } else {
      add_blocks<weighted>(team, w, padded, columns);
    }
  }

  /// The matrix at parameters that were the last to be evaluated.
  template <class Team>
  KOLMO_HD void assemble(const Team& team, const Target& t, const Norm& norm, Workspace& w) const {
    const int count = 3 * problem.components, columns = (count + 4) / 4 * 4;
    for (int a = 0; a < columns; ++a)
      for (int b = team.rank(); b < columns; b += team.size()) w.matrix[a][b] = T(0);
    // One chunk is still there.
    const bool kept = t.end - t.begin <= points_per_chunk;
    for (index_t begin = t.begin; begin < t.end; begin += points_per_chunk) {
      if (!kept) differentiate(team, t, begin, w);
      const int padded = chunk_padded(t, begin);
      for (int a = count + 1; a < columns; ++a)
        for (int i = team.rank(); i < padded; i += team.size()) w.x[a][i] = T(0);
      if (norm.power > 2)
        for (int i = team.rank(); i < padded; i += team.size()) w.g[i] = weight_of(w.x[count][i], norm);
      team.synchronize();
      if (norm.power > 2)
        add_chunk<true>(team, w, padded, columns);
      else
        add_chunk<false>(team, w, padded, columns);
      team.synchronize();
    }
  }
};

}  // namespace kolmo::gmm::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
