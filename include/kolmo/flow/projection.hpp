#pragma once
// Making a staggered periodic velocity free of divergence: solve the 5-point Poisson equation by FFT with its own
// eigenvalues (not -k^2) and subtract the gradient, after which the discrete divergence is round-off. As an operator it
// is an orthogonal projection, hence its own adjoint.

#include <cmath>
#include <string>
#include <vector>

#include <kolmo/backend/team.hpp>
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

/// The same table as a function of the mode, for RealFft2::filter.
template <class T>
struct TableOfModes {
  index_t n, m;
  const T* table;
  KOLMO_HD T operator()(index_t k, index_t l) const { return table[(2 * k > n ? n - k : k) * m + l]; }
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

/// The same as what a transform of rows reads.
template <class S>
struct DivergenceSource {
  struct Row {
    const S *u, *u_before, *v;
    KOLMO_HD S at(index_t j) const { return (u[j] - u_before[j]) + (v[j] - v[j - 1]); }
  };
  PaddedGrid grid;
  const S* x;
  KOLMO_HD Row row(index_t field, index_t i) const {
    const S* const u = x + field * 2 * grid.field();
    return {u + grid.at(i), u + grid.wrapped(i - 1), u + grid.field() + grid.at(i)};
  }
};

/// The same for one cell.
template <class S>
struct DivergenceCells {
  DivergenceSource<S> source;
  S* y;
  KOLMO_HD void operator()(index_t item) const {
    const index_t n = source.grid.n, row = item / n, field = row / n;
    y[item] = source.row(field, row - field * n).at(item - row * n);
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

template <class T>
struct SpeedAt {
  T speed;
  index_t j;
};

/// Of two speeds the one that is not a number, or the larger; of equal ones the first.
struct FasterOrNan {
  template <class T>
  KOLMO_HD SpeedAt<T> operator()(const SpeedAt<T>& a, const SpeedAt<T>& b) const {
    const bool a_nan = is_nan(a.speed), b_nan = is_nan(b.speed);
    if (a_nan != b_nan) return a_nan ? a : b;
    if (!a_nan && a.speed != b.speed) return a.speed > b.speed ? a : b;
    return a.j <= b.j ? a : b;
  }
};

/// The same as CorrectFields for a device: an item is a row, shared by a team, with a violation of its own.
template <class T, class S>
struct CorrectRows {
  static constexpr int team_threads = 32;

  PaddedGrid grid;
  const S* q;
  S* x;
  Violation<T>* violations;
  index_t step;
  T limit;

  template <class Team>
  KOLMO_HD void operator()(const Team& team, index_t row) const {
    const index_t n = grid.n, field = row / n, i = row - field * n;
    S *u = x + field * 2 * grid.field() + grid.at(i), *v = u + grid.field();
    bool slow = true;
    if (q != nullptr) {
      const S *here = q + row * n, *next = q + (field * n + (i + 1 < n ? i + 1 : 0)) * n;
      for (index_t j = team.rank(); j < n; j += team.size()) {
        const S centre = here[j];
        const S u_new = u[j] - (next[j] - centre), v_new = v[j] - (here[j + 1 < n ? j + 1 : 0] - centre);
        grid.store(u, j, u_new);
        grid.store(v, j, v_new);
        slow = slow && speed_of(u_new, v_new) <= limit;
      }
    } else {
      for (index_t j = team.rank(); j < n; j += team.size()) slow = slow && speed_of(u[j], v[j]) <= limit;
    }
    if (team.any(!slow)) note(team, row, i, u, v);
  }

  template <class Team>
  KOLMO_HD void note(const Team& team, index_t row, index_t i, const S* u, const S* v) const {
    SpeedAt<T> fastest{T(-1), grid.n};
    for (index_t j = team.rank(); j < grid.n; j += team.size())
      fastest = FasterOrNan{}(fastest, SpeedAt<T>{speed_of(u[j], v[j]), j});
    fastest = team.fold(fastest, FasterOrNan{});
    if (team.rank() == 0 && violations[row].step < 0) violations[row] = {step, i, fastest.j, fastest.speed};
  }
};

/// Whether a row has a violation, for one look at all of them.
template <class T>
struct LoadViolated {
  const Violation<T>* violations;
  KOLMO_HD int operator()(index_t, index_t row) const { return violations[row].step >= 0 ? 1 : 0; }
};
struct EitherOne {
  KOLMO_HD int operator()(int a, int b) const { return a > b ? a : b; }
};
struct StoreOne {
  int* found;
  KOLMO_HD void operator()(index_t, int any) const { *found = any; }
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

template <class B, class S>
void divergence_of(const PaddedGrid& grid, index_t batch, const S* x, S* y) {
  if constexpr (takes_fields<B>)
    kolmo::detail::for_each_item<B>(batch * grid.n, DivergenceRows<S>{grid, x, y});
  else
    B::for_each(batch * grid.n * grid.n, DivergenceCells<S>{{grid, x}, y});
}

/// Violations noted by `correct`, for a part of a batch.
template <class T, class B>
struct Watch {
  Tensor<Violation<T>, B> violations;
  Tensor<T, B> suspects;

  Watch(const PaddedGrid& grid, index_t batch)
      : violations(Tensor<Violation<T>, B>::full(Shape{takes_fields<B> ? batch : batch * grid.n}, Violation<T>{})),
        suspects(Tensor<T, B>::uninitialized(Shape{takes_fields<B> ? batch : 0, grid.row})) {}

  /// What was noted; from a device one number is read where nothing was.
  std::vector<Violation<T>> noted() const {
    if constexpr (!takes_fields<B>) {
      auto found = Tensor<int, B>::uninitialized(Shape{1});
      B::reduce(1, violations.size(), LoadViolated<T>{violations.data()}, EitherOne{}, 0,
                StoreOne{found.mutable_data()});
      if (found.to_vector()[0] == 0) return {};
    }
    return violations.to_vector();
  }
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
    for_each_team<B>(batch * grid.n, CorrectRows<T, S>{grid, q, x, watch.violations.mutable_data(), step, limit});
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

  const RealFft2<T>& fft() const { return fft_; }

  /// Scratch memory for the spectra of `fields` fields.
  template <class S>
  Tensor<S, B> scratch(index_t fields) const {
    return Tensor<S, B>::uninitialized(Shape{fft_.scratch_size(fields)});
  }

  /// Replaces divergences [batch, n, n] by the potentials.
  template <class S>
  void solve(index_t batch, S* divergence, S* scratch) const {
    filter(batch, table_, divergence, scratch);
  }

  /// The potentials [batch, n, n] of the divergences of padded velocities. Where `taken`, the divergences stand in
  /// `potential` already.
  template <class S>
  void potential_of(const PaddedGrid& grid, index_t batch, const S* x, bool taken, S* potential, S* scratch) const {
    if (taken) return solve(batch, potential, scratch);
    if constexpr (takes_fields<B> || !std::is_same_v<S, T>) {
      divergence_of<B>(grid, batch, x, potential);
      solve(batch, potential, scratch);
    } else {
      fft_.template filter_from<B>(batch, DivergenceSource<S>{grid, x}, potential, modes(table_), scratch);
    }
  }

  /// Multiplies the modes of fields by a table of spectral_table; the table holds the factor 1/n^2.
  template <class S>
  void filter(index_t fields, const Tensor<T, B>& table, S* x, S* scratch) const {
    if constexpr (takes_fields<B>) {
      const index_t m = fft_.columns();
      fft_.template forward<B>(fields, x, scratch);
      kolmo::detail::for_each_item<B>(fields * n_, ScaleSpectrumRows<T, S>{n_, m, table.data(), scratch});
      fft_.template inverse<B>(fields, scratch, x);
    } else {
      fft_.template filter<B>(fields, x, x, modes(table), scratch);
    }
  }

 private:
  TableOfModes<T> modes(const Tensor<T, B>& table) const { return {n_, fft_.columns(), table.data()}; }

  index_t n_;
  RealFft2<T> fft_;
  Tensor<T, B> table_;
};

}  // namespace kolmo::flow::detail

#if defined(__clang__)
#pragma clang diagnostic pop
#endif
