#pragma once
// (I + M)^-1 b for a batch of products M that ought to be symmetric and positive, as covariances are, but are not where
// they come from a learned network. Over the Krylov space of M and b (Lanczos 1950, with full orthogonalisation), M is
// a small matrix; of its symmetric part's eigenvalues theta those above zero are solved with, 1 / (1 + theta), and in
// the directions of the others nothing is done: a negative variance says that the network knows nothing there. The
// solution is never longer than b, and what it moves, M u, never more than b asks for. For a positive symmetric M it is
// that of conjugate gradients.

#include <algorithm>
#include <cmath>
#include <vector>

#include <kolmo/score/krylov.hpp>

namespace kolmo::detail {

using SmallMatrix = std::vector<std::vector<double>>;

/// Makes a symmetric matrix diagonal by rotations (Jacobi 1846) and returns the eigenvectors as columns.
inline SmallMatrix diagonalise(SmallMatrix& a) {
  const std::size_t n = a.size();
  SmallMatrix z(n, std::vector<double>(n, 0.0));
  for (std::size_t i = 0; i < n; ++i) z[i][i] = 1;
  for (int sweep = 0; sweep < 40; ++sweep) {
    double off = 0, all = 0;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) (i == j ? all : off) += a[i][j] * a[i][j];
    if (!(off > 1e-30 * (all + off))) break;
    for (std::size_t p = 0; p < n; ++p)
      for (std::size_t q = p + 1; q < n; ++q) {
        if (a[p][q] == 0) continue;
        const double half = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const double t = (half >= 0 ? 1.0 : -1.0) / (std::abs(half) + std::sqrt(half * half + 1));
        const double c = 1 / std::sqrt(t * t + 1), s = t * c;
        const auto rotate = [c, s](double& x, double& y) {
          const double left = c * x - s * y;
          y = s * x + c * y;
          x = left;
        };
        for (std::size_t k = 0; k < n; ++k) rotate(a[k][p], a[k][q]);
        for (std::size_t k = 0; k < n; ++k) rotate(a[p][k], a[q][k]);
        for (std::size_t k = 0; k < n; ++k) rotate(z[k][p], z[k][q]);
      }
  }
  return z;
}

/// The columns of M over the basis that one sample has built, and what follows from them.
class ProjectedCovariance {
 public:
  /// Column j: <q_i, M q_j> for i <= j, and the length of what is left.
  void add(std::vector<double> column) { columns_.push_back(std::move(column)); }
  std::size_t size() const { return columns_.size(); }

  /// Coefficients of the solution for b = length q_0, and the rms of the residual in the space and beside it.
  std::vector<double> solve(double length) {
    const std::size_t n = size();
    SmallMatrix a(n, std::vector<double>(n, 0.0));
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t i = 0; i < std::min(n, columns_[j].size()); ++i) {
        a[i][j] += 0.5 * columns_[j][i];
        a[j][i] += 0.5 * columns_[j][i];
      }
    const SmallMatrix z = diagonalise(a);
    std::vector<double> y(n, 0.0);
    for (std::size_t e = 0; e < n; ++e) {
      const double theta = a[e][e];
      if (!(theta > 0)) continue;
      for (std::size_t i = 0; i < n; ++i) y[i] += z[i][e] * z[0][e] / (1 + theta) * length;
    }
    return y;
  }

  /// |b - (I + M) u| when u has the coefficients y: within the space and beside it.
  double residual(const std::vector<double>& y, double length) const {
    const std::size_t n = size();
    std::vector<double> r(n + 1, 0.0);
    if (n > 0) r[0] = length;
    for (std::size_t j = 0; j < n; ++j) {
      r[j] -= y[j];
      for (std::size_t i = 0; i < columns_[j].size(); ++i) r[i] -= columns_[j][i] * y[j];
    }
    double square = 0;
    for (const double x : r) square += x * x;
    return std::sqrt(square);
  }

 private:
  SmallMatrix columns_;
};

}  // namespace kolmo::detail

namespace kolmo::score {

/// Solves (I + M) u = b from u = 0, or from `guess` where that has the smaller residual, with at most
/// options.iterations products with M; a sample ends when the rms of its residual is at most the tolerance. Throws
/// ArgumentError unless iterations >= 1.
template <class Operator, PlainTensor V>
KrylovResult<V> clipped_lanczos(const Operator& m, const V& b, const KrylovOptions& options, const V& guess = V()) {
  kolmo::detail::check_krylov_iterations("clipped_lanczos", options.iterations);
  const int rank = b.rank();
  const auto samples = static_cast<std::size_t>(b.shape()[0]);
  std::vector<double> square = sample_dots(b, b);
  const std::vector<double> target =
      kolmo::detail::krylov_targets(options, square, b.size() / larger<index_t>(1, b.shape()[0]));
  V start = V::zeros(b.shape()), r = b;
  if (guess.has_value()) {
    const V from_guess = b - guess - m(guess);
    const std::vector<double> left = sample_dots(from_guess, from_guess);
    std::vector<double> use(samples, 0.0);
    for (std::size_t s = 0; s < samples; ++s)
      if (left[s] < square[s]) {
        use[s] = 1;
        square[s] = left[s];
      }
    const V chosen = per_sample<V>(use, rank);
    start = guess * chosen;
    r = b + (from_guess - b) * chosen;
  }
  std::vector<kolmo::detail::ProjectedCovariance> small(samples);
  std::vector<std::vector<double>> y(samples);
  std::vector<double> length(samples), scale(samples);
  std::vector<bool> active(samples);
  for (std::size_t s = 0; s < samples; ++s) {
    length[s] = std::sqrt(square[s]);
    active[s] = square[s] > target[s] && square[s] > 0;
    scale[s] = active[s] ? 1 / length[s] : 0;
  }
  std::vector<V> basis{r * per_sample<V>(scale, rank)};
  int iteration = 0;
  for (; iteration < options.iterations; ++iteration) {
    if (std::none_of(active.begin(), active.end(), [](bool a) { return a; })) break;
    V w = m(basis.back());
    std::vector<std::vector<double>> column(samples);
    for (const V& q : basis) {
      std::vector<double> h = sample_dots(q, w);
      for (std::size_t s = 0; s < samples; ++s) {
        column[s].push_back(h[s]);
        h[s] = -h[s];
      }
      w = apply(kolmo::detail::AddPerSample{}, w, per_sample<V>(h, rank), q);
    }
    std::vector<double> next = sample_dots(w, w);
    for (std::size_t s = 0; s < samples; ++s) {
      const double beside = std::sqrt(next[s]);
      next[s] = 0;
      if (!active[s]) continue;
      column[s].push_back(beside);
      small[s].add(std::move(column[s]));
      y[s] = small[s].solve(length[s]);
      const double residual = small[s].residual(y[s], length[s]);
      square[s] = residual * residual;
      active[s] = square[s] > target[s] && beside > 0;
      if (active[s]) next[s] = 1 / beside;
    }
    basis.push_back(w * per_sample<V>(next, rank));
  }
  V u = start;
  for (int j = 0; j < iteration; ++j) {
    std::vector<double> coefficient(samples, 0.0);
    for (std::size_t s = 0; s < samples; ++s)
      if (static_cast<std::size_t>(j) < y[s].size()) coefficient[s] = y[s][static_cast<std::size_t>(j)];
    u = apply(kolmo::detail::AddPerSample{}, u, per_sample<V>(coefficient, rank), basis[static_cast<std::size_t>(j)]);
  }
  return {u, iteration, kolmo::detail::krylov_rms(square, b.size())};
}

}  // namespace kolmo::score
