#pragma once
// Codes out of use start again at vectors of the batch. A code is out of use when its count is below a part of the mean
// count, so that the size of the batch does not matter, and its grace has passed. Vectors are drawn without repetition
// by an exponential race: the smallest of -log(u_i) / w_i is a draw with probabilities w_i (Efraimidis and Spirakis
// 2006), a function of the key and of the place in the batch alone, so that workers who hold the same candidates choose
// the same.

#include <algorithm>
#include <string>
#include <unordered_set>
#include <vector>

#include <kolmo/core/random.hpp>
#include <kolmo/rvq/codebook.hpp>

namespace kolmo::rvq::detail {

/// A vector of less error than this part of the mean square length is represented already.
inline constexpr double least_relative_error = 1e-6;

/// |x|^2 of the rows that count, zero for the others.
template <class T>
struct CountedSquaresKernel {
  const T* x;
  const T* errors;
  double* squares;
  index_t columns;
  KOLMO_HD void operator()(index_t row) const {
    double sum = 0;
    if (errors[row] >= T(0))
      for (index_t i = 0; i < columns; ++i)
        sum += static_cast<double>(x[row * columns + i]) * static_cast<double>(x[row * columns + i]);
    squares[row] = sum;
  }
};

/// The places of the candidates that may be drawn, in the order in which they are: with probabilities proportional to
/// their errors, or equal ones. `refused` counts those of next to no error.
template <PlainTensor V>
std::vector<index_t> candidate_order(const V& candidates, const V& errors, Replacement how, Key key, index_t& refused) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  const index_t n = errors.size();
  auto squares = Tensor<double, B>::uninitialized(Shape{n});
  const V rows = candidates.contiguous(), row_errors = errors.contiguous();
  B::for_each(n, CountedSquaresKernel<T>{rows.data(), row_errors.data(), squares.mutable_data(), candidates.extent(1)});
  const std::vector<T> error = row_errors.to_vector();
  double sum = 0;
  index_t counted = 0;
  for (const double square : squares.to_vector()) sum += square;
  for (const T e : error) counted += e >= T(0) ? 1 : 0;
  const double least = counted > 0 ? least_relative_error * sum / static_cast<double>(counted) : 0;
  struct Runner {
    double time;
    index_t place;
  };
  std::vector<Runner> race;
  for (index_t i = 0; i < n; ++i) {
    const double e = static_cast<double>(error[static_cast<std::size_t>(i)]);
    if (e < 0) continue;
    if (!(e > 0) || e < least) {
      ++refused;
      continue;
    }
    const double weight = how == Replacement::by_error ? e : 1;
    race.push_back({-log(uniform<double>(key, static_cast<std::uint64_t>(i))) / weight, i});
  }
  std::sort(race.begin(), race.end(), [](const Runner& a, const Runner& b) {
    return a.time < b.time || (a.time == b.time && a.place < b.place);
  });
  std::vector<index_t> order;
  for (const Runner& runner : race) order.push_back(runner.place);
  return order;
}

template <class T>
std::string bytes_of(const T* row, index_t columns) {
  return std::string(reinterpret_cast<const char*>(row), static_cast<std::size_t>(columns) * sizeof(T));
}

/// Replaces the codes out of use, those of the lowest counts first and at most the share that the options allow.
/// `counts` and `ages` are those of the book, in double; Report has the fields of UpdateReport.
template <PlainTensor V, class Report>
void replace_dead_codes(Codebook<V>& book, const V& candidates, const V& errors, const std::vector<double>& counts,
                        const std::vector<double>& ages, Key key, Report& report) {
  using T = typename V::Scalar;
  using B = typename V::Backend;
  const index_t codes = book.codes(), columns = book.dimension();
  double sum = 0;
  for (const double n : counts) sum += n;
  const double mean = sum / static_cast<double>(codes);
  std::vector<index_t> dead;
  for (index_t k = 0; k < codes; ++k) {
    const auto at = static_cast<std::size_t>(k);
    if (counts[at] < book.options.dead_threshold * mean && ages[at] >= static_cast<double>(book.options.grace))
      dead.push_back(k);
  }
  report.dead = static_cast<index_t>(dead.size());
  if (dead.empty()) return;
  std::stable_sort(dead.begin(), dead.end(), [&](index_t a, index_t b) {
    return counts[static_cast<std::size_t>(a)] < counts[static_cast<std::size_t>(b)];
  });
  const auto most = static_cast<std::size_t>(
      larger<index_t>(1, static_cast<index_t>(static_cast<double>(codes) * book.options.replace_share)));
  if (dead.size() > most) dead.resize(most);

  const std::vector<T> words = book.codewords.to_vector();
  std::unordered_set<std::string> taken;
  for (index_t k = 0; k < codes; ++k) taken.insert(bytes_of(words.data() + k * columns, columns));
  std::vector<T> new_counts = book.counts.to_vector(), new_ages = book.ages.to_vector();
  std::vector<T> new_hits = book.last_hits.to_vector();
  const V rows = candidates.contiguous();
  std::size_t next = 0;
  for (const index_t place : candidate_order(candidates, errors, book.options.replacement, key, report.refused)) {
    if (next == dead.size()) break;
    const std::vector<T> vector =
        rows.view(Shape{columns}, row_major_strides(Shape{columns}), place * columns).to_vector();
    if (!taken.insert(bytes_of(vector.data(), columns)).second) {
      ++report.refused;
      continue;
    }
    const index_t k = dead[next++];
    B::upload(book.codewords.mutable_data() + k * columns, vector.data(), vector.size() * sizeof(T));
    const auto at = static_cast<std::size_t>(k);
    new_counts[at] = static_cast<T>(0.5 * mean);
    new_ages[at] = new_hits[at] = T(0);
    report.replaced.push_back(k);
  }
  if (report.replaced.empty()) return;
  book.counts = V::from(std::span<const T>(new_counts), book.counts.shape());
  book.ages = V::from(std::span<const T>(new_ages), book.ages.shape());
  book.last_hits = V::from(std::span<const T>(new_hits), book.last_hits.shape());
}

}  // namespace kolmo::rvq::detail
