#pragma once
// Causal sequence convolutions fed in pieces: what a layer must remember of the past is the k' - s points before the
// present ones, of a transposed one the k - s points of its result that the past has begun. The pieces together give
// what the whole sequence gives.

#include <kolmo/nn/sequence_conv.hpp>
#include <kolmo/ops/join.hpp>

namespace kolmo::nn {

namespace detail {

inline void check_stream(const char* name, bool causal, index_t batch) {
  if (!causal)
    throw ArgumentError(
        std::string(name) +
        ": a centred convolution needs points that have not come yet; only causal ones can be streamed");
  if (batch < 1)
    throw ArgumentError(std::string(name) + ": the batch must be at least 1, given " + std::to_string(batch));
}

inline void check_piece(const char* name, const Shape& x, index_t batch, index_t channels) {
  if (x.rank() != 3 || x[0] != batch || x[2] != channels)
    throw ShapeError(std::string(name) + ": expected a piece [" + std::to_string(batch) + ", points, " +
                     std::to_string(channels) + "], given " + x.to_string());
}

}  // namespace detail

/// A causal SequenceConv of `batch` sequences that begins with zeros before the first point.
template <PlainTensor V>
class SequenceConvStream {
 public:
  SequenceConvStream() = default;
  /// Throws ArgumentError for a centred layer or a batch below 1.
  SequenceConvStream(const SequenceConv<V>& layer, index_t batch)
      : options_(layer.unpadded()), stride_(layer.stride), kernel_(layer.kernel()), bias_(layer.bias) {
    detail::check_stream("SequenceConvStream", layer.causal, batch);
    history_ = V::zeros(Shape{batch, layer.memory(), layer.in()});
  }

  /// f(convolution + bias) of the next points: x [batch, n, in], n a positive multiple of the stride, to
  /// [batch, n / stride, out]. Throws ShapeError for another x.
  template <class F = fn::Identity>
  V operator()(const V& x, const F& f = {}) {
    detail::check_piece("SequenceConvStream", x.shape(), history_.shape()[0], history_.shape()[2]);
    if (x.shape()[1] < 1 || x.shape()[1] % stride_ != 0)
      throw ShapeError("SequenceConvStream: expected a positive multiple of " + std::to_string(stride_) +
                       " points, given " + std::to_string(x.shape()[1]));
    const index_t memory = history_.shape()[1];
    if (memory == 0) return conv1d(x, kernel_, bias_, options_, f);
    const V joined = concat(1, history_, x);
    const V y = conv1d(joined, kernel_, bias_, options_, f);
    history_ = slice(joined, 1, x.shape()[1], x.shape()[1] + memory).contiguous();
    return y;
  }

 private:
  ConvOptions options_;
  index_t stride_ = 1;
  V kernel_, bias_, history_;
};

/// A causal SequenceConvTranspose of `batch` sequences.
template <PlainTensor V>
class SequenceConvTransposeStream {
 public:
  SequenceConvTransposeStream() = default;
  /// Throws ArgumentError for a centred layer or a batch below 1.
  SequenceConvTransposeStream(const SequenceConvTranspose<V>& layer, index_t batch)
      : options_(layer.untrimmed()),
        stride_(layer.stride),
        in_(layer.in()),
        kernel_(layer.kernel()),
        bias_(layer.bias) {
    detail::check_stream("SequenceConvTransposeStream", layer.causal, batch);
    begun_ = V::zeros(Shape{batch, layer.overlap(), layer.out()});
  }

  /// The next points: x [batch, n, in], n at least 1, to [batch, n stride, out]. Throws ShapeError for another x.
  V operator()(const V& x) {
    detail::check_piece("SequenceConvTransposeStream", x.shape(), begun_.shape()[0], in_);
    const index_t points = x.shape()[1] * stride_, overlap = begun_.shape()[1];
    V sum = conv_transpose1d(x, kernel_, options_);
    if (overlap > 0) {
      sum = sum + pad(begun_, 1, 0, points);
      begun_ = slice(sum, 1, points, points + overlap).contiguous();
    }
    return slice(sum, 1, 0, points) + bias_;
  }

 private:
  ConvOptions options_;
  index_t stride_ = 1, in_ = 1;
  V kernel_, bias_, begun_;
};

}  // namespace kolmo::nn
