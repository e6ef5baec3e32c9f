#pragma once
// Rules by which a bug report on a residual quantizer moved its codewords, beside the update of the library. They are
// here to be compared; most of them are wrong. With n_k the vectors of a batch that chose code k and s_k their sum,
// decay g, S the average of sums and N that of counts, both starting at S = c, N = 0:
//
//   printed        N += (1 - g) n, S += (1 - g) s,        c = S / max(N, 1)      forgets nothing
//   ran            N = g N + (1 - g) n, S likewise,       c = S / max(N, 1)
//   raw_count      S as above,                            c = S / max(n, 1)
//   no_division    S as above,                            c = S
//   tiny_epsilon   N, S as above,                         c = S / (N + 1e-5)
//   mean_of_means  c = g c + (1 - g) s / n for the codes chosen
//   clamp_ten      N, S as above,                         c = S / max(N, 10)
//   ratio          the library's update without replacement
//   algorithm      the library's update

#include <string>
#include <vector>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/rvq/codebook_start.hpp>
#include <kolmo/rvq/monitoring.hpp>

namespace rules {

using kolmo::index_t;
using kolmo::Key;
using Matrix = kolmo::Tensor<float, kolmo::Cpu>;
using Book = kolmo::rvq::Codebook<Matrix>;

enum class Rule { printed, ran, raw_count, no_division, tiny_epsilon, mean_of_means, clamp_ten, ratio, algorithm };

inline constexpr Rule all_rules[] = {Rule::printed,     Rule::ran,          Rule::raw_count,
                                     Rule::no_division, Rule::tiny_epsilon, Rule::mean_of_means,
                                     Rule::clamp_ten,   Rule::ratio,        Rule::algorithm};

inline const char* name_of(Rule rule) {
  constexpr const char* names[] = {"printed",       "ran",       "raw_count", "no_division", "tiny_epsilon",
                                   "mean_of_means", "clamp_ten", "ratio",     "algorithm"};
  return names[static_cast<int>(rule)];
}

/// For people who know the report.
inline const char* describe(Rule rule) {
  constexpr const char* texts[] = {"as printed: no decay",
                                   "what ran",
                                   "option A: batch count",
                                   "option B: no division",
                                   "option C: N + 1e-5",
                                   "final A: mean of means",
                                   "final B: clamp at 10",
                                   "ratio, no replacement",
                                   "algorithm"};
  return texts[static_cast<int>(rule)];
}

/// One codebook in training by one rule.
struct Run {
  Rule rule;
  Book book;
  std::vector<double> sums, counts;
  double peak = 0;  ///< largest number of a codeword in any update

  Run(Rule which, const Matrix& codewords)
      : rule(which),
        book(codewords.shape()[1], options(which, codewords.shape()[0])),
        counts(static_cast<std::size_t>(codewords.shape()[0])) {
    kolmo::rvq::set_codewords(book, codewords, 0);
    for (const float c : codewords.to_vector()) sums.push_back(static_cast<double>(c));
  }

  static kolmo::rvq::CodebookOptions options(Rule rule, index_t codes) {
    kolmo::rvq::CodebookOptions result{.codes = codes};
    if (rule == Rule::ratio) result.dead_threshold = 0;
    return result;
  }

  kolmo::rvq::UpdateReport update(const kolmo::rvq::UpdateStatistics<Matrix>& statistics, Key key) {
    kolmo::rvq::UpdateReport report;
    if (rule == Rule::ratio || rule == Rule::algorithm) {
      report = kolmo::rvq::update(book, statistics, key);
    } else {
      report_rule(statistics.hits.to_vector(), statistics.sums.to_vector());
    }
    for (const float c : book.codewords.to_vector()) peak = kolmo::larger(peak, kolmo::abs(static_cast<double>(c)));
    return report;
  }

  /// One step on a batch: search, then the update.
  kolmo::rvq::UpdateReport step(const Matrix& x, Key key) {
    return update(kolmo::rvq::collect(book, x, kolmo::rvq::assign(book, x).codes), key);
  }

  /// What the reported program did every so many steps: codes whose count is below a fixed number become small random
  /// vectors. Returns how many.
  index_t reset(double threshold, Key key) {
    std::vector<float> words = book.codewords.to_vector();
    const std::size_t columns = words.size() / counts.size();
    index_t wiped = 0;
    for (std::size_t k = 0; k < counts.size(); ++k) {
      if (counts[k] >= threshold) continue;
      ++wiped;
      counts[k] = 0;
      for (std::size_t i = k * columns; i < (k + 1) * columns; ++i) {
        words[i] = 0.01f * kolmo::normal<float>(key, i);
        sums[i] = 0;
      }
    }
    book.codewords = Matrix::from(std::span<const float>(words), book.codewords.shape());
    return wiped;
  }

