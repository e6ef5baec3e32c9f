#pragma once
// The short-time Fourier transform of real signals on every tensor kind, its inverse, and the magnitude of a spectrum:
// frames of the signal times a Hann window, each transformed by rfft. A spectrum is [..., frames, 2, bins], with the
// real and imaginary parts as rows (see ops/fft.hpp).

#include <cmath>
#include <limits>

#include <kolmo/ops/fft.hpp>
#include <kolmo/ops/frames.hpp>

namespace kolmo {

/// How a signal is cut and weighted.
struct StftOptions {
  index_t size = 1024;  ///< points of a transform
  index_t hop = 0;      ///< from frame to frame; 0: a quarter of the size
  index_t window = 0;   ///< points of the Hann window, in the middle of the frame; 0: the size
  index_t pad = -1;     ///< points added on either side; -1: half the size, so that frame f is centred at f hop
  Padding padding = Padding::reflect;
  bool normalised = false;  ///< divide by the root of the sum of the squared window
};

/// The periodic Hann window (1 - cos(2 pi j / window)) / 2 of `window` points in the middle of `size`, zeros around it;
/// 0: of all points. `normalised`: of unit energy. Throws ArgumentError unless 1 <= window <= size.
template <PlainTensor V>
V hann_window(index_t size, index_t window = 0, bool normalised = false) {
  if (window == 0) window = size;
  if (size < 1 || window < 1 || window > size)
    throw ArgumentError("hann_window: expected 1 <= window <= size, given a window of " + std::to_string(window) +
                        " in " + std::to_string(size) + " points");
  std::vector<typename V::Scalar> values(static_cast<std::size_t>(size), typename V::Scalar(0));
  // The sum of the squares is 3/8 of the points from 3 points on.
  double energy = 0;
  const auto value = [window](index_t j) {
    return window == 1 ? 1.0
                       : 0.5 - 0.5 * std::cos(2 * 3.14159265358979323846 * static_cast<double>(j) /
                                              static_cast<double>(window));
  };
  for (index_t j = 0; j < window; ++j) energy += value(j) * value(j);
  const double scale = normalised ? 1 / std::sqrt(energy) : 1.0;
  const index_t first = (size - window) / 2;
  for (index_t j = 0; j < window; ++j)
    values[static_cast<std::size_t>(first + j)] = static_cast<typename V::Scalar>(scale * value(j));
  return V::from(values);
}

namespace detail {

/// Throws ArgumentError for options out of range.
inline FrameOptions stft_frames(const char* name, const StftOptions& options) {
  const index_t hop = options.hop == 0 ? larger<index_t>(1, options.size / 4) : options.hop;
  if (options.size < 2 || hop < 1 || options.pad < -1)
    throw ArgumentError(std::string(name) + ": expected size >= 2, hop >= 1 and pad >= -1, given size " +
                        std::to_string(options.size) + ", hop " + std::to_string(options.hop) + " and pad " +
                        std::to_string(options.pad));
  return {options.size, hop, -1, options.pad == -1 ? options.size / 2 : options.pad, options.padding};
}

/// Magnitudes below this count as this and have no gradient.
inline constexpr double least_magnitude = 1e-12;

struct HypotenuseSafe {
  template <class S>
  KOLMO_HD S operator()(S re, S im) const {
    return sqrt(maximum(re * re + im * im, S(1e-24)));
  }
};

/// g X / |X|, and 0 where |X| is least.
struct MagnitudeVjp {
  template <class S>
  KOLMO_HD S operator()(S gradient, S part, S magnitude) const {
    const S direction = gradient * part / magnitude;
    return magnitude > S(1.0000001e-12) ? direction : S(0);
  }
};

/// One of the two rows of parts, which stays as an axis of extent one.
struct PartOf {
  index_t part;
  template <PlainTensor V>
  V operator()(const V& x) const {
    Shape shape = x.shape();
    shape[-2] = 1;
    return x.view(shape, x.strides(), part * x.strides()[x.rank() - 2]);
  }
};

struct DropPartAxis {
  template <PlainTensor V>
  V operator()(const V& x) const {
    return x.reshaped(x.shape().without(x.rank() - 2));
  }
};
struct RestorePartAxis {
  template <PlainTensor V>
  V operator()(const V& x) const {
    return x.reshaped(x.shape().with(x.rank() - 1, 1));
  }
};

template <Value X>
struct MagnitudePullBack {
  X spectrum, magnitude;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const {
    return std::make_tuple(as_kind<G>(apply(MagnitudeVjp{}, linear(RestorePartAxis{}, gradient), spectrum, magnitude)));
  }
};

}  // namespace detail

/// Number of frames of a signal of `points` points. Throws as stft.
inline index_t stft_frame_count(index_t points, const StftOptions& options) {
  return detail::frame_layout("stft", points, detail::stft_frames("stft", options)).count;
}

/// The spectra [..., frames, 2, size / 2 + 1] of signals [..., points] with the given window [size], a plain tensor.
/// Throws ArgumentError for options out of range, for a transform longer than the padded signal and for mirroring
/// beyond the signal; ShapeError for a scalar.
template <TensorLike X, PlainTensor W>
auto stft(const X& x, const StftOptions& options, const W& window) {
  if (x.rank() < 1) throw ShapeError("stft: expected signals [..., points], given a scalar");
  const auto layout = detail::stft_frames("stft", options);
  static_cast<void>(detail::frame_layout("stft", x.shape()[-1], layout));
  return rfft(frames(x, layout, window));
}
/// With the Hann window of the options.
template <TensorLike X>
auto stft(const X& x, const StftOptions& options = {}) {
  using W = Tensor<detail::RealPartOf<ScalarOf<X>>, typename X::Backend>;
  return stft(x, options, hann_window<W>(options.size, options.window, options.normalised));
}

/// Signals [..., points] from spectra [..., frames, 2, bins] of the same options: the least-squares inverse (Griffin
/// and Lim 1984), exact for a spectrum that stft gave of a signal that all frames cover. Throws ArgumentError as stft
/// and where windows leave points uncovered, ShapeError unless the spectrum is one of `points` points.
template <TensorLike Y>
auto istft(const Y& spectrum, index_t points, const StftOptions& options = {}) {
  using T = detail::RealPartOf<ScalarOf<Y>>;
  using W = Tensor<T, typename Y::Backend>;
  const auto layout_options = detail::stft_frames("istft", options);
  const auto layout = detail::frame_layout("istft", points, layout_options);
  const index_t bins = options.size / 2 + 1;
  if (spectrum.rank() < 3 || spectrum.shape()[-1] != bins || spectrum.shape()[-2] != 2 ||
      spectrum.shape()[-3] != layout.count)
    throw ShapeError("istft: expected spectra [..., " + std::to_string(layout.count) + ", 2, " + std::to_string(bins) +
                     "] for " + std::to_string(points) + " points, given " + spectrum.shape().to_string());
  FrameOptions covering = layout_options;
  covering.padding = Padding::zeros;
  const W window = hann_window<W>(options.size, options.window, options.normalised);
  const W rows = window * W::ones(Shape{layout.count, options.size});
  std::vector<T> weights = overlap_add(rows, points, covering, window).to_vector();
  for (std::size_t t = 0; t < weights.size(); ++t) {
    if (!(weights[t] > T(1e-8)))
      throw ArgumentError("istft: no window covers point " + std::to_string(t) + " of " + std::to_string(points) +
                          "; use a smaller hop, a longer window or a pad of half the size");
    weights[t] = T(1) / weights[t];
  }
  const auto sum = overlap_add(irfft(spectrum, options.size), points, covering, window);
  using V = BaseOf<Y>;
  return sum * detail::window_as<V>(W::from(weights));
}

/// |X| of spectra [..., 2, bins]: [..., bins]. Magnitudes below 1e-12 count as 1e-12 and pass no gradient, so that
/// silence has finite derivatives. Throws ShapeError unless the axis before the last has 2 elements.
template <TensorLike X>
auto magnitude(const X& spectrum) {
  detail::expect_complex("magnitude", spectrum.shape(), 2, "[..., 2, bins]");
  const auto result = apply(detail::HypotenuseSafe{}, linear(detail::PartOf{0}, value(spectrum)),
                            linear(detail::PartOf{1}, value(spectrum)));
  using V = std::remove_cvref_t<decltype(result)>;
  return record(linear(detail::DropPartAxis{}, result), detail::MagnitudePullBack<V>{value(spectrum), result},
                spectrum);
}

}  // namespace kolmo
