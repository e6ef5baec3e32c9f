#pragma once
// Finite scalar quantization (Mentzer et al. 2023): no codebook. Each of d' channels is bounded and rounded to one of
// L_i levels,
//
//   z = tanh(x + shift_i) h_i - o_i,   h_i = (L_i - 1)(1 + 1e-3)/2,  o_i = 0.5 for even L_i else 0,  shift_i =
//   atanh(o_i/h_i) value = round(z) / floor(L_i/2),   index = sum_i (round(z)_i + floor(L_i/2)) prod_{j<i} L_j,
//
// rounding halves to even; the gradient passes as if nothing had been rounded. With several stages the remainder is
// rounded again on a grid that is (L_i - 1)^q times finer; the input is bounded once, before the first.

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <kolmo/ad/module.hpp>
#include <kolmo/ops/indexing.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/ops/shape.hpp>
#include <kolmo/rvq/code.hpp>

namespace kolmo::detail {

/// tanh(x + shift) scale - offset: the value before rounding, in units of the code values.
struct BoundValue {
  KOLMO_HD auto operator()(auto x, auto shift, auto scale, auto offset) const {
    return tanh(x + shift) * scale - offset;
  }
};

/// To the nearest whole number, halves to even; exact below half of the mantissa.
template <class T>
KOLMO_HD KOLMO_INLINE T round_half_even(T x) {
  const T shift = rounding_shift<T>();
  return (x + shift) - shift;
}

/// Digits and code of one vector in all stages; a vector with NaN gets the code -1.
template <class T>
struct FsqEncodeKernel {
  const T* bounded;       // [n, d]
  const T* scales;        // [stages, d]
  const index_t* levels;  // [d]
  index_t d, stages;
  rvq::Code* codes;  // [n, stages]
  T* slopes;         // [stages, n, d]: rounded minus not rounded, per unit of the scale; or null
  index_t n;

  KOLMO_HD void operator()(index_t row) const {
    for (index_t q = 0; q < stages; ++q) codes[row * stages + q] = 0;
    index_t place = 1;
    for (index_t i = 0; i < d; ++i) {
      const index_t low = levels[i] / 2;
      const T half = static_cast<T>(low), largest = static_cast<T>(levels[i] - 1 - low);
      T rest = bounded[row * d + i];
      for (index_t q = 0; q < stages; ++q) {
        const T scale = scales[q * d + i], relative = rest / scale;
        const T digit = maximum(minimum(round_half_even(relative * half), largest), -half);
        rvq::Code& code = codes[row * stages + q];
        if (code < 0 || is_nan(digit))
          code = -1;
        else
          code += static_cast<rvq::Code>((static_cast<index_t>(digit) + low) * place);
        if (slopes != nullptr) slopes[(q * n + row) * d + i] = digit / half - relative;
        rest -= scale * (digit / half);
      }
      place *= levels[i];
    }
  }
};

/// The sum over the stages of the values behind the codes.
template <class T>
struct FsqDecodeKernel {
  const rvq::Code* codes;  // [n, stages]
  const T* scales;         // [all stages, d]
  const index_t* levels;   // [d]
  index_t d, stages;
  T* values;  // [n, d]

  KOLMO_HD void operator()(index_t row) const {
    index_t place = 1;
    for (index_t i = 0; i < d; ++i) {
      const index_t low = levels[i] / 2;
      T total = T(0);
      for (index_t q = 0; q < stages; ++q) {
        const index_t digit = static_cast<index_t>(codes[row * stages + q]) / place % levels[i] - low;
        total += scales[q * d + i] * (static_cast<T>(digit) / static_cast<T>(low));
      }
      values[row * d + i] = total;
      place *= levels[i];
    }
  }
};

}  // namespace kolmo::detail

namespace kolmo::rvq {

/// The levels that the authors recommend for about 2^bits codes: bits 8, 10, 12, 14 or 16. Throws ArgumentError
/// otherwise.
inline std::vector<index_t> recommended_levels(int bits) {
  switch (bits) {
    case 8:
      return {8, 6, 5};
    case 10:
      return {8, 5, 5, 5};
    case 12:
      return {7, 5, 5, 5, 5};
    case 14:
      return {8, 8, 8, 6, 5};
    case 16:
      return {8, 8, 8, 5, 5, 5};
    default:
      throw ArgumentError("recommended_levels: there are lists for 8, 10, 12, 14 and 16 bits, given " +
                          std::to_string(bits) + "; give the levels themselves");
  }
}

/// Output and codes of a quantizer without codebook.
template <class X>
struct FixedQuantized {
  X output;                                         ///< of the shape of the input
  Tensor<Code, typename BaseOf<X>::Backend> codes;  ///< [vectors, stages]
};

/// Levels of the channels and the scale of each stage. The first stage has scale one; with `learned_scales` they are
/// parameters (they receive the gradient of the rounding error by Esser et al. 2020), else state.
template <class V>
struct FiniteScalarQuantizer {
  std::vector<index_t> levels;
  bool learned_scales = false;
  V scales;  ///< [stages, channels]

