#pragma once
// One trajectory of simulate_kolmogorov.cpp, from its options to its frames, and the pictures of it.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <kolmo/flow/coarse.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/finite_volume.hpp>
#include <kolmo/flow/initial_conditions.hpp>
#include <kolmo/flow/spectra.hpp>
#include <kolmo/flow/spectral.hpp>
#include <kolmo/io/apng.hpp>
#include <kolmo/io/field_image.hpp>
#include <kolmo/io/figure.hpp>
#include <kolmo/io/host_array.hpp>
#include <kolmo/io/picture.hpp>

#include "program_device.hpp"

/// What a trajectory depends on, beside its index.
struct KolmogorovRun {
  using index_t = kolmo::index_t;
  kolmo::flow::KolmogorovOptions flow;
  std::string scheme = "finite_volume", start = "noise", precision = "float";
  index_t coarsen = 4, steps = 128, discard = 64, inner_steps = 0;
  double dt = 0.2;
  bool save_initial = false;
  std::uint64_t seed = 0;
  std::optional<kolmo::io::HostArray> initial;

  index_t frames() const { return steps - discard + (save_initial ? 1 : 0); }
  index_t coarse_size() const { return flow.size / coarsen; }

  /// Throws ArgumentError for options that do not fit together.
  void check() const {
    using kolmo::ArgumentError;
    if (flow.size % coarsen != 0)
      throw ArgumentError("--coarsen " + std::to_string(coarsen) + " does not divide --size " +
                          std::to_string(flow.size));
    if (discard > steps || frames() == 0)
      throw ArgumentError("--discard " + std::to_string(discard) + " of --steps " + std::to_string(steps) +
                          " leaves no frame");
    if (!(dt > 0) || !kolmo::is_finite(dt)) throw ArgumentError("--dt must be a positive number");
    kolmo::flow::validate(flow);
  }

  /// Throws ShapeError unless the initial field is one of this scheme and size, IoError for values that are not finite.
  void check_initial(const std::string& path) const {
    const std::vector<index_t> wanted = scheme == "spectral" ? std::vector<index_t>{flow.size, flow.size}
                                                             : std::vector<index_t>{2, flow.size, flow.size};
    if (initial->shape != wanted)
      throw kolmo::ShapeError(path + " has shape " + kolmo::io::shape_text(initial->shape) + "; --scheme " + scheme +
                              " at --size " + std::to_string(flow.size) + " begins with " +
                              (scheme == "spectral" ? "a vorticity field " : "staggered velocities ") +
                              kolmo::io::shape_text(wanted));
    for (const double x : initial->convert<double>())
      if (!kolmo::is_finite(x)) throw kolmo::IoError(path + " holds values that are not finite");
  }
};

/// Keeps the state a trajectory had before it broke; returns the name of the file.
using KeepState = std::function<std::string(const kolmo::io::HostArray&)>;

namespace kolmogorov_detail {

using kolmo::index_t;
namespace flow = kolmo::flow;

template <class T>
using Field = kolmo::Tensor<T, Device>;

/// The staggered velocities [count, 2, n, n] that trajectories from `index` on begin with, unless a file says otherwise.
template <class T>
Field<T> initial_velocity(const KolmogorovRun& run, index_t index, index_t count) {
  using V = Field<T>;
  const index_t n = run.flow.size;
  if (run.start == "taylor_green") return flow::taylor_green_velocity<V>(run.flow).reshaped(kolmo::Shape{1, 2, n, n});
  if (run.start == "shear_layer") return flow::double_shear_layer<V>(run.flow).reshaped(kolmo::Shape{1, 2, n, n});
  return flow::filtered_velocities<V>(run.flow, kolmo::Key{run.seed}, index, count);
}

template <class T>
Field<T> from_file(const kolmo::io::HostArray& array) {
  const std::vector<T> values = array.convert<T>();
  const index_t n = array.shape.back();
  const kolmo::Shape shape = array.shape.size() == 2 ? kolmo::Shape{1, n, n} : kolmo::Shape{1, 2, n, n};
  return Field<T>::from(std::span<const T>(values), shape);
}

/// The scheme as a chain of states, each dt after the one before.
template <class T>
class FiniteVolumeChain {
 public:
  FiniteVolumeChain(const KolmogorovRun& run, index_t index, index_t count)
      : solver_(run.flow), dt_(run.dt), inner_steps_(run.inner_steps) {
    state_ = run.initial ? from_file<T>(*run.initial) : initial_velocity<T>(run, index, count);
  }
  void advance() { state_ = solver_.transition(state_, dt_, inner_steps_); }
  Field<T> velocity() const { return state_; }

