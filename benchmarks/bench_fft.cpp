// Transforms of fields beside FFTW with measured plans, where it is installed, on one thread. GFLOP/s counts the
// customary 2.5 N log2 N operations of a real transform of N points, for kept columns too; of_peak is that rate over
// the rate of independent fused multiply-adds in the same run, the bound of arithmetic; GB/s counts input and output.

#include <cmath>
#include <type_traits>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/ops/fft_plan.hpp>

#if defined(KOLMO_FFTW)
#include <fftw3.h>
#endif

#include "measure.hpp"

namespace {

using kolmo::Cpu;
using kolmo::index_t;
using kolmo::Shape;
using kolmo::Tensor;
using measure::compare;
using measure::Peer;
using measure::Work;

template <class T>
Tensor<T, Cpu> sample(const Shape& shape) {
  std::vector<T> values(static_cast<std::size_t>(shape.size()));
  std::uint32_t seed = 1;
  for (T& x : values) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<T>(static_cast<float>(seed >> 8) * 0x1p-22f - 2.0f);
  }
  return Tensor<T, Cpu>::from(std::span<const T>(values), shape);
}

/// Operations per second of fused multiply-adds that do not wait for each other.
template <class T>
double peak() {
  using V = typename kolmo::detail::FftLanes<T, kolmo::detail::fft_vector_bytes>::Vector;
  constexpr int count = 12, rounds = 20000;
  V sum[count] = {};
  T factor = T(0.999);
  benchmark::DoNotOptimize(factor);
  double best = 0;
  for (int trial = 0; trial < 20; ++trial) {
    const double seconds = measure::detail::time_of(
        [&] {
          for (int i = 0; i < rounds; ++i)
            for (int j = 0; j < count; ++j) sum[j] = sum[j] * factor + factor;
          for (V& s : sum) benchmark::DoNotOptimize(s);
        },
        1);
    best = std::max(best, 2.0 * count * rounds * static_cast<double>(sizeof(V) / sizeof(T)) / seconds);
  }
  return best;
}

template <class T>
void set_bound(benchmark::State& state, const Work& work) {
  static const double bound = peak<T>();
  state.counters["of_peak"] = work.flops / (state.counters["median_us"] * 1e-6) / bound;
}

enum class Step { forward, inverse, sine };

#if defined(KOLMO_FFTW)
template <class T>
struct Fftw;
template <>
struct Fftw<double> {
  using Plan = fftw_plan;
  static Plan make(Step step, int n0, int n1, double* x, double* y) {
    if (step == Step::forward) return fftw_plan_dft_r2c_2d(n0, n1, x, reinterpret_cast<fftw_complex*>(y), FFTW_MEASURE);
    if (step == Step::inverse) return fftw_plan_dft_c2r_2d(n0, n1, reinterpret_cast<fftw_complex*>(x), y, FFTW_MEASURE);
    return fftw_plan_r2r_2d(n0, n1, x, y, FFTW_RODFT00, FFTW_RODFT00, FFTW_MEASURE);
  }
  static void run(Plan plan) { fftw_execute(plan); }
  static void destroy(Plan plan) { fftw_destroy_plan(plan); }
};
template <>
struct Fftw<float> {
  using Plan = fftwf_plan;
  static Plan make(Step step, int n0, int n1, float* x, float* y) {
    if (step == Step::forward)
      return fftwf_plan_dft_r2c_2d(n0, n1, x, reinterpret_cast<fftwf_complex*>(y), FFTW_MEASURE);
    if (step == Step::inverse)
      return fftwf_plan_dft_c2r_2d(n0, n1, reinterpret_cast<fftwf_complex*>(x), y, FFTW_MEASURE);
    return fftwf_plan_r2r_2d(n0, n1, x, y, FFTW_RODFT00, FFTW_RODFT00, FFTW_MEASURE);
  }
  static void run(Plan plan) { fftwf_execute(plan); }
  static void destroy(Plan plan) { fftwf_destroy_plan(plan); }
};
#endif