  FiniteScalarQuantizer() = default;
  /// Stage q has the scale (L_i - 1)^-q. Throws ArgumentError unless every level is at least 2, their product fits a
  /// code, and stages >= 1.
  explicit FiniteScalarQuantizer(std::vector<index_t> levels_of_channels, index_t stages = 1, bool learned = false)
      : levels(std::move(levels_of_channels)), learned_scales(learned) {
    using T = typename V::Scalar;
    if (stages < 1) throw ArgumentError("fsq: expected at least one stage, given " + std::to_string(stages));
    std::vector<T> values;
    std::vector<double> scale(levels.size(), 1.0);
    for (index_t q = 0; q < stages; ++q)
      for (std::size_t i = 0; i < levels.size(); ++i) {
        values.push_back(static_cast<T>(scale[i]));
        scale[i] /= static_cast<double>(levels[i] - 1);
      }
    scales = V::from(std::span<const T>(values), Shape{stages, channels()});
    validate();
  }

  static void fields(auto&& f, auto& first, auto&... rest) {
    f(option("levels"), first.levels, rest.levels...);
    f(option("learned_scales"), first.learned_scales, rest.learned_scales...);
    f(Field{"scales", first.learned_scales ? FieldKind::parameter : FieldKind::state}, first.scales, rest.scales...);
  }
  template <class U>
  using Rebind = FiniteScalarQuantizer<U>;

  index_t channels() const { return static_cast<index_t>(levels.size()); }
  index_t stages() const { return scales.shape()[0]; }
  /// Codes per stage: the product of the levels.
  index_t codes() const {
    index_t product = 1;
    for (const index_t level : levels)
      if (__builtin_mul_overflow(product, level, &product)) return std::numeric_limits<index_t>::max();
    return product;
  }

  /// Throws ArgumentError or ShapeError unless the parts fit each other.
  void validate() const {
    if (levels.empty()) throw ArgumentError("fsq: expected the levels of at least one channel, given none");
    for (const index_t level : levels)
      if (level < 2) throw ArgumentError("fsq: every channel needs at least 2 levels, given " + std::to_string(level));
    if (codes() > std::numeric_limits<Code>::max())
      throw ArgumentError("fsq: the product of the levels must fit 31 bits; use fewer channels or more stages");
    if (scales.rank() != 2 || scales.shape()[0] < 1 || scales.shape()[1] != channels())
      throw ShapeError("fsq: expected scales [stages, " + std::to_string(channels()) + "], given " +
                       scales.shape().to_string());
  }
};

}  // namespace kolmo::rvq

namespace kolmo::detail {

/// One number per channel, computed in double.
template <PlainTensor V, class F>
V per_channel(const std::vector<index_t>& levels, const F& f) {
  std::vector<typename V::Scalar> values;
  for (const index_t level : levels) values.push_back(static_cast<typename V::Scalar>(f(static_cast<double>(level))));
  return V::from(std::span<const typename V::Scalar>(values), Shape{static_cast<index_t>(levels.size())});
}

inline double fsq_half_range(double level) { return (level - 1) * (1 + 1e-3) / 2; }
inline double fsq_offset(index_t level) { return level % 2 == 0 ? 0.5 : 0.0; }
inline double fsq_offset(double level) { return fsq_offset(static_cast<index_t>(level)); }
inline double fsq_half_width(double level) { return static_cast<double>(static_cast<index_t>(level) / 2); }

}  // namespace kolmo::detail