 private:
  flow::FiniteVolume<T, Device> solver_;
  double dt_;
  index_t inner_steps_;
  Field<T> state_;
};

template <class T>
class SpectralChain {
 public:
  SpectralChain(const KolmogorovRun& run, index_t index, index_t count)
      : solver_(run.flow), dt_(run.dt), inner_steps_(run.inner_steps) {
    state_ = run.initial ? solver_.from_vorticity(from_file<T>(*run.initial))
                         : solver_.from_staggered(initial_velocity<T>(run, index, count));
  }
  void advance() { state_ = solver_.transition(state_, dt_, {.steps = inner_steps_}); }
  Field<T> velocity() const { return solver_.to_staggered(state_); }

 private:
  flow::Spectral<T, Device> solver_;
  double dt_;
  index_t inner_steps_;
  Field<T> state_;
};

template <class T, class Chain>
std::vector<kolmo::io::HostArray> run_chain(const KolmogorovRun& run, index_t index, index_t count,
                                            const std::function<void()>& on_step, const KeepState& keep_state) {
  const index_t m = run.coarse_size();
  std::vector<std::vector<T>> frames(static_cast<std::size_t>(count));
  for (auto& one : frames) one.reserve(static_cast<std::size_t>(run.frames() * 2 * m * m));
  Chain chain(run, index, count);
  const auto keep = [&] {
    const std::vector<T> values = flow::coarsen(chain.velocity(), run.coarsen).to_vector();
    const std::ptrdiff_t size = 2 * m * m;
    auto begin = values.begin();
    for (auto& one : frames) {
      one.insert(one.end(), begin, begin + size);
      begin += size;
    }
  };
  if (run.save_initial) keep();
  for (index_t step = 1; step <= run.steps; ++step) {
    try {
      chain.advance();
    } catch (const flow::UnstableStep& error) {
      if (count > 1) throw;
      const Field<T> last = chain.velocity();
      const std::string kept = keep_state(kolmo::io::HostArray(last.to_vector(), {2, run.flow.size, run.flow.size}));
      throw kolmo::Error("trajectory " + std::to_string(index) +
                         " broke between t = " + kolmo::io::to_text(run.dt * static_cast<double>(step - 1), 6) +
                         " and " + kolmo::io::to_text(run.dt * static_cast<double>(step), 6) + ": " + error.what() +
                         "; its last good velocities are " + kept +
                         ", finished trajectories are kept; try a larger --inner-steps");
    }
    if (step > run.discard) keep();
    for (index_t k = 0; k < count; ++k) on_step();
  }
  std::vector<kolmo::io::HostArray> results;
  for (const auto& one : frames) results.emplace_back(one, std::vector<index_t>{run.frames(), 2, m, m});
  return results;
}

}  // namespace kolmogorov_detail

/// The frames [time, component, x, y] of `count` trajectories from `index` on, in the run's precision. `on_step` is
/// called after each of each. Several that break throw UnstableStep: alone, each says what became of it.
inline std::vector<kolmo::io::HostArray> simulate_trajectories(const KolmogorovRun& run, kolmo::index_t index,
                                                               kolmo::index_t count,
                                                               const std::function<void()>& on_step,
                                                               const KeepState& keep_state) {
  using namespace kolmogorov_detail;
  if (run.scheme == "spectral")
    return run.precision == "float" ? run_chain<float, SpectralChain<float>>(run, index, count, on_step, keep_state)
                                    : run_chain<double, SpectralChain<double>>(run, index, count, on_step, keep_state);
  return run.precision == "float" ? run_chain<float, FiniteVolumeChain<float>>(run, index, count, on_step, keep_state)
                                  : run_chain<double, FiniteVolumeChain<double>>(run, index, count, on_step, keep_state);
}

/// How many trajectories a device that takes batches computes at once, a few hundred megabytes of them; one where
/// their steps depend on the flow, so that a trajectory depends on nothing but its index.
inline kolmo::index_t trajectories_at_once(const KolmogorovRun& run) {
  const bool same_steps = run.scheme == "finite_volume" || run.inner_steps > 0;
  if (!takes_batches<Device> || !same_steps || run.start != "noise" || run.initial) return 1;
  return kolmo::larger<kolmo::index_t>(1, (kolmo::index_t{1} << 23) / (run.flow.size * run.flow.size));
}

/// Vorticity [time, x, y] of frames [time, component, x, y], and its largest magnitude.
struct VorticityFrames {
  std::vector<double> values;
  std::size_t cells;
  double largest = 0;

  VorticityFrames(const KolmogorovRun& run, const kolmo::io::HostArray& frames) {
    const kolmo::index_t m = run.coarse_size();
    cells = static_cast<std::size_t>(m * m);
    const auto field = kolmo::Tensor<double, kolmo::Cpu>::from(frames.convert<double>())
                           .reshaped(kolmo::Shape{frames.shape[0], 2, m, m});
    values = kolmo::flow::vorticity(field, run.flow.length / static_cast<double>(m)).to_vector();
    for (const double w : values) largest = std::max(largest, std::abs(w));
  }
  std::span<const double> frame(kolmo::index_t k) const {
    return std::span<const double>(values).subspan(static_cast<std::size_t>(k) * cells, cells);
  }
};

