#pragma once
// The transforms of ops/fft.hpp as linear operations on plain tensors of any scalar made of real numbers.

#include <kolmo/core/complex_step.hpp>
#include <kolmo/ops/fft_plan.hpp>

namespace kolmo::detail {

/// The real number that a scalar is made of.
template <class S>
struct RealPart {
  using Type = S;
};
template <class S, int N>
struct RealPart<Dual<S, N>> : RealPart<S> {};
template <class T>
struct RealPart<Complex<T>> {
  using Type = T;
};
template <class T>
struct RealPart<ComplexStep<T>> {
  using Type = T;
};
template <class S>
using RealPartOf = typename RealPart<S>::Type;

/// Tables of a line, on the host and where they were needed.
template <class T>
class FftLinePlan {
 public:
  FftLinePlan(index_t n, index_t, index_t) : tables_(std::make_shared<const FftTables<T>>(n)) {}
  template <class B>
  FftLine<T> line() const {
    if constexpr (HostMemory<B>)
      return tables_->line();
    else
      return cache_.get<FftTablesOn<T, B>>([this] { return FftTablesOn<T, B>(*tables_); }).line();
  }

 private:
  std::shared_ptr<const FftTables<T>> tables_;
  FftCache cache_;
};

template <class T>
class SinePlan {
 public:
  SinePlan(index_t n, index_t, index_t) : tables_(std::make_shared<const SineTables<T>>(n)) {}
  template <class B>
  SineLine<T> line() const {
    if constexpr (HostMemory<B>)
      return tables_->sine_line();
    else
      return cache_.get<SineTablesOn<T, B>>([this] { return SineTablesOn<T, B>(*tables_); }).sine_line();
  }

 private:
  std::shared_ptr<const SineTables<T>> tables_;
  FftCache cache_;
};

template <class T>
struct RealFieldPlan : RealFft2<T> {
  RealFieldPlan(index_t n0, index_t n1, index_t columns) : RealFft2<T>(n0, n1, columns) {}
};
template <class T>
struct SineFieldPlan : SineTransform2<T> {
  SineFieldPlan(index_t nx, index_t ny, index_t) : SineTransform2<T>(nx, ny) {}
};

/// The plan of these extents, made once; the oldest is forgotten when there are many.
template <class Plan>
Plan plan_for(index_t a, index_t b = 0, index_t c = 0) {
  struct Known {
    std::mutex mutex;
    std::vector<std::pair<Array<index_t, 3>, Plan>> plans;
  };
  // Never destroyed: plans may hold device memory, and tensors are transformed until the program ends.
  static Known* const known = new Known;
  constexpr std::size_t most = 32;
  const Array<index_t, 3> key{{a, b, c}};
  const std::lock_guard lock(known->mutex);
  for (const auto& [extents, plan] : known->plans)
    if (extents == key) return plan;
  if (known->plans.size() == most) known->plans.erase(known->plans.begin());
  known->plans.emplace_back(key, Plan(a, b, c));
  return known->plans.back().second;
}

/// Applies a transform to all items of a tensor: `rank` axes become those of `item`.
template <class V, class F>
V transform_items(const V& x, int rank, const Shape& item, const F& transform) {
  using S = typename V::Scalar;
  using T = RealPartOf<S>;
  using B = typename V::Backend;
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>,
                "transforms need float, double or duals of these");
  Shape shape;
  index_t batch = 1;
  for (int i = 0; i < x.rank() - rank; ++i) {
    shape.push_back(x.shape()[i]);
    batch *= x.shape()[i];
  }
  for (int i = 0; i < item.rank(); ++i) shape.push_back(item[i]);
  const V source = x.contiguous();
  V result = V::uninitialized(shape);
  if (batch == 0) return result;
  by_components<B, T>(batch, x.size() / batch, item.size(), source.data(), result.mutable_data(), transform);
  return result;
}

/// [..., 2, n] -> [..., 2, n].
struct ComplexLines {
  bool inverse;
  double scale;
  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = RealPartOf<typename V::Scalar>;
    using B = typename V::Backend;
    const index_t n = x.shape()[-1];
    const auto plan = plan_for<FftLinePlan<T>>(n);
    const RowsFft<T> f{plan.template line<B>(), inverse, false, false, n, static_cast<T>(scale), T(1)};
    return transform_items(x, 2, Shape{2, n}, [&f](index_t rows, const T* from, T* to) { run<B>(f, rows, from, to); });
  }
  template <class B, class T>
  static void run(const RowsFft<T>& f, index_t rows, const T* from, T* to) {
    if constexpr (HostMemory<B>)
      host_rows_fft(f, rows, from, to);
    else
      rows_fft<B>(f, rows, from, to);
  }
};