 private:
  void report_rule(const std::vector<double>& hits, const std::vector<double>& batch_sums) {
    std::vector<float> words = book.codewords.to_vector();
    const std::size_t columns = words.size() / hits.size();
    const double rate = 1 - book.options.decay, keep = rule == Rule::printed ? 1 : book.options.decay;
    for (std::size_t k = 0; k < hits.size(); ++k) {
      counts[k] = keep * counts[k] + rate * hits[k];
      double divisor = kolmo::larger(counts[k], 1.0);
      if (rule == Rule::raw_count) divisor = kolmo::larger(hits[k], 1.0);
      if (rule == Rule::no_division) divisor = 1;
      if (rule == Rule::tiny_epsilon) divisor = counts[k] + 1e-5;
      if (rule == Rule::clamp_ten) divisor = kolmo::larger(counts[k], 10.0);
      for (std::size_t i = k * columns; i < (k + 1) * columns; ++i) {
        sums[i] = keep * sums[i] + rate * batch_sums[i];
        double word = sums[i] / divisor;
        if (rule == Rule::mean_of_means)
          word = hits[k] > 0 ? keep * static_cast<double>(words[i]) + rate * batch_sums[i] / hits[k]
                             : static_cast<double>(words[i]);
        words[i] = static_cast<float>(word);
      }
    }
    book.codewords = Matrix::from(std::span<const float>(words), book.codewords.shape());
  }
};

/// Use and error of a codebook on a whole set.
inline kolmo::rvq::StageReport measure(const Book& book, const Matrix& x) {
  kolmo::rvq::StageMonitor monitor;
  monitor.add(kolmo::rvq::collect(book, x, kolmo::rvq::assign(book, x).codes));
  return kolmo::rvq::report(monitor, book);
}

/// `count` random rows of a pool.
inline Matrix random_rows(const Matrix& pool, index_t count, Key key) {
  std::vector<float> values;
  const index_t columns = pool.shape()[1];
  values.reserve(static_cast<std::size_t>(count * columns));
  for (index_t i = 0; i < count; ++i) {
    const float* row =
        pool.data() + kolmo::integer_below(key, static_cast<std::uint64_t>(i), pool.shape()[0]) * columns;
    values.insert(values.end(), row, row + columns);
  }
  return Matrix::from(std::span<const float>(values), kolmo::Shape{count, columns});
}

/// The second experiment of the report: two stages of which the second begins later, and a reset every so many steps,
/// the first step and that of the beginning included. `algorithm` in place of `ran` starts both stages from the data
/// and replaces codes by its own rule.
struct Replica {
  index_t codes, vectors, reset_every, second_from, steps;
  double threshold = 100;

  struct Step {
    index_t step;
    index_t wiped[2];  ///< by the reset in this step
    index_t below_threshold[2];
    kolmo::rvq::StageReport stages[2];
    index_t active;
  };

  /// Calls observe(Step) after the given steps, measured on the last batch.
  template <class Observe>
  void run(Rule rule, const Matrix& pool, Key key, const std::vector<index_t>& at, const Observe& observe) const {
    const index_t columns = pool.shape()[1];
    std::vector<Run> stages;
    std::size_t next = 0;
    for (index_t s = 0; s < steps && next < at.size(); ++s) {
      const Key now = kolmo::fold_in(key, static_cast<std::uint64_t>(s));
      Step result{s, {0, 0}, {0, 0}, {}, s >= second_from ? 2 : 1};
      Matrix residual = random_rows(pool, vectors, now);
      for (index_t q = 0; q < result.active; ++q) {
        const Key stage_key = kolmo::fold_in(now, static_cast<std::uint64_t>(q + 1));
        if (static_cast<index_t>(stages.size()) == q) {
          std::vector<float> start(static_cast<std::size_t>(codes * columns));
          for (std::size_t i = 0; i < start.size(); ++i) start[i] = kolmo::normal<float>(stage_key, i);
          stages.emplace_back(rule, Matrix::from(std::span<const float>(start), kolmo::Shape{codes, columns}));
          if (rule == Rule::algorithm) kolmo::rvq::start_codebook(stages.back().book, residual, stage_key);
        }
        Run& stage = stages[static_cast<std::size_t>(q)];
        const Matrix input = residual;
        const auto found = kolmo::rvq::assign(stage.book, input);
        residual = kolmo::apply(kolmo::fn::Subtract{}, input, found.reconstruction);
        stage.update(kolmo::rvq::collect(stage.book, input, found.codes), stage_key);
        if (rule != Rule::algorithm && s % reset_every == 0) result.wiped[q] = stage.reset(threshold, stage_key);
        if (s != at[next]) continue;
        if (rule == Rule::algorithm) {
          for (const float n : stage.book.counts.to_vector()) result.below_threshold[q] += n < threshold ? 1 : 0;
        } else {
          for (const double n : stage.counts) result.below_threshold[q] += n < threshold ? 1 : 0;
        }
        result.stages[q] = measure(stage.book, input);
      }
      if (s != at[next]) continue;
      observe(result);
      ++next;
    }
  }
};

}  // namespace rules
