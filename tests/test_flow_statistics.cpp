// The statistics of the data set made by the finite-volume solver: frames 65 to 128 of trajectories at 256 x 256,
// coarsened four times, against the figures of the reference (12 trajectories of an independent implementation).

#include <cmath>
#include <sstream>

#include <kolmo/flow/coarse.hpp>
#include <kolmo/flow/filtered_noise.hpp>
#include <kolmo/flow/finite_volume.hpp>
#include <kolmo/ops/fft_plan.hpp>

#include "catch.hpp"

using namespace kolmo;
using namespace kolmo::flow;

namespace {

using Single = Tensor<float, Cpu>;
constexpr index_t n = 64;

double average(const Single& x) {
  double sum = 0;
  const auto values = x.to_vector();
  for (const float v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

/// Averages over frames, collected by name.
struct Statistics {
  index_t frames = 0;
  double u2 = 0, v2 = 0, omega2 = 0, omega4 = 0, w2 = 0, input = 0, lowest = 0, highest = 0, largest_w = 0;
  std::vector<double> shell = std::vector<double>(n / 2 + 1, 0.0);
  double longitudinal[5] = {}, transverse[5] = {};
  double lagged[11] = {};

  void add(const std::vector<Single>& recent) {
    const Single& x = recent.back();
    const Single u = at(x, 1, 0), v = at(x, 1, 1), w = vorticity_sda(x);
    const double spacing = two_pi / static_cast<double>(n);
    ++frames;
    u2 += average(u * u);
    v2 += average(v * v);
    w2 += average(w * w);
    const double omega = 1 / spacing;
    omega2 += average(w * w) * omega * omega;
    omega4 += average(w * w * w * w) * std::pow(omega, 4);
    std::vector<float> wave;
    for (index_t j = 0; j < n; ++j)
      wave.push_back(static_cast<float>(std::sin(4 * (static_cast<double>(j) + 0.5) * spacing)));
    input += average(u * Single::from(wave));
    lowest = std::min(lowest, static_cast<double>(min(x).item()));
    highest = std::max(highest, static_cast<double>(max(x).item()));
    largest_w = std::max(largest_w, static_cast<double>(norm_max(flatten(w), 0).item()));
    for (int r = 0; r < 5; ++r) {
      const Single du = periodic_shift(u, -2, index_t{1} << r) - u, dv = periodic_shift(v, -2, index_t{1} << r) - v;
      longitudinal[r] += average(du * du);
      transverse[r] += average(dv * dv);
    }
    for (std::size_t lag = 0; lag < 11 && lag < recent.size(); ++lag)
      lagged[lag] += average(u * at(recent[recent.size() - 1 - lag], 1, 0));
    add_spectrum(x);
  }

  void add_spectrum(const Single& x) {
    const index_t fields = x.size() / (n * n), m = n / 2 + 1;
    std::vector<double> field;
    for (const float value : x.to_vector()) field.push_back(value);
    std::vector<double> spectrum(static_cast<std::size_t>(fields * n * 2 * m));
    RealFft2<double>(n, n).forward<Cpu>(fields, field.data(), spectrum.data());
    const double scale = 0.5 / std::pow(static_cast<double>(n), 4) / (static_cast<double>(fields) / 2);
    for (index_t f = 0; f < fields; ++f)
      for (index_t k = 0; k < n; ++k)
        for (index_t l = 0; l < m; ++l) {
          const double kx = static_cast<double>(std::min(k, n - k)), ky = static_cast<double>(l);
          const auto bin = static_cast<std::size_t>(std::lround(std::sqrt(kx * kx + ky * ky)));
          if (bin >= shell.size()) continue;
          const auto at = static_cast<std::size_t>((f * n + k) * 2 * m + l);
          const double square = spectrum[at] * spectrum[at] +
                                spectrum[at + static_cast<std::size_t>(m)] * spectrum[at + static_cast<std::size_t>(m)];
          shell[bin] += (l == 0 || l == n / 2 ? 1 : 2) * square * scale;
        }
  }
};

/// A line of the report, and the check.
struct Report {
  std::ostringstream text;
  void row(const char* name, double ours, double reference, double tolerance) {
    text << name << ": " << ours << " (" << reference << ")\n";
    CAPTURE(name);
    CHECK(ours == Approx(reference).margin(tolerance));
  }
};

}  // namespace

TEST_CASE("eight trajectories of the data set have the statistics of the reference", "[long]") {
  const KolmogorovOptions flow;
  const FiniteVolume<float> solver(flow);
  const index_t trajectories = 8;
  Single x = filtered_velocities<Single>(flow, Key{0}, 0, trajectories);
  Statistics s;
  std::vector<Single> recent;
  double early[129] = {};
  for (int t = 1; t <= 128; ++t) {
    x = solver.transition(x, 0.2);
    const Single coarse = coarsen(x, 4);
    early[t] = average(coarse * coarse);
    recent.push_back(coarse);
    if (recent.size() > 11) recent.erase(recent.begin());
    if (t > 64) s.add(recent);
  }
  const double frames = static_cast<double>(s.frames);
  const double energy = (s.u2 + s.v2) / 2 / frames;
  Report report;
  report.row("std", std::sqrt(energy), 0.984, 0.03);
  report.row("std of u", std::sqrt(s.u2 / frames), 1.013, 0.05);
  report.row("std of v", std::sqrt(s.v2 / frames), 0.954, 0.05);
  report.row("energy", energy, 0.969, 0.06);
  report.row("rms vorticity", std::sqrt(s.omega2 / frames), 4.18, 0.2);
  report.row("std of the data set's w", std::sqrt(s.w2 / frames), 0.411, 0.02);
  report.row("largest |w|", s.largest_w, 2.11, 0.6);
  report.row("lowest component", s.lowest, -4.75, 1.2);
  report.row("highest component", s.highest, 3.96, 1.2);
  report.row("input", s.input / frames, 0.226, 0.02);
  report.row("drag loss", 0.2 * energy, 0.194, 0.012);
  report.row("kurtosis of the vorticity", s.omega4 * frames / (s.omega2 * s.omega2), 4.26, 0.4);
  const double spectrum[] = {.251, .285, .173, .187, .034, .018};
  for (std::size_t k = 1; k <= 6; ++k)
    report.row(("E(" + std::to_string(k) + ")").c_str(), s.shell[k] / frames, spectrum[k - 1],
               (k <= 4 ? 0.15 : 0.25) * spectrum[k - 1]);
  const std::pair<std::size_t, double> tail[] = {{8, .0046}, {16, 1.8e-4}, {24, 1.7e-5}, {32, 2.6e-6}};
  for (const auto& [k, value] : tail)
    report.row(("E(" + std::to_string(k) + ")").c_str(), s.shell[k] / frames, value, 0.3 * value);
  const std::pair<std::size_t, double> lags[] = {{1, .967}, {2, .892}, {5, .630}, {10, .341}};
  for (const auto& [lag, value] : lags) {
    // Every frame from 65 on has its past, as frames 55 to 64 are kept for it.
    report.row(("autocorrelation at " + std::to_string(0.2 * static_cast<double>(lag))).c_str(),
               s.lagged[lag] / s.lagged[0], value, lag < 5 ? 0.02 : 0.08);
  }
  const double longitudinal[] = {.0204, .0782, .276, .798, 1.54}, transverse[] = {.0567, .213, .708, 1.75, 2.43};
  for (int r = 0; r < 5; ++r) {
    const std::string at = " at " + std::to_string(1 << r);
    report.row(("longitudinal S2" + at).c_str(), s.longitudinal[r] / frames, longitudinal[r], 0.12 * longitudinal[r]);
    report.row(("transverse S2" + at).c_str(), s.transverse[r] / frames, transverse[r], 0.12 * transverse[r]);
  }
  const std::pair<int, double> energies[] = {{1, .617}, {16, 1.058}, {32, 1.060}, {64, .999}, {96, .995}, {128, .905}};
  for (const auto& [t, value] : energies)
    report.row(("energy at t = " + std::to_string(0.2 * t)).c_str(), early[t], value, 0.25);
  WARN("statistics of " << trajectories << " trajectories (reference):\n" << report.text.str());
}
