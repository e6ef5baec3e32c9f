#pragma once
// Overlapping frames of signals and their overlap-add, on every tensor kind: the two halves of a short-time transform.
// Each is the other's adjoint, and both multiply by a window on the way:
//
//   frames       y[.., f, j] = window[j] x[.., f hop + j - pad],   x continued by zeros or mirrored at its ends
//   overlap_add  x[.., t]    = sum of window[j] y[.., f, j] over all f, j with f hop + j - pad standing for t

#include <string>

#include <kolmo/backend/conv_geometry.hpp>
#include <kolmo/ops/indexing.hpp>
#include <kolmo/ops/strided.hpp>

// A loop that does not vectorise is slower, not wrong.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo {

/// Where frames lie on a signal.
struct FrameOptions {
  index_t length = 1;  ///< points of a frame
  index_t hop = 1;     ///< from one frame to the next
  index_t count = -1;  ///< frames; -1: all that fit the signal with `pad` points on either side
  index_t pad = 0;     ///< points before the signal where the first frame begins
  Padding padding = Padding::zeros;
};

namespace detail {

struct FrameLayout {
  index_t points, length, hop, count, pad;
  bool mirrored;

  /// The point behind a position; -1 for a zero.
  KOLMO_HD index_t source(index_t position) const {
    if (position >= 0 && position < points) return position;
    if (!mirrored) return -1;
    return position < 0 ? -position : 2 * (points - 1) - position;
  }
  /// The position behind the last one that a frame reads.
  KOLMO_HD index_t end() const { return (count - 1) * hop + length - pad; }
};

inline FrameLayout frame_layout(const char* name, index_t points, const FrameOptions& options) {
  if (options.length < 1 || options.hop < 1 || options.pad < 0 || options.count < -1)
    throw ArgumentError(std::string(name) + ": expected length and hop >= 1 and pad >= 0, given length " +
                        std::to_string(options.length) + ", hop " + std::to_string(options.hop) + ", pad " +
                        std::to_string(options.pad) + " and count " + std::to_string(options.count));
  if (options.padding != Padding::zeros && options.padding != Padding::reflect)
    throw ArgumentError(std::string(name) +
                        ": signals are continued by zeros or mirrored; expected Padding::zeros or "
                        "Padding::reflect");
  if (points < 1) throw ShapeError(std::string(name) + ": the signal has no points");
  FrameLayout layout{points,        options.length, options.hop,
                     options.count, options.pad,    options.padding == Padding::reflect};
  if (layout.count == -1) {
    if (points + 2 * options.pad < options.length)
      throw ArgumentError(std::string(name) + ": a frame of " + std::to_string(options.length) +
                          " points does not fit a signal of " + std::to_string(points) + " points with " +
                          std::to_string(options.pad) + " more on either side; use a longer signal or a shorter frame");
    layout.count = (points + 2 * options.pad - options.length) / options.hop + 1;
  }
  const index_t behind = layout.count == 0 ? 0 : layout.end() - points;
  if (layout.mirrored && (options.pad > points - 1 || behind > points - 1))
    throw ArgumentError(std::string(name) + ": frames of " + std::to_string(options.length) + " points reach " +
                        std::to_string(larger(options.pad, behind)) + " beyond a signal of " + std::to_string(points) +
                        " points, of which at most " + std::to_string(points - 1) +
                        " can be mirrored; use a longer signal, a shorter frame or zeros");
  return layout;
}

/// An item is `run` points of one frame. `window` may be null.
template <class T>
struct FramesKernel {
  FrameLayout layout;
  const T* x;
  const T* window;
  T* y;
  index_t run;
  KOLMO_HD void operator()(index_t item) const {
    const index_t runs = divide_up(layout.length, run), row = item / runs, begin = item % runs * run;
    const index_t end = smaller(layout.length, begin + run), frame = row % layout.count;
    const T* const from = x + row / layout.count * layout.points;
    const index_t first = frame * layout.hop - layout.pad;
    T* const to = y + row * layout.length;
    if (first + begin >= 0 && first + end <= layout.points) {
      const T* const source = from + first;
      if (window == nullptr)
        for (index_t j = begin; j < end; ++j) to[j] = source[j];
      else
        for (index_t j = begin; j < end; ++j) to[j] = window[j] * source[j];
      return;
    }
    for (index_t j = begin; j < end; ++j) {
      const index_t at = layout.source(first + j);
      const T value = at < 0 ? T(0) : from[at];
      to[j] = window == nullptr ? value : window[j] * value;
    }
  }
};

/// An item is `run` points of the signal: first what the frames hold of the points themselves, in the order of the
/// frames, then of their images before the signal, then of those behind it.
template <class T>
struct OverlapAddKernel {
  FrameLayout layout;
  const T* y;
  const T* window;
  T* x;
  index_t run;
  KOLMO_HD void operator()(index_t item) const {
    const index_t runs = divide_up(layout.points, run), row = item / runs, begin = item % runs * run;
    const index_t end = smaller(layout.points, begin + run);
    const T* const from = y + row * layout.count * layout.length;
    T* const to = x + row * layout.points;
    for (index_t t = begin; t < end; ++t) to[t] = T(0);
    if (layout.count == 0) return;
    for (index_t frame = first_frame(begin); frame <= last_frame(end - 1); ++frame) {
      const index_t origin = frame * layout.hop - layout.pad;
      const index_t low = larger(begin, origin), high = smaller(end, origin + layout.length);
      const T* const part = from + frame * layout.length + (low - origin);
      T* const target = to + low;
      if (window == nullptr) {
        for (index_t i = 0; i < high - low; ++i) target[i] = target[i] + part[i];
      } else {
        const T* const weight = window + (low - origin);
        for (index_t i = 0; i < high - low; ++i) target[i] = target[i] + weight[i] * part[i];
      }
    }
    if (!layout.mirrored) return;
    for (index_t t = larger<index_t>(begin, 1); t < smaller(end, layout.pad + 1); ++t) to[t] = to[t] + at(from, -t);
    const index_t turn = 2 * (layout.points - 1);
    for (index_t t = larger(begin, turn - layout.end() + 1); t < smaller(end, layout.points - 1); ++t)
      to[t] = to[t] + at(from, turn - t);
  }

