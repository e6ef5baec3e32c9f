// The mixture of one density, by the model that ships with kolmo and by expectation-maximisation: learned_fit MODEL
// test: @examples@/models/lamf_v5.safetensors

#include <cmath>
#include <cstdio>

#include <kolmo/gmm/em_fit.hpp>
#include <kolmo/gmm/lamf_fit.hpp>

namespace gmm = kolmo::gmm;
using Tensor = kolmo::Tensor<float, kolmo::Cpu>;

void print(const char* method, const gmm::FitReport<Tensor>& report) {
  std::printf("%s: %s\n", method, gmm::describe(report.statuses()[0]));
  const auto weights = report.mixture.weights.to_vector();
  const auto means = report.mixture.means.to_vector();
  const auto deviations = report.mixture.deviations.to_vector();
  for (std::size_t k = 0; k < weights.size(); ++k)
    std::printf("  weight %.3f  mean %6.3f  deviation %.3f\n", weights[k], means[k], deviations[k]);
  std::printf("  errors: density %.4f, distribution function %.4f\n", report.measures->density_error.item(),
              report.measures->distribution_error.item());
}

void fit_one_density(const char* path) {
  // A gamma density at 200 points of [0, 20]; it need not be normalised.
  const gmm::Grid grid{0.0, 20.0, 200};
  std::vector<float> values;
  for (kolmo::index_t i = 0; i < grid.points; ++i)
    values.push_back(static_cast<float>(grid[i] * grid[i] * std::exp(-grid[i])));
  const Tensor density = Tensor::from(values);  // or [batch, points]

  const gmm::FitOptions options{.measures = true};
  const auto model = gmm::load_lamf<Tensor>(path);
  print("learned", gmm::fit(model, density, grid, options));
  print("EM", gmm::fit(gmm::EmOptions{.components = 5}, density, grid, options));
}

int main(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '-') {
    std::printf(
        "Fits a mixture to one density with a model and by expectation-maximisation.\nUsage: learned_fit MODEL\n");
    return argc == 2 ? 0 : 2;
  }
  try {
    fit_one_density(argv[1]);
  } catch (const kolmo::Error& error) {
    std::fprintf(stderr, "learned_fit: %s\n", error.what());
    return 1;
  }
}
