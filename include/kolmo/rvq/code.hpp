#pragma once
// What every quantizer shares: the type of a code, vectors as rows, and the refusal of vectors that have no code.

#include <cstdint>
#include <limits>
#include <string>

#include <kolmo/ops/indexing.hpp>

namespace kolmo::rvq {

/// The number of a codeword within its stage; -1 where a stage was dropped or a vector masked.
using Code = std::int32_t;

/// Codes of n vectors over A stages, [n, A], in the memory of a tensor kind's backend.
template <TensorLike X>
using CodesOf = Tensor<Code, typename BaseOf<X>::Backend>;

/// x [..., d] as rows [n, d]. Throws ShapeError for a scalar.
template <PlainTensor V>
V rows_of(const V& x) {
  if (x.rank() < 1) throw ShapeError("quantizer: expected vectors [..., d], given a single number");
  if (x.rank() == 2) return x;
  const index_t d = x.shape()[-1];
  return x.reshaped(Shape{d == 0 ? 0 : x.size() / d, d});
}

/// Throws ArgumentError naming the first vector that a kernel marked with a code below zero because it holds NaN.
template <class B>
void check_coded(const Tensor<Code, B>& codes, const char* quantizer) {
  if (codes.size() == 0) return;
  const Tensor<Code, B> source = codes.contiguous();
  auto first = Tensor<index_t, B>::uninitialized(Shape{});
  B::reduce(
      1, source.size(),
      kolmo::detail::LoadOutside<Code>{source.data(), index_t(std::numeric_limits<Code>::max()) + 1, source.size()},
      kolmo::detail::KeepSmallest{}, source.size(), kolmo::detail::StoreRow<index_t>{first.mutable_data()});
  const index_t position = first.item();
  if (position != source.size())
    throw ArgumentError(std::string(quantizer) + ": vector " +
                        std::to_string(position / (source.size() / source.shape()[0])) +
                        " holds NaN and has no code; remove such vectors or mask them");
}

}  // namespace kolmo::rvq