/// [..., n] -> [..., 2, m], or back.
struct RealLines {
  bool inverse;
  index_t n, m;
  double scale, interior;
  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = RealPartOf<typename V::Scalar>;
    using B = typename V::Backend;
    const auto plan = plan_for<FftLinePlan<T>>(n);
    const RowsFft<T> f{plan.template line<B>(), inverse, !inverse, inverse, m, static_cast<T>(scale),
                       static_cast<T>(interior)};
    return transform_items(x, inverse ? 2 : 1, inverse ? Shape{n} : Shape{2, m},
                           [&f](index_t rows, const T* from, T* to) { ComplexLines::run<B>(f, rows, from, to); });
  }
};

/// [..., n0, 2, n1] -> [..., n0, 2, n1].
struct ComplexFields {
  bool inverse;
  double scale;
  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = RealPartOf<typename V::Scalar>;
    using B = typename V::Backend;
    const index_t n0 = x.shape()[-3], n1 = x.shape()[-1];
    const auto row_plan = plan_for<FftLinePlan<T>>(n1), column_plan = plan_for<FftLinePlan<T>>(n0);
    const RowsFft<T> f{row_plan.template line<B>(), inverse, false, false, n1, static_cast<T>(scale), T(1)};
    const FftLine<T> columns = column_plan.template line<B>();
    const bool back = inverse;
    return transform_items(x, 3, Shape{n0, 2, n1}, [&f, &columns, n0, n1, back](index_t batch, const T* from, T* to) {
      ComplexLines::run<B>(f, batch * n0, from, to);
      if constexpr (HostMemory<B>)
        host_columns_fft(columns, back, batch, n1, static_cast<const T*>(to), to);
      else
        columns_fft<B>(columns, back, batch, n1, static_cast<const T*>(to), to);
    });
  }
};

enum class FieldStep { forward, inverse, forward_adjoint, inverse_adjoint };

/// [..., n0, n] -> [..., n0, 2, m], or back.
struct RealFields {
  FieldStep step;
  index_t n, m;
  double scale;
  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = RealPartOf<typename V::Scalar>;
    using B = typename V::Backend;
    const bool back = step == FieldStep::inverse || step == FieldStep::forward_adjoint;
    const index_t n0 = x.shape()[back ? -3 : -2];
    const auto plan = plan_for<RealFieldPlan<T>>(n0, n, m);
    const auto way = step;
    const T factor = static_cast<T>(scale);
    return transform_items(x, back ? 3 : 2, back ? Shape{n0, n} : Shape{n0, 2, m},
                           [&plan, way, factor](index_t batch, const T* from, T* to) {
                             switch (way) {
                               case FieldStep::forward:
                                 return plan.template forward<B>(batch, from, to);
                               case FieldStep::inverse:
                                 return plan.template inverse<B>(batch, from, to, factor);
                               case FieldStep::forward_adjoint:
                                 return plan.template forward_adjoint<B>(batch, from, to);
                               default:
                                 return plan.template inverse_adjoint<B>(batch, from, to, factor);
                             }
                           });
  }
};

/// [..., n - 1] -> [..., n - 1].
struct SineLines {
  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = RealPartOf<typename V::Scalar>;
    using B = typename V::Backend;
    const auto plan = plan_for<SinePlan<T>>(x.shape()[-1] + 1);
    const SineLine<T> f = plan.template line<B>();
    return transform_items(x, 1, Shape{x.shape()[-1]}, [&f](index_t rows, const T* from, T* to) {
      if constexpr (HostMemory<B>)
        host_rows_sine(f, T(1), rows, from, to);
      else
        rows_sine<B>(f, T(1), rows, from, to);
    });
  }
};

/// [..., nx - 1, ny - 1] -> [..., nx - 1, ny - 1].
struct SineFields {
  template <PlainTensor V>
  V operator()(const V& x) const {
    using T = RealPartOf<typename V::Scalar>;
    using B = typename V::Backend;
    const index_t rows = x.shape()[-2], columns = x.shape()[-1];
    const auto plan = plan_for<SineFieldPlan<T>>(rows + 1, columns + 1);
    return transform_items(x, 2, Shape{rows, columns},
                           [&plan](index_t batch, const T* from, T* to) { plan.template apply<B>(batch, from, to); });
  }
};

template <class T>
struct JoinParts {
  const T* x;
  Complex<T>* y;
  index_t n;
  KOLMO_HD void operator()(index_t i) const {
    const index_t at = i / n * 2 * n + i % n;
    y[i] = Complex<T>(x[at], x[at + n]);
  }
};
template <class T>
struct SplitParts {
  const Complex<T>* x;
  T* y;
  index_t n;
  KOLMO_HD void operator()(index_t i) const {
    const index_t at = i / n * 2 * n + i % n;
    y[at] = x[i].re;
    y[at + n] = x[i].im;
  }
};

}  // namespace kolmo::detail
