#pragma once
// Tensor<T, B>: a value of rank 0 to 6 in the memory of backend B. A copy is a handle; writing through
// `mutable_data` first detaches a shared buffer, so no holder ever sees another one's writes. Views
// (transposed, sliced, expanded) share the buffer and are read-only. Layout is row-major unless a view.

#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include <kolmo/backend/concept.hpp>
#include <kolmo/core/shape.hpp>

namespace kolmo {

namespace detail {

template <class T>
struct FillKernel {
  T value;
  T* target;
  KOLMO_HD void operator()(index_t i) const { target[i] = value; }
};

template <class T>
struct ArangeKernel {
  T start, step;
  T* target;
  KOLMO_HD void operator()(index_t i) const { target[i] = static_cast<T>(start + step * static_cast<T>(i)); }
};

/// Copies a strided view into row-major order.
template <class T>
struct GatherStridedKernel {
  const T* source;
  T* target;
  Shape shape;
  Strides strides;
  KOLMO_HD void operator()(index_t i) const {
    index_t rest = i, offset = 0;
    for (int d = shape.rank() - 1; d >= 0; --d) {
      offset += rest % shape[d] * strides[d];
      rest /= shape[d];
    }
    target[i] = source[offset];
  }
};

/// Bytes of a tensor. Throws OutOfMemory when they exceed the address space.
inline std::size_t byte_count(const Shape& shape, std::size_t element) {
  index_t bytes = static_cast<index_t>(element);
  bool overflow = false, empty = false;
  for (index_t extent : shape) {
    empty = empty || extent == 0;
    overflow = overflow || __builtin_mul_overflow(bytes, extent, &bytes);
  }
  if (empty) return 0;
  if (overflow) throw OutOfMemory("a tensor of shape " + shape.to_string() + " exceeds the address space");
  return static_cast<std::size_t>(bytes);
}

}  // namespace detail

template <class T, BackendMemory B>
class Tensor {
  static_assert(std::is_trivially_copyable_v<T>, "a tensor's scalar must be trivially copyable: float, double, BFloat16, an integer, Dual or Complex");

 public:
  using Scalar = T;
  using Backend = B;
  /// The plain tensor behind any tensor kind; itself here.
  using Base = Tensor;

  Tensor() = default;

  /// Contents are undefined until written.
  static Tensor uninitialized(const Shape& shape) {
    Tensor result;
    result.shape_ = shape;
    const std::size_t bytes = detail::byte_count(shape, sizeof(T));
    result.strides_ = row_major_strides(shape);
    result.buffer_ = std::shared_ptr<T>(static_cast<T*>(B::allocate(bytes)), Release{bytes});
    return result;
  }

  /// Copies host values in row-major order. Throws ShapeError when their number is not shape.size().
  static Tensor from(std::span<const T> values, const Shape& shape) {
    if (static_cast<index_t>(values.size()) != shape.size())
      throw ShapeError("Tensor::from: " + std::to_string(values.size()) + " values given for shape " + shape.to_string() +
                       ", which has " + std::to_string(shape.size()));
    Tensor result = uninitialized(shape);
    B::upload(result.buffer_.get(), values.data(), values.size_bytes());
    return result;
  }
  static Tensor from(std::initializer_list<T> values, const Shape& shape) {
    return from(std::span<const T>(values.begin(), values.size()), shape);
  }
  static Tensor from(const std::vector<T>& values) {
    return from(std::span<const T>(values), Shape{static_cast<index_t>(values.size())});
  }

  static Tensor full(const Shape& shape, T value) {
    Tensor result = uninitialized(shape);
    B::for_each(shape.size(), detail::FillKernel<T>{value, result.buffer_.get()});
    return result;
  }
  static Tensor zeros(const Shape& shape) { return full(shape, T(0)); }
  static Tensor ones(const Shape& shape) { return full(shape, T(1)); }
  static Tensor scalar(T value) { return full(Shape{}, value); }

  /// start, start + step, ... ; `count` values.
  static Tensor arange(index_t count, T start = T(0), T step = T(1)) {
    Tensor result = uninitialized(Shape{count});
    B::for_each(count, detail::ArangeKernel<T>{start, step, result.buffer_.get()});
    return result;
  }

  /// Uses foreign memory of this backend without copying. It is never written: the first write detaches.
  /// The memory must outlive the tensor and its views unless `keep_alive` owns it.
  static Tensor borrow(const T* data, const Shape& shape, std::shared_ptr<const void> keep_alive = {}) {
    Tensor result;
    result.shape_ = shape;
    result.strides_ = row_major_strides(shape);
    result.buffer_ = std::shared_ptr<T>(const_cast<T*>(data), Keep{std::move(keep_alive)});
    result.borrowed_ = true;
    return result;
  }