/// Three frames of the vorticity; below them the mean energy spectrum, energy in time, and the mean profile of u.
inline kolmo::io::Figure draw_trajectory(const KolmogorovRun& run, const kolmo::io::HostArray& frames) {
  namespace io = kolmo::io;
  using kolmo::index_t;
  const index_t count = frames.shape[0], m = run.coarse_size();
  const double side = run.flow.length;
  const VorticityFrames vorticity(run, frames);
  const auto time_of = [&](index_t k) {
    return run.dt * static_cast<double>(run.save_initial ? (k == 0 ? 0 : run.discard + k) : run.discard + k + 1);
  };
  io::Figure figure(2, 3);
  const index_t shown[] = {0, count / 2, count - 1};
  for (std::size_t c = 0; c < 3; ++c) {
    io::Panel& panel = figure.panel(0, c);
    // Rows of a heat map run along x, those of the field along y.
    const auto field = vorticity.frame(shown[c]);
    std::vector<double> rows(field.size());
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < m; ++j)
        rows[static_cast<std::size_t>(j * m + i)] = field[static_cast<std::size_t>(i * m + j)];
    io::HeatMapStyle style;
    style.map = io::ColourMap::diverging;
    style.low = -vorticity.largest;
    style.high = vorticity.largest;
    style.colour_bar = c == 2;
    style.bar_label = "vorticity";
    panel.heat_map(rows, static_cast<std::size_t>(m), static_cast<std::size_t>(m), style, 0, side, 0, side);
    panel.title = "t = " + io::to_text(time_of(shown[c]), 4);
    panel.x.label = "x";
    panel.y.label = "y";
    panel.equal_aspect = true;
    panel.grid = false;
  }

  const auto velocity =
      kolmo::Tensor<double, kolmo::Cpu>::from(frames.convert<double>()).reshaped(kolmo::Shape{count, 2, m, m});
  const std::vector<double> spectrum = kolmo::flow::energy_spectrum(velocity).mean;
  std::vector<double> wave_numbers, energies;
  for (std::size_t k = 1; k < spectrum.size() && k <= static_cast<std::size_t>(m / 2); ++k) {
    wave_numbers.push_back(static_cast<double>(k));
    energies.push_back(spectrum[k]);
  }
  io::Panel& spectral = figure.panel(1, 0);
  spectral.title = "energy spectrum";
  spectral.x.label = "wave number";
  spectral.y.label = "E(k)";
  spectral.x.log = spectral.y.log = true;
  spectral.line(wave_numbers, energies);

  std::vector<double> time, energy, profile(static_cast<std::size_t>(m), 0.0), places;
  const auto values = velocity.to_vector();
  const std::size_t per_frame = 2 * vorticity.cells;
  for (index_t k = 0; k < count; ++k) {
    double sum = 0;
    for (std::size_t i = 0; i < per_frame; ++i) {
      const double v = values[static_cast<std::size_t>(k) * per_frame + i];
      sum += v * v;
      if (i < vorticity.cells) profile[i % static_cast<std::size_t>(m)] += v;
    }
    time.push_back(time_of(k));
    energy.push_back(0.5 * sum / static_cast<double>(vorticity.cells));
  }
  io::Panel& history = figure.panel(1, 1);
  history.title = "energy";
  history.x.label = "t";
  history.y.label = "mean of |u|^2 / 2";
  history.line(time, energy);

  for (index_t j = 0; j < m; ++j) {
    profile[static_cast<std::size_t>(j)] /= static_cast<double>(count * m);
    places.push_back((static_cast<double>(j) + 0.5) * side / static_cast<double>(m));
  }
  io::Panel& mean = figure.panel(1, 2);
  mean.title = "mean flow along x";
  mean.x.label = "mean of u";
  mean.y.label = "y";
  mean.line(profile, places);
  return figure;
}

/// The vorticity of all frames, one after the other.
inline void save_frames(const std::string& path, const KolmogorovRun& run, const kolmo::io::HostArray& frames) {
  namespace io = kolmo::io;
  const VorticityFrames vorticity(run, frames);
  const kolmo::index_t m = run.coarse_size();
  io::FieldImageOptions options;
  options.low = -vorticity.largest;
  options.high = vorticity.largest;
  options.zoom = static_cast<std::size_t>(std::max<kolmo::index_t>(1, 256 / m));
  if (vorticity.largest == 0) options.low = options.high = std::nullopt;
  std::vector<io::Image> images;
  for (kolmo::index_t k = 0; k < frames.shape[0]; ++k)
    images.push_back(io::field_image(vorticity.frame(k), m, m, options));
  io::save_animation(path, images);
}
