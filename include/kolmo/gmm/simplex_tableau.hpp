#pragma once
// The condensed tableau of a simplex method (see gmm/simplex.hpp): basic variables as affine functions of the others,
//
//   x_B = right - T x_N,     objective = value + reduced x_N
//
// A pivot exchanges one of each. The tableau is made anew from the programme by pivoting on the largest elements first,
// so that errors of many pivots do not pile up. Variables 0 .. n-1 are those of the programme, n + i is the slack of
// row i; the slack of an equation is fixed at zero.

#include <algorithm>
#include <utility>
#include <vector>

#include <kolmo/core/math.hpp>

namespace kolmo::gmm::detail {

class Tableau {
 public:
  static constexpr index_t lanes = 8;

  /// `matrix` [rows, columns] and `right` are those of the inequalities matrix x <= right, scaled; equations are
  /// marked.
  Tableau(std::vector<double> matrix, std::vector<double> right, std::vector<char> equation, index_t columns)
      : rows_(static_cast<index_t>(right.size())),
        columns_(columns),
        stride_((columns + lanes - 1) / lanes * lanes),
        matrix_(std::move(matrix)),
        original_right_(std::move(right)),
        shifted_right_(original_right_),
        equation_(std::move(equation)) {
    basic_.resize(size(rows_));
    nonbasic_.resize(size(columns_));
    reset();
  }

  index_t rows() const { return rows_; }
  index_t columns() const { return columns_; }
  const double* row(index_t i) const { return table_.data() + i * stride_; }
  double at(index_t i, index_t j) const { return table_[size(i * stride_ + j)]; }
  double right(index_t i) const { return right_[size(i)]; }
  /// 1 + the squares of row i, or of column j: the squared lengths of the edges that a choice follows.
  double row_weight(index_t i) const { return row_weight_[size(i)]; }
  double column_weight(index_t j) const { return 1.0 + column_weight_[size(j)]; }
  index_t basic(index_t i) const { return basic_[size(i)]; }
  index_t nonbasic(index_t j) const { return nonbasic_[size(j)]; }
  bool is_fixed(index_t variable) const { return variable >= columns_ && equation_[size(variable - columns_)] != 0; }
  index_t pivots_since_rebuild() const { return pivots_; }

  /// Reduced costs of the objective with these costs of the programme's variables.
  std::vector<double> reduced_costs(const std::vector<double>& cost) const {
    std::vector<double> reduced(size(stride_), 0.0);
    for (index_t j = 0; j < columns_; ++j)
      if (nonbasic(j) < columns_) reduced[size(j)] = cost[size(nonbasic(j))];
    for (index_t i = 0; i < rows_; ++i) {
      if (basic(i) >= columns_) continue;
      const double c = cost[size(basic(i))];
      if (c == 0.0) continue;
      const double* t = row(i);
      for (index_t j = 0; j < columns_; ++j) reduced[size(j)] -= c * t[j];
    }
    return reduced;
  }

  /// Exchanges the basic variable of row p and the nonbasic one of column q.
  void pivot(index_t p, index_t q) {
    double* pivot_row = table_.data() + p * stride_;
    const double inverse = 1.0 / pivot_row[q];
    pivot_row[q] = 1.0;
    for (index_t j = 0; j < columns_; ++j) pivot_row[j] *= inverse;
    right_[size(p)] *= inverse;
    std::fill(column_weight_.begin(), column_weight_.end(), 0.0);
    for (index_t i = 0; i < rows_; ++i) {
      double* t = table_.data() + i * stride_;
      const double factor = t[q];
      if (i != p && factor != 0.0) {
        t[q] = 0.0;
        subtract(t, pivot_row, factor);
        right_[size(i)] -= factor * right_[size(p)];
      }
      weigh(i);
    }
    std::swap(basic_[size(p)], nonbasic_[size(q)]);
    ++pivots_;
  }

