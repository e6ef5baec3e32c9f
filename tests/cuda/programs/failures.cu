// Memory that runs out and launches that fail, at one place after another of a training run and of a fit: the host's
// state is as it was, the device stays usable, no memory is lost, and a second try gives the bits of an undisturbed
// run. Only the emulation can be made to fail; on a GPU the program checks that too large a tensor does no harm.

#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/gmm/em.hpp>
#include <kolmo/gmm/preprocess.hpp>
#include <kolmo/gmm/v5.hpp>
#include <kolmo/nn/mlp.hpp>
#include <kolmo/ops/reduce.hpp>
#include <kolmo/optim/adam.hpp>
#include <kolmo/optim/samples.hpp>
#include <kolmo/optim/train.hpp>

#include "check.hpp"

using namespace kolmo;

struct SquaredError {
  auto operator()(const auto& model, const auto& batch, const nn::Pass& pass) const {
    const auto& [x, y] = batch;
    return mean(square(model(x, pass) - y));
  }
};

namespace {

using Values = Tensor<float, Cuda>;
using Net = nn::Mlp<Values>;

/// A training run from one state on; what it made of it.
struct Training {
  Values x = nn::normal_values<Values>(Key{1}, Shape{9, 2});
  optim::Samples<Values, Values> data{x, sum(sin(x), {-1}, true)};
  optim::TrainOptions options;
  optim::Adam optimiser = optim::adam({.learning_rate = 1e-2});
  Net net{{.inputs = 2, .hidden = {3}, .outputs = 1}};

  Training() {
    options.epochs = 1;
    options.batch = 3;
    options.clip_norm = 1;
    nn::init(Key{2}, net);
  }
  std::vector<float> operator()() const {
    auto state = optim::start_training(net, optimiser, options);
    optim::train(state, optimiser, data, SquaredError{}, options);
    return weights(state.model);
  }
  /// What the caller holds and a failure must not change.
  std::vector<float> held() const { return weights(net); }

 private:
  static std::vector<float> weights(const Net& model) {
    std::vector<float> result;
    visit_tensors(
        [&](const std::string&, FieldKind, const auto& t) {
          for (const float value : t.to_vector()) result.push_back(value);
        },
        model);
    return result;
  }
};

struct Fit {
  gmm::Preprocessed<Values> prepared;
  gmm::EmOptions options;

  Fit() : prepared(make()) { options.max_iterations = 3; }
  std::vector<float> operator()() const {
    return gmm::fit_em(prepared.masses, prepared.points, options).mixture.means.to_vector();
  }
  std::vector<float> held() const { return prepared.masses.to_vector(); }

 private:
  static gmm::Preprocessed<Values> make() {
    const auto set = gmm::make_v5<Values>(Key{3}, 2, gmm::V5Options::training());
    return gmm::preprocess(set.densities, set.grid, gmm::PreprocessOptions{}, set.offsets);
  }
};

#if defined(KOLMO_TEST_EMULATION)

/// Lets the work fail at place after place, until a run has fewer; returns how many places failed.
template <class Work>
int fail_everywhere(const Work& work, int& countdown, const std::string& name) {
  const auto expected = work(), held = work.held();
  const std::size_t in_use = Cuda::memory().in_use;
  int failed = 0;
  bool same = true, intact = true, returned = true, named = true;
  // Every place of the first few, then some of the rest.
  for (int place = 0;; place += place < 12 ? 1 : 23) {
    countdown = place;
    emulation::failing_allocations = 2;
    bool threw = false;
    try {
      work();
    } catch (const OutOfMemory&) {
      threw = true;
    } catch (const DeviceError& error) {
      threw = true;
      named = named && std::string(error.what()).find("kernel") != std::string::npos;
    }
    const bool reached = countdown < 0;
    countdown = -1;
    if (!reached) break;
    if (threw) ++failed;
    intact = intact && work.held() == held && !Cuda::is_recording();
    returned = returned && Cuda::memory().in_use == in_use;
    if (place % 5 == 0) same = same && work() == expected;
  }
  check::that(intact, name + ": what the host holds is as before");
  check::that(returned, name + ": no memory is lost");
  check::that(same && work() == expected, name + ": the second try gives the same bits");
  check::that(named, name + ": an error names the kernel");
  return failed;
}

#endif

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  Training training;
  const Fit fit;
#if defined(KOLMO_TEST_EMULATION)
  for (const bool replayed : {false, true}) {
    training.options.replay = replayed;
    const std::string name = replayed ? "a replayed training" : "a training";
    check::that(fail_everywhere(training, emulation::launches_until_failure, name + ", launches") > 12,
                "many launches failed");
  }
  training.options.replay = false;
  check::that(fail_everywhere(fit, emulation::launches_until_failure, "a fit, launches") > 0, "the fit's launches failed");
  // In debug mode every tensor is an allocation of the driver.
  Cuda::set_debug(true);
  check::that(fail_everywhere(training, emulation::allocations_until_failure, "a training, allocations") > 12,
              "many allocations failed");
  check::that(fail_everywhere(fit, emulation::allocations_until_failure, "a fit, allocations") > 5,
              "many allocations failed");
  Cuda::set_debug(false);
#endif
  const auto expected = training(), held = training.held(), masses = fit.held();
  check::throws<OutOfMemory>([] { Values::uninitialized(Shape{index_t{1} << 45}); }, "bytes of device memory",
                             "too much");
  check::that(training.held() == held && fit.held() == masses, "too much: what the host holds is as before");
  check::that(training() == expected && !fit().empty(), "the device is usable");
  return check::result();
}
