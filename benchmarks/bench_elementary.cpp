// The elementary functions over 2^20 numbers beside a loop over the standard library's, on one core.
//
// Each pair of lines NAME<T>/kolmo and NAME<T>/libm ran one after the other on the same numbers; their ratio is the
// figure to quote. Philox has no counterpart: its lines give the cost of a random number.

#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include <kolmo/core/math.hpp>
#include <kolmo/core/random.hpp>

namespace {

constexpr std::size_t count = std::size_t(1) << 20;

/// Numbers from the range in which the function does its work.
template <class T>
std::vector<T> numbers(double low, double high) {
  std::vector<T> x(count);
  for (std::size_t i = 0; i < count; ++i)
    x[i] = static_cast<T>(low + (high - low) * kolmo::uniform<double>(kolmo::Key{1}, i));
  return x;
}

template <class F, class T>
void run(benchmark::State& state, F f, double low, double high) {
  const std::vector<T> x = numbers<T>(low, high);
  std::vector<T> y(count);
  const T* in = x.data();
  T* out = y.data();
  for (auto _ : state) {
    KOLMO_INDEPENDENT
    for (std::size_t i = 0; i < count; ++i) out[i] = f(in[i]);
    benchmark::DoNotOptimize(out);
    benchmark::ClobberMemory();
  }
}

template <class Ours, class Standard, class T>
void add_pair(const std::string& name, double low, double high) {
  benchmark::RegisterBenchmark((name + "/kolmo").c_str(), [=](benchmark::State& state) {
    run<Ours, T>(state, Ours{}, low, high);
  })->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark((name + "/libm").c_str(), [=](benchmark::State& state) {
    run<Standard, T>(state, Standard{}, low, high);
  })->Unit(benchmark::kMillisecond);
}

template <class Ours, class Standard>
void add(const std::string& name, double low, double high) {
  add_pair<Ours, Standard, float>(name + "<float>", low, high);
  add_pair<Ours, Standard, double>(name + "<double>", low, high);
}

#define KOLMO_PAIR(Name, ours, standard) \
  struct Name {                          \
    template <class T>                   \
    T operator()(T x) const {            \
      return ours;                       \
    }                                    \
  };                                     \
  struct Standard##Name {                \
    template <class T>                   \
    T operator()(T x) const {            \
      return standard;                   \
    }                                    \
  };

KOLMO_PAIR(Exp, kolmo::exp(x), std::exp(x))
KOLMO_PAIR(Expm1, kolmo::expm1(x), std::expm1(x))
KOLMO_PAIR(Log, kolmo::log(x), std::log(x))
KOLMO_PAIR(Log1p, kolmo::log1p(x), std::log1p(x))
KOLMO_PAIR(Tanh, kolmo::tanh(x), std::tanh(x))
KOLMO_PAIR(Sigmoid, kolmo::sigmoid(x), 1 / (1 + std::exp(-x)))
KOLMO_PAIR(Softplus, kolmo::softplus(x), std::fmax(x, T(0)) + std::log1p(std::exp(-std::fabs(x))))
KOLMO_PAIR(Erf, kolmo::erf(x), std::erf(x))
KOLMO_PAIR(Erfc, kolmo::erfc(x), std::erfc(x))
KOLMO_PAIR(NormalCdf, kolmo::normal_cdf(x), std::erfc(x* T(-0.70710678118654752440)) / 2)
KOLMO_PAIR(Sin, kolmo::sin(x), std::sin(x))
KOLMO_PAIR(Cos, kolmo::cos(x), std::cos(x))

#undef KOLMO_PAIR

template <class T, class F>
void random_numbers(benchmark::State& state) {
  std::vector<T> y(count);
  T* out = y.data();
  const F f{kolmo::Key{1}};
  for (auto _ : state) {
    KOLMO_INDEPENDENT
    for (std::size_t i = 0; i < count; ++i) out[i] = f(static_cast<kolmo::index_t>(i));
    benchmark::DoNotOptimize(out);
    benchmark::ClobberMemory();
  }
}

}  // namespace

int main(int argc, char** argv) {
  add<Exp, StandardExp>("exp", -20, 20);
  add<Expm1, StandardExpm1>("expm1", -5, 5);
  add<Log, StandardLog>("log", 1e-3, 1e3);
  add<Log1p, StandardLog1p>("log1p", -0.9, 10);
  add<Tanh, StandardTanh>("tanh", -5, 5);
  add<Sigmoid, StandardSigmoid>("sigmoid", -10, 10);
  add<Softplus, StandardSoftplus>("softplus", -10, 10);
  add<Erf, StandardErf>("erf", -4, 4);
  add<Erfc, StandardErfc>("erfc", -4, 8);
  add<NormalCdf, StandardNormalCdf>("normal_cdf", -6, 6);
  add<Sin, StandardSin>("sin", -100, 100);
  add<Cos, StandardCos>("cos", -100, 100);
  benchmark::RegisterBenchmark("uniform<float>", random_numbers<float, kolmo::fn::Uniform<float>>)
      ->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("uniform<double>", random_numbers<double, kolmo::fn::Uniform<double>>)
      ->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("normal<float>", random_numbers<float, kolmo::fn::Normal<float>>)
      ->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("normal<double>", random_numbers<double, kolmo::fn::Normal<double>>)
      ->Unit(benchmark::kMillisecond);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
