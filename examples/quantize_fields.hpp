#pragma once
// Vectors for a rate-distortion curve: patches of flow fields, or draws of a law, for training and held out; and the
// curve of a residual quantizer on them.

#include <cmath>
#include <string>
#include <vector>

#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/spectral.hpp>
#include <kolmo/io/npy.hpp>
#include <kolmo/rvq/rate_distortion.hpp>
#include <kolmo/rvq/train_tables.hpp>

#include "synthetic_vectors.hpp"

namespace quantize_fields {

using kolmo::index_t;
using kolmo::Key;
using kolmo::Shape;
using V = kolmo::Tensor<float, kolmo::Cpu>;

/// Fields [frames, n, n], divided by one number.
struct Fields {
  std::vector<float> values;
  index_t frames = 0, n = 0;

  const float* frame(index_t i) const { return values.data() + i * n * n; }
};

struct VectorSet {
  std::string name;
  V train, held_out;  ///< [n, d]
  Fields shown;       ///< held-out fields to reconstruct; none for a law
};

/// Vorticity of the Kolmogorov flow, `frames` a fifth of a time unit apart after a start of five units.
inline Fields simulate(index_t n, index_t frames, std::uint64_t seed, index_t trajectory) {
  namespace flow = kolmo::flow;
  flow::KolmogorovOptions options;
  options.size = n;
  const flow::Spectral<float, kolmo::Cpu> solver(options);
  auto state = solver.from_staggered(flow::filtered_velocities<V>(options, Key{seed}, trajectory, 1));
  for (int k = 0; k < 25; ++k) state = solver.transition(state, 0.2);
  Fields fields{{}, frames, n};
  for (index_t k = 0; k < frames; ++k) {
    state = solver.transition(state, 0.2);
    const std::vector<float> omega = solver.to_vorticity(state).to_vector();
    fields.values.insert(fields.values.end(), omega.begin(), omega.end());
  }
  return fields;
}

/// Fields of a file [n, n] or [frames, n, n]. Throws IoError for another shape.
inline Fields load_fields(const std::string& path) {
  const kolmo::io::HostArray array = kolmo::io::load_npy(path);
  const auto& shape = array.shape;
  if (shape.size() < 2 || shape.size() > 3 || shape.back() != shape[shape.size() - 2])
    throw kolmo::IoError(path + ": expected fields of shape [n, n] or [frames, n, n]");
  return {array.convert<float>(), shape.size() == 3 ? shape[0] : 1, shape.back()};
}

inline double deviation(const Fields& fields) {
  double sum = 0, squares = 0;
  for (const float x : fields.values) {
    sum += static_cast<double>(x);
    squares += static_cast<double>(x) * static_cast<double>(x);
  }
  const auto count = static_cast<double>(fields.values.size());
  return std::sqrt(squares / count - sum * sum / count / count);
}

inline void divide(Fields& fields, double by) {
  for (float& x : fields.values) x = static_cast<float>(static_cast<double>(x) / by);
}

/// `count` patches at random places of the periodic fields: [count, side * side].
inline V patches(const Fields& fields, index_t side, index_t count, Key key) {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(count * side * side));
  const auto keys = kolmo::split<3>(key);
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(count); ++i) {
    const float* field = fields.frame(kolmo::integer_below(keys[0], i, fields.frames));
    const index_t row = kolmo::integer_below(keys[1], i, fields.n), column = kolmo::integer_below(keys[2], i, fields.n);
    for (index_t r = 0; r < side; ++r)
      for (index_t c = 0; c < side; ++c)
        values.push_back(field[(row + r) % fields.n * fields.n + (column + c) % fields.n]);
  }
  return V::from(std::span<const float>(values), Shape{count, side * side});
}

