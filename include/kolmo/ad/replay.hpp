#pragma once
// replay: a function whose work on a GPU is recorded as a graph and launched as a whole: a fixed graph costs the host one
// launch, an updated one its own recording. On a backend without graphs it is the function itself.
//
//   auto step = replay<B>(f);                          step(x, y) is f(x, y)
//   auto step = replay<B>(f, state);                   f changes `state`, which it also holds
//   auto step = replay<B>(f, state, ReplayMode::fixed);

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <kolmo/ad/module.hpp>

namespace kolmo {

/// `updated`: f runs on the host at every call, which records the graph anew and updates the one there is. Right for
/// every function: numbers may change, and where f waits for the device (item, to_vector) the graph is cut in two.
/// `fixed`: f runs on the host twice; every later call with the same shapes copies its arguments, launches the graph
/// and returns copies of the results. Only for functions of tensors that use the same numbers (rates, keys, times,
/// counters) at every call, wait for nothing and keep no tensor but those of `state`; what can be found out of this is
/// an error, and in Cuda::set_debug(true) every call also runs f and compares the bits.
enum class ReplayMode { updated, fixed };

/// A function that changes nothing it holds.
struct NoState {
  static void fields(auto&&, auto&...) {}
};

namespace detail {

template <class X>
struct IsTuple : std::false_type {};
template <class... X>
struct IsTuple<std::tuple<X...>> : std::true_type {};
template <class X, class Y>
struct IsTuple<std::pair<X, Y>> : std::true_type {};

template <class F>
struct CallWithLeaf {
  const F& f;
  void operator()(const std::string&, FieldKind, auto& leaf) const { f(leaf); }
};

/// f(leaf) for every tensor and every other value in a tensor, a tuple or a struct with fields.
template <class F, class X>
void each_leaf(const F& f, X& x) {
  if constexpr (IsTuple<std::remove_cvref_t<X>>::value)
    std::apply([&](auto&... part) { (each_leaf(f, part), ...); }, x);
  else
    visit(CallWithLeaf<F>{f}, x);
}
template <class F, class X>
void each_tensor(const F& f, X& x) {
  each_leaf(
      [&](auto& leaf) {
        if constexpr (PlainTensor<decltype(leaf)>) f(leaf);
      },
      x);
}

template <class X>
inline constexpr bool may_hold_tensors =
    PlainTensor<X> || IsTuple<X>::value || Module<X> || IsSequence<X>::value || IsOptional<X>::value;

/// Types and shapes of arguments.
using Signature = std::vector<index_t>;
template <class... X>
Signature signature_of(const X&... x) {
  Signature result{static_cast<index_t>(reinterpret_cast<std::intptr_t>(&kind_key<std::tuple<X...>>))};
  const auto add = [&](const auto& tensor) {
    result.push_back(tensor.rank());
    for (const index_t extent : tensor.shape()) result.push_back(extent);
  };
  (each_tensor(add, x), ...);
  return result;
}

struct Nothing {
  static void fields(auto&&, auto&...) {}
};

/// f(x...), with a value in place of none.
template <class F, class... X>
auto call_with_value(const F& f, const X&... x) {
  if constexpr (std::is_void_v<decltype(f(x...))>) {
    f(x...);
    return Nothing{};
  } else {
    return f(x...);
  }
}

/// One graph of a fixed replay: for arguments of some shapes, and a state in some memory.
template <class B>
struct FixedCallBase {
  virtual ~FixedCallBase() = default;
  Signature signature;
  std::vector<const void*> addresses;  // of the state's tensors
};

template <class B, class R, class... X>
struct FixedCall final : FixedCallBase<B> {
  // First, so that it ends last: it owns the memory of the others.
  typename B::FixedGraph graph;
  std::tuple<X...> inputs;
  std::optional<R> results;

