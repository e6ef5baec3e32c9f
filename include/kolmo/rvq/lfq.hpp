#pragma once
// Lookup-free quantization (Yu et al. 2024): the code of a vector is the signs of b linear functions of it,
//
//   z = x W_in + b_in,   q = sign(z) in {-1, 1}^b,   index = sum_i 2^i [z_i > 0],   output = q W_out + b_out.
//
// Nothing pulls the signs apart but a penalty: with p(c | z) = softmax_c(2 t <z, c>) over the corners c of the cube,
//
//   mean_z H(p(c | z)) - g H(mean_z p(c | z)):
//
// each vector should be sure of its corner, and all of them together use every corner. The corners of all b bits are
// too many for large b; the bits are then taken in groups, and the entropies of the groups are added.

#include <cmath>
#include <string>

#include <kolmo/nn/layers.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/shape.hpp>
#include <kolmo/rvq/code.hpp>

namespace kolmo::detail {

/// -p log p, zero at zero.
struct EntropyTerm {
  template <class S>
  KOLMO_HD S operator()(S p) const {
    return -p * log(maximum(p, S(1e-30)));
  }
};

/// The signs of b numbers and the code they make; a vector with NaN gets the code -1.
template <class T>
struct SignCodeKernel {
  const T* z;  // [n, b]
  index_t bits;
  T* signs;          // [n, b]
  rvq::Code* codes;  // [n]
  KOLMO_HD void operator()(index_t row) const {
    rvq::Code code = 0;
    bool nan = false;
    for (index_t i = 0; i < bits; ++i) {
      const T value = z[row * bits + i];
      const bool positive = value > T(0);
      nan = nan || is_nan(value);
      signs[row * bits + i] = positive ? T(1) : T(-1);
      code |= static_cast<rvq::Code>(positive ? 1 : 0) << i;
    }
    codes[row] = nan ? rvq::Code(-1) : code;
  }
};

/// Element (row, column) is the sign of bit `column` of code `row`, or with `by_bit` of bit `row` of code `column`.
template <class T>
struct CornerKernel {
  const rvq::Code* codes;  // null: the code is its position
  index_t columns;
  bool by_bit;
  T* signs;
  KOLMO_HD void operator()(index_t item) const {
    const index_t row = item / columns, column = item % columns;
    const index_t at = by_bit ? column : row, bit = by_bit ? row : column;
    const index_t code = codes == nullptr ? at : static_cast<index_t>(codes[at]);
    signs[item] = ((code >> bit) & 1) != 0 ? T(1) : T(-1);
  }
};

}  // namespace kolmo::detail

namespace kolmo::rvq {

struct LookupFreeOptions {
  index_t bits = 10;               ///< of a code, at most 30
  index_t group_bits = 5;          ///< bits whose entropy is taken jointly; divides `bits`, at most 12
  double inverse_temperature = 5;  ///< t: how sharp the softmax over the corners is
  double diversity = 1;            ///< g: weight of the use of all corners against the certainty of each vector
};

/// The two entropies of the penalty, in nats, summed over the groups of bits.
template <class X>
struct CornerEntropy {
  X of_vectors;  ///< mean over the vectors of H(p(c | z)): small when every vector is sure
  X of_codes;    ///< H of the mean over the vectors: bits ln 2 when all corners are used alike
};

/// The entropies of z [n, bits]. Throws ShapeError for another rank, ArgumentError unless group_bits divides the bits.
template <TensorLike X>
auto corner_entropy(const X& z, index_t group_bits, double inverse_temperature) {
  using V = BaseOf<X>;
  using T = typename V::Scalar;
  if (z.rank() != 2 || z.shape()[0] < 1)
    throw ShapeError("corner_entropy: expected numbers [n, bits] with n >= 1, given " + z.shape().to_string());
  const index_t n = z.shape()[0], bits = z.shape()[1];
  if (group_bits < 1 || group_bits > 12 || bits % group_bits != 0)
    throw ArgumentError("corner_entropy: group_bits must divide the " + std::to_string(bits) +
                        " bits and be at most 12, given " + std::to_string(group_bits));
  const index_t corners = index_t(1) << group_bits;
  V table = V::uninitialized(Shape{group_bits, corners});
  V::Backend::for_each(table.size(), kolmo::detail::CornerKernel<T>{nullptr, corners, true, table.mutable_data()});
  const auto logits = matmul(reshape(z, Shape{n, bits / group_bits, group_bits}), table) * (2 * inverse_temperature);
  const auto log_p = log_softmax(logits, -1);
  const auto p = exp(log_p);
  const auto of_vectors = sum(p * log_p) * (-1.0 / static_cast<double>(n));
  const auto of_codes = sum(map(kolmo::detail::EntropyTerm{}, mean(p, {0})));
  return CornerEntropy<std::remove_cvref_t<decltype(of_codes)>>{of_vectors, of_codes};
}

/// The two projections of a lookup-free quantizer of vectors of a given dimension.
template <class V>
struct LookupFreeQuantizer {
  nn::Linear<V> in, out;
  LookupFreeOptions options;

