// Steps of the spectral solver of the Kolmogorov flow: time, part of it in transforms, reverse sweep; beside the same
// step (Basdevant form, IF-RK4, the 2/3 rule) written with FFTW's measured plans, where FFTW is installed.

#include <cmath>
#include <complex>
#include <memory>

#include <kolmo/flow/spectral.hpp>

#include "measure.hpp"

#ifdef KOLMO_FFTW
#include <fftw3.h>
#endif

namespace {

using kolmo::Cpu;
using kolmo::index_t;
using kolmo::Shape;
using kolmo::Tensor;
namespace flow = kolmo::flow;

template <class T>
Tensor<T, Cpu> start_field(index_t n) {
  std::vector<T> values;
  const double h = flow::two_pi / static_cast<double>(n);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < n; ++j) {
      const double x = h * static_cast<double>(i), y = h * static_cast<double>(j);
      values.push_back(static_cast<T>(1.7 * std::sin(x + 0.3) * std::cos(2 * y) + 2.1 * std::cos(3 * x - 2 * y + 1) -
                                      2.6 * std::cos(4 * y) + 1.3 * std::sin(2 * x + 5 * y + 2)));
    }
  return Tensor<T, Cpu>::from(std::span<const T>(values), Shape{1, n, n});
}

flow::KolmogorovOptions flow_of(index_t n) {
  flow::KolmogorovOptions options;
  options.size = n;
  return options;
}

double step_of(index_t n) { return 0.5 / static_cast<double>(n); }

/// Flops of a step of four stages: 16 real transforms of 2.5 n^2 log2 n^2, and about 50 per mode and 5 per point and
/// stage.
double flops_of(index_t n, int stages) {
  const double points = static_cast<double>(n * n), modes = points * 2 / 9;
  return stages * (4 * 2.5 * points * std::log2(points) + 50 * modes + 5 * points);
}

#ifdef KOLMO_FFTW
template <class T>
struct Fftw;
template <>
struct Fftw<double> {
  using Plan = fftw_plan;
  using Complex = fftw_complex;
  static Plan forward(int n, double* x, Complex* y) { return fftw_plan_dft_r2c_2d(n, n, x, y, FFTW_MEASURE); }
  static Plan inverse(int n, Complex* y, double* x) { return fftw_plan_dft_c2r_2d(n, n, y, x, FFTW_MEASURE); }
  static void run(Plan p) { fftw_execute(p); }
  static void destroy(Plan p) { fftw_destroy_plan(p); }
};
template <>
struct Fftw<float> {
  using Plan = fftwf_plan;
  using Complex = fftwf_complex;
  static Plan forward(int n, float* x, Complex* y) { return fftwf_plan_dft_r2c_2d(n, n, x, y, FFTW_MEASURE); }
  static Plan inverse(int n, Complex* y, float* x) { return fftwf_plan_dft_c2r_2d(n, n, y, x, FFTW_MEASURE); }
  static void run(Plan p) { fftwf_execute(p); }
  static void destroy(Plan p) { fftwf_destroy_plan(p); }
};

/// The peer. Only kept modes are computed with; every loop is one pass.
template <class T>
class FftwStep {
  using Complex = std::complex<T>;
  using F = Fftw<T>;

