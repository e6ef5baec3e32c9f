#pragma once
// Making a staggered periodic velocity free of divergence: solve the 5-point Poisson equation by FFT with its own
// eigenvalues (not -k^2) and subtract the gradient, after which the discrete divergence is round-off. As an operator it
// is an orthogonal projection, hence its own adjoint.

#include <cmath>
#include <string>
#include <vector>

#include <kolmo/flow/padded.hpp>
#include <kolmo/flow/unstable.hpp>
#include <kolmo/ops/fft_plan.hpp>

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

namespace kolmo::flow::detail {

/// Where a state first broke its limit.
template <class T>
struct Violation {
  index_t step = -1, i = 0, j = 0;
  T speed = T(0);
};

/// |u| + |v| of the values with one index pair.
template <class S>
KOLMO_HD KOLMO_INLINE auto speed_of(const S& u, const S& v) {
  return abs(value_of(u)) + abs(value_of(v));
}

/// Multiplies spectra [fields, n, 2, m] by a table [n/2 + 1, m] that is symmetric in kx. An item is a row.
template <class T, class S>
struct ScaleSpectrumRows {
  index_t n, m;
  const T* table;
  S* x;
  KOLMO_HD void operator()(index_t item) const {
    const index_t k = item % n;
    const T* factor = table + (2 * k > n ? n - k : k) * m;
    S *re = x + item * 2 * m, *im = re + m;
    KOLMO_INDEPENDENT
    for (index_t l = 0; l < m; ++l) {
      re[l] = re[l] * factor[l];
      im[l] = im[l] * factor[l];
    }
  }
};

template <class T, class S>
struct ScaleSpectrumCells {
  index_t n, m;
  const T* table;
  S* x;
  KOLMO_HD void operator()(index_t item) const {
    const index_t l = item % m, k = item / (2 * m) % n;
    x[item] = x[item] * table[(2 * k > n ? n - k : k) * m + l];
  }
};

/// The divergence of padded velocities times h, where their rows have copies of the last column. An item is a row.
template <class S>
struct DivergenceRows {
  PaddedGrid grid;
  const S* x;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const index_t field = item / grid.n, i = item - field * grid.n;
    const S *u = x + field * 2 * grid.field() + grid.at(i), *v = u + grid.field();
    const S* u_before = x + field * 2 * grid.field() + grid.wrapped(i - 1);
    S* target = y + item * grid.n;
    KOLMO_INDEPENDENT
    for (index_t j = 0; j < grid.n; ++j) target[j] = (u[j] - u_before[j]) + (v[j] - v[j - 1]);
  }
};

/// The same for one cell.
template <class S>
struct DivergenceCells {
  PaddedGrid grid;
  const S* x;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const index_t n = grid.n, row = item / n, j = item - row * n, field = row / n, i = row - field * n;
    const S *u = x + field * 2 * grid.field(), *v = u + grid.field() + grid.at(i);
    y[item] = (u[grid.at(i) + j] - u[grid.wrapped(i - 1) + j]) + (v[j] - v[j - 1]);
  }
};

/// Subtracts the differences of q [fields, n, n] from padded velocities, closes their rows and notes the first time
/// that a speed is not below `limit`. An item is a trajectory.
template <class T, class S>
struct CorrectFields {
  PaddedGrid grid;
  const S* q;  // null: nothing is subtracted
  S* x;
  T* suspects;  // a row per item
  Violation<T>* violations;
  index_t step;
  T limit;

  KOLMO_HD void operator()(index_t item) const {
    const index_t n = grid.n;
    T* suspect = suspects + item * grid.row + grid.left;
    for (index_t j = 0; j < n; ++j) suspect[j] = T(0);
    S* velocity = x + item * 2 * grid.field();
    for (index_t i = 0; i < n; ++i) {
      S *u = velocity + grid.at(i), *v = u + grid.field();
      if (q != nullptr) {
        const S *here = q + (item * n + i) * n, *next = q + (item * n + (i + 1 < n ? i + 1 : 0)) * n;
        KOLMO_INDEPENDENT
        for (index_t j = 0; j < n - 1; ++j) {
          u[j] = u[j] - (next[j] - here[j]);
          v[j] = v[j] - (here[j + 1] - here[j]);
          suspect[j] = speed_of(u[j], v[j]) <= limit ? suspect[j] : T(1);
        }
        u[n - 1] = u[n - 1] - (next[n - 1] - here[n - 1]);
        v[n - 1] = v[n - 1] - (here[0] - here[n - 1]);
        suspect[n - 1] = speed_of(u[n - 1], v[n - 1]) <= limit ? suspect[n - 1] : T(1);
      } else {
        KOLMO_INDEPENDENT
        for (index_t j = 0; j < n; ++j) suspect[j] = speed_of(u[j], v[j]) <= limit ? suspect[j] : T(1);
      }
      grid.close(u);
      grid.close(v);
    }
    T any = T(0);
    for (index_t j = 0; j < n; ++j) any += suspect[j];
    if (any != T(0) && violations[item].step < 0) violations[item] = worst(velocity);
  }