template <class T>
constexpr const char* name_of = std::is_same_v<T, float> ? "float" : "double";

double flops_of(index_t n0, index_t n1) {
  const double points = static_cast<double>(n0 * n1);
  return 2.5 * points * std::log2(points);
}

/// Compares `ours` with FFTW's plan, which is given memory of its own for `in` and `out` numbers.
template <class T, class Ours>
void run(benchmark::State& state, const Work& work, const Ours& ours, [[maybe_unused]] Step step,
         [[maybe_unused]] Shape extents, [[maybe_unused]] index_t in, [[maybe_unused]] index_t out) {
#if defined(KOLMO_FFTW)
  auto x = sample<T>({in}), y = sample<T>({out});
  const auto plan = Fftw<T>::make(step, static_cast<int>(extents[0]), static_cast<int>(extents[1]), x.mutable_data(),
                                  y.mutable_data());
  compare(state, work, ours, Peer{"fftw", [&] { Fftw<T>::run(plan); }});
  Fftw<T>::destroy(plan);
#else
  compare(state, work, ours);
#endif
  set_bound<T>(state, work);
}

template <class T>
void add_field(index_t n0, index_t n1, index_t columns) {
  const std::string name =
      std::to_string(n0) + "x" + std::to_string(n1) + "/" + std::to_string(columns) + "/" + name_of<T>;
  const Work work{static_cast<double>(sizeof(T)) * static_cast<double>(n0 * (n1 + 2 * columns)), flops_of(n0, n1), 0};
  const index_t points = n0 * n1, modes = n0 * 2 * (n1 / 2 + 1);
  measure::add("forward/" + name, [=](benchmark::State& state) {
    const kolmo::RealFft2<T> plan(n0, n1, columns);
    const auto x = sample<T>({n0, n1});
    auto y = sample<T>({n0, 2, columns});
    T* to = y.mutable_data();
    run<T>(
        state, work, [&] { plan.template forward<Cpu>(1, x.data(), to); }, Step::forward, {n0, n1}, points, modes);
  });
  measure::add("inverse/" + name, [=](benchmark::State& state) {
    const kolmo::RealFft2<T> plan(n0, n1, columns);
    const auto y = sample<T>({n0, 2, columns});
    auto x = sample<T>({n0, n1});
    T* to = x.mutable_data();
    run<T>(
        state, work, [&] { plan.template inverse<Cpu>(1, y.data(), to); }, Step::inverse, {n0, n1}, modes, points);
  });
}

/// FFTW keeps the spectrum whole, and its sine transform is the accurate one of twice the length.
template <class T>
void add_sines(index_t nx, index_t ny) {
  const index_t n0 = nx - 1, n1 = ny - 1;
  const Work work{2 * static_cast<double>(sizeof(T)) * static_cast<double>(n0 * n1), flops_of(nx, ny), 0};
  measure::add(
      "sines/" + std::to_string(n0) + "x" + std::to_string(n1) + "/" + name_of<T>, [=](benchmark::State& state) {
        const kolmo::SineTransform2<T> plan(nx, ny);
        auto x = sample<T>({n0, n1}), y = sample<T>({n0, n1});
        T* to = y.mutable_data();
        run<T>(
            state, work, [&] { plan.template apply<Cpu>(1, x.data(), to); }, Step::sine, {n0, n1}, n0 * n1, n0 * n1);
      });
}

template <class T>
void add_all() {
  for (const index_t n : {64, 128, 256, 512}) add_field<T>(n, n, n / 2 + 1);
  add_field<T>(128, 128, 43);
  add_field<T>(256, 256, 86);
  add_field<T>(400, 200, 101);
  add_sines<T>(400, 200);
  add_sines<T>(450, 200);
}

}  // namespace

int main(int argc, char** argv) {
  add_all<double>();
  add_all<float>();
  return measure::run(argc, argv);
}
