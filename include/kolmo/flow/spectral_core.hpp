#pragma once
// The spectral solver on pointers: tables, runs of steps forwards, and their adjoint sweep. What flow/spectral.hpp
// lifts to tensors, jets and variables.

#include <memory>

#include <kolmo/backend/parts.hpp>
#include <kolmo/flow/dealias.hpp>
#include <kolmo/flow/kolmogorov_options.hpp>
#include <kolmo/flow/spectral_options.hpp>
#include <kolmo/flow/spectral_products.hpp>
#include <kolmo/flow/spectral_stages.hpp>
#include <kolmo/flow/spectral_velocity.hpp>
#include <kolmo/flow/step_tables.hpp>
#include <kolmo/flow/unstable.hpp>
#include <kolmo/ops/fft_plan.hpp>

namespace kolmo::flow {

namespace detail {

template <class T, class B, class Form>
class SpectralCore {
 public:
  SpectralCore(const KolmogorovOptions& flow, const SpectralOptions& how, const Form& form)
      : flow_(checked(flow)),
        how_(checked(how)),
        form_(form),
        modes_(truncation(flow.size, how.dealiasing)),
        on_grid_(modes_.grid, modes_.grid, modes_.columns()),
        on_size_(modes_.size, modes_.size, modes_.columns()) {
    const index_t m = modes_.columns();
    if (flow.forcing_amplitude != 0 && flow.forcing_wavenumber > modes_.cut)
      throw ArgumentError("Spectral: the forcing of wave number " + std::to_string(flow.forcing_wavenumber) +
                          " is cut off at " + std::to_string(modes_.cut) + "; raise size");
    const double kx1 = step_x(), ky1 = flow.fundamental(), n = static_cast<double>(modes_.size);
    std::vector<double> y, inverse, damping_x, damping_y, forcing(static_cast<std::size_t>(2 * m), 0.0);
    std::vector<double> filter = product_filter(modes_, how.dealiasing);
    const bool filtered = !filter.empty();
    for (index_t j = 0; j < m; ++j) {
      const double kx = kx1 * static_cast<double>(j), ky = ky1 * static_cast<double>(j);
      y.push_back(ky);
      damping_x.push_back(flow.viscosity() * kx * kx);
      damping_y.push_back(flow.viscosity() * ky * ky + flow.drag);
      for (index_t i = 0; i < m; ++i) {
        const double row = kx, column = ky1 * static_cast<double>(i);
        const bool kept = (i > 0 || j > 0) && (!filtered || filter[static_cast<std::size_t>(j * m + i)] > 0);
        inverse.push_back(kept ? 1 / (row * row + column * column) : 0.0);
      }
    }
    // Products are summed over the points of their grid, states are normalised by their own.
    const double grid = static_cast<double>(modes_.grid), weight = n * n / (grid * grid);
    if (!filtered) filter.assign(static_cast<std::size_t>(m), 1.0);
    for (double& x : filter) x *= weight;
    if (flow.forcing_amplitude != 0 && flow.forcing_wavenumber > 0)
      forcing[static_cast<std::size_t>(flow.forcing_wavenumber)] =
          -flow.forcing_amplitude * flow.forcing_frequency() * n * n / 2;
    std::vector<double> half, whole;
    for (const bool sine : {false, true})
      for (index_t j = 0; j < m; ++j) {
        const double angle = two_pi / 2 * static_cast<double>(j) / n;
        half.push_back(sine ? std::sin(angle) : std::cos(angle));
        whole.push_back(sine ? std::sin(2 * angle) : std::cos(2 * angle));
      }
    weight_stride_ = filtered ? m : 0;
    y_ = tensor(y);
    inverse_square_ = tensor(inverse);
    weight_ = tensor(filter);
    forcing_ = tensor(forcing);
    half_ = tensor(half);
    whole_ = tensor(whole);
    host_damping_[0] = {damping_x, damping_y};
    if constexpr (Form::fields > 1) {
      if (!(form.diffusivity >= 0 && is_finite(form.diffusivity)) || !is_finite(form.gradient))
        throw ArgumentError("BasdevantWithTracer: diffusivity must be finite and not negative (given " +
                            std::to_string(form.diffusivity) + "), gradient finite (given " +
                            std::to_string(form.gradient) + ")");
      for (index_t j = 0; j < m; ++j) {
        const double kx = kx1 * static_cast<double>(j), ky = ky1 * static_cast<double>(j);
        host_damping_[1].x.push_back(form.diffusivity * kx * kx);
        host_damping_[1].y.push_back(form.diffusivity * ky * ky);
      }
    }
    for (int e = 0; e < Form::fields; ++e) damping_.push_back({tensor(host_damping_[e].x), tensor(host_damping_[e].y)});
  }

