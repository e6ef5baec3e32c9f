#pragma once
// Convolutions of wide fields with few channels, computed as others of fewer columns and more channels. `fold`
// neighbouring columns count as channels of one point, which a channels-last field does without moving anything:
//
//   [B, H, W, C] = [B, H, W / F, F C],   and a kernel of up to 2 F + 1 columns and stride s becomes one of 3 columns,
//   W'[(b, o), (a, c), u, q] = w[o, c, u, (q - 1) F + a - s b + pad],   a < F, b < F / s,   zero outside of w.
//
// A third of these products is with zeros, but they fill whole vectors, and kernels of three rows are Winograd's.

#include <kolmo/ops/conv.hpp>
#include <kolmo/ops/join.hpp>

namespace kolmo {

/// Whether a kernel of `columns` columns can be folded: stride and dilation as given, half its reach of zeros on both
/// sides.
inline bool folds(index_t width, index_t columns, index_t stride, index_t fold) {
  const index_t pad = columns / 2;
  return fold >= 1 && columns % 2 == 1 && width % fold == 0 && fold % stride == 0 && pad <= fold &&
         columns - pad - stride <= fold;
}

/// conv2d with zero padding of half the kernel along the columns, `fold` columns at a time: the same sums in another
/// order. Of the options the rows' stride, pads and dilation and the columns' stride are taken. Throws as conv2d, and
/// ArgumentError unless `folds` holds and the padding is zeros.
template <TensorLike X, TensorLike W, TensorLike C, class F = fn::Identity>
auto folded_conv2d(const X& x, const W& weight, const C& bias, const ConvOptions& options, index_t fold,
                   const F& f = {}) {
  detail::check_conv_ranks("folded_conv2d", x.shape(), weight.shape(), 4, 1);
  const index_t columns = weight.shape()[3], stride = options.stride[1], pad_columns = columns / 2;
  if (stride < 1 || !folds(x.shape()[2], columns, stride, fold) || options.padding != Padding::zeros ||
      options.dilation[1] != 1 || (options.pad[1] != -1 && options.pad[1] != pad_columns) ||
      (options.behind[1] != -1 && options.behind[1] != pad_columns))
    throw ArgumentError("folded_conv2d: " + std::to_string(columns) + " columns of a kernel with stride " +
                        std::to_string(stride) + " over a field " + x.shape().to_string() + " cannot be folded by " +
                        std::to_string(fold) + "; use conv2d");
  const Shape& in = x.shape();
  const index_t out = weight.shape()[0], channels = weight.shape()[1], rows = weight.shape()[2], group = fold / stride;
  using Part = decltype(reshape(permute(reshape(pad(weight, 3, 1, 1), Shape{}), {0, 1, 4, 2, 3}), Shape{}));
  std::vector<Part> parts;
  for (index_t b = 0; b < group; ++b) {
    const index_t before = fold - pad_columns + stride * b;
    const auto wide = reshape(pad(weight, 3, before, 3 * fold - columns - before), Shape{out, channels, rows, 3, fold});
    parts.push_back(reshape(permute(wide, {0, 4, 1, 2, 3}), Shape{out, fold * channels, rows, 3}));
  }
  ConvOptions folded = options;
  folded.stride[1] = 1;
  folded.pad[1] = folded.behind[1] = 1;
  const auto result = conv2d(reshape(x, Shape{in[0], in[1], in[2] / fold, fold * channels}), concat(0, parts),
                             reshape(broadcast_to(bias, Shape{group, out}), Shape{group * out}), folded, f);
  return reshape(result, Shape{result.shape()[0], result.shape()[1], in[2] / stride, out});
}

}  // namespace kolmo
