#pragma once
// How an averaged codebook follows its vectors. With n_k the vectors of one update that chose code k, m_k their mean:
//
//   N_k <- decay N_k + (1 - decay) n_k,    c_k <- c_k + a_k (m_k - c_k),    a_k = (1 - decay) n_k / N_k
//
// which is the exponentially weighted mean of all vectors that ever chose the code (van den Oord et al. 2017, appendix
// A.1, in incremental form): codes that get nothing keep their value, and no codeword leaves the hull of the data. A
// code whose N stays far below the mean is out of use and starts again at a vector of the batch.
//
// `update` is the one call that changes the codebook; see rvq/codebook_statistics.hpp for what it is given.

#include <vector>

#include <kolmo/rvq/codebook_replacement.hpp>
#include <kolmo/rvq/codebook_statistics.hpp>

namespace kolmo::rvq {

/// What an update did.
struct UpdateReport {
  bool applied = false;           ///< false when the codebook is frozen or no vector counted
  index_t update = 0;             ///< number of the update, from 1
  index_t vectors = 0;            ///< that counted
  index_t hit_codes = 0;          ///< codes chosen by at least one of them
  double perplexity = 0;          ///< 2^entropy of the choices in this update, at most the number of vectors
  double movement = 0;            ///< root mean square change per number of the codewords by averaging
  index_t dead = 0;               ///< codes out of use whose grace has passed
  index_t refused = 0;            ///< vectors of next to no error, or copies, that were not taken for replacement
  std::vector<index_t> replaced;  ///< codes that started again
};

}  // namespace kolmo::rvq

namespace kolmo::rvq::detail {

/// c <- (1 - a) c + a s / n for the rows with hits, unit vectors for the cosine distance; the squares of the changes.
/// At a = 1 the mean itself, exactly.
template <class T>
struct MoveCodewordsKernel {
  T* codewords;
  const double* hits;
  const double* sums;
  const double* rates;
  double* changes;
  index_t columns;
  bool unit;
  KOLMO_HD void operator()(index_t k) const {
    double change = 0;
    if (hits[k] > 0) {
      T* word = codewords + k * columns;
      const double* sum = sums + k * columns;
      const double rate = rates[k], keep = 1 - rate, share = 1 / hits[k];
      double factor = 1;
      if (unit) {
        double squares = 0;
        for (index_t i = 0; i < columns; ++i) {
          const double moved = keep * static_cast<double>(word[i]) + rate * (sum[i] * share);
          squares += moved * moved;
        }
        const double length = sqrt(squares);
        // Opposite directions that cancel leave no direction.
        factor = length < shortest_vector ? 0 : 1 / length;
      }
      if (factor > 0)
        for (index_t i = 0; i < columns; ++i) {
          const double before = static_cast<double>(word[i]);
          word[i] = static_cast<T>(factor * (keep * before + rate * (sum[i] * share)));
          const double step = static_cast<double>(word[i]) - before;
          change += step * step;
        }
    }
    changes[k] = change;
  }
};

struct LoadNumber {
  const double* values;
  KOLMO_HD double operator()(index_t, index_t c) const { return values[c]; }
};
struct LoadNonFinite {
  const double* values;
  KOLMO_HD double operator()(index_t, index_t c) const { return is_finite(values[c]) ? 0 : 1; }
};

template <class Load, PlainTensor D>
double total(const D& values) {
  if (values.size() == 0) return 0;
  D result = D::uninitialized(Shape{});
  D::Backend::reduce(1, values.size(), Load{values.data()}, kolmo::detail::SumCombine{}, 0.0,
                     kolmo::detail::StoreRow<double>{result.mutable_data()});
  return result.item();
}

template <PlainTensor V>
void check_update(const Codebook<V>& book, const UpdateStatistics<V>& statistics, const char* operation) {
  book.validate();
  if (!book.initialised)
    throw ArgumentError(std::string(operation) +
                        ": the codebook has not been started; call start_codebook with vectors first");
  if (!(statistics.hits.shape() == book.counts.shape()) || !(statistics.sums.shape() == book.codewords.shape()))
    throw ShapeError(std::string(operation) + ": the statistics are of a codebook " +
                     statistics.sums.shape().to_string() + ", this one is " + book.codewords.shape().to_string() +
                     "; collect them with the codebook that is updated");
  if (total<LoadNonFinite>(statistics.sums) > 0)
    throw ArgumentError(std::string(operation) +
                        ": the sums of the vectors are not finite; the codebook is unchanged. Skip batches with NaN, "
                        "infinities or numbers that overflow");
}

/// The part of an update that all rules share: N, ages and last hits, on the host.
struct CodeCounts {
  std::vector<double> counts, ages, last_hits;
};

template <PlainTensor V>
CodeCounts advance_counts(Codebook<V>& book, const std::vector<double>& hits, UpdateReport& report) {
  using T = typename V::Scalar;
  CodeCounts result;
  const double keep = book.options.decay, rate = 1 - keep;
  report.applied = true;
  report.update = ++book.updates;
  const auto counts = book.counts.to_vector(), ages = book.ages.to_vector(), last_hits = book.last_hits.to_vector();
  double sum = 0, logs = 0;
  for (std::size_t k = 0; k < hits.size(); ++k) {
    result.counts.push_back(keep * static_cast<double>(counts[k]) + rate * hits[k]);
    result.ages.push_back(static_cast<double>(ages[k]) + 1);
    result.last_hits.push_back(hits[k] > 0 ? static_cast<double>(book.updates) : static_cast<double>(last_hits[k]));
    sum += hits[k];
    if (hits[k] > 0) {
      ++report.hit_codes;
      logs += hits[k] * log(hits[k]);
    }
  }
  report.vectors = static_cast<index_t>(sum);
  report.perplexity = exp(log(sum) - logs / sum);
  const auto store = [](V& to, const std::vector<double>& from) {
    std::vector<T> values;
    for (const double x : from) values.push_back(static_cast<T>(x));
    to = V::from(std::span<const T>(values), to.shape());
  };
  store(book.counts, result.counts);
  store(book.ages, result.ages);
  store(book.last_hits, result.last_hits);
  return result;
}

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// One update of an averaged codebook, once per step of the optimiser, after the outputs of the step are formed:
/// counts, codewords, ages, and codes out of use started again at vectors of the batch drawn with `key`. Of a codebook
/// trained by gradient only counts, ages and hits are kept: its codewords are the optimiser's. Frozen, or without a
/// vector that counts, nothing changes. Throws ShapeError, and ArgumentError for a codebook that has not been started
/// and for sums that are not finite; the codebook is then unchanged.
template <PlainTensor V>
UpdateReport update(Codebook<V>& book, const UpdateStatistics<V>& statistics, Key key) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  using Sums = Tensor<double, B>;
  detail::check_update(book, statistics, "update");
  UpdateReport report;
  const std::vector<double> hits = statistics.hits.to_vector();
  if (book.frozen || detail::total<detail::LoadNumber>(statistics.hits) == 0) return report;
  detail::CodeCounts counts = detail::advance_counts(book, hits, report);
  if (book.options.training == CodebookTraining::gradient) return report;
  std::vector<double> rates;
  for (std::size_t k = 0; k < hits.size(); ++k)
    rates.push_back(hits[k] > 0 ? (1 - book.options.decay) * hits[k] / counts.counts[k] : 0);
  const auto rate = Sums::from(std::span<const double>(rates), Shape{book.codes()});
  auto changes = Sums::uninitialized(Shape{book.codes()});
  book.codewords = book.codewords.contiguous();
  B::for_each(book.codes(),
              detail::MoveCodewordsKernel<T>{book.codewords.mutable_data(), statistics.hits.data(),
                                             statistics.sums.data(), rate.data(), changes.mutable_data(),
                                             book.dimension(), book.options.distance == Distance::cosine});
  report.movement = sqrt(detail::total<detail::LoadNumber>(changes) / static_cast<double>(book.codewords.size()));
  detail::replace_dead_codes(book, statistics.candidates, statistics.errors, counts.counts, counts.ages, key, report);
  return report;
}

