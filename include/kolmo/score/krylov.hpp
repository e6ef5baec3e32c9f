#pragma once
// Conjugate gradients and GMRES for a batch of independent systems K u = b, K known by its products only. Each sample
// [b, ...] of the batch has its own step lengths, found from dot products in double; a sample that has converged, or
// whose next step would divide by nothing, stands still while the others go on.
//
// Conjugate gradients (Hestenes and Stiefel 1952) assume K symmetric with K >= floor I. GMRES (Saad and Schultz 1986)
// assumes nothing and its residual never grows; it keeps one vector per iteration.

#include <cmath>
#include <vector>

#include <kolmo/core/math.hpp>
#include <kolmo/ops/elementwise.hpp>

namespace kolmo {

namespace detail {

template <class T>
struct LoadProducts {
  const T* a;
  const T* b;
  index_t columns;
  KOLMO_HD double operator()(index_t r, index_t c) const {
    return static_cast<double>(a[r * columns + c]) * static_cast<double>(b[r * columns + c]);
  }
};

struct AddPerSample {
  KOLMO_HD auto operator()(auto y, auto scale, auto x) const { return y + scale * x; }
};

}  // namespace detail

namespace score {

/// <a_b, b_b> for every sample b of two batches [B, ...] of one shape, accumulated in double.
template <PlainTensor V>
std::vector<double> sample_dots(const V& a, const V& b) {
  using B = typename V::Backend;
  if (!(a.shape() == b.shape()) || a.rank() < 1)
    throw ShapeError("sample_dots: expected two batches of one shape, given " + a.shape().to_string() + " and " +
                     b.shape().to_string());
  const index_t rows = a.shape()[0];
  if (rows == 0) return {};
  const V left = a.contiguous(), right = b.contiguous();
  auto result = Tensor<double, B>::uninitialized(Shape{rows});
  B::reduce(rows, a.size() / rows,
            kolmo::detail::LoadProducts<typename V::Scalar>{left.data(), right.data(), a.size() / rows},
            kolmo::detail::SumCombine{}, 0.0, kolmo::detail::StoreRow<double>{result.mutable_data()});
  return result.to_vector();
}

/// One number per sample as a tensor [B, 1, ...] that broadcasts against a batch of the given rank.
template <PlainTensor V>
V per_sample(const std::vector<double>& numbers, int rank) {
  std::vector<typename V::Scalar> values;
  for (const double x : numbers) values.push_back(static_cast<typename V::Scalar>(x));
  Shape shape{static_cast<index_t>(values.size())};
  for (int i = 1; i < rank; ++i) shape.push_back(1);
  return V::from(values).reshaped(shape);
}

/// When an iteration ends.
struct KrylovOptions {
  int iterations = 10;
  double tolerance = 0;  ///< a sample has converged when the rms of its residual is at most this ...
  double relative = 0;   ///< ... or at most this times the rms of b
  double floor = 0;  ///< conjugate gradients: a lower bound of the eigenvalues of K; smaller curvature is not believed
};

}  // namespace score

namespace detail {

inline void check_krylov_iterations(const char* name, int iterations) {
  if (iterations < 1)
    throw ArgumentError(std::string(name) + ": expected at least one iteration, given " + std::to_string(iterations));
}

inline double krylov_rms(const std::vector<double>& squares, index_t elements) {
  double total = 0;
  for (const double s : squares) total += s;
  return elements == 0 ? 0 : std::sqrt(total / static_cast<double>(elements));
}

/// The squared norm at which each sample has converged.
inline std::vector<double> krylov_targets(const score::KrylovOptions& options, const std::vector<double>& b_squared,
                                          index_t event) {
  std::vector<double> result;
  for (const double s : b_squared)
    result.push_back(larger(options.tolerance * options.tolerance * static_cast<double>(event),
                            options.relative * options.relative * s));
  return result;
}

/// The small least-squares problem of one sample, turned to triangular form by rotations as columns arrive.
class RotatedHessenberg {
 public:
  explicit RotatedHessenberg(double norm) : right_{norm} {}

  double residual() const { return std::abs(right_.back()); }

  /// Column j: h[0 ... j + 1].
  void add(std::vector<double> h) {
    for (std::size_t i = 0; i < cosine_.size(); ++i) {
      const double above = h[i];
      h[i] = cosine_[i] * above + sine_[i] * h[i + 1];
      h[i + 1] = -sine_[i] * above + cosine_[i] * h[i + 1];
    }
    const std::size_t j = cosine_.size();
    const double length = std::hypot(h[j], h[j + 1]);
    const double c = length > 0 ? h[j] / length : 1, s = length > 0 ? h[j + 1] / length : 0;
    h[j] = length;
    cosine_.push_back(c);
    sine_.push_back(s);
    right_.push_back(-s * right_[j]);
    right_[j] *= c;
    columns_.push_back(std::move(h));
  }

  std::vector<double> solve() const {
    std::vector<double> y(columns_.size(), 0.0);
    for (std::size_t i = y.size(); i > 0; --i) {
      double value = right_[i - 1];
      for (std::size_t j = i; j < y.size(); ++j) value -= columns_[j][i - 1] * y[j];
      y[i - 1] = columns_[i - 1][i - 1] > 0 ? value / columns_[i - 1][i - 1] : 0;
    }
    return y;
  }

