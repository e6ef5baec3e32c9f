#pragma once
// Convolutions on the host as tables: which points of a field each point of a result meets along an axis, so that no
// inner loop knows about borders, strides or paddings. A gradient of the field is a convolution of the gradient with
// the reversed kernel; paddings other than zeros are undone by folding the border back.

#include <vector>

#include <kolmo/backend/conv_geometry.hpp>
#include <kolmo/backend/threads.hpp>
#include <kolmo/core/bfloat16.hpp>

namespace kolmo::detail {

/// What follows the sum of a pixel: y = f(z), in place when both are the same. A function pointer, so that kernels are
/// compiled once for all activations; `run` is null for the identity.
template <class T>
struct ConvEpilogue {
  const void* f = nullptr;
  void (*run)(const void* f, const T* z, T* y, index_t n) = nullptr;
};

/// Where a result and what follows it goes: y = f(sum + bias); the sum with its bias also to z unless that is null.
template <class T>
struct ConvTarget {
  T* y = nullptr;
  T* z = nullptr;
  const T* bias = nullptr;
  ConvEpilogue<ComputeOf<T>> epilogue{};
};

/// Element (out, in, entry of the window) of a kernel at w[out out_step + in in_step + entry], nine of them backwards
/// if reversed.
template <class T>
struct ConvKernel {
  const T* w;
  index_t out_step, in_step;
  bool reversed;
};

/// Channels in slices of a few vectors each: a product's panel.
struct ChannelSlices {
  struct Slice {
    index_t first;
    int vectors;
  };
  std::vector<Slice> slices;

  /// Three vectors meet the most rows per load; two or one take what is left.
  ChannelSlices(index_t channels, index_t width) {
    const index_t vectors = divide_up(channels, width);
    for (index_t v = 0; v < vectors;) {
      const index_t left = vectors - v;
      const index_t count = left == 4 ? 2 : smaller<index_t>(3, left);
      slices.push_back({v * width, static_cast<int>(count)});
      v += count;
    }
  }
  index_t size() const { return static_cast<index_t>(slices.size()); }
  /// The slice of a channel.
  index_t of(index_t channel) const {
    index_t s = size() - 1;
    while (slices[static_cast<std::size_t>(s)].first > channel) --s;
    return s;
  }
  const Slice& operator[](index_t i) const { return slices[static_cast<std::size_t>(i)]; }
};

/// For every point of a result and entry of a window the point of the field behind it, -1 for a zero.
struct ConvTable {
  index_t points = 0, window = 0;
  std::vector<index_t> source;

  ConvTable(index_t points_, index_t window_)
      : points(points_), window(window_), source(static_cast<std::size_t>(points_ * window_), -1) {}

  const index_t* row(index_t point) const { return source.data() + point * window; }
  index_t& at(index_t point, index_t entry) { return source[static_cast<std::size_t>(point * window + entry)]; }
};

/// The field continued by its padding, as far as the axis reaches.
inline index_t continued_source(const ConvAxis& axis, index_t position, Padding padding) {
  return position < -axis.pad || position >= axis.in + axis.behind ? -1 : axis.source(position, padding);
}

/// Adds a field given with its border, [batch, pad + in + behind of either axis, channels], to where the padding took
/// each point from: the transpose of continuing.
template <class T>
void fold_border(const ConvGeometry& g, const T* continued, T* x) {
  const ConvAxis &rows = g.axis[0], &across = g.axis[1];
  const index_t channels = g.channels_in, tall = rows.continued(), wide = across.continued();
  threads::parallel_for(g.batch, [&](index_t b) {
    const T* from = continued + b * tall * wide * channels;
    T* to = x + b * g.pixels_in() * channels;
    for (index_t i = 0; i < rows.in; ++i)
      __builtin_memcpy(to + i * across.in * channels, from + ((i + rows.pad) * wide + across.pad) * channels,
                       static_cast<std::size_t>(across.in * channels) * sizeof(T));
    for (index_t i = 0; i < tall; ++i) {
      const bool inside = i >= rows.pad && i < rows.pad + rows.in;
      const index_t row = rows.source(i - rows.pad, g.padding);
      for (index_t j = 0; j < wide; ++j) {
        if (inside && j == across.pad) j += across.in;
        if (j == wide) break;
        const index_t column = across.source(j - across.pad, g.padding);
        if (row < 0 || column < 0) continue;
        const T* source = from + (i * wide + j) * channels;
        T* target = to + (row * across.in + column) * channels;
        KOLMO_INDEPENDENT
        for (index_t c = 0; c < channels; ++c) target[c] += source[c];
      }
    }
  });
}

}  // namespace kolmo::detail