 public:
  FftwStep(index_t n, double dt, const std::vector<T>& vorticity)
      : n_(n), columns_(n / 2 + 1), cut_((n - 1) / 3), dt_(static_cast<T>(dt)) {
    const auto real = static_cast<std::size_t>(n * n), spectral = static_cast<std::size_t>(n * columns_);
    for (auto* x : {&u_, &v_}) x->resize(real);
    for (auto* x : {&w_, &next_, &sum_, &us_, &vs_}) x->resize(spectral);
    half_.resize(spectral);
    inverse_.resize(spectral);
    for (index_t r = 0; r < n; ++r)
      for (index_t c = 0; c < columns_; ++c) {
        const double kx = static_cast<double>(r <= n / 2 ? r : r - n), ky = static_cast<double>(c),
                     k2 = kx * kx + ky * ky;
        half_[at(r, c)] = static_cast<T>(std::exp(-0.5 * dt * (1e-3 * k2 + 0.1)));
        inverse_[at(r, c)] = static_cast<T>(k2 > 0 ? 1 / k2 : 0);
      }
    const auto raw = [](std::vector<Complex>& x) { return reinterpret_cast<typename F::Complex*>(x.data()); };
    plans_[0] = F::inverse(static_cast<int>(n), raw(us_), u_.data());
    plans_[1] = F::inverse(static_cast<int>(n), raw(vs_), v_.data());
    plans_[2] = F::forward(static_cast<int>(n), u_.data(), raw(us_));
    plans_[3] = F::forward(static_cast<int>(n), v_.data(), raw(vs_));
    u_ = vorticity;
    F::run(plans_[2]);
    each_mode([&](std::size_t i, T, T) { w_[i] = us_[i]; });
  }
  ~FftwStep() {
    for (auto p : plans_) F::destroy(p);
  }
  FftwStep(const FftwStep&) = delete;
  FftwStep& operator=(const FftwStep&) = delete;

  void operator()() {
    const T sixth = dt_ / 6;
    evaluate(w_);
    each_mode([&](std::size_t i, T x, T y) {
      const Complex k = tendency(i, x, y);
      sum_[i] = half_[i] * half_[i] * (w_[i] + sixth * k);
      next_[i] = half_[i] * (w_[i] + T(0.5) * dt_ * k);
    });
    evaluate(next_);
    each_mode([&](std::size_t i, T x, T y) {
      const Complex k = tendency(i, x, y);
      sum_[i] += 2 * sixth * half_[i] * k;
      next_[i] = half_[i] * w_[i] + T(0.5) * dt_ * k;
    });
    evaluate(next_);
    each_mode([&](std::size_t i, T x, T y) {
      const Complex k = tendency(i, x, y);
      sum_[i] += 2 * sixth * half_[i] * k;
      next_[i] = half_[i] * (half_[i] * w_[i] + dt_ * k);
    });
    evaluate(next_);
    each_mode([&](std::size_t i, T x, T y) { w_[i] = sum_[i] + sixth * tendency(i, x, y); });
  }

  const std::vector<Complex>& state() const { return w_; }

 private:
  std::size_t at(index_t r, index_t c) const { return static_cast<std::size_t>(r * columns_ + c); }

  template <class Body>
  void each_mode(const Body& body) {
    for (index_t r = 0; r < n_; ++r) {
      const index_t kx = r <= n_ / 2 ? r : r - n_;
      if (kx > cut_ || kx < -cut_) continue;
      const T x = static_cast<T>(kx);
      for (index_t c = 0; c <= cut_; ++c) body(at(r, c), x, static_cast<T>(c));
    }
  }
  Complex tendency(std::size_t i, T x, T y) const {
    const T forcing = x == 0 && y == 4 ? static_cast<T>(-2 * n_ * n_) : T(0);
    const Complex p = us_[i], q = vs_[i];
    const T a = x * x - y * y, b = x * y;
    return {a * p.real() + b * q.real() + forcing, a * p.imag() + b * q.imag()};
  }
  void evaluate(const std::vector<Complex>& w) {
    // The inverse transforms overwrite their input; the modes that are cut off are zeroed again.
    std::fill(us_.begin(), us_.end(), Complex());
    std::fill(vs_.begin(), vs_.end(), Complex());
    const T scale = T(1) / static_cast<T>(n_ * n_);
    each_mode([&](std::size_t i, T x, T y) {
      const T a = inverse_[i] * scale;
      us_[i] = {-a * y * w[i].imag(), a * y * w[i].real()};
      vs_[i] = {a * x * w[i].imag(), -a * x * w[i].real()};
    });
    F::run(plans_[0]);
    F::run(plans_[1]);
    for (std::size_t i = 0; i < u_.size(); ++i) {
      const T u = u_[i], v = v_[i];
      u_[i] = u * v;
      v_[i] = (v - u) * (v + u);
    }
    F::run(plans_[2]);
    F::run(plans_[3]);
  }

