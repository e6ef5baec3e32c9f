#pragma once
// What a convolution is to the kernels of the CUDA backend: a product of gathered pixels by a packed kernel,
//
//   y[b, first + step p, n] = sum_{e, c} x[b, continued(p multiple + e increment + offset), c] packed[n, (e, c)]
//
// per axis of the field, p the points of the result and e the entries of the kernel that take part. The convolution is
// one such sum; the gradient of its field is one for every residue of the points modulo the stride, over the entries
// that meet them. No sum is scattered, so the order of every sum is fixed.

#include <cstdint>
#include <vector>

#include <kolmo/backend/conv_geometry.hpp>
#include <kolmo/core/shape.hpp>
#include <kolmo/cuda/launch.cuh>

namespace kolmo::detail {

/// Division of numbers below 2^31 by one that the host knows: a product and a shift.
class FastDivision {
 public:
  FastDivision() = default;
  explicit FastDivision(int divisor) : divisor_(divisor) {
    int bits = 0;
    while ((std::int64_t{1} << bits) < divisor) ++bits;
    shift_ = 31 + bits;
    factor_ = static_cast<std::uint32_t>((std::uint64_t{1} << shift_) / static_cast<std::uint32_t>(divisor) + 1);
  }
  KOLMO_HD int quotient(int n) const {
    return static_cast<int>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(n)) * factor_ >> shift_);
  }
  KOLMO_HD int divisor() const { return divisor_; }

 private:
  int divisor_ = 1, shift_ = 31;
  std::uint32_t factor_ = 0x80000001u;
};

/// One axis of the sum above. The result's image has `extent` points, the source's `source`.
struct ConvSumAxis {
  int points = 1, taps = 1, source = 1;
  int multiple = 1, increment = 1, offset = 0;
  int first = 0, step = 1, extent = 1;
  /// The kernel's entry behind tap 0 and the distance of those behind neighbouring taps.
  int entry = 0, entry_step = 1;
};

/// Where a pixel of the result lies.
struct ConvPixel {
  int image, i, j;
};

struct ConvSum {
  Array<ConvSumAxis, 2> axis{};
  Padding padding = Padding::zeros;
  int depth = 1, width = 1;  // channels of the source and of the result
  int pixels = 0;            // of all images
  FastDivision row, image;   // by the pixels of a row and of an image

  int taps() const { return axis[0].taps * axis[1].taps; }

  KOLMO_HD ConvPixel pixel(int number) const {
    const int b = image.quotient(number), rest = number - b * image.divisor();
    const int i = row.quotient(rest);
    return {b, i, rest - i * row.divisor()};
  }
  /// The pixel's place in the images of the result, counted in pixels.
  KOLMO_HD index_t place(const ConvPixel& p) const {
    return (static_cast<index_t>(p.image) * axis[0].extent + axis[0].first + p.i * axis[0].step) * axis[1].extent +
           axis[1].first + p.j * axis[1].step;
  }
};

/// Pixels that one launch takes at most; a batch of more is cut between images.
inline constexpr index_t conv_launch_pixels = index_t{1} << 30;

inline bool suits_conv_sum(const ConvGeometry& g) {
  for (const ConvAxis& axis : g.axis)
    if (axis.continued() * larger(axis.stride, axis.dilation) >= conv_launch_pixels ||
        axis.kernel * axis.dilation >= conv_launch_pixels)
      return false;
  return g.axis[0].continued() * g.axis[1].continued() <= conv_launch_pixels &&
         g.channels_in * g.taps() < conv_launch_pixels && g.channels_out * g.taps() < conv_launch_pixels;
}

inline void set_conv_pixels(ConvSum& sum, index_t images) {
  sum.row = FastDivision(sum.axis[1].points);
  sum.image = FastDivision(sum.axis[0].points * sum.axis[1].points);
  sum.pixels = static_cast<int>(images * sum.image.divisor());
}

