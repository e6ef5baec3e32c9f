// replay: the bits of plain calls from recorded graphs, in both modes; what a graph cannot hold is an error that leaves
// everything usable.

#include <thread>

#include <kolmo/ad/replay.hpp>
#include <kolmo/ad/transforms.hpp>
#include <kolmo/backend/cpu.hpp>
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/ops/linalg.hpp>
#include <kolmo/ops/reduce.hpp>

#include "check.hpp"

using namespace kolmo;

using V = Tensor<float, Cuda>;

/// A model and its momentum, with a counter.
template <class X>
struct Descent {
  X weight, momentum;
  index_t updates = 0;
  static void fields(auto&& f, auto&... s) {
    f(param("weight"), s.weight...);
    f(state("momentum"), s.momentum...);
    f(state("updates"), s.updates...);
  }
  template <class U>
  using Rebind = Descent<U>;
};

struct Pair {
  V a, b;
  static void fields(auto&& f, auto&... s) {
    f(state("a"), s.a...);
    f(state("b"), s.b...);
  }
};

namespace {

V numbers(const Shape& shape, int seed) {
  std::vector<float> values;
  for (index_t i = 0; i < shape.size(); ++i)
    values.push_back(0.1f * static_cast<float>((i * 7 + seed * 13) % 19) - 0.9f);
  return V::from(values, shape);
}

struct Loss {
  V x, y;
  auto operator()(const auto& w) const { return mean(square(matmul(x, w) - y)); }
};

/// One step of descent; the rate may depend on the counter, and the loss may be read.
struct Step {
  Descent<V>* state;
  bool counts = false;
  bool reads = false;

  V operator()(const V& x, const V& y) const {
    const auto [value, gradient] = value_and_grad(state->weight, Loss{x, y});
    if (reads && !(value.item() < 1e6f)) throw Error("the loss grew");
    if (counts) ++state->updates;
    const float rate = counts ? 0.1f / static_cast<float>(state->updates) : 0.1f;
    state->momentum = 0.9f * state->momentum + gradient;
    state->weight = state->weight - rate * state->momentum;
    return value;
  }
};

Descent<V> start() { return {numbers(Shape{4, 2}, 1), V::zeros(Shape{4, 2}), 0}; }

struct Trace {
  std::vector<float> losses, weights;
};

template <class F>
Trace run(Descent<V>& state, F& step, int turns) {
  Trace trace;
  for (int i = 0; i < turns; ++i) {
    const index_t rows = i % 3 == 2 ? 5 : 6;
    trace.losses.push_back(step(numbers(Shape{rows, 4}, i), numbers(Shape{rows, 2}, i + 50)).item());
  }
  trace.weights = state.weight.to_vector();
  return trace;
}

void test_modes() {
  for (const bool counts : {false, true})
    for (const bool reads : {false, true})
      for (const ReplayMode mode : {ReplayMode::updated, ReplayMode::fixed}) {
        if (mode == ReplayMode::fixed && (counts || reads)) continue;
        auto plain_state = start(), state = start();
        Step plain{&plain_state, counts, reads};
        auto step = replay<Cuda>(Step{&state, counts, reads}, state, mode);
        const Trace expected = run(plain_state, plain, 9), actual = run(state, step, 9);
        const std::string name = std::string(mode == ReplayMode::fixed ? "fixed" : "updated") +
                                 (counts ? ", with a counter" : "") + (reads ? ", with a loss that is read" : "");
        check::identical(actual.losses, expected.losses, "losses of a replayed descent, " + name);
        check::identical(actual.weights, expected.weights, "weights of a replayed descent, " + name);
        check::that(state.updates == plain_state.updates, "numbers of the state, " + name);
      }
}

void test_errors() {
  // A counter that changes.
  auto state = start();
  const auto before = state.weight.to_vector();
  auto counting = replay<Cuda>(Step{&state, true}, state, ReplayMode::fixed);
  const V x = numbers(Shape{6, 4}, 1), y = numbers(Shape{6, 2}, 2);
  counting(x, y);
  const auto after = state.weight.to_vector();
  check::throws<DeviceError>([&] { counting(x, y); }, "changes a number", "a fixed graph of a function that counts");
  check::identical(state.weight.to_vector(), after, "the state is as before the call that failed");
  check::that(state.updates == 1, "its numbers too");
  // A wait.
  auto waiting = replay<Cuda>(Step{&state, false, true}, state, ReplayMode::fixed);
  waiting(x, y);
  const auto before_wait = state.weight.to_vector();
  check::throws<DeviceError>([&] { waiting(x, y); }, "Cuda::download", "a fixed graph cannot wait");
  check::identical(state.weight.to_vector(), before_wait, "the state is as before the call that waited");
  // A tensor that escapes.
  V kept = V::zeros(Shape{3});
  auto escaping = replay<Cuda>(
      [&](const V& v) {
        kept = v + 1.0f;
        return v * 2.0f;
      },
      ReplayMode::fixed);
  escaping(V::ones(Shape{3}));
  check::throws<DeviceError>([&] { escaping(V::ones(Shape{3})); }, "keeps a tensor", "a tensor that is not returned");
  // Numbers as arguments.
  auto scaled = [](const V& v, float factor) { return factor * v; };
  auto fixed = replay<Cuda>(scaled, ReplayMode::fixed);
  check::throws<ArgumentError>([&] { fixed(x, 2.0f); }, "hold numbers", "a number is no argument of a fixed graph");
  auto updated = replay<Cuda>(scaled);
  for (int i = 0; i < 4; ++i)
    check::that(updated(V::ones(Shape{1}), static_cast<float>(i)).item() == static_cast<float>(i),
                "but of an updated one");
  // What f throws.
  int calls = 0;
  auto throwing = replay<Cuda>([&](const V& v) {
    V result = v + 1.0f;
    if (++calls == 3) throw ArgumentError("the third call");
    return result;
  });
  throwing(x);
  throwing(x);
  check::throws<ArgumentError>([&] { throwing(x); }, "the third call", "an error of the function passes");
  check::that(throwing(V::ones(Shape{1})).item() == 2.0f && !Cuda::is_recording(), "and leaves everything usable");
  // A fixed graph whose number changed is found in debug mode.
  float factor = 1;
  auto frozen = replay<Cuda>([&](const V& v) { return factor * v; }, ReplayMode::fixed);
  frozen(x);
  frozen(x);
  factor = 2;
  check::identical(frozen(V::ones(Shape{6, 4})).to_vector(), std::vector<float>(24, 1.0f),
                   "a fixed graph repeats its numbers");
  Cuda::set_debug(true);
  check::throws<DeviceError>([&] { frozen(x); }, "other bits", "which debug mode finds");
  factor = 1;
  check::identical(frozen(V::ones(Shape{6, 4})).to_vector(), std::vector<float>(24, 1.0f), "and nothing else");
  Cuda::set_debug(false);
  check::that(!before.empty(), "there was a state");
}

void test_state() {
  Pair pair{V::full(Shape{3}, 1), V::full(Shape{3}, 2)};
  auto swap = replay<Cuda>(
      [&](const V& x) {
        const V old = pair.a;
        pair.a = pair.b;
        pair.b = old + x;
        return std::make_tuple(old, pair.b);
      },
      pair, ReplayMode::fixed);
  float a = 1, b = 2;
  bool right = true;
  for (int i = 0; i < 8; ++i) {
    if (i == 5) {
      // Replaced from outside, and shared.
      pair.a = V::full(Shape{3}, 10);
      a = 10;
    }
    const V shared = pair.a;
    const auto [old, next] = swap(V::full(Shape{3}, static_cast<float>(i)));
    const float before = a;
    a = b;
    b = before + static_cast<float>(i);
    right = right && old.to_vector()[1] == before && next.to_vector()[1] == b && pair.a.to_vector()[2] == a &&
            pair.b.to_vector()[0] == b && shared.to_vector()[0] == before;
  }
  check::that(right, "a state whose tensors change places, are replaced and shared");
}

/// What a recording has returned is nobody else's until its work has been launched.
void test_other_threads() {
  const V x = V::full(Shape{1 << 12}, 1.0f);
  V other;
  bool meanwhile = false;
  auto step = replay<Cuda>([&](const V& a) {
    { const V scratch = a + a; }
    if (meanwhile) std::thread([&] { other = V::full(Shape{1 << 12}, 7.0f); }).join();
    return V(a * a);
  });
  step(x);
  meanwhile = true;
  step(x);
  check::that(other.to_vector() == std::vector<float>(1 << 12, 7.0f), "another thread's tensor made during a recording");
}

}  // namespace