  index_t n_, columns_, cut_;
  T dt_;
  std::vector<T> u_, v_, half_, inverse_;
  std::vector<Complex> w_, next_, sum_, us_, vs_;
  typename F::Plan plans_[4];
};
#endif

template <class T>
void add_step(const std::string& scalar, index_t n, flow::SpectralStepper stepper, const std::string& name,
              int stages) {
  measure::add("step/" + name + "/" + scalar + "/" + std::to_string(n), [=](benchmark::State& state) {
    const flow::Spectral<T> solver(flow_of(n), {.stepper = stepper, .stability = 1e300});
    const auto w = solver.from_vorticity(start_field<T>(n));
    // A transition of ten steps: what a simulation pays for one.
    constexpr index_t steps = 10;
    const auto ours = [&] { benchmark::DoNotOptimize(solver.transition(w, step_of(n) * steps, {.steps = steps})); };
    const measure::Work work{.flops = steps * flops_of(n, stages), .items = static_cast<double>(steps)};
    const kolmo::RealFft2<T> fft(n, n, solver.modes().columns());
    auto field = start_field<T>(n);
    auto spectrum = Tensor<T, Cpu>::zeros(solver.state_shape(1));
    const auto transforms = [&] {
      for (index_t i = 0; i < steps * stages * 2; ++i) {
        fft.template forward<Cpu>(1, field.data(), spectrum.mutable_data());
        fft.template inverse<Cpu>(1, spectrum.data(), field.mutable_data(), T(1) / static_cast<T>(n * n));
      }
    };
#ifdef KOLMO_FFTW
    if (stepper == flow::SpectralStepper::if_rk4) {
      FftwStep<T> peer(n, step_of(n), start_field<T>(n).to_vector());
      measure::compare(state, work, ours, measure::Peer{"transforms", transforms}, measure::Peer{"fftw", [&] {
                                                                                                   for (index_t i = 0;
                                                                                                        i < steps; ++i)
                                                                                                     peer();
                                                                                                 }});
      return;
    }
#endif
    measure::compare(state, work, ours, measure::Peer{"transforms", transforms});
  });
}

template <class T>
void add_reverse(const std::string& scalar, index_t n) {
  measure::add("reverse/if_rk4/" + scalar + "/" + std::to_string(n), [=](benchmark::State& state) {
    const flow::Spectral<T> solver(flow_of(n), {.stability = 1e300});
    const auto w = solver.from_vorticity(start_field<T>(n));
    const auto step = [&](const auto& x) { return solver.step(x, step_of(n)); };
    std::vector<std::unique_ptr<kolmo::Vjp<Tensor<T, Cpu>, Tensor<T, Cpu>>>> recorded;
    const auto record = [&] {
      recorded.push_back(std::make_unique<kolmo::Vjp<Tensor<T, Cpu>, Tensor<T, Cpu>>>(step, w));
    };
    // Recording and the reverse sweep together, beside the step alone: one more than the ratio of the sweep.
    const auto both = [&] {
      recorded.clear();
      record();
      benchmark::DoNotOptimize(recorded.back()->pull(w));
    };
    measure::compare(state, {}, both, measure::Peer{"forward", [&] { benchmark::DoNotOptimize(step(w)); }});
  });
}

}  // namespace

int main(int argc, char** argv) {
  using flow::SpectralStepper;
  for (const index_t n : {64, 128, 256, 512}) {
    add_step<double>("double", n, SpectralStepper::if_rk4, "if_rk4", 4);
    add_step<float>("float", n, SpectralStepper::if_rk4, "if_rk4", 4);
  }
  add_step<double>("double", 256, SpectralStepper::etd_rk4, "etd_rk4", 4);
  add_step<double>("double", 256, SpectralStepper::cn_rk5, "cn_rk5", 5);
  for (const index_t n : {64, 256}) {
    add_reverse<double>("double", n);
    add_reverse<float>("float", n);
  }
  return measure::run(argc, argv);
}
