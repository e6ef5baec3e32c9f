// The immersed boundary on the GPU: steps of 64 flows past a cylinder, 400 x 200 cells on four levels each.

#include <kolmo/cuda/cuda.cuh>
#include <kolmo/flow/immersed_transition.hpp>
#include <kolmo/ops/elementwise.hpp>

#include "gpu_check.hpp"
#include "gpu_immersed.hpp"

using namespace kolmo;

namespace {

template <class T>
void add_cases(gpu::Report& report, const char* scalar) {
  using V = Tensor<T, Cuda>;
  const std::string name = std::string("immersed/") + scalar + "/step of 4 levels, 400 x 200 cells";
  report.part(name, [&] {
    const auto options = gpu::immersed_options(report.tiny());
    const flow::Immersed<T, Cuda> solver(options, gpu::immersed_bodies(report.tiny()));
    auto state = solver.start();
    solver.run(state, report.tiny() ? 2 : 10);
    // Cases that differ: their vorticities are scaled by less than a percent.
    const index_t cases = report.tiny() ? 2 : 64, steps = report.tiny() ? 1 : 10;
    const V packed = pack(solver, state);
    const V scales = V::ones(Shape{cases, 1}) + V::arange(cases).reshaped(Shape{cases, 1}) * static_cast<T>(1e-4);
    const V all = packed.reshaped(Shape{1, packed.size()}) * scales;
    const V after = transition(solver, all, steps);
    // What a batch computes is what its last case computes alone; and the fluid sticks to the body.
    const V alone = transition(solver, V(slice(all, 0, cases - 1, cases)), steps);
    const double error = gpu::relative_error(gpu::doubles(V(slice(after, 0, cases - 1, cases))), gpu::doubles(alone));
    const double slip = solver.slip(state);
    const auto time = report.time([&](index_t) { transition(solver, all, steps); });
    const double each = 1 / static_cast<double>(steps);
    report.add(name, gpu::immersed_work(options, static_cast<double>(cases), sizeof(T)),
               {error > slip ? error : slip + 0 * error, sizeof(T) == 4 ? 2e-3 : 1e-6, "no slip, and a case by itself"},
               {time.median * each, time.low * each, time.high * each, time.samples},
               std::to_string(cases) + " cases, one step of each");
  });
}

}  // namespace

int main(int argc, char** argv) {
  return gpu::run("Flows past a cylinder on the GPU.", argc, argv, [](gpu::Report& report) {
    add_cases<float>(report, "float");
    add_cases<double>(report, "double");
  });
}
