#pragma once
// Joining tensors along an axis, cutting them apart and surrounding them: concat, stack, split, pad.

#include <vector>

#include <kolmo/ops/views.hpp>

namespace kolmo {

namespace detail {

template <PlainTensor V>
V concat_plain(const std::vector<V>& parts, int axis, const Shape& shape) {
  V result = V::uninitialized(shape);
  typename V::Scalar* target = result.mutable_data();
  for (const V& part : parts) {
    copy_strided(part, target, result.strides());
    target += part.shape()[axis] * result.strides()[axis];
  }
  return result;
}

template <Value V>
V concat_values(const std::vector<V>& parts, int axis, const Shape& shape) {
  if constexpr (JetLike<V>) {
    std::vector<typename V::Base> values, tangents;
    for (const V& part : parts) {
      values.push_back(part.value);
      tangents.push_back(part.tangent);
    }
    return V{concat_plain(values, axis, shape), concat_plain(tangents, axis, shape)};
  } else {
    return concat_plain(parts, axis, shape);
  }
}

struct PadMargins {
  Array<index_t, max_rank> low{}, high{};
};

template <class T>
struct PadOperation {
  PadMargins margins;
  T fill;
  template <PlainTensor V>
  V operator()(const V& x) const {
    Shape shape = x.shape();
    for (int i = 0; i < shape.rank(); ++i) shape[i] += margins.low[i] + margins.high[i];
    V result = V::full(shape, fill);
    T* target = result.mutable_data();
    for (int i = 0; i < shape.rank(); ++i) target += margins.low[i] * result.strides()[i];
    if (x.size() > 0) copy_strided(x, target, result.strides());
    return result;
  }
};

struct CutMargins {
  PadMargins margins;
  template <PlainTensor V>
  V operator()(const V& x) const {
    Shape shape = x.shape();
    index_t offset = 0;
    for (int i = 0; i < shape.rank(); ++i) {
      shape[i] -= margins.low[i] + margins.high[i];
      offset += margins.low[i] * x.strides()[i];
    }
    return x.view(shape, x.strides(), shape.size() == 0 ? 0 : offset);
  }
};

/// Reverse rule for a number of inputs known only at run time: each one's gradient is a slice.
template <Value V>
struct ConcatPull {
  struct Input {
    int slot;
    index_t begin, extent;
  };
  int axis;
  std::vector<Input> inputs;
  void operator()(Tape<V>& tape, const V& gradient) const {
    for (const Input& input : inputs)
      if (input.slot >= 0) tape.accumulate(input.slot, linear(SliceAxis{axis, input.begin, input.extent, 1}, gradient));
  }
};

/// The kind that holds every operand: a variable if any is one, a jet if any is one.
template <TensorLike... X>
struct JoinedKind {
  static constexpr bool jet = (JetLike<ValueOf<X>> || ...);
  using Base = std::tuple_element_t<0, std::tuple<BaseOf<X>...>>;
  static_assert((std::is_same_v<BaseOf<X>, Base> && ...), "tensors that are joined must share scalar and backend");
  using Plain = std::conditional_t<jet, Jet<Base>, Base>;
  using Type = std::conditional_t<(VarLike<X> || ...), Var<Plain>, Plain>;
};

template <class Kind, TensorLike X>
Kind lifted(const X& x) {
  if constexpr (std::is_same_v<Kind, X>)
    return x;
  else if constexpr (VarLike<Kind>)
    return Kind{as_kind<typename Kind::ValueType>(x), nullptr, -1};
  else
    return as_kind<Kind>(x);
}

}  // namespace detail

/// Joins tensors along an existing axis. Throws ShapeError when other extents differ, ArgumentError for an
/// empty list.
template <TensorLike X>
X concat(int axis, const std::vector<X>& parts) {
  if (parts.empty()) throw ArgumentError("concat: expected at least one tensor");
  axis = normalize_axis(axis, parts[0].rank(), "concat");
  Shape shape = parts[0].shape();
  std::vector<ValueOf<X>> values{value(parts[0])};
  for (std::size_t p = 1; p < parts.size(); ++p) {
    Shape expected = shape;
    if (parts[p].rank() == shape.rank()) expected[axis] = parts[p].shape()[axis];
    if (!(parts[p].shape() == expected))
      throw ShapeError("concat: operand " + std::to_string(p) + " has shape " + parts[p].shape().to_string() +
                       ", which differs from " + parts[0].shape().to_string() + " outside axis " +
                       std::to_string(axis));
    shape[axis] += parts[p].shape()[axis];
    values.push_back(value(parts[p]));
  }
  auto y = detail::concat_values(values, axis, shape);
  if constexpr (VarLike<X>) {
    using V = ValueOf<X>;
    Tape<V>* tape = nullptr;
    detail::ConcatPull<V> pull{axis, {}};
    index_t begin = 0;
    bool any = false;
    for (const X& part : parts) {
      if (tape == nullptr || part.slot >= 0) tape = part.tape != nullptr ? part.tape : tape;
      any = any || part.slot >= 0;
      pull.inputs.push_back({part.slot, begin, part.shape()[axis]});
      begin += part.shape()[axis];
    }
    if (!any) return X{std::move(y), tape, -1};
    return tape->push(std::move(y), std::move(pull));
  } else {
    return y;
  }
}

/// concat(axis, a, b, ...): operands may be of different kinds.
template <TensorLike X0, TensorLike... X>
auto concat(int axis, const X0& first, const X&... rest) {
  using Kind = typename detail::JoinedKind<X0, X...>::Type;
  return concat(axis, std::vector<Kind>{detail::lifted<Kind>(first), detail::lifted<Kind>(rest)...});
}

/// Joins tensors of one shape along a new axis, inserted before `axis`; -1 appends it.
template <TensorLike X>
X stack(int axis, const std::vector<X>& parts) {
  if (parts.empty()) throw ArgumentError("stack: expected at least one tensor");
  axis = detail::position_of_new_axis(axis, parts[0].rank(), "stack");
  std::vector<X> widened;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    if (!(parts[p].shape() == parts[0].shape()))
      throw ShapeError("stack: operand " + std::to_string(p) + " has shape " + parts[p].shape().to_string() +
                       ", but the first one has " + parts[0].shape().to_string());
    widened.push_back(unsqueeze(parts[p], axis));
  }
  return concat(axis, widened);
}
template <TensorLike X0, TensorLike... X>
auto stack(int axis, const X0& first, const X&... rest) {
  using Kind = typename detail::JoinedKind<X0, X...>::Type;
  return stack(axis, std::vector<Kind>{detail::lifted<Kind>(first), detail::lifted<Kind>(rest)...});
}