  const KolmogorovOptions& flow() const { return flow_; }
  const SpectralOptions& how() const { return how_; }
  const Truncation& modes() const { return modes_; }
  double step_x() const { return flow_.fundamental() / how_.aspect; }
  double stability() const { return how_.stability > 0 ? how_.stability : advective_stability(how_.stepper); }
  Shape state_shape(index_t batch) const {
    if constexpr (Form::fields == 1)
      return {batch, modes_.size, 2, modes_.columns()};
    else
      return {batch, Form::fields, modes_.size, 2, modes_.columns()};
  }

  // Runs of steps -----------------------------------------------------------------------------------------------

  /// y = x after `steps` steps over `duration`; both [count, size, 2, columns] for trajectories `first` ... of a call.
  /// Throws UnstableStep where `guard`.
  template <class S>
  void advance(index_t count, const S* x, S* y, double duration, index_t steps, bool guard) const {
    const double dt = duration / static_cast<double>(steps);
    Work<S> work(*this, count);
    keep_rows(count, x, y);
    with_steps(dt, [&](const auto& schemes) {
      const int stages = schemes[0].stages();
      spread(count, y, work.factor_spectra());
      T* rates = guard ? work.rates.mutable_data() : nullptr;
      for (index_t step = 0; step < steps; ++step)
        for (int stage = 0; stage < stages; ++stage) {
          evaluate(count, work, stage == 0 ? rates : nullptr);
          if (guard && stage == 0 && runs_on_host<B>) check_rates(count, work.rates, y, dt, step);
          const bool last = stage + 1 == stages && step + 1 == steps;
          run_stage(count, schemes, stage, work, y, last ? nullptr : work.factor_spectra());
        }
    });
    if (!guard) return;
    if (!runs_on_host<B>) check_rates(count, work.rates, y, dt, steps - 1);
    check_finite(count, y, steps - 1);
  }

  /// From the cotangent of advance(x) to that of x, gx; the steps are run again from x.
  template <class S>
  void pull(index_t count, const S* x, const S* gy, S* gx, double duration, index_t steps) const {
    const double dt = duration / static_cast<double>(steps);
    const index_t state = state_shape(count).size();
    auto starts = Tensor<S, B>::uninitialized(Shape{steps, state});
    S* start = starts.mutable_data();
    Work<S> work(*this, count);
    auto cotangents = Tensor<S, B>::uninitialized(state_shape(count));
    auto fields = Tensor<S, B>::uninitialized(Shape{5, count * Form::factors, modes_.grid, modes_.grid});
    auto spectra_of_products = Tensor<S, B>::zeros(spectra_shape(count, Form::products));
    auto spectra_of_factors = Tensor<S, B>::uninitialized(spectra_shape(count, Form::factors));
    S* g = cotangents.mutable_data();
    keep_rows(count, gy, g);
    keep_rows(count, x, start);
    with_steps(dt, [&](const auto& schemes) {
      const int stages = schemes[0].stages();
      for (index_t step = 0; step + 1 < steps; ++step) {
        S* w = start + (step + 1) * state;
        keep_rows(count, start + step * state, w);
        spread(count, w, work.factor_spectra());
        for (int stage = 0; stage < stages; ++stage) {
          evaluate(count, work, nullptr);
          run_stage(count, schemes, stage, work, w, stage + 1 == stages ? nullptr : work.factor_spectra());
        }
      }
      const index_t plane = count * Form::factors * modes_.grid * modes_.grid;
      for (index_t step = steps; step-- > 0;) {
        // The fields of every stage.
        S* w = start + step * state;
        spread(count, w, work.factor_spectra());
        for (int stage = 0; stage < stages; ++stage) {
          S* f = fields.mutable_data() + stage * plane;
          on_grid_.template inverse<B>(count * Form::factors, work.factors(), f, field_scale());
          if (stage + 1 == stages) break;
          multiply(count, f, work.product_fields(), static_cast<T*>(nullptr));
          on_grid_.template forward<B>(count * Form::products, work.product_fields(), work.product_spectra());
          run_stage(count, schemes, stage, work, w, work.factor_spectra());
        }
        for (int stage = stages - 1; stage >= 0; --stage) {
          S* f = fields.mutable_data() + stage * plane;
          for_modes(count, StagePullKernel<std::remove_cvref_t<decltype(schemes[0])>, Form, T, S>{
                               layout(), form_, schemes, stage, g, spectra_of_factors.data(), w, work.a.mutable_data(),
                               work.b.mutable_data(), spectra_of_products.mutable_data()});
          on_grid_.template forward_adjoint<B>(count * Form::products, spectra_of_products.data(),
                                               work.product_fields());
          for_each_row<B>(count * modes_.grid, modes_.grid,
                          MultiplyPullKernel<Form, T, S>{modes_.grid, form_, f, work.product_fields()});
          on_grid_.template inverse_adjoint<B>(count * Form::factors, f, spectra_of_factors.mutable_data(),
                                               field_scale());
        }
        // The register of w holds the rest of its cotangent.
        for_modes(count, SpreadPullKernel<Form, T, S>{layout(), form_, spectra_of_factors.data(), w});
        keep_rows(count, w, g);
      }
    });
    keep_rows(count, g, gx);
  }

