#pragma once
// The iteration of Lloyd (1957, 1982) between codewords and the vectors nearest to them.

#include <algorithm>
#include <numeric>

#include <kolmo/ops/groups.hpp>
#include <kolmo/ops/nearest.hpp>

namespace kolmo::rvq::detail {

/// |x_i - c|^2 for the codeword of every vector.
template <class T>
struct RowErrorKernel {
  const T* x;
  const T* codewords;
  const std::int32_t* codes;
  double* errors;
  index_t d;
  KOLMO_HD void operator()(index_t i) const {
    const T* centre = codewords + static_cast<index_t>(codes[i]) * d;
    double sum = 0.0;
    for (index_t j = 0; j < d; ++j) {
      const double shift = static_cast<double>(x[i * d + j]) - static_cast<double>(centre[j]);
      sum += shift * shift;
    }
    errors[i] = sum;
  }
};

/// The better of the two nearest codewords when the distance of a vector's own one counts `factor` times.
template <class T>
struct LeaveOneOutKernel {
  const T* x;
  const T* codewords;
  const T* factors;
  const std::int32_t* own;
  const std::int32_t* nearest;  // [n, 2]
  std::int32_t* codes;
  index_t d;
  KOLMO_HD void operator()(index_t i) const {
    const std::int32_t first = nearest[2 * i], second = nearest[2 * i + 1];
    const bool stays = first != own[i] || factors[first] * distance(i, first) <= distance(i, second);
    codes[i] = stays ? first : second;
  }
  KOLMO_HD T distance(index_t i, std::int32_t code) const {
    constexpr int lanes = 16;
    const T *row = x + i * d, *centre = codewords + static_cast<index_t>(code) * d;
    T part[lanes] = {};
    index_t j = 0;
    for (; j + lanes <= d; j += lanes)
      for (int l = 0; l < lanes; ++l) part[l] += (row[j + l] - centre[j + l]) * (row[j + l] - centre[j + l]);
    for (; j < d; ++j) part[j % lanes] += (row[j] - centre[j]) * (row[j] - centre[j]);
    T sum = T(0);
    for (int l = 0; l < lanes; ++l) sum += part[l];
    return sum;
  }
};

/// Lloyd's iteration with the state that callers may need between its steps.
template <PlainTensor V>
class Lloyd {
  using T = typename V::Scalar;
  using B = typename V::Backend;

 public:
  Lloyd(const V& x, const V& codewords) : x_(x.contiguous()), codewords_(codewords.contiguous()) {}

  const V& codewords() const { return codewords_; }
  const Tensor<std::int32_t, B>& codes() const { return codes_; }
  const std::vector<index_t>& counts() const { return counts_; }
  double mse() const { return mse_; }

  /// Gives every vector its nearest codeword.
  void assign() { accept(nearest_rows(x_, codewords_, half_squared_norms(codewords_)).index); }

  /// The same, but a vector compares its own codeword as if that were the mean of the other n - 1 vectors: its squared
  /// distance counts (n / (n - 1))^2 times. What drew a codeword to itself does not then keep the vector there, so that
  /// means of few vectors fit new ones better, and iterations escape minima of Lloyd's (after Hartigan 1975, for all
  /// vectors at once). The first time it is `assign`.
  void assign_leave_one_out() {
    if (counts_.empty() || codewords_.extent(0) < 2) return assign();
    const auto nearest = nearest_rows(x_, codewords_, half_squared_norms(codewords_), 2);
    auto factors = std::vector<T>(counts_.size());
    for (std::size_t k = 0; k < factors.size(); ++k) {
      const double n = static_cast<double>(counts_[k]), factor = n / larger(n - 1.0, 0.5);
      factors[k] = static_cast<T>(factor * factor);
    }
    const auto there = V::from(std::span<const T>(factors), Shape{codewords_.extent(0)});
    auto codes = Tensor<std::int32_t, B>::uninitialized(Shape{x_.extent(0)});
    B::for_each(x_.extent(0), LeaveOneOutKernel<T>{x_.data(), codewords_.data(), there.data(), codes_.data(),
                                                   nearest.index.data(), codes.mutable_data(), x_.extent(1)});
    accept(codes);
  }

  /// Moves every codeword to the mean of its vectors, and those without any to the vectors served worst.
  void update() {
    std::vector<T> next = codewords_.to_vector();
    const std::vector<double> sums = sums_.to_vector();
    const auto d = static_cast<std::size_t>(x_.extent(1));
    std::vector<std::size_t> empty;
    for (std::size_t k = 0; k < counts_.size(); ++k) {
      if (counts_[k] == 0) empty.push_back(k);
      for (std::size_t j = 0; counts_[k] > 0 && j < d; ++j)
        next[k * d + j] =
            static_cast<T>(static_cast<double>(next[k * d + j]) + sums[k * d + j] / static_cast<double>(counts_[k]));
    }
    if (!empty.empty()) fill(empty, next);
    codewords_ = V::from(std::span<const T>(next), codewords_.shape());
  }

 private:
  void accept(const Tensor<std::int32_t, B>& codes) {
    codes_ = codes;
    const RowGroups<B> groups = group_rows(codes_, codewords_.extent(0));
    const GroupSums<B> found = group_sums(x_, groups, codewords_);
    sums_ = found.sums;
    const std::vector<index_t> starts = groups.starts.to_vector();
    counts_.resize(starts.size() - 1);
    for (std::size_t k = 0; k < counts_.size(); ++k) counts_[k] = starts[k + 1] - starts[k];
    const std::vector<double> squares = found.squares.to_vector();
    mse_ = std::accumulate(squares.begin(), squares.end(), 0.0) / static_cast<double>(x_.size());
  }

  /// Every empty cluster takes another vector, those with the largest errors, as long as there are any.
  void fill(const std::vector<std::size_t>& empty, std::vector<T>& next) const {
    auto errors = Tensor<double, B>::uninitialized(Shape{x_.extent(0)});
    B::for_each(x_.extent(0),
                RowErrorKernel<T>{x_.data(), codewords_.data(), codes_.data(), errors.mutable_data(), x_.extent(1)});
    const std::vector<double> error = errors.to_vector();
    std::vector<index_t> order(error.size());
    std::iota(order.begin(), order.end(), index_t{0});
    std::stable_sort(order.begin(), order.end(), [&](index_t a, index_t b) {
      return error[static_cast<std::size_t>(a)] > error[static_cast<std::size_t>(b)];
    });
    const auto d = static_cast<std::size_t>(x_.extent(1));
    std::vector<std::vector<T>> taken;
    auto candidate = order.begin();
    for (const std::size_t k : empty) {
      for (; candidate != order.end() && error[static_cast<std::size_t>(*candidate)] > 0.0; ++candidate) {
        const std::vector<T> row = x_.view(Shape{x_.extent(1)}, Strides{1}, *candidate * x_.extent(1)).to_vector();
        if (std::find(taken.begin(), taken.end(), row) != taken.end()) continue;
        std::copy(row.begin(), row.end(), next.begin() + static_cast<std::ptrdiff_t>(k * d));
        taken.push_back(row);
        ++candidate;
        break;
      }
    }
  }

  V x_, codewords_;
  Tensor<std::int32_t, B> codes_;
  Tensor<double, B> sums_;
  std::vector<index_t> counts_;
  double mse_ = 0.0;
};

/// Mean squared error per element of the rows of x and their nearest codewords.
template <PlainTensor V>
double nearest_mse(const V& x, const V& codewords) {
  Lloyd<V> lloyd(x, codewords);
  lloyd.assign();
  return lloyd.mse();
}

}  // namespace kolmo::rvq::detail