  LookupFreeQuantizer() = default;
  /// Zero projections; see init. Throws ArgumentError for options out of range.
  explicit LookupFreeQuantizer(index_t dimension, const LookupFreeOptions& o = {})
      : in(dimension, o.bits), out(o.bits, dimension), options(o) {
    validate();
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("in"), s.in...);
    f(submodule("out"), s.out...);
    f(option("bits"), s.options.bits...);
    f(option("group_bits"), s.options.group_bits...);
    f(option("inverse_temperature"), s.options.inverse_temperature...);
    f(option("diversity"), s.options.diversity...);
  }
  template <class U>
  using Rebind = LookupFreeQuantizer<U>;

  index_t codes() const { return index_t(1) << options.bits; }

  /// Throws ArgumentError or ShapeError unless the parts fit each other.
  void validate() const {
    if (options.bits < 1 || options.bits > 30)
      throw ArgumentError("lfq: expected 1 to 30 bits, given " + std::to_string(options.bits));
    if (options.group_bits < 1 || options.group_bits > 12 || options.bits % options.group_bits != 0)
      throw ArgumentError("lfq: group_bits must divide the " + std::to_string(options.bits) +
                          " bits and be at most 12, given " + std::to_string(options.group_bits));
    if (!(options.inverse_temperature > 0) || !(options.diversity >= 0))
      throw ArgumentError("lfq: expected inverse_temperature > 0 and diversity >= 0, given " +
                          std::to_string(options.inverse_temperature) + " and " + std::to_string(options.diversity));
    in.validate();
    out.validate();
    if (in.weight.shape()[1] != options.bits || out.weight.shape()[0] != options.bits)
      throw ShapeError("lfq: expected projections [d, " + std::to_string(options.bits) + "] and [" +
                       std::to_string(options.bits) + ", d], given " + in.weight.shape().to_string() + " and " +
                       out.weight.shape().to_string());
  }
};

template <PlainTensor V>
void init(Key key, LookupFreeQuantizer<V>& quantizer) {
  const auto [first, second] = split(key);
  nn::init(first, quantizer.in, nn::Start::normal);
  nn::init(second, quantizer.out, nn::Start::normal);
}

/// What a lookup-free quantizer gives in training; the losses are means over all elements.
template <class Y>
struct LookupFreeQuantized {
  Y output;           ///< of the shape of the input
  CodesOf<Y> codes;   ///< [vectors, 1]
  Y commitment_loss;  ///< mean (z - sg(sign z))^2; customary weight 0.25
  Y entropy_loss;     ///< H of vectors - diversity H of codes, in nats; weights of 0.1 to 0.5 serve
};

namespace detail {

template <PlainTensor V>
struct SignsAndCodes {
  V signs;           // [n, bits]
  CodesOf<V> codes;  // [n, 1]
};

template <PlainTensor V>
SignsAndCodes<V> sign_codes(const V& z) {
  const V source = z.contiguous();
  const index_t n = z.shape()[0];
  SignsAndCodes<V> result{V::uninitialized(z.shape()), CodesOf<V>::uninitialized(Shape{n, 1})};
  V::Backend::for_each(n, kolmo::detail::SignCodeKernel<typename V::Scalar>{
                              source.data(), z.shape()[1], result.signs.mutable_data(), result.codes.mutable_data()});
  check_coded(result.codes, "lfq");
  return result;
}

}  // namespace detail

/// Codes [n, 1] of the vectors x [..., d]. Throws ShapeError for another last axis, ArgumentError for NaN.
template <PlainTensor V>
CodesOf<V> encode(const LookupFreeQuantizer<V>& quantizer, const V& x) {
  quantizer.validate();
  return detail::sign_codes(quantizer.in(rows_of(x))).codes;
}

/// The vectors [n, d] behind codes [n, 1]. Throws ShapeError for another shape, ArgumentError for a code outside its
/// range, also -1.
template <PlainTensor V>
V decode(const LookupFreeQuantizer<V>& quantizer, const CodesOf<V>& codes) {
  quantizer.validate();
  if (codes.rank() != 2 || codes.shape()[1] != 1)
    throw ShapeError("lfq: expected codes [n, 1], given " + codes.shape().to_string());
  kolmo::detail::check_indices(codes, quantizer.codes(), "lfq decode");
  const CodesOf<V> source = codes.contiguous();
  V signs = V::uninitialized(Shape{codes.shape()[0], quantizer.options.bits});
  V::Backend::for_each(signs.size(), kolmo::detail::CornerKernel<typename V::Scalar>{
                                         source.data(), quantizer.options.bits, false, signs.mutable_data()});
  return quantizer.out(signs);
}

/// Output, codes and losses for training; the gradient passes the signs as if they were z. Throws as encode.
template <class W, TensorLike X>
auto quantize(const LookupFreeQuantizer<W>& quantizer, const X& x) {
  quantizer.validate();
  if (x.rank() < 1) throw ShapeError("lfq: expected vectors [..., d], given a single number");
  const auto z = quantizer.in(reshape(x, Shape{x.size() / larger<index_t>(1, x.shape()[-1]), x.shape()[-1]}));
  const auto coded = detail::sign_codes(detach(z));
  const auto entropy = corner_entropy(z, quantizer.options.group_bits, quantizer.options.inverse_temperature);
  const auto output = reshape(quantizer.out(straight_through(coded.signs, z)), x.shape());
  using Y = std::remove_cvref_t<decltype(output)>;
  return LookupFreeQuantized<Y>{output, coded.codes, mean(square(z - coded.signs)),
                                entropy.of_vectors - entropy.of_codes * quantizer.options.diversity};
}

}  // namespace kolmo::rvq
