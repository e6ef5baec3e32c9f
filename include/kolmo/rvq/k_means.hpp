#pragma once
// k-means for codebooks: codewords c_k that minimise sum_i min_k |x_i - c_k|^2, by the iteration of Lloyd (1957, 1982)
// from greedy k-means++ (Arthur, Vassilvitskii 2007) or from vectors of the data. Codes are those of nearest_rows, so
// that a codebook is trained by the search that uses it, and no codeword is left without vectors: an empty cluster
// takes the vector with the largest error.
//
// gmm/k_means.hpp is another algorithm: it weights its points, scores them as mixtures of a few normals in standard
// coordinates, and gives up a component that lost its points.

#include <kolmo/rvq/lloyd.hpp>
#include <kolmo/rvq/plus_plus.hpp>

namespace kolmo::rvq {

/// Where the codewords start.
enum class KMeansStart {
  plus_plus,  ///< greedy k-means++: each the best of 2 + floor(ln K) vectors drawn by squared error
  vectors,    ///< different vectors of the data, shrunk towards their mean by the factor that serves best
  automatic,  ///< vectors; but where shrinking by more than 0.7 does not serve, as in clusters that lie apart,
              ///< plus_plus
};

struct KMeansOptions {
  /// Iterations of Lloyd at most; with 0 the codewords are those of the start.
  index_t iterations = 10;
  /// Stop when an iteration lowers the MSE by a smaller share of it; with 0 only when it lowers it no more.
  double tolerance = 0.0;
  KMeansStart start = KMeansStart::plus_plus;
  /// k-means++ draws from this many vectors per code at most.
  index_t start_vectors_per_code = 64;
  /// The iterations use this many vectors per code at most, drawn without repetition; 0: all.
  index_t vectors_per_code = 0;
};

template <PlainTensor V>
struct KMeans {
  V codewords;                  ///< [K, d]
  std::vector<index_t> counts;  ///< [K], vectors whose nearest codeword it is, of those the iterations used
  double mse = 0.0;             ///< mean of |x - c|^2 / d over those vectors
  std::vector<double> history;  ///< the MSE before each iteration, and at the end
  index_t iterations = 0;
  std::vector<std::string> warnings;
};

namespace detail {

/// Per coordinate the mean and the deviation of the rows.
template <PlainTensor V>
void row_moments(const V& x, std::vector<double>& mean, std::vector<double>& deviation) {
  const index_t n = x.extent(0), d = x.extent(1);
  mean.assign(static_cast<std::size_t>(d), 0.0);
  deviation = mean;
  const std::vector<typename V::Scalar> values = x.to_vector();
  for (std::size_t i = 0; i < values.size(); ++i) mean[i % mean.size()] += static_cast<double>(values[i]);
  for (double& m : mean) m /= static_cast<double>(n);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double shift = static_cast<double>(values[i]) - mean[i % mean.size()];
    deviation[i % mean.size()] += shift * shift;
  }
  for (double& s : deviation) s = std::sqrt(s / static_cast<double>(n));
}

/// Codewords shrunk towards a mean by the factor, among powers of 2^(-1/4), that serves the rows of x best: far from
/// their own place, vectors of a noisy cloud are better codewords when they are closer to its middle.
template <PlainTensor V>
V shrunk_codewords(const V& codewords, const std::vector<double>& mean, const V& x, double& factor_taken) {
  using T = typename V::Scalar;
  const std::vector<T> given = codewords.to_vector();
  V best = codewords;
  double least = nearest_mse(x, codewords);
  factor_taken = 1.0;
  for (int step = 1; step <= 16; ++step) {
    const double factor = std::pow(2.0, -0.25 * step);
    std::vector<T> values = given;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double m = mean[i % mean.size()];
      values[i] = static_cast<T>(m + factor * (static_cast<double>(values[i]) - m));
    }
    const V tried = V::from(std::span<const T>(values), codewords.shape());
    const double mse = nearest_mse(x, tried);
    if (!(mse < least)) break;
    least = mse;
    best = tried;
    factor_taken = factor;
  }
  return best;
}

