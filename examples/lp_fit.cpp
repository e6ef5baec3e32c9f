// The mixture of one density by a linear programme, and by one that EM goes on from: lp_fit COMPONENTS
// test: 5

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <kolmo/backend/cpu.hpp>
#include <kolmo/gmm/hybrid_fit.hpp>

namespace gmm = kolmo::gmm;
using Tensor = kolmo::Tensor<double, kolmo::Cpu>;

void print(const char* method, const gmm::FitReport<Tensor>& report) {
  std::printf("%s: %s, %lld components\n", method, gmm::describe(report.statuses()[0]),
              static_cast<long long>(report.mixture.components()));
  std::printf("  errors: density %.6f, distribution function %.6f\n", report.measures->density_error.item(),
              report.measures->distribution_error.item());
}

void fit_one_density(int components) {
  // A gamma density at 96 points of [0, 20]; it need not be normalised.
  const gmm::Grid grid{0.0, 20.0, 96};
  std::vector<double> values;
  for (kolmo::index_t i = 0; i < grid.points; ++i) values.push_back(grid[i] * grid[i] * std::exp(-grid[i]));
  const Tensor density = Tensor::from(values);  // or [batch, points]
  const gmm::FitOptions options{.measures = true};

  // The smallest error of the density that 12 x 6 normals with means at quantiles can have.
  gmm::LpOptions lp;
  lp.dictionary = {.placement = gmm::MeanPlacement::quantiles,
                   .means = 12,
                   .deviations = 6,
                   .focus = gmm::TailFocus::both,
                   .focus_exponent = 1.5};
  print("density", gmm::fit(lp, density, grid, options));

  // The same with the moments of the density, to rounding.
  lp.objective = gmm::LpObjective::density_and_moments;
  const gmm::LpFit<Tensor> both = gmm::fit(lp, density, grid, options);
  print("density and moments", both);
  std::printf("  error of the fourth moment: %.1e\n", both.moment_errors.to_vector()[3]);

  // Components chosen by a linear programme, moved by EM, their weights projected onto the moments.
  const gmm::HybridOptions hybrid{.em = {.components = components}, .projection = gmm::ProjectionOptions{}};
  const gmm::HybridFit<Tensor> fitted = gmm::fit(hybrid, density, grid, options);
  print("hybrid", fitted);
  std::printf("  %d of %lld normals were chosen; projection error %.1e\n", fitted.components.item(),
              static_cast<long long>(fitted.dictionary), fitted.constraint_error.item());
}

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '-') {
    std::printf(
        "Fits mixtures to a density by linear programming, alone and followed by EM.\nUsage: lp_fit COMPONENTS\n");
    return argc == 2 && std::strcmp(argv[1], "--help") == 0 ? 0 : 2;
  }
  try {
    fit_one_density(std::atoi(argv[1]));
  } catch (const kolmo::Error& error) {
    std::fprintf(stderr, "lp_fit: %s\n", error.what());
    return 1;
  }
}