/// Sums S = N c for the classical form of the average. Any other start destroys the codebook at its first update.
template <PlainTensor V>
V weighted_sums(const Codebook<V>& book) {
  return apply(fn::Multiply{}, book.codewords, book.counts.reshaped(Shape{book.codes(), 1}));
}

/// One update in the classical form, for states that hold sums S [K, d] beside the counts:
///
///   S <- decay S + (1 - decay) s,    c = S / N~,    N~ = (N + epsilon) / (sum N + K epsilon) sum N.
///
/// It agrees with `update` to rounding, and replaces nothing. A code with N = 0 keeps its value. Throws as update.
template <PlainTensor V>
UpdateReport update_ratio(Codebook<V>& book, V& sums, const UpdateStatistics<V>& statistics) {
  using T = typename V::Scalar;
  detail::check_update(book, statistics, "update_ratio");
  if (!(sums.shape() == book.codewords.shape()))
    throw ShapeError("update_ratio: expected sums " + book.codewords.shape().to_string() + ", given " +
                     sums.shape().to_string());
  UpdateReport report;
  const std::vector<double> hits = statistics.hits.to_vector();
  if (book.frozen || detail::total<detail::LoadNumber>(statistics.hits) == 0) return report;
  const detail::CodeCounts counts = detail::advance_counts(book, hits, report);
  const double keep = book.options.decay, epsilon = book.options.epsilon;
  double all = 0;
  for (const double n : counts.counts) all += n;
  std::vector<T> words = book.codewords.to_vector(), averages = sums.to_vector();
  const std::vector<double> added = statistics.sums.to_vector();
  const auto columns = static_cast<std::size_t>(book.dimension());
  double change = 0;
  for (std::size_t k = 0; k < hits.size(); ++k) {
    const double count = (counts.counts[k] + epsilon) / (all + static_cast<double>(hits.size()) * epsilon) * all;
    for (std::size_t i = k * columns; i < (k + 1) * columns; ++i) {
      const double sum = keep * static_cast<double>(averages[i]) + (1 - keep) * added[i];
      averages[i] = static_cast<T>(sum);
      if (!(counts.counts[k] > 0)) continue;
      const T word = static_cast<T>(sum / count);
      change += (static_cast<double>(word) - static_cast<double>(words[i])) *
                (static_cast<double>(word) - static_cast<double>(words[i]));
      words[i] = word;
    }
  }
  report.movement = sqrt(change / static_cast<double>(words.size()));
  sums = V::from(std::span<const T>(averages), sums.shape());
  book.codewords = V::from(std::span<const T>(words), book.codewords.shape());
  if (book.options.distance == Distance::cosine) book.codewords = detail::unit_rows(book.codewords);
  return report;
}

}  // namespace kolmo::rvq