  KOLMO_HD index_t first_frame(index_t position) const {
    const index_t before = position + layout.pad - layout.length + 1;
    return before <= 0 ? 0 : divide_up(before, layout.hop);
  }
  KOLMO_HD index_t last_frame(index_t position) const {
    return smaller(layout.count - 1, (position + layout.pad) / layout.hop);
  }
  /// The sum over the frames at one position.
  KOLMO_HD T at(const T* from, index_t position) const {
    T sum = T(0);
    for (index_t frame = first_frame(position); frame <= last_frame(position); ++frame) {
      const index_t j = position + layout.pad - frame * layout.hop;
      const T value = from[frame * layout.length + j];
      sum = sum + (window == nullptr ? value : window[j] * value);
    }
    return sum;
  }
};

/// The window as numbers of V's scalar; duals and complex steps take it as constants.
template <PlainTensor V, PlainTensor W>
V window_as(const W& window) {
  if constexpr (std::is_same_v<V, W>) {
    return window.has_value() ? window.contiguous() : window;
  } else {
    if (!window.has_value()) return V();
    std::vector<typename V::Scalar> values;
    for (const auto w : window.to_vector()) values.push_back(typename V::Scalar(w));
    return V::from(values);
  }
}

template <PlainTensor W>
struct FramesOf {
  FrameLayout layout;
  W window;  // may be without values
  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = typename V::Scalar;
    using B = typename V::Backend;
    const V source = x.contiguous(), weight = window_as<V>(window);
    Shape shape = x.shape();
    shape[-1] = layout.count;
    shape = shape.with(shape.rank(), layout.length);
    V result = V::uninitialized(shape);
    if (result.size() == 0) return result;
    const index_t run = inner_run<B, FramesKernel<T>>(layout.length);
    B::for_each(result.size() / layout.length * divide_up(layout.length, run),
                FramesKernel<T>{layout, source.data(), weight.has_value() ? weight.data() : nullptr,
                                result.mutable_data(), run});
    return result;
  }
};

template <PlainTensor W>
struct OverlapAddOf {
  FrameLayout layout;
  W window;
  template <PlainTensor V>
  V operator()(const V& y) const {
    using T = typename V::Scalar;
    using B = typename V::Backend;
    const V source = y.contiguous(), weight = window_as<V>(window);
    Shape shape = y.shape().without(y.rank() - 1);
    shape[-1] = layout.points;
    V result = V::uninitialized(shape);
    if (result.size() == 0) return result;
    using Kernel = OverlapAddKernel<T>;
    const index_t run = inner_run<B, Kernel>(layout.points), items = divide_up(layout.points, run);
    const Kernel kernel{layout, source.data(), weight.has_value() ? weight.data() : nullptr, result.mutable_data(),
                        run};
    if constexpr (requires { B::for_each_item(items, kernel); })
      B::for_each_item(result.size() / layout.points * items, kernel);
    else
      B::for_each(result.size() / layout.points * items, kernel);
    return result;
  }
};

template <PlainTensor W>
void check_window(const char* name, const W& window, index_t length) {
  if (window.has_value() && !(window.shape() == Shape{length}))
    throw ShapeError(std::string(name) + ": expected a window of shape [" + std::to_string(length) + "], given " +
                     window.shape().to_string());
}

}  // namespace detail

/// Frames [..., count, length] of signals [..., points], times the window [length], a plain tensor; without a window
/// they are cut out as they are. Throws ArgumentError for a frame that does not fit the signal and for mirroring
/// beyond it, ShapeError for a scalar and for a window of another length.
template <TensorLike X, PlainTensor W = BaseOf<X>>
auto frames(const X& x, const FrameOptions& options, const W& window = {}) {
  if (x.rank() < 1) throw ShapeError("frames: expected signals [..., points], given a scalar");
  detail::check_window("frames", window, options.length);
  const auto layout = detail::frame_layout("frames", x.shape()[-1], options);
  return detail::linear_recorded(detail::FramesOf<W>{layout, window}, detail::OverlapAddOf<W>{layout, window}, x);
}

/// Signals [..., points] from frames [..., count, length], the adjoint of `frames` with the same options and window.
/// Throws likewise, and ShapeError unless the frames have the length and the count that `frames` would give.
template <TensorLike Y, PlainTensor W = BaseOf<Y>>
auto overlap_add(const Y& y, index_t points, const FrameOptions& options, const W& window = {}) {
  detail::check_window("overlap_add", window, options.length);
  const auto layout = detail::frame_layout("overlap_add", points, options);
  if (y.rank() < 2 || y.shape()[-1] != layout.length || y.shape()[-2] != layout.count)
    throw ShapeError("overlap_add: expected frames [..., " + std::to_string(layout.count) + ", " +
                     std::to_string(layout.length) + "] for " + std::to_string(points) + " points, given " +
                     y.shape().to_string());
  return detail::linear_recorded(detail::OverlapAddOf<W>{layout, window}, detail::FramesOf<W>{layout, window}, y);
}

}  // namespace kolmo

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