  /// The first cell that is not a number, or the fastest.
  KOLMO_HD KOLMO_NOINLINE Violation<T> worst(const S* velocity) const {
    Violation<T> result{step, 0, 0, T(-1)};
    for (index_t i = 0; i < grid.n; ++i)
      for (index_t j = 0; j < grid.n; ++j) {
        const T speed = speed_of(velocity[grid.at(i) + j], velocity[grid.field() + grid.at(i) + j]);
        if (speed <= result.speed) continue;
        result = {step, i, j, speed};
        if (is_nan(speed)) return result;
      }
    return result;
  }
};

/// Subtracts the differences of q from a cell.
template <class S>
struct CorrectCells {
  PaddedGrid grid;
  const S* q;
  S* x;
  KOLMO_HD void operator()(index_t item) const {
    const index_t n = grid.n, row = item / n, j = item - row * n, field = row / n, i = row - field * n;
    S *u = x + field * 2 * grid.field() + grid.at(i), *v = u + grid.field();
    const S here = q[item];
    grid.store(u, j, S(u[j] - (q[(field * n + (i + 1 < n ? i + 1 : 0)) * n + j] - here)));
    grid.store(v, j, S(v[j] - (q[row * n + (j + 1 < n ? j + 1 : 0)] - here)));
  }
};

template <class T>
struct SpeedAt {
  T speed;
  index_t j;
};

template <class S>
struct LoadSpeed {
  PaddedGrid grid;
  const S* x;
  KOLMO_HD auto operator()(index_t row, index_t j) const {
    const index_t field = row / grid.n, at = field * 2 * grid.field() + grid.at(row - field * grid.n) + j;
    const auto speed = speed_of(x[at], x[at + grid.field()]);
    return SpeedAt<std::remove_cv_t<decltype(speed)>>{speed, j};
  }
};

struct FasterOrNan {
  template <class T>
  KOLMO_HD SpeedAt<T> operator()(const SpeedAt<T>& a, const SpeedAt<T>& b) const {
    if (is_nan(a.speed)) return a;
    return is_nan(b.speed) || b.speed > a.speed ? b : a;
  }
};

template <class T>
struct StoreViolation {
  index_t n;
  Violation<T>* violations;  // one per row
  index_t step;
  T limit;
  KOLMO_HD void operator()(index_t row, const SpeedAt<T>& fastest) const {
    if (violations[row].step < 0 && !(fastest.speed <= limit))
      violations[row] = {step, row % n, fastest.j, fastest.speed};
  }
};

/// Factors of the modes of spectra [n, 2, m], m = n/2 + 1, as a function of the 5-point Laplacian's eigenvalue times
/// h^2; [n/2 + 1, m].
template <class T, class F>
std::vector<T> spectral_table(index_t n, const F& factor) {
  const index_t m = n / 2 + 1;
  std::vector<double> part(static_cast<std::size_t>(m));
  for (index_t k = 0; k < m; ++k) {
    const double s = std::sin(3.14159265358979323846 * static_cast<double>(k) / static_cast<double>(n));
    part[static_cast<std::size_t>(k)] = -4 * s * s;
  }
  std::vector<T> table;
  table.reserve(static_cast<std::size_t>(m * m));
  for (const double a : part)
    for (const double b : part) table.push_back(static_cast<T>(factor(a + b)));
  return table;
}

/// The factor of the Poisson solve; without the mean, which no velocity has a divergence in.
struct InverseEigenvalue {
  double scale;
  double operator()(double eigenvalue) const { return eigenvalue == 0 ? 0.0 : scale / eigenvalue; }
};

/// (1 - diffusion L)^-1 with diffusion in units of h^2.
struct ImplicitDiffusionFactor {
  double diffusion, scale;
  double operator()(double eigenvalue) const { return scale / (1 - diffusion * eigenvalue); }
};

template <class B, class T, class S>
void scale_spectrum(index_t fields, index_t n, index_t m, const T* table, S* spectrum) {
  if constexpr (takes_fields<B>)
    kolmo::detail::for_each_item<B>(fields * n, ScaleSpectrumRows<T, S>{n, m, table, spectrum});
  else
    B::for_each(fields * n * 2 * m, ScaleSpectrumCells<T, S>{n, m, table, spectrum});
}