int main() {
  if (!Cuda::available()) return check::skipped;
  // Debug mode is among what is tested.
  Cuda::set_debug(false);
#if defined(KOLMO_TEST_EMULATION)
  for (const bool deferred : {false, true}) {
    emulation::deferred = deferred;
#endif
    test_modes();
    test_other_threads();
    test_errors();
    test_state();
#if defined(KOLMO_TEST_EMULATION)
  }
  check::that(emulation::graph_updates > 20 && emulation::graph_launches > 40, "graphs are updated and launched");
  {
    auto state = start();
    auto step = replay<Cuda>(Step{&state}, state, ReplayMode::fixed);
    const V x = numbers(Shape{6, 4}, 1), y = numbers(Shape{6, 2}, 2);
    for (int i = 0; i < 3; ++i) step(x, y);
    const int graphs = emulation::graph_launches;
    const std::uint64_t calls = Cuda::memory().driver_calls;
    step(x, y);
    check::that(emulation::graph_launches == graphs + 1 && Cuda::memory().driver_calls == calls,
                "a fixed step is one launch and asks the driver for no memory");
  }
  // A capture broken by a call of the function's own.
  auto broken = replay<Cuda>([](const V& v) {
    static_cast<void>(cudaDeviceSynchronize());
    return v + 1.0f;
  });
  broken(V::ones(Shape{2}));
  check::throws<DeviceError>([&] { broken(V::ones(Shape{2})); }, "replay", "a call that breaks the recording");
  check::that((V::ones(Shape{2}) + 1.0f).to_vector()[1] == 2.0f, "leaves the device usable");
#endif
  Cuda::synchronize();
  Cuda::trim();
  check::that(Cuda::memory().in_use == 0, "all memory is returned");
  return check::result();
}