  /// Takes over memory that B::allocate gave for a tensor of this shape, and that no other tensor returns.
  static Tensor adopt(T* data, const Shape& shape) {
    Tensor result;
    result.shape_ = shape;
    result.strides_ = row_major_strides(shape);
    result.buffer_ = std::shared_ptr<T>(data, Release{detail::byte_count(shape, sizeof(T))});
    return result;
  }

  const Shape& shape() const { return shape_; }
  const Strides& strides() const { return strides_; }
  int rank() const { return shape_.rank(); }
  index_t size() const { return shape_.size(); }
  index_t extent(int axis) const { return shape_[normalize_axis(axis, rank(), "extent")]; }
  /// False for a default-constructed tensor, which has no memory and must not be computed with.
  bool has_value() const { return buffer_ != nullptr; }

  /// First element; address others by strides(). In the memory of the backend.
  const T* data() const { return buffer_.get() + offset_; }

  /// Writable row-major memory of this tensor alone; copies first when the buffer is shared, borrowed or
  /// not contiguous.
  T* mutable_data() {
    if (borrowed_ || buffer_.use_count() > 1 || !is_contiguous() || offset_ != 0) *this = copy();
    return buffer_.get();
  }

  bool is_contiguous() const {
    index_t step = 1;
    for (int i = rank() - 1; i >= 0; --i) {
      if (shape_[i] != 1 && strides_[i] != step) return false;
      step *= shape_[i];
    }
    return true;
  }

  /// The same values in row-major memory; itself when it already is.
  Tensor contiguous() const { return is_contiguous() ? *this : copy(); }

  /// A deep copy in row-major memory.
  Tensor copy() const {
    Tensor result = uninitialized(shape_);
    if (is_contiguous()) {
      B::copy(result.buffer_.get(), data(), static_cast<std::size_t>(size()) * sizeof(T));
    } else {
      Shape merged = shape_;
      Array<Strides, 1> strides{{strides_}};
      merge_axes(merged, strides);
      B::for_each(merged.size(), detail::GatherStridedKernel<T>{data(), result.buffer_.get(), merged, strides[0]});
    }
    return result;
  }

  /// A read-only view of the same buffer; the caller guarantees that it stays inside.
  Tensor view(const Shape& shape, const Strides& strides, index_t offset) const {
    Tensor result = *this;
    result.shape_ = shape;
    result.strides_ = strides;
    result.offset_ += offset;
    return result;
  }

  /// The same elements in row-major order under another shape. Throws ShapeError when the sizes differ.
  Tensor reshaped(const Shape& shape) const {
    if (shape.size() != size())
      throw ShapeError("reshape: " + shape_.to_string() + " has " + std::to_string(size()) + " elements and " +
                       shape.to_string() + " has " + std::to_string(shape.size()));
    const Tensor source = contiguous();
    return source.view(shape, row_major_strides(shape), 0);
  }

  /// Host copy in row-major order. Waits for the backend.
  std::vector<T> to_vector() const {
    const Tensor source = contiguous();
    std::vector<T> values(static_cast<std::size_t>(size()));
    B::download(values.data(), source.data(), values.size() * sizeof(T));
    return values;
  }

  /// The only element. Throws ShapeError when there are several.
  T item() const {
    if (size() != 1) throw ShapeError("item: expected a tensor of one element, given shape " + shape_.to_string());
    T value{};
    B::download(&value, data(), sizeof(T));
    return value;
  }

  /// The same values in the memory of another backend.
  template <BackendMemory Other>
  Tensor<T, Other> to() const {
    if constexpr (std::is_same_v<Other, B>) {
      return *this;
    } else {
      return Tensor<T, Other>::from(std::span<const T>(to_vector()), shape_);
    }
  }

 private:
  struct Release {
    std::size_t bytes;
    void operator()(T* block) const noexcept { B::deallocate(block, bytes); }
  };
  struct Keep {
    std::shared_ptr<const void> owner;
    void operator()(T*) const noexcept {}
  };

  std::shared_ptr<T> buffer_;
  Shape shape_;
  Strides strides_{};
  index_t offset_ = 0;
  bool borrowed_ = false;
};

template <class X>
struct IsTensor : std::false_type {};
template <class T, class B>
struct IsTensor<Tensor<T, B>> : std::true_type {};

/// A plain tensor, not a jet or a variable.
template <class X>
concept PlainTensor = IsTensor<std::remove_cvref_t<X>>::value;

}  // namespace kolmo
