#pragma once
// Residuals, derivatives and the Gauss-Newton matrix of the polish of one mixture (see gmm/polish.hpp). An evaluation
// makes a pass over the points in chunks; the derivatives of a single chunk are kept for the matrix, those of several
// are computed again, so that the number of points has no bound.

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

  /// Derivatives and residuals at one chunk of points, and the Gauss-Newton matrix that is summed from them.
  struct Workspace {
    alignas(64) T x[max_columns][points_per_chunk];         // by log weight, mean, log deviation; the residual
    alignas(64) T weighted[max_columns][points_per_chunk];  // the same times the weights of the points
    alignas(64) T z[points_per_chunk], f[points_per_chunk], g[points_per_chunk];
    T matrix[max_columns][row_length];  // lower triangle of J^T W J; row 3K holds the gradient J^T W r
    T weight[max_count], amplitude[max_count], mean[max_count], inverse[max_count];
    T cost[lanes], largest[lanes];
    int padded;
  };

  /// Constants of the components.
  KOLMO_HD void prepare(const Parameters& p, Workspace& w) const {
    const int components = problem.components;
    T total = T(0);
    for (int k = 0; k < components; ++k) {
      w.weight[k] = exp(p.value[k]);
      total += w.weight[k];
    }
    for (int k = 0; k < components; ++k) {
      w.weight[k] /= total;
      w.mean[k] = p.value[components + k];
      w.inverse[k] = exp(-p.value[2 * components + k]);
      w.amplitude[k] = w.weight[k] * w.inverse[k] * T(0.39894228040143267794);
    }
  }

  /// Columns of the chunk of points that starts at `begin`.
  KOLMO_HD void differentiate(const Target& t, index_t begin, Workspace& w) const {
    const int components = problem.components, count = 3 * components;
    const int n = static_cast<int>(smaller<index_t>(points_per_chunk, t.end - begin));
    const int padded = (n + lanes - 1) / lanes * lanes;
    w.padded = padded;
    if (problem.points == nullptr) {
      const T start = this->standard(t, begin), step = static_cast<T>(problem.spacing * t.inverse_deviation);
      for (int i = 0; i < n; ++i) w.z[i] = start + step * static_cast<T>(i);
    } else {
      for (int i = 0; i < n; ++i) w.z[i] = this->standard(t, begin + i);
    }
    for (int i = 0; i < n; ++i)
      w.f[i] = static_cast<T>(static_cast<double>(larger(t.row[begin + i], T(0))) * t.density_scale);
    // No component reaches the points that fill the last lanes.
    for (int i = n; i < padded; ++i) {
      w.z[i] = T(1e6);
      w.f[i] = T(0);
    }
    for (int i = 0; i < padded; ++i) w.g[i] = T(0);
    for (int k = 0; k < components; ++k) {
      T* share = w.x[k];
      T* by_mean = w.x[components + k];
      T* by_deviation = w.x[2 * components + k];
      const T m = w.mean[k], s = w.inverse[k], c = w.amplitude[k];
      KOLMO_INDEPENDENT
      for (int i = 0; i < padded; ++i) {
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
    for (int i = 0; i < padded; ++i) w.x[count][i] = w.g[i] - w.f[i];
    for (int k = 0; k < components; ++k) {
      const T weight = w.weight[k];
      for (int i = 0; i < padded; ++i) w.x[k][i] -= weight * w.g[i];
    }
  }

  /// |r / scale|^(p - 2) for p = 2, 4, 8, 16.
  KOLMO_HD KOLMO_INLINE static T weight_of(T r, const Norm& norm) {
    if (norm.power == 2) return T(1);
    const T u = r * norm.inverse_scale, square = u * u, fourth = square * square;
    return norm.power == 4 ? square : norm.power == 8 ? square * fourth : fourth * fourth * fourth * square;
  }

  /// Cost sum_i r_i^2 |r_i / scale|^(p - 2) and largest |r_i|.
  KOLMO_HD Evaluation evaluate(const Target& t, const Parameters& p, const Norm& norm, Workspace& w) const {
    prepare(p, w);
    for (int j = 0; j < lanes; ++j) w.cost[j] = w.largest[j] = T(0);
    const T* residual = w.x[3 * problem.components];
    for (index_t begin = t.begin; begin < t.end; begin += points_per_chunk) {
      differentiate(t, begin, w);
      for (int i = 0; i < w.padded; i += lanes) {
        for (int j = 0; j < lanes; ++j) {
          const T r = residual[i + j];
          w.cost[j] += weight_of(r, norm) * r * r;
          w.largest[j] = larger(w.largest[j], abs(r));
        }
      }
    }
    Evaluation e{sum_lanes(w.cost), T(0)};
    for (int j = 0; j < lanes; ++j) e.largest = larger(e.largest, w.largest[j]);
    return e;
  }

  /// Adds the products of four rows and two columns over a chunk. Half as many lanes as elsewhere: the sums of the
  /// eight products then stay in registers.
  KOLMO_HD KOLMO_INLINE static void add_block(Workspace& w, const T (*weighted)[points_per_chunk], int a, int b) {
    constexpr int rows = 4, columns = 2, width = 16;
    T sum[rows][columns][width];
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c)
        for (int j = 0; j < width; ++j) sum[r][c][j] = T(0);
    for (int i = 0; i < w.padded; i += width)
      for (int r = 0; r < rows; ++r)
        for (int c = 0; c < columns; ++c)
          for (int j = 0; j < width; ++j) sum[r][c][j] += weighted[a + r][i + j] * w.x[b + c][i + j];
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < columns; ++c) {
        T eight[8], four[4];
        for (int j = 0; j < 8; ++j) eight[j] = sum[r][c][j] + sum[r][c][j + 8];
        for (int j = 0; j < 4; ++j) four[j] = eight[j] + eight[j + 4];
        w.matrix[a + r][b + c] += (four[0] + four[2]) + (four[1] + four[3]);
      }
    }
  }

  /// The matrix at parameters that were the last to be evaluated.
  KOLMO_HD void assemble(const Target& t, const Norm& norm, Workspace& w) const {
    const int count = 3 * problem.components, columns = (count + 4) / 4 * 4;
    for (int a = 0; a < columns; ++a)
      for (int b = 0; b < columns; ++b) w.matrix[a][b] = T(0);
    // One chunk is still there.
    const bool kept = t.end - t.begin <= points_per_chunk;
    for (index_t begin = t.begin; begin < t.end; begin += points_per_chunk) {
      if (!kept) differentiate(t, begin, w);
      for (int a = count + 1; a < columns; ++a)
        for (int i = 0; i < w.padded; ++i) w.x[a][i] = T(0);
      if (norm.power > 2) {
        for (int i = 0; i < w.padded; ++i) w.g[i] = weight_of(w.x[count][i], norm);
        for (int a = 0; a < columns; ++a)
          for (int i = 0; i < w.padded; ++i) w.weighted[a][i] = w.x[a][i] * w.g[i];
      }
      const T(*weighted)[points_per_chunk] = norm.power > 2 ? w.weighted : w.x;
      for (int a = 0; a < columns; a += 4)
        for (int b = 0; b < a + 4; b += 2) add_block(w, weighted, a, b);
    }
  }
};

}  // namespace kolmo::gmm::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