  /// dw/dt.
  template <class S>
  void tendency(index_t count, const S* x, S* y) const {
    Work<S> work(*this, count);
    auto kept = Tensor<S, B>::uninitialized(state_shape(count));
    keep_rows(count, x, kept.mutable_data());
    spread(count, kept.data(), work.factor_spectra());
    evaluate(count, work, nullptr);
    keep_rows(count, kept.data(), y);
    for_modes(count,
              TendencyKernel<Form, T, S>{layout(), form_, rates_of_damping(), work.product_spectra(), kept.data(), y});
  }
  template <class S>
  void tendency_pull(index_t count, const S* x, const S* gy, S* gx) const {
    Work<S> work(*this, count);
    auto kept = Tensor<S, B>::uninitialized(state_shape(count));
    auto fields = Tensor<S, B>::uninitialized(Shape{count * Form::factors, modes_.grid, modes_.grid});
    auto products = Tensor<S, B>::zeros(spectra_shape(count, Form::products));
    auto factors = Tensor<S, B>::uninitialized(spectra_shape(count, Form::factors));
    keep_rows(count, x, kept.mutable_data());
    spread(count, kept.data(), work.factor_spectra());
    on_grid_.template inverse<B>(count * Form::factors, work.factors(), fields.mutable_data(), field_scale());
    keep_rows(count, gy, gx);
    keep_rows(count, gy, kept.mutable_data());
    for_modes(count, TendencyPullKernel<Form, T, S>{layout(), form_, rates_of_damping(), kept.data(),
                                                    products.mutable_data(), gx});
    on_grid_.template forward_adjoint<B>(count * Form::products, products.data(), work.product_fields());
    for_each_row<B>(count * modes_.grid, modes_.grid,
                    MultiplyPullKernel<Form, T, S>{modes_.grid, form_, fields.mutable_data(), work.product_fields()});
    on_grid_.template inverse_adjoint<B>(count * Form::factors, fields.data(), factors.mutable_data(), field_scale());
    for_modes(count, SpreadPullKernel<Form, T, S>{layout(), form_, factors.data(), gx});
  }

  /// Frequencies of advection, max k_cut (|u| + |v|), of the states x: what bounds the step.
  template <class S>
  std::vector<double> rates(index_t count, const S* x) const {
    Work<S> work(*this, count);
    auto kept = Tensor<S, B>::uninitialized(state_shape(count));
    keep_rows(count, x, kept.mutable_data());
    spread(count, kept.data(), work.factor_spectra());
    on_grid_.template inverse<B>(count * Form::factors, work.factors(), work.fields.mutable_data(), field_scale());
    work.rates = Tensor<T, B>::zeros(Shape{count * modes_.grid});
    reduce_rates(count, work.fields.data(), work.rates.mutable_data());
    const std::vector<T> rows = work.rates.to_vector();
    std::vector<double> result(static_cast<std::size_t>(count), 0.0);
    for (index_t i = 0; i < count * modes_.grid; ++i) {
      double& top = result[static_cast<std::size_t>(i / modes_.grid)];
      top = LargestOrNan{}(top, static_cast<double>(rows[static_cast<std::size_t>(i)]));
    }
    return result;
  }