/// Cuts an axis into parts of the given extents. Throws ShapeError unless they sum to the axis.
template <TensorLike X>
std::vector<X> split(const X& x, int axis, const std::vector<index_t>& extents) {
  axis = normalize_axis(axis, x.rank(), "split");
  index_t total = 0;
  for (index_t extent : extents) {
    if (extent < 0) throw ShapeError("split: an extent must not be negative, given " + std::to_string(extent));
    total += extent;
  }
  if (total != x.shape()[axis])
    throw ShapeError("split: the parts have " + std::to_string(total) + " elements together but axis " +
                     std::to_string(axis) + " of " + x.shape().to_string() + " has " + std::to_string(x.shape()[axis]));
  std::vector<X> parts;
  index_t begin = 0;
  for (index_t extent : extents) {
    parts.push_back(slice(x, axis, begin, begin + extent));
    begin += extent;
  }
  return parts;
}

/// Cuts an axis into `count` equal parts. Throws ShapeError when it does not divide.
template <TensorLike X>
std::vector<X> split(const X& x, int axis, int count) {
  axis = normalize_axis(axis, x.rank(), "split");
  if (count < 1 || x.shape()[axis] % count != 0)
    throw ShapeError("split: axis " + std::to_string(axis) + " of " + x.shape().to_string() + " cannot be cut into " +
                     std::to_string(count) + " equal parts");
  return split(x, axis, std::vector<index_t>(static_cast<std::size_t>(count), x.shape()[axis] / count));
}

/// Elements to add before and after an axis.
struct PadAxis {
  int axis = 0;
  index_t low = 0;
  index_t high = 0;
};

/// Surrounds x with a constant. Throws ShapeError for a wrong axis, ArgumentError for a negative margin.
template <TensorLike X>
auto pad(const X& x, std::initializer_list<PadAxis> axes, std::type_identity_t<ScalarOf<X>> fill = ScalarOf<X>(0)) {
  using T = ScalarOf<X>;
  detail::PadMargins margins;
  for (const PadAxis& entry : axes) {
    const int axis = normalize_axis(entry.axis, x.rank(), "pad");
    if (entry.low < 0 || entry.high < 0)
      throw ArgumentError("pad: margins must not be negative, given " + std::to_string(entry.low) + " and " +
                          std::to_string(entry.high) + "; use slice to cut");
    margins.low[axis] += entry.low;
    margins.high[axis] += entry.high;
  }
  const auto v = value(x);
  const detail::PadOperation<T> operation{margins, fill};
  const detail::AdjointPullBack<detail::CutMargins> pull_back{{margins}};
  if constexpr (JetLike<decltype(v)>)
    return record(ValueOf<X>{operation(v.value), detail::PadOperation<T>{margins, T(0)}(v.tangent)}, pull_back, x);
  else
    return record(operation(v), pull_back, x);
}
template <TensorLike X>
auto pad(const X& x, int axis, index_t low, index_t high, std::type_identity_t<ScalarOf<X>> fill = ScalarOf<X>(0)) {
  return pad(x, {PadAxis{axis, low, high}}, fill);
}

}  // namespace kolmo
