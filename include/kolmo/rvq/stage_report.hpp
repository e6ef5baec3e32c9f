#pragma once
// The numbers of one stage over a window of batches, with the names under which logs keep them.

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <kolmo/core/math.hpp>

namespace kolmo::rvq {

/// What a stage did in a window. Alarms are 0 or 1.
struct StageReport {
  double codes = 0;  ///< K
  double batches = 0;
  double vectors = 0;
  double vectors_per_code = 0;    ///< in one batch: a perplexity above the vectors of its window is not possible
  double entropy = 0;             ///< of the choices, in bits
  double perplexity = 0;          ///< 2^entropy over the window
  double uniform_perplexity = 0;  ///< what equally likely codes would show: about K exp(-(K - 1) / (2 vectors))
  double batch_perplexity = 0;    ///< of the last batch
  double utilisation = 0;         ///< share of the codes chosen in the window
  double dead = 0;                ///< share of those not chosen
  double expired = 0;             ///< codes that started again
  double duplicates = 0;          ///< codes with another closer than 1e-6 codebook_std
  double max_over_mean = 0;       ///< hits of the most used code over the mean
  double top10_share = 0;         ///< of the hits, by the ten most used codes
  double count_q01 = 0, count_q10 = 0, count_q50 = 0, count_q90 = 0, count_q99 = 0;  ///< quantiles of N over its mean
  double codebook_mean = 0, codebook_std = 0, codebook_min = 0, codebook_max = 0;
  double codebook_norm = 0;  ///< mean length of the codewords
  double input_mean = 0, input_std = 0, input_min = 0, input_max = 0;
  double scale_ratio = 0;   ///< codebook_std / input_std
  double mse = 0;           ///< per number; the value of the commitment and the codebook loss before their weights
  double gain_db = 0;       ///< mean square of the input over that of what is left
  double identity_gap = 0;  ///< |Var(input) - Var(codewords as used) - mse| / Var(input): 0 where codewords are means
  double drift = 0;         ///< rms distance of the chosen codewords to the means of their vectors, over sqrt(mse)
  double alarm_non_finite = 0;
  double alarm_scale = 0;       ///< scale_ratio outside [0.1, 3]
  double alarm_range = 0;       ///< a codeword 5 % larger than any input seen
  double alarm_dead = 0;        ///< more than 20 % of the codes past their grace were not chosen
  double alarm_perplexity = 0;  ///< fell for five windows in a row
  double alarm_identity = 0;    ///< identity_gap above 0.2

  /// Calls f(name, value) for every number.
  template <class F>
  void each(const F& f) const {
    f("codes", codes);
    f("batches", batches);
    f("vectors", vectors);
    f("vectors_per_code", vectors_per_code);
    f("entropy", entropy);
    f("perplexity", perplexity);
    f("uniform_perplexity", uniform_perplexity);
    f("batch_perplexity", batch_perplexity);
    f("utilisation", utilisation);
    f("dead", dead);
    f("expired", expired);
    f("duplicates", duplicates);
    f("max_over_mean", max_over_mean);
    f("top10_share", top10_share);
    f("count_q01", count_q01);
    f("count_q10", count_q10);
    f("count_q50", count_q50);
    f("count_q90", count_q90);
    f("count_q99", count_q99);
    f("codebook_mean", codebook_mean);
    f("codebook_std", codebook_std);
    f("codebook_min", codebook_min);
    f("codebook_max", codebook_max);
    f("codebook_norm", codebook_norm);
    f("input_mean", input_mean);
    f("input_std", input_std);
    f("input_min", input_min);
    f("input_max", input_max);
    f("scale_ratio", scale_ratio);
    f("mse", mse);
    f("gain_db", gain_db);
    f("identity_gap", identity_gap);
    f("drift", drift);
    f("alarm_non_finite", alarm_non_finite);
    f("alarm_scale", alarm_scale);
    f("alarm_range", alarm_range);
    f("alarm_dead", alarm_dead);
    f("alarm_perplexity", alarm_perplexity);
    f("alarm_identity", alarm_identity);
  }

  /// Columns of a log: the prefix, such as "q0_", before every name.
  static std::vector<std::string> names(const std::string& prefix = "") {
    std::vector<std::string> result;
    StageReport{}.each([&](const char* name, double) { result.push_back(prefix + name); });
    return result;
  }
  /// In the order of the names.
  std::vector<double> values() const {
    std::vector<double> result;
    each([&](const char*, double value) { result.push_back(value); });
    return result;
  }

  bool alarm() const {
    return alarm_non_finite + alarm_scale + alarm_range + alarm_dead + alarm_perplexity + alarm_identity > 0;
  }
};

/// Entropy of all stages over the bits that their codes take; 1 leaves nothing to an entropy coder. Meaningful on
/// held-out vectors.
inline double bitrate_efficiency(std::span<const StageReport> stages) {
  double entropy = 0, bits = 0;
  for (const StageReport& stage : stages) {
    entropy += stage.entropy;
    bits += log(stage.codes) / log(2.0);
  }
  return bits > 0 ? entropy / bits : 0;
}

}  // namespace kolmo::rvq