 private:
  std::vector<double> right_, cosine_, sine_;
  std::vector<std::vector<double>> columns_;
};

}  // namespace detail

namespace score {

template <PlainTensor V>
struct KrylovResult {
  V solution;
  int iterations = 0;   ///< products with K, without the one that a guess costs
  double residual = 0;  ///< rms of b - K u over the batch
};

/// Solves K u = b from u = 0, or from `guess` where that has the smaller residual. Throws ArgumentError unless
/// iterations >= 1.
template <class Operator, PlainTensor V>
KrylovResult<V> conjugate_gradients(const Operator& k, const V& b, const KrylovOptions& options, const V& guess = V()) {
  kolmo::detail::check_krylov_iterations("conjugate_gradients", options.iterations);
  const int rank = b.rank();
  const auto samples = static_cast<std::size_t>(b.shape()[0]);
  V u = V::zeros(b.shape()), r = b;
  std::vector<double> rr = sample_dots(b, b);
  const std::vector<double> target =
      kolmo::detail::krylov_targets(options, rr, b.size() / larger<index_t>(1, b.shape()[0]));
  if (guess.has_value()) {
    const V from_guess = b - k(guess);
    const std::vector<double> squares = sample_dots(from_guess, from_guess);
    std::vector<double> use(samples, 0.0);
    for (std::size_t s = 0; s < samples; ++s)
      if (squares[s] < rr[s]) {
        use[s] = 1;
        rr[s] = squares[s];
      }
    const V chosen = per_sample<V>(use, rank);
    u = guess * chosen;
    r = b + (from_guess - b) * chosen;
  }
  std::vector<bool> active(samples, true);
  V p = r;
  int iteration = 0;
  for (; iteration < options.iterations; ++iteration) {
    bool any = false;
    for (std::size_t s = 0; s < samples; ++s) {
      active[s] = active[s] && rr[s] > target[s] && rr[s] > 0;
      any = any || active[s];
    }
    if (!any) break;
    const V kp = k(p);
    const std::vector<double> curvature = sample_dots(p, kp), pp = sample_dots(p, p);
    std::vector<double> alpha(samples, 0.0), beta(samples, 0.0);
    for (std::size_t s = 0; s < samples; ++s) {
      const double bounded = larger(curvature[s], options.floor * pp[s]);
      if (active[s] && bounded > 0)
        alpha[s] = rr[s] / bounded;
      else
        active[s] = false;
    }
    const V step = per_sample<V>(alpha, rank);
    u = apply(kolmo::detail::AddPerSample{}, u, step, p);
    r = apply(kolmo::detail::AddPerSample{}, r, -step, kp);
    const std::vector<double> next = sample_dots(r, r);
    for (std::size_t s = 0; s < samples; ++s) {
      if (active[s] && rr[s] > 0) beta[s] = next[s] / rr[s];
      rr[s] = next[s];
    }
    p = apply(kolmo::detail::AddPerSample{}, r, per_sample<V>(beta, rank), p);
  }
  return {u, iteration, kolmo::detail::krylov_rms(rr, b.size())};
}

/// Solves K u = b over the Krylov space of `iterations` products, from u = 0 or from `guess`. Throws ArgumentError
/// unless iterations >= 1.
template <class Operator, PlainTensor V>
KrylovResult<V> gmres(const Operator& k, const V& b, const KrylovOptions& options, const V& guess = V()) {
  kolmo::detail::check_krylov_iterations("gmres", options.iterations);
  const int rank = b.rank();
  const auto samples = static_cast<std::size_t>(b.shape()[0]);
  const std::vector<double> target =
      kolmo::detail::krylov_targets(options, sample_dots(b, b), b.size() / larger<index_t>(1, b.shape()[0]));
  const V r = guess.has_value() ? b - k(guess) : b;
  std::vector<double> scale = sample_dots(r, r);
  std::vector<kolmo::detail::RotatedHessenberg> small;
  std::vector<bool> active(samples);
  for (std::size_t s = 0; s < samples; ++s) {
    small.emplace_back(std::sqrt(scale[s]));
    active[s] = scale[s] > target[s] && scale[s] > 0;
    scale[s] = active[s] ? 1 / std::sqrt(scale[s]) : 0;
  }
  std::vector<V> basis{r * per_sample<V>(scale, rank)};
  int iteration = 0;
  for (; iteration < options.iterations; ++iteration) {
    bool any = false;
    for (std::size_t s = 0; s < samples; ++s) any = any || active[s];
    if (!any) break;
    V w = k(basis.back());
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
      const double length = std::sqrt(next[s]);
      next[s] = 0;
      if (!active[s]) continue;
      column[s].push_back(length);
      small[s].add(std::move(column[s]));
      const double residual = small[s].residual();
      active[s] = residual * residual > target[s] && length > 0;
      if (active[s]) next[s] = 1 / length;
    }
    basis.push_back(w * per_sample<V>(next, rank));
  }
  std::vector<std::vector<double>> y;
  std::vector<double> squares;
  for (const kolmo::detail::RotatedHessenberg& h : small) {
    y.push_back(h.solve());
    squares.push_back(h.residual() * h.residual());
  }
  V u = guess.has_value() ? guess : V::zeros(b.shape());
  for (int j = 0; j < iteration; ++j) {
    std::vector<double> coefficient(samples, 0.0);
    for (std::size_t s = 0; s < samples; ++s)
      if (static_cast<std::size_t>(j) < y[s].size()) coefficient[s] = y[s][static_cast<std::size_t>(j)];
    u = apply(kolmo::detail::AddPerSample{}, u, per_sample<V>(coefficient, rank), basis[static_cast<std::size_t>(j)]);
  }
  return {u, iteration, kolmo::detail::krylov_rms(squares, b.size())};
}

}  // namespace score
}  // namespace kolmo
