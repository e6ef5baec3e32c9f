#pragma once
// Reverse-mode differentiation: a Tape records operations in the order they run and is walked backwards
// once, in a loop, freeing every node as it goes. Var is a handle to a value on a tape. The tape is an
// explicit local object; there is no global state. Where a computation changes its scalar (ops/cast.hpp), a tape of the
// other kind stands beside the first: they keep gradients of their own and one common order of operations.

#include <memory>
#include <utility>
#include <vector>

#include <kolmo/core/jet.hpp>

namespace kolmo {

template <Value V>
class Tape;

/// A value being recorded. With slot -1 it is a constant of the tape and receives no gradient.
template <Value V>
struct Var {
  using Scalar = typename V::Scalar;
  using Backend = typename V::Backend;
  using Base = typename V::Base;
  using ValueType = V;

  V value;
  Tape<V>* tape = nullptr;
  int slot = -1;

  const Shape& shape() const { return value.shape(); }
  int rank() const { return value.rank(); }
  index_t size() const { return value.size(); }
  index_t extent(int axis) const { return value.extent(axis); }
  bool has_value() const { return value.has_value(); }
};

template <class X>
struct IsVar : std::false_type {};
template <class V>
struct IsVar<Var<V>> : std::true_type {};

template <class X>
concept VarLike = IsVar<std::remove_cvref_t<X>>::value;

/// Every kind of tensor: a value, a jet, or a variable over either.
template <class X>
concept TensorLike = Value<X> || VarLike<X>;

/// Strips the recording from a tensor of any kind.
template <TensorLike X>
const auto& value(const X& x) {
  if constexpr (VarLike<X>)
    return x.value;
  else
    return x;
}

template <TensorLike X>
using ValueOf = std::remove_cvref_t<decltype(value(std::declval<const X&>()))>;

/// The plain tensor at the bottom of any kind.
template <TensorLike X>
using BaseOf = typename std::remove_cvref_t<X>::Base;

template <TensorLike X>
using ScalarOf = typename std::remove_cvref_t<X>::Scalar;

namespace detail {

/// One address per kind of value.
template <class V>
inline constexpr char kind_key = 0;

/// What the tapes of several kinds share: the operations in the order they ran, and the tapes.
struct Recording {
  struct Node {
    virtual ~Node() = default;
    virtual void pull() = 0;
  };
  struct Member {
    const void* kind;
    void* tape;
    std::shared_ptr<void> owner;  // none for the first tape, which owns the recording
  };
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<Member> members;
};

template <PlainTensor V>
void add_in_place(V& target, const V& increment) {
  apply_in_place(AddScalars{}, target, increment);
}
template <JetLike V>
void add_in_place(V& target, const V& increment) {
  apply_in_place(AddScalars{}, target.value, increment.value);
  apply_in_place(AddScalars{}, target.tangent, increment.tangent);
}

}  // namespace detail

template <Value V>
class Tape {
 public:
  Tape() : own_(std::make_unique<detail::Recording>()), recording_(own_.get()) {
    recording_->members.push_back({&detail::kind_key<V>, this, nullptr});
  }
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  /// A variable that will receive a gradient.
  Var<V> leaf(V v) { return {std::move(v), this, new_slot()}; }

  /// A variable without gradient.
  Var<V> constant(V v) { return {std::move(v), this, -1}; }

  /// Records an operation: pull(tape, gradient of y) must call accumulate for its inputs.
  template <class Pull>
  Var<V> push(V y, Pull pull) {
    const int slot = new_slot();
    recording_->nodes.push_back(std::make_unique<NodeOf<Pull>>(*this, slot, std::move(pull)));
    return {std::move(y), this, slot};
  }

  /// Records one operation with several results: pull(tape, gradients), in the order of ys and without a value where a
  /// result has none.
  template <class Pull>
  std::vector<Var<V>> push_many(std::vector<V> ys, Pull pull) {
    std::vector<Var<V>> results;
    std::vector<int> slots;
    for (V& y : ys) {
      slots.push_back(new_slot());
      results.push_back({std::move(y), this, slots.back()});
    }
    recording_->nodes.push_back(std::make_unique<NodeOfMany<Pull>>(*this, std::move(slots), std::move(pull)));
    return results;
  }

  /// Adds to the gradient of a slot; negative slots are ignored.
  void accumulate(int slot, V gradient) {
    if (slot < 0) return;
    V& sum = gradients_[static_cast<std::size_t>(slot)];
    if (sum.has_value())
      detail::add_in_place(sum, gradient);
    else
      sum = std::move(gradient);
  }