template <class B, class S>
void divergence_of(const PaddedGrid& grid, index_t batch, const S* x, S* y) {
  if constexpr (takes_fields<B>)
    kolmo::detail::for_each_item<B>(batch * grid.n, DivergenceRows<S>{grid, x, y});
  else
    B::for_each(batch * grid.n * grid.n, DivergenceCells<S>{grid, x, y});
}

/// Violations noted by `correct`, for a part of a batch.
template <class T, class B>
struct Watch {
  Tensor<Violation<T>, B> violations;
  Tensor<T, B> suspects;

  Watch(const PaddedGrid& grid, index_t batch)
      : violations(Tensor<Violation<T>, B>::full(Shape{takes_fields<B> ? batch : batch * grid.n}, Violation<T>{})),
        suspects(Tensor<T, B>::uninitialized(Shape{takes_fields<B> ? batch : 0, grid.row})) {}
};

/// How a message names an item of a batch; not at all where the batch is that item.
inline std::string item_text(index_t item, index_t items) {
  return items == 1 ? "" : "item " + std::to_string(item) + " of the batch: ";
}

/// Throws UnstableStep for the earliest and worst violation of the first trajectory that has one; they are `batch`
/// items from number `first` on of a batch of `items`. `who` begins the message.
template <class T>
void throw_violations(const char* who, const std::vector<Violation<T>>& violations, index_t batch, index_t first,
                      index_t items, double courant_per_speed) {
  const index_t per_trajectory = static_cast<index_t>(violations.size()) / larger<index_t>(1, batch);
  for (index_t b = 0; b < batch; ++b) {
    Violation<T> worst;
    for (index_t r = 0; r < per_trajectory; ++r) {
      const auto& v = violations[static_cast<std::size_t>(b * per_trajectory + r)];
      if (v.step < 0) continue;
      const bool faster = is_nan(v.speed) ? !is_nan(worst.speed) : v.speed > worst.speed;
      if (worst.step < 0 || v.step < worst.step || (v.step == worst.step && faster)) worst = v;
    }
    if (worst.step < 0) continue;
    const std::string of = std::string(who) + ": " + item_text(first + b, items);
    if (!is_finite(worst.speed))
      throw UnstableStep(of + "the velocity is not finite; start from finite values and take shorter steps", worst.step,
                         {worst.i, worst.j}, static_cast<double>(worst.speed));
    throw UnstableStep(of + "the Courant number dt (|u| + |v|) / h is above 1, where the scheme is no longer stable; "
                            "take shorter steps",
                       worst.step, {worst.i, worst.j}, static_cast<double>(worst.speed) * courant_per_speed);
  }
}

/// Subtracts the gradient of q / h (unless q is null) from padded x, and watches its speed.
template <class B, class T, class S>
void correct(const PaddedGrid& grid, index_t batch, const S* q, S* x, Watch<T, B>& watch, index_t step, T limit) {
  if constexpr (takes_fields<B>) {
    kolmo::detail::for_each_item<B>(batch, CorrectFields<T, S>{grid, q, x, watch.suspects.mutable_data(),
                                                               watch.violations.mutable_data(), step, limit});
  } else {
    if (q != nullptr) B::for_each(batch * grid.n * grid.n, CorrectCells<S>{grid, q, x});
    B::reduce(batch * grid.n, grid.n, LoadSpeed<S>{grid, x}, FasterOrNan{}, SpeedAt<T>{T(0), 0},
              StoreViolation<T>{grid.n, watch.violations.mutable_data(), step, limit});
  }
}

/// Solves L q = divergence with periodic boundaries, in units of h: q and the divergence are h and 1/h times theirs.
template <class T, class B>
class PeriodicPoisson {
 public:
  explicit PeriodicPoisson(index_t n)
      : n_(n),
        fft_(n, n),
        table_(Tensor<T, B>::from(
            spectral_table<T>(n, InverseEigenvalue{1 / (static_cast<double>(n) * static_cast<double>(n))}))) {}

  index_t columns() const { return fft_.columns(); }
  const RealFft2<T>& fft() const { return fft_; }

  /// Replaces divergences [batch, n, n] by the potentials; `spectrum` is scratch [batch, n, 2, columns].
  template <class S>
  void solve(index_t batch, S* divergence, S* spectrum) const {
    filter(batch, table_, divergence, spectrum);
  }

  /// Multiplies the modes of fields by a table of spectral_table; the table holds the factor 1/n^2.
  template <class S>
  void filter(index_t fields, const Tensor<T, B>& table, S* x, S* spectrum) const {
    fft_.template forward<B>(fields, x, spectrum);
    scale_spectrum<B>(fields, n_, fft_.columns(), table.data(), spectrum);
    fft_.template inverse<B>(fields, spectrum, x);
  }

 private:
  index_t n_;
  RealFft2<T> fft_;
  Tensor<T, B> table_;
};

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