/// Codewords to start from, and what is to be said about them.
template <PlainTensor V>
V start_codewords(const V& x, index_t codes, const KMeansOptions& options, Key key,
                  std::vector<std::string>& warnings) {
  using T = typename V::Scalar;
  const auto [draw_key, jitter_key] = split(key);
  const index_t n = x.extent(0), d = x.extent(1);
  std::vector<index_t> chosen;
  V pool = x;
  if (options.start == KMeansStart::plus_plus) {
    const auto [pool_key, seed_key] = split(draw_key);
    pool = drawn_rows(x, larger<index_t>(1, options.start_vectors_per_code) * codes, pool_key);
    chosen = PlusPlus<V>(pool, seed_key).choose(codes);
  } else {
    chosen = permutation(draw_key, n);
    chosen.resize(static_cast<std::size_t>(smaller(codes, n)));
  }
  const std::size_t different = chosen.size();
  std::vector<double> mean, deviation;
  if (different == static_cast<std::size_t>(codes)) {
    const V codewords = rows_at(pool, chosen);
    if (options.start == KMeansStart::plus_plus) return codewords;
    row_moments(x, mean, deviation);
    // Judged by vectors that are no codewords themselves, if there are others.
    std::vector<index_t> others = permutation(draw_key, n);
    if (n > codes) others.erase(others.begin(), others.begin() + static_cast<std::ptrdiff_t>(codes));
    if (static_cast<index_t>(others.size()) > 4 * codes) others.resize(static_cast<std::size_t>(4 * codes));
    double factor = 1.0;
    const V shrunk = shrunk_codewords(codewords, mean, rows_at(x, others), factor);
    if (options.start == KMeansStart::vectors || factor < 0.7) return shrunk;
    KMeansOptions seeded = options;
    seeded.start = KMeansStart::plus_plus;
    return start_codewords(x, codes, seeded, key, warnings);
  }
  warnings.push_back("k_means: " + std::to_string(codes) + " codewords, but only " + std::to_string(different) +
                     " different vectors were found among " + std::to_string(n) +
                     "; the other codewords are copies moved by 1 % of the deviation. Ask for fewer codewords or give "
                     "more vectors");
  for (std::size_t k = different; k < static_cast<std::size_t>(codes); ++k)
    chosen.push_back(chosen[static_cast<std::size_t>(
        integer_below(jitter_key, static_cast<std::uint64_t>(k), static_cast<index_t>(different)))]);
  row_moments(x, mean, deviation);
  // All vectors are equal: then their size takes the place of the deviation, and one that of zeros.
  if (std::all_of(deviation.begin(), deviation.end(), [](double s) { return !(s > 0.0); })) {
    double size = 0.0;
    for (const double m : mean) size = larger(size, std::abs(m));
    std::fill(deviation.begin(), deviation.end(), size > 0.0 ? size : 1.0);
  }
  std::vector<T> values = rows_at(pool, chosen).to_vector();
  for (std::size_t i = different * static_cast<std::size_t>(d); i < values.size(); ++i)
    values[i] = static_cast<T>(static_cast<double>(values[i]) +
                               0.01 * deviation[i % mean.size()] *
                                   normal<double>(fold_in(jitter_key, 1), static_cast<std::uint64_t>(i)));
  return V::from(std::span<const T>(values), Shape{codes, d});
}

template <PlainTensor V>
void check_vectors(const V& x, const char* operation) {
  if (x.rank() != 2 || x.extent(1) < 1)
    throw ShapeError(std::string(operation) + ": expected vectors as rows of a matrix [n, d], given shape " +
                     x.shape().to_string());
  if (x.extent(0) < 1) throw ArgumentError(std::string(operation) + ": no vectors given, at least one is needed");
  kolmo::detail::check_finite_rows(x, operation);
}

}  // namespace detail

namespace detail {

inline void check_k_means_options(const KMeansOptions& options) {
  if (options.iterations < 0 || !(options.tolerance >= 0.0) || options.vectors_per_code < 0 ||
      options.start_vectors_per_code < 1)
    throw ArgumentError(
        "k_means: iterations, tolerance and vectors_per_code must not be negative or NaN and "
        "start_vectors_per_code must be positive");
}

template <PlainTensor V>
void iterate(const V& x, const V& codewords, const KMeansOptions& options, KMeans<V>& result) {
  Lloyd<V> lloyd(x, codewords);
  lloyd.assign();
  result.history.push_back(lloyd.mse());
  while (result.iterations < options.iterations) {
    lloyd.update();
    lloyd.assign();
    ++result.iterations;
    const double before = result.history.back();
    result.history.push_back(lloyd.mse());
    if (!(before - lloyd.mse() > options.tolerance * before)) break;
  }
  result.codewords = lloyd.codewords();
  result.counts = lloyd.counts();
  result.mse = lloyd.mse();
}

}  // namespace detail

/// Codewords [codes, d] of vectors x [n, d]. Deterministic for a key, for any number of threads. With fewer different
/// vectors than codes the missing codewords are copies moved a little, and a warning says so. Throws ShapeError unless
/// x is a matrix, ArgumentError without vectors, for infinite or NaN ones, and for negative options.
template <PlainTensor V>
KMeans<V> k_means(const V& x, index_t codes, const KMeansOptions& options, Key key) {
  detail::check_vectors(x, "k_means");
  detail::check_k_means_options(options);
  if (codes < 1)
    throw ArgumentError("k_means: the number of codewords must be positive, given " + std::to_string(codes));
  const auto [sample_key, start_key] = split(key);
  const V sample = options.vectors_per_code == 0 ? x.contiguous()
                                                 : detail::drawn_rows(x, options.vectors_per_code * codes, sample_key);
  KMeans<V> result;
  const V start = detail::start_codewords(sample, codes, options, start_key, result.warnings);
  detail::iterate(sample, start, options, result);
  return result;
}

/// The same from given codewords [K, d]; of the options only `iterations`, `tolerance` and, with the key,
/// `vectors_per_code` count.
template <PlainTensor V>
KMeans<V> k_means_from(const V& x, const V& codewords, const KMeansOptions& options = {}, Key key = {}) {
  detail::check_vectors(x, "k_means_from");
  detail::check_k_means_options(options);
  kolmo::detail::check_nearest_shapes(x.shape(), codewords.shape(), "k_means_from");
  KMeans<V> result;
  const V sample = options.vectors_per_code == 0
                       ? x.contiguous()
                       : detail::drawn_rows(x, options.vectors_per_code * codewords.extent(0), key);
  detail::iterate(sample, codewords, options, result);
  return result;
}

}  // namespace kolmo::rvq
