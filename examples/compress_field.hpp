#pragma once
// Parts of compress_field.cpp: flow fields, the plain patch quantizer beside the codec, and the report.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/flow/field_comparison.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/spectra.hpp>
#include <kolmo/flow/spectral.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/host_array.hpp>
#include <kolmo/ops/join.hpp>
#include <kolmo/rvq/field_codec.hpp>
#include <kolmo/rvq/train_tables.hpp>

namespace compress_field {

using kolmo::index_t;
using kolmo::Shape;
using V = kolmo::Tensor<float, kolmo::Cpu>;

/// Vorticity of Kolmogorov flows after their transient: [count, n, n], trajectory after trajectory.
inline V simulated_fields(index_t count, index_t n, double reynolds, std::uint64_t seed) {
  namespace flow = kolmo::flow;
  flow::KolmogorovOptions options;
  options.size = n;
  options.reynolds = reynolds;
  const flow::Spectral<float, kolmo::Cpu> solver(options);
  const index_t trajectories = kolmo::smaller<index_t>(16, count), frames = kolmo::divide_up(count, trajectories);
  auto state = solver.from_staggered(flow::filtered_velocities<V>(options, kolmo::Key{seed}, 0, trajectories));
  state = solver.transition(state, 12);
  std::vector<V> shots;
  for (index_t f = 0; f < frames; ++f) {
    state = solver.transition(state, 0.8);
    shots.push_back(solver.to_vorticity(state));
  }
  return slice(kolmo::stack(1, shots).reshaped(Shape{trajectories * frames, n, n}), 0, 0, count).contiguous();
}

/// Fields [n, H, W] of a file.
inline V fields_of(const kolmo::io::HostArray& array, const std::string& path) {
  if (array.shape.size() != 3 || array.shape[0] < 1)
    throw kolmo::ShapeError(path + " has shape " + kolmo::io::shape_text(array.shape) +
                            "; expected fields [n, height, width]");
  const std::vector<float> values = array.convert<float>();
  for (const float v : values)
    if (!kolmo::is_finite(v)) throw kolmo::IoError(path + " holds values that are not finite");
  return V::from(std::span<const float>(values), Shape{array.shape[0], array.shape[1], array.shape[2]});
}

/// `count` fields, each moved by a random number of points along both axes: the flow does not know where its box
/// begins.
inline V training_batch(const V& fields, index_t count, kolmo::Key key) {
  const index_t n = fields.shape()[0], rows = fields.shape()[1], columns = fields.shape()[2];
  V batch = V::uninitialized(Shape{count, rows, columns});
  const float* const from = fields.data();
  float* const to = batch.mutable_data();
  for (index_t b = 0; b < count; ++b) {
    const auto draw = [&](std::uint64_t which, index_t below) {
      return kolmo::integer_below(kolmo::fold_in(key, which), static_cast<std::uint64_t>(b), below);
    };
    const index_t field = draw(0, n), down = draw(1, rows), across = draw(2, columns);
    for (index_t i = 0; i < rows; ++i) {
      const float* const row = from + (field * rows + (i + down) % rows) * columns;
      float* const target = to + (b * rows + i) * columns;
      std::copy_n(row + across, columns - across, target);
      std::copy_n(row, across, target + columns - across);
    }
  }
  return batch;
}

/// Squares of `side` x `side` points as vectors, and back.
inline V squares_of(const V& fields, index_t side) {
  const index_t n = fields.shape()[0], h = fields.shape()[1] / side, w = fields.shape()[2] / side;
  return permute(reshape(fields, Shape{n, h, side, w, side}), {0, 1, 3, 2, 4})
      .contiguous()
      .reshaped(Shape{n * h * w, side * side});
}
inline V fields_of_squares(const V& squares, const Shape& fields, index_t side) {
  const index_t n = fields[0], h = fields[1] / side, w = fields[2] / side;
  return permute(reshape(squares, Shape{n, h, w, side, side}), {0, 1, 3, 2, 4}).contiguous().reshaped(fields);
}

/// Mean squared difference over the variance of the fields.
inline double relative_error(const V& decoded, const V& fields) {
  const V difference = decoded - fields, centred = fields - mean(fields);
  return static_cast<double>(mean(square(difference)).item()) / static_cast<double>(mean(square(centred)).item());
}

inline std::vector<double> spectrum_of(const V& fields) {
  return kolmo::flow::enstrophy_spectrum(kolmo::cast<double>(fields)).mean;
}

/// Fields by one method, for every number of stages.
struct Results {
  std::vector<V> decoded;
  std::vector<double> errors;