/// A field as patches next to each other, and back.
inline V tiles(const float* field, index_t n, index_t side) {
  std::vector<float> values;
  for (index_t row = 0; row < n; row += side)
    for (index_t column = 0; column < n; column += side)
      for (index_t r = 0; r < side; ++r)
        for (index_t c = 0; c < side; ++c) values.push_back(field[(row + r) * n + column + c]);
  return V::from(std::span<const float>(values), Shape{n * n / side / side, side * side});
}
inline std::vector<float> untiled(const V& patches, index_t n, index_t side) {
  const std::vector<float> values = patches.to_vector();
  std::vector<float> field(values.size());
  std::size_t i = 0;
  for (index_t row = 0; row < n; row += side)
    for (index_t column = 0; column < n; column += side)
      for (index_t r = 0; r < side; ++r)
        for (index_t c = 0; c < side; ++c) field[static_cast<std::size_t>((row + r) * n + column + c)] = values[i++];
  return field;
}

inline double mean_square(const V& x) {
  double sum = 0;
  for (const float value : x.to_vector()) sum += static_cast<double>(value) * static_cast<double>(value);
  return sum / static_cast<double>(x.size());
}

/// Eigenvalues of a symmetric matrix [d, d] by rotations of pairs (Jacobi 1846).
inline std::vector<double> symmetric_eigenvalues(std::vector<double> a, std::size_t d) {
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0, diagonal = 0;
    for (std::size_t i = 0; i < d; ++i)
      for (std::size_t j = 0; j < d; ++j) (i == j ? diagonal : off) += a[i * d + j] * a[i * d + j];
    if (off <= 1e-24 * diagonal) break;
    for (std::size_t p = 0; p < d; ++p)
      for (std::size_t q = p + 1; q < d; ++q) {
        const double apq = a[p * d + q];
        if (apq == 0) continue;
        const double theta = (a[q * d + q] - a[p * d + p]) / (2 * apq);
        const double t = (theta < 0 ? -1 : 1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        for (std::size_t k = 0; k < d; ++k) {
          const double x = a[k * d + p], y = a[k * d + q];
          a[k * d + p] = c * x - s * y;
          a[k * d + q] = s * x + c * y;
        }
        for (std::size_t k = 0; k < d; ++k) {
          const double x = a[p * d + k], y = a[q * d + k];
          a[p * d + k] = c * x - s * y;
          a[q * d + k] = s * x + c * y;
        }
      }
  }
  std::vector<double> values;
  for (std::size_t i = 0; i < d; ++i) values.push_back(kolmo::larger(0.0, a[i * d + i]));
  return values;
}

/// Eigenvalues of the covariance of the rows.
inline std::vector<double> covariance_eigenvalues(const V& x) {
  const auto n = static_cast<double>(x.extent(0));
  const auto d = static_cast<std::size_t>(x.extent(1));
  const std::vector<float> values = x.to_vector();
  std::vector<double> mean(d, 0.0), covariance(d * d, 0.0), row(d);
  for (std::size_t i = 0; i < values.size(); ++i) mean[i % d] += static_cast<double>(values[i]) / n;
  for (std::size_t first = 0; first < values.size(); first += d) {
    for (std::size_t i = 0; i < d; ++i) row[i] = static_cast<double>(values[first + i]) - mean[i];
    for (std::size_t i = 0; i < d; ++i)
      for (std::size_t j = 0; j < d; ++j) covariance[i * d + j] += row[i] * row[j] / n;
  }
  return symmetric_eigenvalues(std::move(covariance), d);
}

/// Mean square of what the best path of a beam leaves, with no stage, one, two, ...
inline std::vector<double> distortions(const std::vector<V>& tables, const V& x, index_t beam) {
  std::vector<double> result(tables.size() + 1, 0.0);
  const index_t n = x.extent(0), d = x.extent(1), piece = 4096;
  for (index_t begin = 0; begin < n; begin += piece) {
    const index_t count = kolmo::smaller(piece, n - begin);
    auto paths = kolmo::rvq::beam_start(x.view(Shape{count, d}, kolmo::Strides{d, 1}, begin * d).contiguous());
    for (std::size_t q = 0; q <= tables.size(); ++q) {
      const index_t width = paths.residual.extent(1);
      const V best = paths.residual.view(Shape{count, d}, kolmo::Strides{width * d, 1}, 0).contiguous();
      result[q] += mean_square(best) * static_cast<double>(count) / static_cast<double>(n);
      if (q < tables.size()) paths = kolmo::rvq::beam_step(paths, tables[q], beam);
    }
  }
  return result;
}

}  // namespace quantize_fields