  /// Records f with this call's inputs. The state is as it was before.
  template <class F, class S>
  void record(const F& f, S& state) {
    S shadow = state;  // everything but the tensors
    each_tensor([](auto& t) { t = std::remove_reference_t<decltype(t)>(); }, shadow);
    std::vector<Shape> shapes;
    each_tensor([&](auto& t) { shapes.push_back(t.shape()); }, state);
    for (const void* const address : this->addresses) graph.keep(address);
    const auto restore = [&] {
      state = shadow;
      std::size_t i = 0;
      each_tensor(
          [&](auto& t) {
            using Leaf = std::remove_reference_t<decltype(t)>;
            const void* const address = this->addresses[i];
            const Shape& shape = shapes[i++];
            if (address == nullptr) return;
            auto* const data = static_cast<typename Leaf::Scalar*>(const_cast<void*>(address));
            if (graph.reclaim(address))
              t = Leaf::adopt(data, shape);
            else  // somebody else holds it
              t = Leaf::borrow(data, shape).copy();
          },
          state);
    };
    bool changed = false;
    try {
      graph.record([&] {
        R r = std::apply([&](const auto&... x) { return call_with_value(f, x...); }, inputs);
        each_tensor([&](auto& t) { own_result(t); }, r);
        put_back(state, shapes, changed);
        results = std::move(r);
      });
      compare_numbers(state, shadow, changed);
      if (changed)
        throw DeviceError(
            "replay: the function changes a number or the structure of its state, which a fixed graph would repeat; "
            "use "
            "ReplayMode::updated");
      std::vector<const void*> own;
      each_tensor([&](const auto& t) { own.push_back(t.data()); }, *results);
      if (graph.holds_more_than(own))
        throw DeviceError(
            "replay: the function keeps a tensor that it does not return; give what it changes as the state of replay, "
            "or "
            "use ReplayMode::updated");
    } catch (...) {
      restore();
      throw;
    }
    restore();
  }

  template <class... Y>
  R launch(const Y&... x) {
    load(std::make_index_sequence<sizeof...(X)>{}, x...);
    graph.launch();
    R out = *results;
    each_tensor([](auto& t) { t = t.copy(); }, out);
    return out;
  }

 private:
  bool is_state(const void* data) const {
    return std::find(this->addresses.begin(), this->addresses.end(), data) != this->addresses.end();
  }

  /// A result in memory of its own, which nothing after it writes.
  void own_result(auto& t) const {
    if (t.has_value() && !graph.is_block_of_its_own(t.data(), static_cast<std::size_t>(t.size()) * sizeof(*t.data())))
      t = t.copy();
    else if (t.has_value())
      t = t.contiguous();
  }

  /// The state's new values go where the old ones are.
  template <class S>
  void put_back(S& state, const std::vector<Shape>& shapes, bool& changed) const {
    std::size_t i = 0;
    each_tensor(
        [&](auto& t) {
          const std::size_t leaf = i++;
          if (leaf >= shapes.size() || !(t.shape() == shapes[leaf]) ||
              t.has_value() != (this->addresses[leaf] != nullptr)) {
            changed = true;
          } else if (t.has_value() && t.data() != this->addresses[leaf]) {
            // The new value may lie where another tensor's old one was.
            if (graph.is_kept(t.data())) t = t.copy();
            t = t.contiguous();
          } else if (t.has_value() && !t.is_contiguous()) {
            t = t.copy();
          }
        },
        state);
    changed = changed || i != shapes.size();
    if (changed) return;
    i = 0;
    each_tensor(
        [&](auto& t) {
          const void* const address = this->addresses[i++];
          if (!t.has_value() || t.data() == address) return;
          B::copy(const_cast<void*>(address), t.data(), static_cast<std::size_t>(t.size()) * sizeof(*t.data()));
          t = std::remove_reference_t<decltype(t)>();
        },
        state);
  }

  template <class S>
  static void compare_numbers(S& state, S& shadow, bool& changed) {
    if (changed) return;
    try {
      visit(
          [&](const std::string&, FieldKind, auto& a, auto& b) {
            if constexpr (!PlainTensor<decltype(a)> && requires { a == b; }) changed = changed || !(a == b);
          },
          state, shadow);
    } catch (const ShapeError&) {
      changed = true;
    }
  }