/// y of the convolution.
inline ConvSum conv_forward_sum(const ConvGeometry& g) {
  ConvSum sum;
  sum.padding = g.padding;
  sum.depth = static_cast<int>(g.channels_in);
  sum.width = static_cast<int>(g.channels_out);
  for (int a = 0; a < 2; ++a) {
    const ConvAxis& axis = g.axis[a];
    ConvSumAxis& along = sum.axis[a];
    along.points = along.extent = static_cast<int>(axis.out);
    along.source = static_cast<int>(axis.in);
    along.taps = static_cast<int>(axis.kernel);
    along.multiple = static_cast<int>(axis.stride);
    along.increment = static_cast<int>(axis.dilation);
    along.offset = -static_cast<int>(axis.pad);
  }
  return sum;
}

/// Whether every entry of the kernel meets every point of a periodic field at most once: then the gradient of the field
/// is a periodic sum as well.
inline bool is_periodic(const ConvGeometry& g) {
  if (g.padding != Padding::circular) return false;
  for (const ConvAxis& axis : g.axis)
    if (axis.out * axis.stride != axis.in) return false;
  return true;
}

/// Whether the gradient is computed of the continued field and then folded onto the field.
inline bool needs_fold(const ConvGeometry& g) {
  return g.padding != Padding::zeros && !is_periodic(g) &&
         (g.axis[0].continued() > g.axis[0].in || g.axis[1].continued() > g.axis[1].in);
}

/// The points of the field, or of the continued field, whose distance to the kernel's first entry is `residue` modulo
/// the stride.
inline ConvSumAxis conv_backward_axis(const ConvAxis& axis, index_t residue, bool continued) {
  const index_t s = axis.stride, d = axis.dilation, border = continued ? axis.pad : 0;
  const index_t extent = continued ? axis.continued() : axis.in;
  ConvSumAxis along;
  along.extent = static_cast<int>(extent);
  along.source = static_cast<int>(axis.out);
  const index_t first = ((residue + border - axis.pad) % s + s) % s;
  along.first = static_cast<int>(first);
  along.step = static_cast<int>(s);
  along.points = static_cast<int>(first < extent ? divide_up(extent - first, s) : 0);
  along.taps = 0;
  index_t entry = 0;
  while (entry < axis.kernel && entry * d % s != residue) ++entry;
  if (entry == axis.kernel) return along;
  index_t entry_step = 1;
  while (entry_step * d % s != 0) ++entry_step;
  along.entry = static_cast<int>(entry);
  along.entry_step = static_cast<int>(entry_step);
  along.taps = static_cast<int>(divide_up(axis.kernel - entry, entry_step));
  along.offset = static_cast<int>((first - border + axis.pad - entry * d) / s);
  along.increment = -static_cast<int>(entry_step * d / s);
  return along;
}

/// The gradient of the field, or of the continued field: one sum for every pair of residues that has points.
inline std::vector<ConvSum> conv_backward_sums(const ConvGeometry& g) {
  std::vector<ConvSum> sums;
  for (index_t r = 0; r < g.axis[0].stride; ++r)
    for (index_t c = 0; c < g.axis[1].stride; ++c) {
      ConvSum sum;
      sum.padding = is_periodic(g) ? Padding::circular : Padding::zeros;
      sum.depth = static_cast<int>(g.channels_out);
      sum.width = static_cast<int>(g.channels_in);
      sum.axis[0] = conv_backward_axis(g.axis[0], r, needs_fold(g));
      sum.axis[1] = conv_backward_axis(g.axis[1], c, needs_fold(g));
      if (sum.axis[0].points > 0 && sum.axis[1].points > 0) sums.push_back(sum);
    }
  return sums;
}

/// Elements of 16 bytes, which copies and products take as one, and of a row of 128.
template <class T>
inline constexpr int conv_chunk = 16 / static_cast<int>(sizeof(T));
inline constexpr int conv_row_chunks = 8;
inline constexpr int conv_row_bytes = 16 * conv_row_chunks;

/// Rows of 128 bytes along the sum over entries and channels; every entry begins at a chunk.
template <class T>
int conv_sum_rows(const ConvSum& sum) {
  return static_cast<int>(
      divide_up(static_cast<index_t>(sum.taps()) * divide_up(sum.depth, conv_chunk<T>), conv_row_chunks));
}

}  // namespace kolmo::detail