  // Conversions -------------------------------------------------------------------------------------------------

  template <class S>
  void to_fields(index_t count, const S* w, S* field) const {
    auto kept = Tensor<S, B>::uninitialized(state_shape(count));
    keep_rows(count, w, kept.mutable_data());
    on_size_.template inverse<B>(count * Form::fields, kept.data(), field, state_scale());
  }
  template <class S>
  void to_fields_adjoint(index_t count, const S* field, S* w) const {
    auto all = Tensor<S, B>::uninitialized(state_shape(count));
    on_size_.template inverse_adjoint<B>(count * Form::fields, field, all.mutable_data(), state_scale());
    keep_rows(count, all.data(), w);
  }
  template <class S>
  void from_fields(index_t count, const S* field, S* w) const {
    auto all = Tensor<S, B>::uninitialized(state_shape(count));
    on_size_.template forward<B>(count * Form::fields, field, all.mutable_data());
    keep_rows(count, all.data(), w);
    for_modes(count, KeepModes<T, S>{size_layout(), w});
  }
  template <class S>
  void from_fields_adjoint(index_t count, const S* w, S* field) const {
    auto kept = Tensor<S, B>::uninitialized(state_shape(count));
    keep_rows(count, w, kept.mutable_data());
    for_modes(count, KeepModes<T, S>{size_layout(), kept.mutable_data()});
    on_size_.template forward_adjoint<B>(count * Form::fields, kept.data(), field);
  }
  template <class S>
  void to_velocity(index_t count, const S* w, S* field, bool staggered) const {
    auto spectra = Tensor<S, B>::zeros(velocity_shape(count));
    convert(count, Conversion::velocity, staggered, const_cast<S*>(w), spectra.mutable_data());
    on_size_.template inverse<B>(2 * count, spectra.data(), field, state_scale());
  }
  template <class S>
  void to_velocity_adjoint(index_t count, const S* field, S* w, bool staggered) const {
    auto spectra = Tensor<S, B>::uninitialized(velocity_shape(count));
    auto kept = Tensor<S, B>::zeros(state_shape(count));
    on_size_.template inverse_adjoint<B>(2 * count, field, spectra.mutable_data(), state_scale());
    convert(count, Conversion::velocity_adjoint, staggered, kept.mutable_data(), spectra.mutable_data());
    keep_rows(count, kept.data(), w);
  }
  template <class S>
  void from_velocity(index_t count, const S* field, S* w, bool staggered) const {
    auto spectra = Tensor<S, B>::uninitialized(velocity_shape(count));
    auto kept = Tensor<S, B>::uninitialized(state_shape(count));
    on_size_.template forward<B>(2 * count, field, spectra.mutable_data());
    convert(count, Conversion::vorticity, staggered, kept.mutable_data(), spectra.mutable_data());
    keep_rows(count, kept.data(), w);
  }
  template <class S>
  void from_velocity_adjoint(index_t count, const S* w, S* field, bool staggered) const {
    auto spectra = Tensor<S, B>::zeros(velocity_shape(count));
    convert(count, Conversion::vorticity_adjoint, staggered, const_cast<S*>(w), spectra.mutable_data());
    on_size_.template forward_adjoint<B>(2 * count, spectra.data(), field);
  }

 private:
  static constexpr bool in_place = Form::factors == Form::products;

  /// Rates of damping -L, a sum of one along x and one along y.
  struct HostRates {
    std::vector<double> x, y;
  };
  struct Rates {
    Tensor<T, B> x, y;
  };