  template <std::size_t... I, class... Y>
  void load(std::index_sequence<I...>, const Y&... x) {
    (load_one(std::get<I>(inputs), x), ...);
  }
  template <class Y>
  static void load_one(Y& input, const Y& given) {
    std::vector<std::pair<void*, std::size_t>> targets;
    each_tensor(
        [&](auto& t) {
          targets.emplace_back(const_cast<void*>(static_cast<const void*>(t.data())),
                               static_cast<std::size_t>(t.size()) * sizeof(*t.data()));
        },
        input);
    std::size_t i = 0;
    each_tensor(
        [&](const auto& t) {
          const auto source = t.contiguous();
          const auto& [target, bytes] = targets[i++];
          B::copy(target, source.data(), bytes);
        },
        given);
  }
};

/// What a replayed function keeps on a backend with graphs.
template <class B>
struct GraphsOf {
  struct Recorder {};
  struct Calls {};
};
template <class B>
requires requires { typename B::Recorder; }
struct GraphsOf<B> {
  using Recorder = typename B::Recorder;
  using Calls = FixedCallBase<B>;
};

}  // namespace detail

/// See replay.
template <class B, class F, class S>
class Replay {
  using Graphs = detail::GraphsOf<B>;

 public:
  Replay(F f, S* state, ReplayMode mode) : f_(std::move(f)), state_(state), mode_(mode) {}

  /// f(x...). The first call for arguments of these shapes is plain, so that tables, plans and handles come into being.
  /// Throws what f throws; then everything is as after a plain call (updated) or as before the call (fixed). Throws
  /// ArgumentError when a fixed function is given numbers, DeviceError when it cannot be a fixed graph.
  template <class... X>
  auto operator()(const X&... x) {
    if constexpr (requires { typename B::Recorder; }) {
      if (B::is_recording()) return f_(x...);
      if (mode_ == ReplayMode::fixed) {
        if constexpr ((detail::may_hold_tensors<X> && ...))
          return run_fixed(x...);
        else
          refuse_numbers();
      }
      return run_updated(x...);
    } else {
      return f_(x...);
    }
  }

 private:
  static constexpr std::size_t most_graphs = 8;
  static constexpr std::size_t most_signatures = 64;

  [[noreturn]] static void refuse_numbers() {
    throw ArgumentError(
        "replay: a fixed graph has tensors as arguments; hold numbers that never change inside the function, or use "
        "ReplayMode::updated for those that do");
  }

  /// Whether arguments of these shapes were given before.
  bool knows(const detail::Signature& signature) {
    if (std::find(seen_.begin(), seen_.end(), signature) != seen_.end()) return true;
    if (seen_.size() >= most_signatures) seen_.erase(seen_.begin());
    return false;
  }

  template <class... X>
  auto run_updated(const X&... x) {
    auto signature = detail::signature_of(x...);
    if (B::debug() || !knows(signature)) return remember(std::move(signature), x...);
    if (recorder_ == nullptr) recorder_ = std::make_unique<typename Graphs::Recorder>();
    return recorder_->run([&] { return f_(x...); });
  }

  /// A plain call.
  template <class... X>
  auto remember(detail::Signature signature, const X&... x) {
    if constexpr (std::is_void_v<decltype(f_(x...))>) {
      f_(x...);
      if (!knows(signature)) seen_.push_back(std::move(signature));
    } else {
      auto result = f_(x...);
      if (!knows(signature)) seen_.push_back(std::move(signature));
      return result;
    }
  }

