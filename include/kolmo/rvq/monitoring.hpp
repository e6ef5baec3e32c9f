#pragma once
// What to watch while a codebook is trained, as numbers: use of the codes, the scale of codewords against that of their
// vectors, and alarms. Everything is relative to the input: a good codebook of heavy-tailed vectors has a deviation
// far from one and extremes of tens, so fixed limits say nothing.
//
// A StageMonitor gathers a window of batches (add), and `report` turns it into a StageReport whose names are columns of
// a log. On held-out vectors the same two calls measure a finished codebook.

#include <string>
#include <vector>

#include <kolmo/rvq/codebook_update.hpp>
#include <kolmo/rvq/stage_report.hpp>

namespace kolmo::rvq::detail {

/// Sum, sum of squares, least and largest number of a row that counts; 0, 0, inf, -inf of one that does not.
template <class T>
struct RowMomentsKernel {
  const T* x;
  const T* errors;
  double* moments;
  index_t columns;
  KOLMO_HD void operator()(index_t row) const {
    double sum = 0, squares = 0, least = kolmo::detail::infinity<double>(), most = -kolmo::detail::infinity<double>();
    if (errors[row] >= T(0) || !(errors[row] == errors[row]))
      for (index_t i = 0; i < columns; ++i) {
        const double value = static_cast<double>(x[row * columns + i]);
        sum += value;
        squares += value * value;
        least = smaller(least, value);
        most = larger(most, value);
      }
    double* to = moments + 4 * row;
    to[0] = sum;
    to[1] = squares;
    to[2] = least;
    to[3] = most;
  }
};

}  // namespace kolmo::rvq::detail

namespace kolmo::rvq {

/// A window of batches of one stage. Monitors of several workers merge into that of all.
struct StageMonitor {
  index_t window = 50;  ///< batches after which `full` says so
  std::vector<std::int64_t> hits;
  std::vector<double> sums;  ///< of the vectors of every code
  double input_sum = 0, input_squares = 0;
  double input_min = std::numeric_limits<double>::infinity(), input_max = -std::numeric_limits<double>::infinity();
  double error_sum = 0;  ///< of squared errors
  index_t vectors = 0;
  index_t batches = 0;
  index_t replaced = 0;
  double batch_perplexity = 0;       ///< of the last batch
  double largest_input = 0;          ///< in size, over all windows
  std::vector<double> perplexities;  ///< of the windows before, the last at the end

  static void fields(auto&& f, auto&... s) {
    f(option("window"), s.window...);
    f(state("hits"), s.hits...);
    f(state("sums"), s.sums...);
    f(state("input_sum"), s.input_sum...);
    f(state("input_squares"), s.input_squares...);
    f(state("input_min"), s.input_min...);
    f(state("input_max"), s.input_max...);
    f(state("error_sum"), s.error_sum...);
    f(state("vectors"), s.vectors...);
    f(state("batches"), s.batches...);
    f(state("replaced"), s.replaced...);
    f(state("batch_perplexity"), s.batch_perplexity...);
    f(state("largest_input"), s.largest_input...);
    f(state("perplexities"), s.perplexities...);
  }

  bool full() const { return batches >= window; }

  /// One batch: what `collect` gathered, and what the update made of it. Without an update, as on held-out vectors,
  /// leave the report out. Throws ShapeError for statistics of another codebook than before.
  template <PlainTensor V>
  void add(const UpdateStatistics<V>& statistics, const UpdateReport& report = {}) {
    const std::vector<double> batch_hits = statistics.hits.to_vector(), batch_sums = statistics.sums.to_vector();
    if (hits.empty()) {
      hits.resize(batch_hits.size());
      sums.resize(batch_sums.size());
    }
    if (hits.size() != batch_hits.size() || sums.size() != batch_sums.size())
      throw ShapeError("StageMonitor: the window is of a codebook of " + std::to_string(hits.size()) +
                       " codes, the statistics of one " + statistics.sums.shape().to_string() +
                       "; use a monitor for every stage");
    for (std::size_t k = 0; k < hits.size(); ++k) hits[k] += static_cast<std::int64_t>(batch_hits[k]);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += batch_sums[i];
    using Sums = typename UpdateStatistics<V>::Sums;
    const V rows = statistics.candidates.contiguous();
    const index_t n = rows.shape()[0], columns = rows.shape()[1];
    Sums moments = Sums::uninitialized(Shape{n, 4});
    V::Backend::for_each(n, detail::RowMomentsKernel<typename V::Scalar>{rows.data(), statistics.errors.data(),
                                                                         moments.mutable_data(), columns});
    const std::vector<double> moment = moments.to_vector();
    for (std::size_t i = 0; i < moment.size(); i += 4) {
      input_sum += moment[i];
      input_squares += moment[i + 1];
      input_min = smaller(input_min, moment[i + 2]);
      input_max = larger(input_max, moment[i + 3]);
    }
    for (const auto error : statistics.errors.to_vector()) {
      if (error < 0) continue;
      error_sum += static_cast<double>(error);
      ++vectors;
    }
    largest_input = larger(largest_input, larger(abs(input_min), abs(input_max)));
    batch_perplexity = detail::perplexity(batch_hits);
    replaced += static_cast<index_t>(report.replaced.size());
    ++batches;
  }