  /// Memory of a run for `count` trajectories. Rows of the factors' spectra that are not kept are zero for good.
  template <class S>
  struct Work {
    Work(const SpectralCore& core, index_t count)
        : spectra(Tensor<S, B>::zeros(core.spectra_shape(count, Form::factors))),
          fields(Tensor<S, B>::uninitialized(Shape{count * Form::factors, core.modes_.grid, core.modes_.grid})),
          transformed(Tensor<S, B>::uninitialized(core.spectra_shape(count, Form::products))),
          a(Tensor<S, B>::uninitialized(core.state_shape(count))),
          b(Tensor<S, B>::uninitialized(core.how_.stepper == SpectralStepper::etd_rk4 ? core.state_shape(count)
                                                                                      : Shape{1})),
          rates(Tensor<T, B>::zeros(Shape{count * core.modes_.grid})) {
      if constexpr (!in_place)
        products = Tensor<S, B>::uninitialized(Shape{count * Form::products, core.modes_.grid, core.modes_.grid});
    }
    S* factor_spectra() { return spectra.mutable_data(); }
    const S* factors() const { return spectra.data(); }
    S* product_fields() { return in_place ? fields.mutable_data() : products.mutable_data(); }
    S* product_spectra() { return transformed.mutable_data(); }

    Tensor<S, B> spectra, fields, products, transformed, a, b;
    Tensor<T, B> rates;
  };

  static KolmogorovOptions checked(const KolmogorovOptions& flow) {
    validate(flow);
    return flow;
  }
  static SpectralOptions checked(const SpectralOptions& how) {
    if (!(how.aspect > 0 && is_finite(how.aspect)))
      throw ArgumentError("SpectralOptions: aspect must be positive and finite, given " + std::to_string(how.aspect));
    if (!(how.stability >= 0))
      throw ArgumentError("SpectralOptions: stability must not be negative (0 for the stepper's bound), given " +
                          std::to_string(how.stability));
    return how;
  }

  static Tensor<T, B> tensor(const std::vector<double>& x) {
    return Tensor<T, B>::from(std::vector<T>(x.begin(), x.end()));
  }

  Shape spectra_shape(index_t count, int fields) const { return {count * fields, modes_.grid, 2, modes_.columns()}; }
  Shape velocity_shape(index_t count) const { return {count * 2, modes_.size, 2, modes_.columns()}; }
  T field_scale() const { return state_scale(); }
  T state_scale() const {
    const double n = static_cast<double>(modes_.size);
    return static_cast<T>(1 / (n * n));
  }

  SpectralLayout<T> layout() const {
    return {
        modes_.size, Form::fields,           modes_.grid,    modes_.cut,     modes_.columns(), static_cast<T>(step_x()),
        y_.data(),   inverse_square_.data(), weight_.data(), weight_stride_, forcing_.data()};
  }
  SpectralLayout<T> size_layout() const {
    SpectralLayout<T> result = layout();
    result.grid = modes_.size;
    return result;
  }

  template <class Kernel>
  void for_modes(index_t count, const Kernel& kernel) const {
    for_each_row<B>(count * modes_.rows(), modes_.columns(), kernel);
  }
  template <class S>
  void keep_rows(index_t count, const S* x, S* y) const {
    for_each_row<B>(count * Form::fields * modes_.size, modes_.columns(), KeepRows<T, S>{layout(), x, y});
  }
  template <class S>
  void spread(index_t count, const S* w, S* factors) const {
    for_modes(count, SpreadKernel<Form, T, S>{layout(), form_, w, factors});
  }
  template <class S>
  void convert(index_t count, Conversion conversion, bool staggered, S* w, S* spectra) const {
    const StaggeredPhases<T> places{staggered ? half_.data() : nullptr, whole_.data(), modes_.columns()};
    for_modes(count, VelocityKernel<T, S>{size_layout(), places, conversion, w, spectra});
  }

  template <class S>
  void multiply(index_t count, const S* factors, S* products, T* rates) const {
    if (rates != nullptr && !runs_on_host<B>) {
      reduce_rates(count, factors, rates);
      rates = nullptr;
    }
    for_each_row<B>(count * modes_.grid, modes_.grid,
                    MultiplyKernel<Form, T, S>{modes_.grid, form_, factors, products, rates, reach_x(), reach_y()});
  }
  template <class S>
  void reduce_rates(index_t count, const S* fields, T* rates) const {
    B::reduce(count * modes_.grid, modes_.grid,
              LoadRate<T, S>{modes_.grid, index_t{Form::factors}, fields, reach_x(), reach_y()}, LargestOrNan{}, T(0),
              StoreLargest<T>{rates});
  }
  T reach_x() const { return static_cast<T>(step_x() * static_cast<double>(modes_.cut)); }
  T reach_y() const { return static_cast<T>(flow_.fundamental() * static_cast<double>(modes_.cut)); }