  /// Updates reduced costs for the pivot that has just been made in row p and column q.
  void update(std::vector<double>& reduced, index_t p, index_t q) const {
    const double factor = reduced[size(q)];
    if (factor == 0.0) return;
    reduced[size(q)] = 0.0;
    subtract(reduced.data(), row(p), factor);
  }

  /// Moves the bound of row i of the programme, or of the variable that is basic in row i of the tableau; `restore`
  /// takes all that back.
  void relax_row(index_t i, double by) { shifted_right_[size(i)] += by; }
  void lift_basic(index_t i) {
    const index_t variable = basic(i);
    if (variable >= columns_) shifted_right_[size(variable - columns_)] -= right_[size(i)];
    right_[size(i)] = 0.0;
  }
  void restore() { shifted_right_ = original_right_; }

  /// Makes the tableau of the present basis anew. A variable that depends on others is left out of the basis for a
  /// slack; returns whether none was.
  bool rebuild() {
    std::vector<char> wanted(size(columns_), 0), leaving(size(rows_), 1);
    for (index_t i = 0; i < rows_; ++i) {
      if (basic(i) < columns_)
        wanted[size(basic(i))] = 1;
      else
        leaving[size(basic(i) - columns_)] = 0;
    }
    reset();
    std::vector<index_t> from, to;
    for (index_t j = 0; j < columns_; ++j)
      if (wanted[size(j)] != 0) to.push_back(j);
    for (index_t i = 0; i < rows_; ++i)
      if (leaving[size(i)] != 0) from.push_back(i);
    while (!to.empty()) {
      std::size_t best_i = 0, best_j = 0;
      double largest = 0.0;
      for (std::size_t a = 0; a < from.size(); ++a)
        for (std::size_t b = 0; b < to.size(); ++b) {
          const double x = abs(at(from[a], to[b]));
          if (x > largest) {
            largest = x;
            best_i = a;
            best_j = b;
          }
        }
      if (!(largest > 1e-11)) break;
      pivot(from[best_i], to[best_j]);
      from.erase(from.begin() + static_cast<std::ptrdiff_t>(best_i));
      to.erase(to.begin() + static_cast<std::ptrdiff_t>(best_j));
    }
    pivots_ = 0;
    return to.empty();
  }

 private:
  static std::size_t size(index_t i) { return static_cast<std::size_t>(i); }

  void subtract(double* target, const double* source, double factor) const {
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < stride_; ++j) target[j] -= factor * source[j];
  }

  void weigh(index_t i) {
    const double* t = row(i);
    double sum[lanes] = {};
    double* column = column_weight_.data();
    for (index_t j = 0; j < stride_; j += lanes)
      for (index_t l = 0; l < lanes; ++l) {
        const double square_of_element = t[j + l] * t[j + l];
        sum[l] += square_of_element;
        column[j + l] += square_of_element;
      }
    row_weight_[size(i)] = 1.0 + ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
  }

  void reset() {
    table_.assign(size(rows_ * stride_), 0.0);
    row_weight_.assign(size(rows_), 1.0);
    column_weight_.assign(size(stride_), 0.0);
    right_ = shifted_right_;
    for (index_t i = 0; i < rows_; ++i) {
      for (index_t j = 0; j < columns_; ++j) table_[size(i * stride_ + j)] = matrix_[size(i * columns_ + j)];
      basic_[size(i)] = columns_ + i;
      weigh(i);
    }
    for (index_t j = 0; j < columns_; ++j) nonbasic_[size(j)] = j;
    pivots_ = 0;
  }

  index_t rows_, columns_, stride_;
  std::vector<double> matrix_, original_right_, shifted_right_;
  std::vector<char> equation_;
  std::vector<double> table_, right_, row_weight_, column_weight_;
  std::vector<index_t> basic_, nonbasic_;
  index_t pivots_ = 0;
};

}  // namespace kolmo::gmm::detail