  /// The window of another worker, of the same batches.
  void merge(const StageMonitor& other) {
    if (other.hits.empty()) return;
    if (hits.empty()) {
      hits.resize(other.hits.size());
      sums.resize(other.sums.size());
    }
    if (hits.size() != other.hits.size() || sums.size() != other.sums.size())
      throw ShapeError("StageMonitor: windows of codebooks of " + std::to_string(hits.size()) + " and " +
                       std::to_string(other.hits.size()) + " codes");
    for (std::size_t k = 0; k < hits.size(); ++k) hits[k] += other.hits[k];
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += other.sums[i];
    input_sum += other.input_sum;
    input_squares += other.input_squares;
    input_min = smaller(input_min, other.input_min);
    input_max = larger(input_max, other.input_max);
    error_sum += other.error_sum;
    vectors += other.vectors;
    largest_input = larger(largest_input, other.largest_input);
  }

  /// Begins the next window and remembers what alarms need of this one.
  void next_window(const StageReport& report) {
    constexpr std::size_t remembered = 5;
    if (perplexities.size() >= remembered) perplexities.erase(perplexities.begin());
    perplexities.push_back(report.perplexity);
    StageMonitor fresh;
    fresh.window = window;
    fresh.largest_input = largest_input;
    fresh.perplexities = std::move(perplexities);
    *this = std::move(fresh);
  }
};

/// The numbers of a window for the codebook as it is now. Throws ArgumentError for a window without vectors, ShapeError
/// for a codebook of another shape.
template <PlainTensor V>
StageReport report(const StageMonitor& monitor, const Codebook<V>& book) {
  const auto codes = static_cast<std::size_t>(book.codes()), columns = static_cast<std::size_t>(book.dimension());
  if (monitor.vectors == 0) throw ArgumentError("report: the window holds no vectors; add batches first");
  if (monitor.hits.size() != codes || monitor.sums.size() != codes * columns)
    throw ShapeError("report: the window is of a codebook of " + std::to_string(monitor.hits.size()) +
                     " codes, given one " + book.codewords.shape().to_string());
  std::vector<double> words, counts, hits;
  for (const auto x : book.codewords.to_vector()) words.push_back(static_cast<double>(x));
  for (const auto x : book.counts.to_vector()) counts.push_back(static_cast<double>(x));
  for (const std::int64_t h : monitor.hits) hits.push_back(static_cast<double>(h));
  const double vectors = static_cast<double>(monitor.vectors), numbers = vectors * static_cast<double>(columns);
  StageReport r;
  r.codes = static_cast<double>(codes);
  r.batches = static_cast<double>(monitor.batches);
  r.vectors = vectors;
  r.vectors_per_code = vectors / r.codes / larger(1.0, r.batches);
  r.batch_perplexity = monitor.batch_perplexity;
  r.expired = static_cast<double>(monitor.replaced);
  detail::report_usage(hits, counts, r);
  detail::report_codewords(words, columns, r);

  r.input_mean = monitor.input_sum / numbers;
  r.input_std = sqrt(larger(0.0, monitor.input_squares / numbers - r.input_mean * r.input_mean));
  r.input_min = monitor.input_min;
  r.input_max = monitor.input_max;
  r.scale_ratio = detail::ratio(r.codebook_std, r.input_std);
  r.mse = monitor.error_sum / numbers;
  r.gain_db = 10 * log(detail::ratio(monitor.input_squares / numbers, r.mse)) / log(10.0);

  // Variance about the mean vector, of the input and of the codewords weighted by their use.
  double input_mean_squares = 0, word_squares = 0, word_mean_squares = 0, drift = 0, hit_codes = 0;
  std::vector<double> input_means(columns), word_means(columns);
  for (std::size_t k = 0; k < codes; ++k) {
    if (hits[k] == 0) continue;
    ++hit_codes;
    for (std::size_t i = 0; i < columns; ++i) {
      const double word = words[k * columns + i], sum = monitor.sums[k * columns + i];
      input_means[i] += sum / vectors;
      word_means[i] += hits[k] * word / vectors;
      word_squares += hits[k] * word * word / vectors;
      drift += (word - sum / hits[k]) * (word - sum / hits[k]);
    }
  }
  for (std::size_t i = 0; i < columns; ++i) {
    input_mean_squares += input_means[i] * input_means[i];
    word_mean_squares += word_means[i] * word_means[i];
  }
  const double dimension = static_cast<double>(columns);
  const double input_variance = monitor.input_squares / numbers - input_mean_squares / dimension;
  const double word_variance = (word_squares - word_mean_squares) / dimension;
  r.identity_gap = detail::ratio(abs(input_variance - word_variance - r.mse), input_variance);
  r.drift = sqrt(detail::ratio(drift / (hit_codes * dimension), r.mse));

  double grown = 0, grown_unused = 0;
  const auto ages = book.ages.to_vector();
  for (std::size_t k = 0; k < codes; ++k) {
    if (static_cast<double>(ages[k]) < static_cast<double>(book.options.grace)) continue;
    ++grown;
    grown_unused += hits[k] == 0 ? 1 : 0;
  }
  detail::raise_alarms(r, grown > 0 ? grown_unused / grown : 0, monitor.largest_input, monitor.perplexities);
  return r;
}

}  // namespace kolmo::rvq