  /// From the spectra of the factors to those of the products.
  template <class S>
  void evaluate(index_t count, Work<S>& work, T* rates) const {
    S* fields = work.fields.mutable_data();
    on_grid_.template inverse<B>(count * Form::factors, work.factors(), fields, field_scale());
    multiply(count, fields, work.product_fields(), rates);
    on_grid_.template forward<B>(count * Form::products, work.product_fields(), work.product_spectra());
  }

  template <class Steps, class S>
  void run_stage(index_t count, const Array<Steps, Form::fields>& schemes, int stage, Work<S>& work, S* w,
                 S* factors) const {
    for_modes(count, AdvanceKernel<Steps, Form, T, S>{layout(), form_, schemes, stage, work.product_spectra(), w,
                                                      work.a.mutable_data(), work.b.mutable_data(), factors});
  }

  /// The rates of damping of each field, and nothing else of the low-storage steps.
  Array<LowStorageSteps<T>, Form::fields> rates_of_damping() const {
    Array<LowStorageSteps<T>, Form::fields> steps{};
    for (int e = 0; e < Form::fields; ++e) {
      const Rates& damping = damping_[static_cast<std::size_t>(e)];
      steps[e].damping_x = damping.x.data();
      steps[e].damping_y = damping.y.data();
    }
    return steps;
  }

  /// Calls f(steps of each field) with the stepper's coefficients for steps of dt.
  template <class F>
  void with_steps(double dt, const F& f) const {
    const index_t m = modes_.columns();
    if (how_.stepper == SpectralStepper::if_rk4) {
      const Tensor<T, B> tables = half_step_factors(dt);
      Array<IntegratingFactorSteps<T>, Form::fields> steps{};
      for (int e = 0; e < Form::fields; ++e)
        steps[e] = {tables.data() + 2 * e * m, tables.data() + (2 * e + 1) * m, static_cast<T>(dt)};
      f(steps);
    } else if (how_.stepper == SpectralStepper::etd_rk4) {
      const Tensor<T, B> tables = exponential_tables(dt);
      Array<ExponentialSteps<T>, Form::fields> steps{};
      for (int e = 0; e < Form::fields; ++e) {
        const T* first = tables.data() + e * 5 * m * m;
        steps[e] = {first, first + m * m, first + 2 * m * m, first + 3 * m * m, first + 4 * m * m, m};
      }
      f(steps);
    } else if (how_.stepper == SpectralStepper::heun_cn) {
      Array<HeunSteps<T>, Form::fields> steps{};
      const auto damping = rates_of_damping();
      for (int e = 0; e < Form::fields; ++e)
        steps[e] = {damping[e].damping_x, damping[e].damping_y, static_cast<T>(dt)};
      f(steps);
    } else {
      const LowStorageCoefficients c = low_storage_coefficients(how_.stepper);
      auto steps = rates_of_damping();
      for (int e = 0; e < Form::fields; ++e) {
        steps[e].count = static_cast<int>(c.weight.size());
        for (int s = 0; s < steps[e].count; ++s) {
          const auto i = static_cast<std::size_t>(s);
          steps[e].weight[s] = static_cast<T>(c.weight[i] * dt);
          steps[e].memory[s] = static_cast<T>(c.memory[i]);
          steps[e].implicit[s] = static_cast<T>(0.5 * dt * (c.time[i + 1] - c.time[i]));
        }
      }
      f(steps);
    }
  }

  /// exp(-dt/2 times the rates of damping) along x, then along y, for each field.
  Tensor<T, B> half_step_factors(double dt) const {
    return tables_.get(dt, [&] {
      std::vector<double> factors;
      for (int e = 0; e < Form::fields; ++e)
        for (const std::vector<double>* rates : {&host_damping_[e].x, &host_damping_[e].y})
          for (const double rate : *rates) factors.push_back(std::exp(-0.5 * dt * rate));
      return tensor(factors);
    });
  }

