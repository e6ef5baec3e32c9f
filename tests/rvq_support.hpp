#pragma once
// What the tests of codebooks share: codebooks at given codewords, batches of a pool, and measures.

#include <algorithm>
#include <cmath>
#include <vector>

#include <kolmo/rvq/codebook_update.hpp>

namespace kolmo_test {

template <class V>
kolmo::rvq::Codebook<V> book_at(const V& codewords, double count, kolmo::rvq::CodebookOptions options = {}) {
  options.codes = codewords.shape()[0];
  kolmo::rvq::Codebook<V> book(codewords.shape()[1], options);
  set_codewords(book, codewords, count);
  return book;
}

/// Rows [begin, begin + count) of x.
template <class V>
V slice_rows(const V& x, kolmo::index_t begin, kolmo::index_t count) {
  const kolmo::index_t columns = x.shape()[1];
  return V::from(
      std::span<const typename V::Scalar>(x.data() + begin * columns, static_cast<std::size_t>(count * columns)),
      kolmo::Shape{count, columns});
}

/// `count` random rows of a pool.
template <class V>
V batch(const V& pool, kolmo::index_t count, kolmo::Key key) {
  const kolmo::index_t columns = pool.shape()[1];
  V result = V::uninitialized(kolmo::Shape{count, columns});
  auto* to = result.mutable_data();
  for (kolmo::index_t i = 0; i < count; ++i)
    std::copy_n(pool.data() + integer_below(key, static_cast<std::uint64_t>(i), pool.shape()[0]) * columns, columns,
                to + i * columns);
  return result;
}

/// Assigns, collects and updates.
template <class V>
kolmo::rvq::UpdateReport step(kolmo::rvq::Codebook<V>& book, const V& x, kolmo::Key key) {
  return update(book, collect(book, x, assign(book, x).codes), key);
}

template <class V>
double largest(const V& x) {
  double result = 0;
  for (const auto value : x.to_vector()) result = std::max(result, std::abs(static_cast<double>(value)));
  return result;
}

template <class V>
double rms_difference(const V& a, const V& b) {
  const auto x = a.to_vector(), y = b.to_vector();
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += std::pow(static_cast<double>(x[i]) - static_cast<double>(y[i]), 2);
  return std::sqrt(sum / static_cast<double>(x.size()));
}

/// Per number.
template <class V>
double mean_square_error(const kolmo::rvq::Codebook<V>& book, const V& x) {
  double sum = 0;
  for (const auto e : assign(book, x).squared_error.to_vector()) sum += static_cast<double>(e);
  return sum / static_cast<double>(x.size());
}

/// Hits of every code over a set.
template <class V>
std::vector<double> usage(const kolmo::rvq::Codebook<V>& book, const V& x) {
  return collect(book, x, assign(book, x).codes).hits.to_vector();
}

inline double perplexity_of(const std::vector<double>& hits) {
  double sum = 0, entropy = 0;
  for (const double h : hits) sum += h;
  for (const double h : hits)
    if (h > 0) entropy -= h / sum * std::log(h / sum);
  return std::exp(entropy);
}

inline kolmo::index_t unused_of(const std::vector<double>& hits) {
  return static_cast<kolmo::index_t>(std::count(hits.begin(), hits.end(), 0.0));
}

}  // namespace kolmo_test