namespace kolmo::rvq::detail {

/// a / b, and 0 / 0 = 0.
inline double ratio(double a, double b) { return a == 0 ? 0 : a / b; }

/// Entropy of counts in natural units.
inline double natural_entropy(const std::vector<double>& counts) {
  double sum = 0, logs = 0;
  for (const double n : counts) {
    sum += n;
    if (n > 0) logs += n * log(n);
  }
  return sum > 0 ? larger(0.0, log(sum) - logs / sum) : 0;
}

inline double perplexity(const std::vector<double>& counts) { return exp(natural_entropy(counts)); }

inline void report_usage(const std::vector<double>& hits, const std::vector<double>& counts, StageReport& r) {
  const double codes = static_cast<double>(hits.size());
  r.entropy = natural_entropy(hits) / log(2.0);
  r.perplexity = perplexity(hits);
  r.uniform_perplexity = codes * exp(-(codes - 1) / (2 * r.vectors));
  double sum = 0, used = 0;
  for (const double h : hits) {
    sum += h;
    used += h > 0 ? 1 : 0;
  }
  r.utilisation = used / codes;
  r.dead = 1 - r.utilisation;
  std::vector<double> sorted = hits;
  std::sort(sorted.begin(), sorted.end(), [](double a, double b) { return a > b; });
  r.max_over_mean = sorted[0] * codes / sum;
  for (std::size_t k = 0; k < sorted.size() && k < 10; ++k) r.top10_share += sorted[k] / sum;

  sorted = counts;
  std::sort(sorted.begin(), sorted.end());
  double all = 0;
  for (const double n : sorted) all += n;
  const auto quantile = [&](double q) {
    const double place = q * static_cast<double>(sorted.size() - 1);
    const auto low = static_cast<std::size_t>(place);
    const double high = sorted[low + 1 < sorted.size() ? low + 1 : low];
    return all > 0 ? (sorted[low] + (place - static_cast<double>(low)) * (high - sorted[low])) * codes / all : 0;
  };
  r.count_q01 = quantile(0.01);
  r.count_q10 = quantile(0.1);
  r.count_q50 = quantile(0.5);
  r.count_q90 = quantile(0.9);
  r.count_q99 = quantile(0.99);
}

/// Codewords with another closer than `distance`. Sorted by the sum of their numbers, in which codewords so close
/// differ by less than distance sqrt(d).
inline double close_pairs(const std::vector<double>& words, std::size_t columns, double distance) {
  if (!is_finite(distance)) return 0;
  const std::size_t codes = words.size() / columns;
  std::vector<std::pair<double, std::size_t>> order;
  for (std::size_t k = 0; k < codes; ++k) {
    double sum = 0;
    for (std::size_t i = 0; i < columns; ++i) sum += words[k * columns + i];
    order.emplace_back(sum, k);
  }
  std::sort(order.begin(), order.end());
  const double reach = distance * sqrt(static_cast<double>(columns)) * (1 + 1e-6);
  std::vector<bool> close(codes, false);
  for (std::size_t a = 0; a < codes; ++a) {
    for (std::size_t b = a + 1; b < codes && order[b].first - order[a].first <= reach; ++b) {
      if (close[order[a].second] && close[order[b].second]) continue;
      double squares = 0;
      for (std::size_t i = 0; i < columns; ++i) {
        const double step = words[order[a].second * columns + i] - words[order[b].second * columns + i];
        squares += step * step;
      }
      if (squares > distance * distance) continue;
      close[order[a].second] = close[order[b].second] = true;
    }
  }
  return static_cast<double>(std::count(close.begin(), close.end(), true));
}

inline void report_codewords(const std::vector<double>& words, std::size_t columns, StageReport& r) {
  const double count = static_cast<double>(words.size());
  double sum = 0, squares = 0;
  r.codebook_min = r.codebook_max = words[0];
  for (std::size_t k = 0; k < words.size(); k += columns) {
    double norm = 0;
    for (std::size_t i = k; i < k + columns; ++i) {
      sum += words[i];
      norm += words[i] * words[i];
      r.codebook_min = smaller(r.codebook_min, words[i]);
      r.codebook_max = larger(r.codebook_max, words[i]);
    }
    squares += norm;
    r.codebook_norm += sqrt(norm) * static_cast<double>(columns) / count;
  }
  r.codebook_mean = sum / count;
  r.codebook_std = sqrt(larger(0.0, squares / count - r.codebook_mean * r.codebook_mean));
  r.duplicates = close_pairs(words, columns, 1e-6 * r.codebook_std);
}

inline void raise_alarms(StageReport& r, double dead_after_grace, double largest_input,
                         const std::vector<double>& earlier) {
  for (const double value :
       {r.codebook_std, r.codebook_min, r.codebook_max, r.input_std, r.input_min, r.input_max, r.mse})
    if (!is_finite(value)) r.alarm_non_finite = 1;
  r.alarm_scale = r.scale_ratio >= 0.1 && r.scale_ratio <= 3 ? 0 : 1;
  r.alarm_range = larger(abs(r.codebook_min), abs(r.codebook_max)) <= 1.05 * largest_input ? 0 : 1;
  r.alarm_dead = dead_after_grace > 0.2 ? 1 : 0;
  bool falling = earlier.size() >= 5;
  for (std::size_t i = 0; i < earlier.size(); ++i)
    falling = falling && (i + 1 < earlier.size() ? earlier[i + 1] : r.perplexity) < earlier[i];
  r.alarm_perplexity = falling ? 1 : 0;
  r.alarm_identity = r.identity_gap <= 0.2 ? 0 : 1;
}

}  // namespace kolmo::rvq::detail
