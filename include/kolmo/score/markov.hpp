#pragma once
// The network of trajectories made of a network of windows (Rozet and Louppe 2023): the noise in a frame depends on the
// frames of its Markov blanket, order k before and k after. Windows of 2k + 1 frames go through the network and are put
// together again; see windows.hpp.
//
// At most `chunk` windows are in the network at once, and where there are more the way back runs each chunk again: the
// gradient is the same, and memory does not grow with the length of the trajectory beyond the windows themselves.

#include <kolmo/ad/checkpoint_model.hpp>
#include <kolmo/core/random.hpp>
#include <kolmo/ops/join.hpp>
#include <kolmo/score/windows.hpp>

namespace kolmo::score {

namespace detail {

/// A network of windows as a function of the model, as checkpoint_model wants it.
template <class S, class... C>
struct CallNetwork {
  S t;
  std::tuple<C...> context;

  template <class M, class X>
  auto operator()(const M& model, const X& x) const {
    return std::apply([&](const auto&... c) { return model(x, t, c...); }, context);
  }
};

}  // namespace detail

template <class Net>
struct MarkovScore {
  Net net;             ///< of windows [B, (2 order + 1) F, ...]
  index_t order = 0;   ///< k
  index_t stride = 1;  ///< frames between windows; a larger one costs less
  FoldRule rule = FoldRule::symmetrical;
  index_t chunk = 32;  ///< windows in the network at once; 0: all

  MarkovScore() = default;
  /// Throws ArgumentError for an order or chunk below 0 and unless 1 <= stride <= 2 order + 1.
  MarkovScore(Net network, index_t blanket, index_t step = 1, FoldRule fold_rule = FoldRule::symmetrical,
              index_t windows_at_once = 32)
      : net(std::move(network)), order(blanket), stride(step), rule(fold_rule), chunk(windows_at_once) {
    check();
  }

  static void fields(auto&& f, auto&... s) {
    f(submodule("net"), s.net...);
    f(option("order"), s.order...);
    f(option("stride"), s.stride...);
    f(option("rule"), s.rule...);
    f(option("chunk"), s.chunk...);
  }
  template <class U>
  using Rebind = MarkovScore<typename Net::template Rebind<U>>;

  /// Throws as the constructor, and as the network's own.
  void validate() const {
    check();
    net.validate();
  }

  index_t width() const { return 2 * order + 1; }

  /// The noise in trajectories x [B, L, F...], L >= 2 order + 1, at time t of shape [] (shared) or [B]. Throws
  /// ShapeError when they do not fit.
  template <TensorLike X, PlainTensor S>
  auto operator()(const X& x, const S& t) const {
    return run(x, t);
  }
  template <TensorLike X>
  auto operator()(const X& x, double t) const {
    return run(x, BaseOf<X>::scalar(static_cast<ScalarOf<X>>(t)));
  }

  /// With a context that every window of a trajectory sees: of the axes of a window, shared, or with the axis B before.
  template <TensorLike X, PlainTensor S, PlainTensor C>
  auto operator()(const X& x, const S& t, const C& context) const {
    return run(x, t, context);
  }
  template <TensorLike X, PlainTensor C>
  auto operator()(const X& x, double t, const C& context) const {
    return run(x, BaseOf<X>::scalar(static_cast<ScalarOf<X>>(t)), context);
  }

 private:
  void check() const {
    if (order < 0 || chunk < 0)
      throw ArgumentError("MarkovScore: expected an order and a chunk of at least 0, given " + std::to_string(order) +
                          " and " + std::to_string(chunk));
    static_cast<void>(WindowPlan(width(), width(), stride, rule));
  }

  template <TensorLike X, PlainTensor S, PlainTensor... C>
  auto run(const X& x, const S& t, const C&... context) const {
    const Shape& s = x.shape();
    if (s.rank() < 3 || s[1] < width())
      throw ShapeError("MarkovScore: expected trajectories [batch, frames, features...] of at least " +
                       std::to_string(width()) + " frames for order " + std::to_string(order) + ", given " +
                       s.to_string());
    if (t.rank() > 1 || (t.rank() == 1 && t.shape()[0] != s[0]))
      throw ShapeError("MarkovScore: trajectories of shape " + s.to_string() +
                       " take one time, or one for each of them, given times of shape " + t.shape().to_string());
    const WindowPlan plan(s[1], width(), stride, rule);
    const index_t count = plan.count(), total = s[0] * count;
    const auto windows = unfold(x, plan);
    Shape flat = windows.shape().without(0);
    flat[0] = total;
    const auto y = in_chunks(reshape(windows, flat), t.rank() == 0 ? t : for_windows(t, count), total,
                             (context.rank() == s.rank() - 1 ? for_windows(context, count) : context)...);
    return fold(reshape(y, windows.shape()), plan);
  }

  /// One for each trajectory as one for each window.
  template <PlainTensor S>
  static S for_windows(const S& x, index_t count) {
    const Shape spread = x.shape().with(1, count);
    Shape flat = x.shape();
    flat[0] *= count;
    return reshape(broadcast_to(unsqueeze(x, 1), spread), flat);
  }
  template <PlainTensor S>
  static S part(const S& x, index_t begin, index_t end, index_t total, int batched_rank) {
    return x.rank() == batched_rank && x.shape()[0] == total ? slice(x, 0, begin, end) : x;
  }

  template <TensorLike W, PlainTensor S, PlainTensor... C>
  auto in_chunks(const W& windows, const S& t, index_t total, const C&... context) const {
    using Y = decltype(net(windows, t, context...));
    const index_t step = chunk == 0 ? total : smaller(chunk, total);
    if (step == total) return net(windows, t, context...);
    std::vector<Y> parts;
    for (index_t begin = 0; begin < total; begin += step) {
      const index_t end = smaller(total, begin + step);
      const detail::CallNetwork<S, C...> call{part(t, begin, end, total, 1),
                                              std::tuple<C...>(part(context, begin, end, total, windows.rank())...)};
      parts.push_back(checkpoint_model(call, net, slice(windows, 0, begin, end)));
    }
    return concat(0, parts);
  }
};

template <class Net>
void init(Key key, MarkovScore<Net>& score) {
  init(key, score.net);
}

}  // namespace kolmo::score
