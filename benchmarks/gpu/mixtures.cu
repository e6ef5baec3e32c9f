// The learned fitter as a user calls it: preparation, the shipped network, the polish of at most 8 evaluations and,
// where that did not help, EM; 65,536 densities of 96 points at a time.

#include <kolmo/cuda/cuda.cuh>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/gmm/metrics.hpp>
#include <kolmo/gmm/v5.hpp>

#include "gpu_check.hpp"

using namespace kolmo;
using V = Tensor<float, Cuda>;

int main(int argc, char** argv) {
  return gpu::run("Mixtures for densities: LAMF with polish.", argc, argv, [](gpu::Report& report) {
    report.part("LAMF", [&] {
      const index_t batch = report.tiny() ? 3 : 65536;
      const auto model = gmm::load_lamf<V>(KOLMO_EXAMPLES "/models/lamf_v5.safetensors");
      const auto set = gmm::make_v5<V>(Key{2}, batch);
      gmm::FitOptions options;
      options.chunk = batch;
      gmm::FitOptions measured = options, alone = options;
      measured.measures = true;
      alone.polish = gmm::PolishOptions{.evaluations = 0};
      alone.refit_above = 0;
      const auto fit = [&](const gmm::FitOptions& o) {
        return gmm::fit(model, set.densities, set.grid, o, set.offsets);
      };
      const gpu::Check check{gmm::summarize(fit(measured).measures->density_error).mean, report.tiny() ? 0.02 : 0.0006,
                             "the densities; the CPU's mean error is 0.0003"};
      const auto& o = model.options;
      const double n = static_cast<double>(o.points), k = static_cast<double>(o.components),
                   wide = static_cast<double>(o.init_width), narrow = static_cast<double>(o.refine_width);
      const double products =
          2 *
          ((3 * n + 2) * wide + static_cast<double>(o.init_layers - 1) * wide * wide + wide * 3 * k +
           static_cast<double>(o.iterations) * k *
               (gmm::feature_count * narrow + static_cast<double>(o.refine_layers - 1) * narrow * narrow + narrow * 3));
      // An evaluation of the polish: 350 exponentials, 10,000 multiply-adds and a system of 15 equations.
      const double polish = 8 * (2 * 10000.0 + 350 * 20.0 + 15.0 * 15 * 15 / 3);
      const double items = static_cast<double>(batch);
      report.row(
          "LAMF/fit with polish, batch " + std::to_string(batch),
          {.bytes = items * (4 * n + 3 * 4 * k), .flops = items * (products + polish), .unit = "float", .items = items},
          check, [&](index_t) { fit(options); }, "flops: networks and 8 evaluations of the polish");
      report.row("LAMF/networks alone, batch " + std::to_string(batch),
                 {.bytes = items * (4 * n + 3 * 4 * k), .flops = items * products, .unit = "float", .items = items},
                 check, [&](index_t) { fit(alone); });
    });
  });
}