  void add(V fields, const V& original) {
    errors.push_back(relative_error(fields, original));
    decoded.push_back(std::move(fields));
  }
};

/// The same rate without networks: squares of points as vectors, tables by k-means on `train`.
inline Results by_patches(const V& train, const V& fields, index_t side, const std::vector<index_t>& codes,
                          kolmo::Key key) {
  const V all = squares_of(train, side);
  const auto tables = kolmo::rvq::train_tables(all, codes, {}, key).tables;
  const V x = squares_of(fields, side);
  const auto chosen = kolmo::rvq::encode_residual(tables, x, 1);
  Results results;
  for (index_t a = 1; a <= static_cast<index_t>(codes.size()); ++a) {
    const V y = kolmo::rvq::decode_residual(tables, slice(chosen, 1, 0, a).contiguous());
    results.add(fields_of_squares(y, fields.shape(), side), fields);
  }
  return results;
}

namespace detail {

inline void draw_field(kolmo::io::Panel& panel, const V& fields, double limit, const std::string& title, bool bar) {
  const index_t rows = fields.shape()[1], columns = fields.shape()[2];
  const auto values = slice(fields, 0, 0, 1).contiguous().to_vector();
  // Rows of a heat map run along x, those of the field along y.
  std::vector<double> turned(values.size());
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < columns; ++j)
      turned[static_cast<std::size_t>(j * rows + i)] =
          static_cast<double>(values[static_cast<std::size_t>(i * columns + j)]);
  kolmo::io::HeatMapStyle style;
  style.map = kolmo::io::ColourMap::diverging;
  style.low = -limit;
  style.high = limit;
  style.colour_bar = bar;
  style.bar_label = "vorticity";
  panel.heat_map(turned, static_cast<std::size_t>(columns), static_cast<std::size_t>(rows), style, 0,
                 static_cast<double>(rows), 0, static_cast<double>(columns));
  panel.title = title;
  panel.equal_aspect = true;
  panel.grid = false;
  panel.x.ticks = panel.y.ticks = false;
}

}  // namespace detail

/// The first field before and after, what is lost, the spectra of all, and error against rate.
inline kolmo::io::Figure picture_of(const V& fields, const Results& codec, const Results& patches,
                                    const std::vector<double>& bits) {
  namespace io = kolmo::io;
  const V &coded = codec.decoded.back(), &plain = patches.decoded.back();
  double limit = 1e-30;
  for (const float v : slice(fields, 0, 0, 1).contiguous().to_vector())
    limit = std::max(limit, std::abs(static_cast<double>(v)));
  io::Figure figure(2, 3);
  detail::draw_field(figure.panel(0, 0), fields, limit, "original", false);
  detail::draw_field(figure.panel(0, 1), coded, limit, "codec, " + io::to_text(bits.back(), 3) + " bits a point",
                     false);
  detail::draw_field(figure.panel(0, 2), coded - fields, limit, "codec minus original", true);
  detail::draw_field(figure.panel(1, 0), plain, limit, "patches, the same rate", false);

  io::Panel& spectra = figure.panel(1, 1);
  spectra.title = "enstrophy spectrum";
  spectra.x.label = "wave number";
  spectra.x.log = spectra.y.log = true;
  if (fields.shape()[1] == fields.shape()[2]) {
    const std::pair<const V*, const char*> shown[] = {{&fields, "original"}, {&coded, "codec"}, {&plain, "patches"}};
    for (const auto& [field, label] : shown) {
      const auto spectrum = spectrum_of(*field);
      std::vector<double> k, z;
      for (std::size_t i = 1; i < spectrum.size() && i <= static_cast<std::size_t>(fields.shape()[1] / 2); ++i) {
        k.push_back(static_cast<double>(i));
        z.push_back(spectrum[i]);
      }
      io::LineStyle style;
      style.label = label;
      spectra.line(k, z, style);
    }
  }
  io::Panel& rates = figure.panel(1, 2);
  rates.title = "error against rate";
  rates.x.label = "bits a point";
  rates.y.label = "mean squared error / variance";
  rates.y.log = true;
  io::LineStyle style;
  style.label = "codec";
  rates.line(bits, codec.errors, style);
  style.label = "patches";
  rates.line(bits, patches.errors, style);
  return figure;
}

}  // namespace compress_field