namespace kolmo::rvq {

/// x [..., channels] bounded to the range of the codes but not rounded: what is rounded, divided by floor(L/2). Throws
/// ShapeError for another last axis.
template <TensorLike X>
auto fsq_bounded(const std::vector<index_t>& levels, const X& x) {
  using V = BaseOf<X>;
  namespace k = kolmo::detail;
  const index_t channels = static_cast<index_t>(levels.size());
  if (x.rank() < 1 || x.shape()[-1] != channels)
    throw ShapeError("fsq: expected vectors [..., " + std::to_string(channels) + "], one component per level, given " +
                     x.shape().to_string());
  const V shift =
      k::per_channel<V>(levels, [](double l) { return std::atanh(k::fsq_offset(l) / k::fsq_half_range(l)); });
  const V scale = k::per_channel<V>(levels, [](double l) { return k::fsq_half_range(l) / k::fsq_half_width(l); });
  const V offset = k::per_channel<V>(levels, [](double l) { return k::fsq_offset(l) / k::fsq_half_width(l); });
  return map(k::BoundValue{}, x, shift, scale, offset);
}

/// The values behind codes [n, A], A <= stages: [n, channels], the sum of the first A stages. Throws ShapeError for
/// codes of another rank or more stages, ArgumentError for a code outside its range, also -1.
template <PlainTensor V>
V decode(const FiniteScalarQuantizer<V>& quantizer, const Tensor<Code, typename V::Backend>& codes) {
  using B = typename V::Backend;
  using T = typename V::Scalar;
  quantizer.validate();
  if (codes.rank() != 2 || codes.shape()[1] < 1 || codes.shape()[1] > quantizer.stages())
    throw ShapeError("fsq: expected codes [n, 1.." + std::to_string(quantizer.stages()) + "], given " +
                     codes.shape().to_string());
  kolmo::detail::check_indices(codes, quantizer.codes(), "fsq decode");
  const auto source = codes.contiguous();
  const V scales = quantizer.scales.contiguous();
  const auto levels = Tensor<index_t, B>::from(quantizer.levels);
  V values = V::uninitialized(Shape{codes.shape()[0], quantizer.channels()});
  B::for_each(codes.shape()[0],
              kolmo::detail::FsqDecodeKernel<T>{source.data(), scales.data(), levels.data(), quantizer.channels(),
                                                codes.shape()[1], values.mutable_data()});
  return values;
}

namespace detail {

/// Codes of bounded vectors [n, channels]; with `slopes` also what a change of the scales does to the output.
template <PlainTensor V>
Tensor<Code, typename V::Backend> fsq_codes(const FiniteScalarQuantizer<V>& quantizer, const V& bounded, V* slopes) {
  using B = typename V::Backend;
  using T = typename V::Scalar;
  const index_t n = bounded.shape()[0], stages = quantizer.stages(), channels = quantizer.channels();
  const V source = bounded.contiguous(), scales = quantizer.scales.contiguous();
  const auto levels = Tensor<index_t, B>::from(quantizer.levels);
  auto codes = Tensor<Code, B>::uninitialized(Shape{n, stages});
  if (slopes != nullptr) *slopes = V::uninitialized(Shape{stages, n, channels});
  B::for_each(n, kolmo::detail::FsqEncodeKernel<T>{source.data(), scales.data(), levels.data(), channels, stages,
                                                   codes.mutable_data(),
                                                   slopes == nullptr ? nullptr : slopes->mutable_data(), n});
  check_coded(codes, "fsq");
  return codes;
}

}  // namespace detail

/// Codes [n, stages] of the vectors x [..., channels]. Throws ShapeError for another last axis, ArgumentError for NaN.
template <PlainTensor V>
Tensor<Code, typename V::Backend> encode(const FiniteScalarQuantizer<V>& quantizer, const V& x) {
  quantizer.validate();
  const V bounded = fsq_bounded(quantizer.levels, x);
  return detail::fsq_codes(quantizer, rows_of(bounded), static_cast<V*>(nullptr));
}

/// Output and codes for training: the values of decode(encode(x)), with the gradient of the bounded input, that is
/// (1 - tanh^2) h_i / floor(L_i/2), and that of the scales where they are variables. Throws as encode.
template <class W, TensorLike X>
auto quantize(const FiniteScalarQuantizer<W>& quantizer, const X& x) {
  using V = BaseOf<X>;
  quantizer.validate();
  FiniteScalarQuantizer<V> plain;
  plain.levels = quantizer.levels;
  plain.scales = detach(quantizer.scales);
  const auto bounded = fsq_bounded(quantizer.levels, x);
  constexpr bool learns = VarLike<W>;
  V slopes;
  const auto codes = detail::fsq_codes(plain, rows_of(detach(bounded)), learns ? &slopes : nullptr);
  const auto rounded = straight_through(decode(plain, codes).reshaped(x.shape()), bounded);
  if constexpr (learns) {
    // Zero, with the gradient of the scales.
    const Shape per_stage{quantizer.stages(), 1, quantizer.channels()};
    const auto change = reshape(quantizer.scales - plain.scales, per_stage);
    const auto output = rounded + reshape(sum(change * slopes, {0}), x.shape());
    return FixedQuantized<std::remove_cvref_t<decltype(output)>>{output, codes};
  } else {
    return FixedQuantized<std::remove_cvref_t<decltype(rounded)>>{rounded, codes};
  }
}

}  // namespace kolmo::rvq