  /// exp(z/2), then the four functions of EtdCoefficients times dt, each [columns, columns], for each field.
  Tensor<T, B> exponential_tables(double dt) const {
    return tables_.get(dt, [&] {
      const index_t m = modes_.columns(), plane = m * m;
      std::vector<double> tables(static_cast<std::size_t>(Form::fields * 5 * plane));
      for (index_t at = 0; at < Form::fields * plane; ++at) {
        const index_t e = at / plane, i = at % plane;
        const HostRates& rates = host_damping_[static_cast<int>(e)];
        const double z = -dt * (rates.x[static_cast<std::size_t>(i / m)] + rates.y[static_cast<std::size_t>(i % m)]);
        const EtdCoefficients c = etd_coefficients(z);
        const double values[5] = {std::exp(0.5 * z), dt * c.q, dt * c.alpha, dt * c.beta, dt * c.gamma};
        for (index_t t = 0; t < 5; ++t) tables[static_cast<std::size_t>((e * 5 + t) * plane + i)] = values[t];
      }
      return tensor(tables);
    });
  }

  // What is wrong with a flow -----------------------------------------------------------------------------------

  template <class S>
  void check_rates(index_t count, const Tensor<T, B>& rates, const S* w, double dt, index_t step) const {
    const double bound = stability();
    const auto check = [&](const T* rows) {
      for (index_t trajectory = 0; trajectory < count; ++trajectory) {
        T top = T(0);
        for (index_t i = 0; i < modes_.grid; ++i) top = LargestOrNan{}(top, rows[trajectory * modes_.grid + i]);
        const double number = dt * static_cast<double>(top);
        if (!is_finite(number) || number > bound)
          throw_unstable(w + trajectory * state_shape(1).size(), dt, step, number);
      }
    };
    if constexpr (runs_on_host<B>)
      check(rates.data());
    else
      check(rates.to_vector().data());
  }

  /// Finds the cell that breaks the bound in one trajectory, and throws.
  template <class S>
  [[noreturn]] void throw_unstable(const S* w, double dt, index_t step, double number) const {
    auto field = Tensor<S, B>::uninitialized(Shape{2, modes_.size, modes_.size});
    to_velocity(1, w, field.mutable_data(), false);
    const std::vector<S> values = field.to_vector();
    const index_t plane = modes_.size * modes_.size;
    double top = -1;
    index_t cell = 0;
    for (index_t i = 0; i < plane && is_finite(top); ++i) {
      const double rate =
          std::abs(static_cast<double>(plain(values[static_cast<std::size_t>(i)])) * static_cast<double>(reach_x())) +
          std::abs(static_cast<double>(plain(values[static_cast<std::size_t>(plane + i)])) *
                   static_cast<double>(reach_y()));
      if (is_finite(rate) && rate <= top) continue;
      top = rate;
      cell = i;
    }
    const std::array<index_t, 2> place{cell / modes_.size, cell % modes_.size};
    if (!is_finite(number))
      throw UnstableStep("Spectral: the flow is no longer finite; take shorter steps or check the initial condition",
                         step, place, number);
    throw UnstableStep("Spectral: dt k (|u| + |v|) exceeds " + std::to_string(stability()) + " with steps of " +
                           std::to_string(dt) + "; take more steps, or let transition choose how many (steps = 0)",
                       step, place, number);
  }

  template <class S>
  void check_finite(index_t count, const S* w, index_t step) const {
    const index_t row = 2 * modes_.columns(), rows = count * Form::fields * modes_.size;
    auto tops = Tensor<T, B>::zeros(Shape{rows});
    B::reduce(rows, row, LoadMagnitude<T, S>{w, row}, LargestOrNan{}, T(0), StoreLargest<T>{tops.mutable_data()});
    const std::vector<T> top = tops.to_vector();
    for (index_t i = 0; i < rows; ++i)
      if (!is_finite(top[static_cast<std::size_t>(i)]))
        throw_unstable(w + i / (Form::fields * modes_.size) * state_shape(1).size(), 0, step,
                       static_cast<double>(top[static_cast<std::size_t>(i)]));
  }

  KolmogorovOptions flow_;
  SpectralOptions how_;
  Form form_;
  Truncation modes_;
  RealFft2<T> on_grid_, on_size_;
  index_t weight_stride_ = 0;
  Tensor<T, B> y_, inverse_square_, weight_, forcing_, half_, whole_;
  Array<HostRates, Form::fields> host_damping_;
  std::vector<Rates> damping_;
  TablesOfSteps<T, B> tables_;  // of the one stepper
};

}  // namespace detail

}  // namespace kolmo::flow
