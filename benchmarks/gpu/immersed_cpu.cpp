// The peer of immersed.cu: the same steps of one case on one core of the machine's processor.

#include "gpu_check.hpp"
#include "gpu_immersed.hpp"

using namespace kolmo;

namespace {

template <class T>
void add_case(gpu::Report& report, const char* scalar) {
  const std::string name = std::string("immersed/") + scalar + "/step of 4 levels, 400 x 200 cells";
  report.part(name, [&] {
    const auto options = gpu::immersed_options(report.tiny());
    const flow::Immersed<T> solver(options, gpu::immersed_bodies(report.tiny()));
    auto state = solver.start();
    solver.run(state, report.tiny() ? 2 : 10);
    const double slip = solver.slip(state);
    std::vector<double> times;
    for (int i = 0; i < (report.tiny() ? 2 : 30); ++i) {
      const double begin = gpu::host_seconds();
      solver.step(state);
      times.push_back(gpu::host_seconds() - begin);
    }
    report.add(name, gpu::immersed_work(options, 1, sizeof(T)), {slip, sizeof(T) == 4 ? 2e-3 : 1e-6, "no slip"},
               gpu::Report::summary(times), "one case");
  });
}

}  // namespace

int main(int argc, char** argv) {
  threads::set_count(1);
  return gpu::run("Flows past a cylinder on one core.", argc, argv, [](gpu::Report& report) {
    report.call_itself("kolmo on one core");
    add_case<float>(report, "float");
    add_case<double>(report, "double");
  });
}
