#pragma once
// Encoding for QINCo: every stage tries all codewords, or the best of a plain preselection, through its network, for
// every partial reconstruction that the beam keeps. The products with W are split, W [c; xh] = W_c c + W_x xh, so that
// only the blocks see every pair; pairs go through them in chunks of bounded memory.

#include <kolmo/rvq/qinco.hpp>

namespace kolmo::rvq {

struct QincoEncodeOptions {
  index_t beam = 1;          ///< partial codes kept for every vector
  index_t preselection = 0;  ///< codewords tried for each of them; 0: all
  std::size_t memory_bytes = std::size_t{8}
                             << 20;  ///< for the pairs that are evaluated together; at least one vector is
};

/// Codes and what they leave.
template <PlainTensor V>
struct QincoCodes {
  CodesOf<V> codes;  ///< [n, stages]
  V squared_error;   ///< [n], |x - xh|^2 as the search saw it
};

}  // namespace kolmo::rvq

namespace kolmo::rvq::detail {

/// Row (path, a) of z is the codeword, mixed with its own part of W, plus the part of the path.
template <class T>
struct QincoPairKernel {
  const T* codewords;
  const T* given;
  const Code* candidates;  // [paths, count]; null: all codewords in their order
  index_t count, d;
  T* z;
  KOLMO_HD void operator()(index_t pair) const {
    const index_t path = pair / count;
    const index_t k = candidates == nullptr ? pair % count : static_cast<index_t>(candidates[pair]);
    for (index_t j = 0; j < d; ++j) z[pair * d + j] = codewords[k * d + j] + given[path * d + j];
  }
};

/// An item is a vector: the `width` pairs of least error among those of its paths, least first, ties in their order.
template <class T>
struct QincoChooseKernel {
  const T* x;      // [n, d]
  const T* given;  // [n, paths, d]
  const T* z;      // [n, paths, count, d]
  const Code* candidates;
  const Code* codes;  // [n, paths, stages]
  index_t paths, count, d, stages, width;
  Code* next_codes;  // [n, width, stages + 1]
  T* next_given;     // [n, width, d]
  T* error;          // [n, width]
  index_t* chosen;   // [n, width]
  KOLMO_HD void operator()(index_t item) const {
    const index_t pairs = paths * count;
    T* best = error + item * width;
    index_t* place = chosen + item * width;
    for (index_t i = 0; i < width; ++i) {
      best[i] = infinity<T>();
      place[i] = 0;
    }
    for (index_t p = 0; p < pairs; ++p) {
      const T* from = given + (item * paths + p / count) * d;
      const T* step = z + (item * pairs + p) * d;
      T sum = T(0);
      for (index_t j = 0; j < d; ++j) {
        const T rest = x[item * d + j] - from[j] - step[j];
        sum = sum + rest * rest;
      }
      if (!(sum < best[width - 1])) continue;
      index_t at = width - 1;
      for (; at > 0 && sum < best[at - 1]; --at) {
        best[at] = best[at - 1];
        place[at] = place[at - 1];
      }
      best[at] = sum;
      place[at] = p;
    }
    for (index_t i = 0; i < width; ++i) {
      const index_t p = place[i], path = item * paths + p / count, to = item * width + i;
      for (index_t q = 0; q < stages; ++q) next_codes[to * (stages + 1) + q] = codes[path * stages + q];
      next_codes[to * (stages + 1) + stages] =
          candidates == nullptr ? static_cast<Code>(p % count) : candidates[path * count + p % count];
      for (index_t j = 0; j < d; ++j) next_given[to * d + j] = given[path * d + j] + z[(item * pairs + p) * d + j];
    }
  }
};

/// Partial codes of n vectors, `width` of each.
template <PlainTensor V>
struct QincoPaths {
  CodesOf<V> codes;  // [n, width, stages so far]
  V given;           // [n, width, d]
  V error;           // [n, width]
};

/// One more stage for the vectors x [n, d] of one chunk. `mixed` is c + W_c c + b for all codewords.
template <PlainTensor V>
QincoPaths<V> qinco_step(const QincoStage<V>& stage, const V& mixed, const V& x, const QincoPaths<V>& before,
                         index_t count, index_t width) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  const index_t n = x.shape()[0], d = x.shape()[1], paths = before.given.shape()[1], stages = before.codes.shape()[2];
  const V given = before.given.reshaped(Shape{n * paths, d});
  CodesOf<V> candidates;
  const bool all = count == stage.codes();
  if (!all) {
    const V residual = (reshape(x, Shape{n, 1, d}) - before.given).reshaped(Shape{n * paths, d});
    candidates = nearest_rows(residual, stage.preselection, half_squared_norms(stage.preselection), count).index;
  }
  const V own = matmul(given, slice(stage.mix.weight, 0, d, 2 * d)).contiguous();
  V z = V::uninitialized(Shape{n * paths * count, d});
  B::for_each(z.shape()[0], QincoPairKernel<T>{mixed.data(), own.data(), all ? nullptr : candidates.data(), count, d,
                                               z.mutable_data()});
  for (const auto& block : stage.blocks) z = block(z);
  const index_t next = smaller(width, paths * count);
  QincoPaths<V> after{CodesOf<V>::uninitialized(Shape{n, next, stages + 1}), V::uninitialized(Shape{n, next, d}),
                      V::uninitialized(Shape{n, next})};
  auto chosen = Tensor<index_t, B>::uninitialized(Shape{n, next});
  const V vectors = x.contiguous();
  const auto codes = before.codes.contiguous();
  B::for_each(n, QincoChooseKernel<T>{vectors.data(), given.data(), z.data(), all ? nullptr : candidates.data(),
                                      codes.data(), paths, count, d, stages, next, after.codes.mutable_data(),
                                      after.given.mutable_data(), after.error.mutable_data(), chosen.mutable_data()});
  return after;
}

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// Codes of x [n, d] and their errors, as the search found them. Throws ShapeError for vectors of another dimension,
/// ArgumentError for vectors that are not finite and for options out of range.
template <PlainTensor V>
QincoCodes<V> encode_with_errors(const Qinco<V>& quantizer, const V& x, const QincoEncodeOptions& options = {}) {
  using T = typename V::Scalar;
  quantizer.validate();
  const index_t d = quantizer.dimension();
  if (x.rank() != 2 || x.shape()[1] != d)
    throw ShapeError("qinco: expected vectors [n, " + std::to_string(d) + "], given " + x.shape().to_string());
  if (options.beam < 1 || options.preselection < 0)
    throw ArgumentError("qinco: expected beam >= 1 and preselection >= 0, given " + std::to_string(options.beam) +
                        " and " + std::to_string(options.preselection));
  const V vectors = (x / quantizer.scale).contiguous();
  std::vector<V> mixed;
  index_t tried = 1, hidden = 0;
  for (const auto& stage : quantizer.stages) {
    mixed.push_back(
        V(stage.codewords + affine(stage.codewords, slice(stage.mix.weight, 0, 0, d), stage.mix.bias)).contiguous());
    tried = larger(tried, options.preselection > 0 ? smaller(options.preselection, stage.codes()) : stage.codes());
    for (const auto& block : stage.blocks) hidden = larger(hidden, block.up.shape()[1]);
  }
  const V norms = half_squared_norms(quantizer.first);
  const index_t per_vector = options.beam * tried * (3 * d + 2 * hidden) * static_cast<index_t>(sizeof(T));
  const index_t chunk = larger(index_t{1}, static_cast<index_t>(options.memory_bytes) / per_vector);
  const index_t n = x.shape()[0];
  std::vector<CodesOf<V>> codes;
  std::vector<V> errors;
  for (index_t begin = 0; begin < n || begin == 0; begin += chunk) {
    const index_t size = smaller(chunk, n - begin);
    const V part = slice(vectors, 0, begin, begin + size).contiguous();
    const index_t start = quantizer.stages.empty() ? 1 : smaller(options.beam, quantizer.first.shape()[0]);
    const auto nearest = nearest_rows(part, quantizer.first, norms, start);
    detail::QincoPaths<V> paths{nearest.index.reshaped(Shape{size, start, 1}), take(quantizer.first, nearest.index),
                                V()};
    paths.error = sum(square(reshape(part, Shape{size, 1, d}) - paths.given), {2});
    for (std::size_t q = 0; q < quantizer.stages.size(); ++q) {
      const auto& stage = quantizer.stages[q];
      const index_t count = options.preselection > 0 ? smaller(options.preselection, stage.codes()) : stage.codes();
      paths = detail::qinco_step(stage, mixed[q], part, paths, count,
                                 q + 1 < quantizer.stages.size() ? options.beam : index_t{1});
    }
    codes.push_back(paths.codes.reshaped(Shape{size, quantizer.stage_count()}));
    errors.push_back(V(paths.error * (quantizer.scale * quantizer.scale)).reshaped(Shape{size}));
  }
  return {concat(0, codes), concat(0, errors)};
}

/// Codes [n, stages] of x [n, d]. Throws as encode_with_errors.
template <PlainTensor V>
CodesOf<V> encode(const Qinco<V>& quantizer, const V& x, const QincoEncodeOptions& options = {}) {
  return encode_with_errors(quantizer, x, options).codes;
}

}  // namespace kolmo::rvq