  template <class... X>
  auto run_fixed(const X&... x) {
    using R = decltype(detail::call_with_value(f_, x...));
    using Call = detail::FixedCall<B, R, X...>;
    const auto refuse = [](const auto& leaf) {
      if constexpr (!PlainTensor<decltype(leaf)>) refuse_numbers();
    };
    (detail::each_leaf(refuse, x), ...);
    auto signature = detail::signature_of(x...);
    if (!knows(signature)) return remember(std::move(signature), x...);
    Call& call = graph_for<Call>(std::move(signature), x...);
    if (B::debug()) return run_and_compare(call, x...);
    if constexpr (std::is_same_v<R, detail::Nothing>)
      static_cast<void>(call.launch(x...));
    else
      return call.launch(x...);
  }

  template <class Call, class... X>
  Call& graph_for(detail::Signature signature, const X&... x) {
    std::vector<const void*> addresses;
    // A state whose memory is shared is copied, as before any write.
    detail::each_tensor([&](auto& t) { addresses.push_back(t.has_value() ? t.mutable_data() : nullptr); }, *state_);
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (calls_[i]->signature != signature) continue;
      if (calls_[i]->addresses == addresses) return static_cast<Call&>(*calls_[i]);
      calls_.erase(calls_.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    }
    auto call = std::make_unique<Call>();
    call->signature = std::move(signature);
    call->addresses = std::move(addresses);
    call->inputs = std::make_tuple(x...);
    detail::each_tensor([](auto& t) { t = t.copy(); }, call->inputs);
    call->record(f_, *state_);
    if (calls_.size() >= most_graphs) calls_.erase(calls_.begin());
    calls_.push_back(std::move(call));
    return static_cast<Call&>(*calls_.back());
  }

  /// What the graph did and what f does, on copies of one state.
  template <class Call, class... X>
  auto run_and_compare(Call& call, const X&... x) {
    S before = *state_;
    detail::each_tensor([](auto& t) { t = t.has_value() ? t.copy() : t; }, before);
    auto from_graph = call.launch(x...);
    S after = *state_;
    detail::each_tensor([](auto& t) { t = t.has_value() ? t.copy() : t; }, after);
    *state_ = std::move(before);
    auto plain = detail::call_with_value(f_, x...);
    if (bits(from_graph) != bits(plain) || bits(after) != bits(*state_))
      throw DeviceError(
          "replay: the fixed graph gives other bits than its function: a number that the function uses has changed "
          "since it "
          "was recorded; use ReplayMode::updated");
    if constexpr (!std::is_same_v<decltype(plain), detail::Nothing>) return plain;
  }

  template <class X>
  static std::vector<char> bits(const X& x) {
    std::vector<char> result;
    detail::each_tensor(
        [&](const auto& t) {
          if (!t.has_value()) return;
          const auto values = t.to_vector();
          const std::size_t end = result.size(), bytes = values.size() * sizeof(values[0]);
          result.resize(end + bytes);
          if (bytes > 0) std::memcpy(result.data() + end, values.data(), bytes);
        },
        x);
    return result;
  }

  F f_;
  S* state_;
  ReplayMode mode_;
  std::unique_ptr<typename Graphs::Recorder> recorder_;
  std::vector<std::unique_ptr<typename Graphs::Calls>> calls_;
  std::vector<detail::Signature> seen_;
};

namespace detail {
inline NoState no_state;
}  // namespace detail

/// A function object that does what f does and, on backend B with graphs, launches its work as a whole. f takes
/// tensors, tuples or structs of tensors, and in the updated mode anything else; it returns such or nothing.
template <class B, class F>
auto replay(F f, ReplayMode mode = ReplayMode::updated) {
  return Replay<B, F, NoState>(std::move(f), &detail::no_state, mode);
}
/// The same for a function that changes tensors outside of itself: `state` is a model-like struct of all of them, which
/// must outlive the function object. Between calls it may be read, copied and replaced.
template <class B, class F, class S>
requires(!std::is_same_v<S, ReplayMode>) auto replay(F f, S& state, ReplayMode mode = ReplayMode::updated) {
  return Replay<B, F, S>(std::move(f), &state, mode);
}

}  // namespace kolmo
