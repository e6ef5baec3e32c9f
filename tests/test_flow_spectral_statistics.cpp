// Long-time statistics of the spectral solver against independent runs of the same equations: the table of the data
// set, and Kolmogorov flow without drag at two Reynolds numbers.

#include <cmath>
#include <sstream>

#include <kolmo/flow/coarse.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/spectra.hpp>
#include <kolmo/flow/spectral.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::flow;

namespace {

template <class T>
double mean_square(const Tensor<T, Cpu>& x) {
  double sum = 0;
  for (const T value : x.to_vector()) sum += static_cast<double>(value) * static_cast<double>(value);
  return sum / static_cast<double>(x.size());
}

/// Energy and viscous dissipation over those of the laminar flow, averaged over a run without drag.
struct LaminarShares {
  double energy = 0, dissipation = 0;
};

LaminarShares shares(double reynolds, index_t size, double spin_up, double time, double interval) {
  KolmogorovOptions flow;
  flow.size = size;
  flow.reynolds = reynolds;
  flow.drag = 0;
  const Spectral<double> solver(flow);
  auto w = solver.from_staggered(filtered_velocities<Tensor<double, Cpu>>(flow, Key{7}, 0, 1));
  w = solver.transition(w, spin_up);
  LaminarShares sum;
  const int count = static_cast<int>(time / interval);
  for (int k = 0; k < count; ++k) {
    w = solver.transition(w, interval);
    sum.energy += mean_square(solver.velocity(w));
    sum.dissipation += mean_square(solver.to_vorticity(w)) / reynolds;
  }
  return {sum.energy / count / (reynolds * reynolds / 1024), sum.dissipation / count / (reynolds / 32)};
}

}  // namespace

TEST_CASE("Kolmogorov flow without drag at Re 40 and 100 has the energy and dissipation of the reference", "[long]") {
  const LaminarShares low = shares(40, 64, 200, 3800, 1);
  WARN("Re 40: E/E_lam " << low.energy << " (0.436), D/D_lam " << low.dissipation << " (0.094)");
  CHECK(low.energy == Approx(0.436).margin(0.015));
  CHECK(low.dissipation == Approx(0.094).margin(0.008));
  const LaminarShares high = shares(100, 128, 50, 400, 0.5);
  WARN("Re 100: E/E_lam " << high.energy << " (0.189), D/D_lam " << high.dissipation << " (0.0287)");
  CHECK(high.energy == Approx(0.189).margin(0.012));
  CHECK(high.dissipation == Approx(0.0287).margin(0.003));
}

TEST_CASE("eight spectral trajectories of the data set have the statistics of the reference", "[long]") {
  const KolmogorovOptions flow;
  const Spectral<float> solver(flow);
  const index_t trajectories = 8;
  auto w = solver.from_staggered(filtered_velocities<Tensor<float, Cpu>>(flow, Key{0}, 0, trajectories));
  double energy = 0, input = 0, vorticity2 = 0, u2 = 0;
  std::vector<double> spectrum(33, 0.0);
  int frames = 0;
  const index_t n = 64;
  for (int t = 1; t <= 128; ++t) {
    w = solver.transition(w, 0.2);
    if (t <= 64) continue;
    ++frames;
    const auto x = coarsen(solver.to_staggered(w), 4);
    const auto values = x.to_vector();
    double square = 0, along = 0, work = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double v = static_cast<double>(values[i]);
      square += v * v;
      if (i / static_cast<std::size_t>(n * n) % 2 == 0) {
        along += v * v;
        work += v * std::sin(4 * (static_cast<double>(i % static_cast<std::size_t>(n)) + 0.5) * two_pi /
                             static_cast<double>(n));
      }
    }
    const double count = static_cast<double>(values.size()) / 2;
    energy += 0.5 * square / count;
    u2 += along / count;
    input += work / count;
    vorticity2 += mean_square(vorticity(x, two_pi / static_cast<double>(n)));
    const auto shells = energy_spectrum(x).mean;
    for (std::size_t k = 0; k < spectrum.size() && k < shells.size(); ++k) spectrum[k] += shells[k];
  }
  std::ostringstream text;
  const auto row = [&](const std::string& name, double ours, double reference, double tolerance) {
    text << name << ": " << ours << " (" << reference << ")\n";
    CAPTURE(name);
    CHECK(ours == Approx(reference).margin(tolerance));
  };
  row("energy", energy / frames, 1.005, 0.08);
  row("std of u", std::sqrt(u2 / frames), 1.028, 0.06);
  row("rms vorticity", std::sqrt(vorticity2 / frames), 4.27, 0.25);
  row("input", input / frames, 0.224, 0.02);
  const std::pair<std::size_t, double> shells[] = {{1, .266},  {2, .302},    {3, .179},   {4, .182},
                                                   {8, .0050}, {16, 2.4e-4}, {24, 2.5e-5}};
  for (const auto& [k, value] : shells)
    row("E(" + std::to_string(k) + ")", spectrum[k] / frames, value, (k <= 4 ? 0.18 : 0.3) * value);
  WARN("statistics of " << trajectories << " spectral trajectories (reference):\n" << text.str());
}