  /// Walks back from y with the given gradient of y. May be called once; the recording is consumed.
  /// Throws ShapeError when the seed does not have the shape of y.
  void backward(const Var<V>& y, V seed) {
    check_seed(y, seed);
    forget_kept();
    accumulate(y.slot, std::move(seed));
    auto& nodes = recording_->nodes;
    while (!nodes.empty()) {
      const auto node = std::move(nodes.back());
      nodes.pop_back();
      node->pull();
    }
  }

  /// The same, keeping the recording for further seeds: one forward pass serves many products with the transposed
  /// Jacobian. The next walk forgets the gradients of this one. Throws likewise.
  void backward_and_keep(const Var<V>& y, V seed) {
    check_seed(y, seed);
    forget_kept();
    accumulate(y.slot, std::move(seed));
    kept_ = true;
    const auto& nodes = recording_->nodes;
    for (std::size_t i = nodes.size(); i > 0; --i) nodes[i - 1]->pull();
  }

  /// Walks back from a scalar output. Throws ShapeError when y has more than one element.
  void backward(const Var<V>& y) {
    if (y.size() != 1)
      throw ShapeError("backward: expected an output of one element, given " + y.shape().to_string() +
                       "; reduce it with sum or mean, or pass a seed");
    backward(y, V::full(y.shape(), typename V::Scalar(1)));
  }

  /// The gradient of a leaf after backward; zeros when the output does not depend on it.
  V gradient(const Var<V>& x) const {
    if (x.slot >= 0 && gradients_[static_cast<std::size_t>(x.slot)].has_value())
      return gradients_[static_cast<std::size_t>(x.slot)];
    return V::zeros(x.shape());
  }

  /// Number of operations recorded and not yet walked.
  std::size_t size() const { return recording_->nodes.size(); }

  /// The tape for values of another kind in the same recording; it lives as long as the first one.
  template <Value W>
  Tape<W>& beside() {
    for (const auto& member : recording_->members)
      if (member.kind == &detail::kind_key<W>) return *static_cast<Tape<W>*>(member.tape);
    const std::shared_ptr<Tape<W>> tape(new Tape<W>(*recording_));
    recording_->members.push_back({&detail::kind_key<W>, tape.get(), tape});
    return *tape;
  }

 private:
  template <Value>
  friend class Tape;

  explicit Tape(detail::Recording& recording) : recording_(&recording) {}

  template <class Pull>
  struct NodeOf final : detail::Recording::Node {
    NodeOf(Tape& t, int s, Pull p) : tape(t), slot(s), pull_back(std::move(p)) {}
    void pull() override {
      V& held = tape.gradients_[static_cast<std::size_t>(slot)];
      if (!held.has_value()) return;
      const V gradient = std::exchange(held, V());
      pull_back(tape, gradient);
    }
    Tape& tape;
    int slot;
    Pull pull_back;
  };

  template <class Pull>
  struct NodeOfMany final : detail::Recording::Node {
    NodeOfMany(Tape& t, std::vector<int> s, Pull p) : tape(t), slots(std::move(s)), pull_back(std::move(p)) {}
    void pull() override {
      std::vector<V> gradients;
      bool any = false;
      for (const int slot : slots) {
        gradients.push_back(std::exchange(tape.gradients_[static_cast<std::size_t>(slot)], V()));
        any = any || gradients.back().has_value();
      }
      if (any) pull_back(tape, std::move(gradients));
    }
    Tape& tape;
    std::vector<int> slots;
    Pull pull_back;
  };

  static void check_seed(const Var<V>& y, const V& seed) {
    if (!(seed.shape() == y.shape()))
      throw ShapeError("backward: the seed has shape " + seed.shape().to_string() + " but the output has " +
                       y.shape().to_string());
  }

  /// The gradients of a walk that kept the recording; what was accumulated by hand stays.
  void forget_kept() {
    if (!kept_) return;
    for (V& gradient : gradients_) gradient = V();
    kept_ = false;
  }

  int new_slot() {
    gradients_.emplace_back();
    return static_cast<int>(gradients_.size()) - 1;
  }

  std::unique_ptr<detail::Recording> own_;
  detail::Recording* recording_;
  std::vector<V> gradients_;
  bool kept_ = false;
};

}  // namespace kolmo
