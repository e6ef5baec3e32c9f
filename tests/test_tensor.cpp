// Tensor: value semantics by copy-on-write, read-only views, borrowed memory, transfer, errors.

#include <kolmo/core/tensor.hpp>


#include "catch.hpp"
#include "device.hpp"

using namespace kolmo;
using kolmo_test::TestDevice;
using kolmo_test::contains;

namespace {
using V = Tensor<float, Cpu>;
using Values = std::vector<float>;

/// Shape [3, 2] over a [2, 3] tensor.
template <class X>
X transposed(const X& x) {
  return x.view({x.shape()[1], x.shape()[0]}, {{x.strides()[1], x.strides()[0]}}, 0);
}
}  // namespace

TEMPLATE_TEST_CASE("constructors fill row-major memory", "[device]", Cpu, TestDevice) {
  using X = Tensor<float, TestType>;
  REQUIRE(X::from({1, 2, 3, 4, 5, 6}, {2, 3}).to_vector() == Values{1, 2, 3, 4, 5, 6});
  REQUIRE(X::from(Values{1, 2}).shape() == Shape{2});
  REQUIRE(X::full({2, 2}, 7).to_vector() == Values(4, 7.0f));
  REQUIRE(X::arange(4, 1, 0.5f).to_vector() == Values{1, 1.5f, 2, 2.5f});
  REQUIRE(X::scalar(3).item() == 3);
  REQUIRE(X::zeros({0, 5}).to_vector().empty());
  REQUIRE_FALSE(X().has_value());
  REQUIRE(reinterpret_cast<std::uintptr_t>(X::zeros({5}).data()) % 64 == 0);
}

TEST_CASE("a copy is a handle until one of the holders writes") {
  V a = V::from({1, 2, 3}, {3});
  V b = a;
  REQUIRE(b.data() == a.data());
  b.mutable_data()[0] = 9;
  REQUIRE(a.to_vector() == Values{1, 2, 3});
  REQUIRE(b.to_vector() == Values{9, 2, 3});

  const float* unique = b.data();
  REQUIRE(b.mutable_data() == unique);  // no copy when nobody shares
}

TEST_CASE("a view shares memory and survives a write to its source") {
  V a = V::from({1, 2, 3, 4, 5, 6}, {2, 3});
  const V t = transposed(a);
  REQUIRE(t.data() == a.data());
  REQUIRE_FALSE(t.is_contiguous());
  REQUIRE(t.to_vector() == Values{1, 4, 2, 5, 3, 6});
  a.mutable_data()[0] = 100;
  REQUIRE(t.to_vector() == Values{1, 4, 2, 5, 3, 6});
  REQUIRE(a.to_vector()[0] == 100);
}

TEST_CASE("writing through a view detaches it into row-major memory") {
  const V a = V::from({1, 2, 3, 4, 5, 6}, {2, 3});
  V t = transposed(a);
  t.mutable_data()[1] = -1;
  REQUIRE(t.to_vector() == Values{1, -1, 2, 5, 3, 6});
  REQUIRE(a.to_vector() == Values{1, 2, 3, 4, 5, 6});

  // A contiguous view that does not start its buffer, and whose source is gone.
  V tail = V::from({1, 2, 3, 4}, {4}).view({2}, {{1}}, 2);
  tail.mutable_data()[0] = 7;
  REQUIRE(tail.to_vector() == Values{7, 4});
}

TEST_CASE("borrowed memory is used without a copy and never written") {
  const Values source{1, 2, 3, 4};
  V a = V::borrow(source.data(), {2, 2});
  REQUIRE(a.data() == source.data());
  a.mutable_data()[0] = 9;
  REQUIRE(a.data() != source.data());
  REQUIRE(source == Values{1, 2, 3, 4});
  REQUIRE(a.to_vector() == Values{9, 2, 3, 4});
  // Once detached it is an ordinary tensor.
  const float* own = a.data();
  REQUIRE(a.mutable_data() == own);
}

TEST_CASE("a view of borrowed memory does not write it either") {
  const Values source{1, 2, 3, 4};
  V part = V::borrow(source.data(), {4}).view({2}, {{1}}, 0);
  part.mutable_data()[0] = 9;
  REQUIRE(source[0] == 1);
  V reshaped = V::borrow(source.data(), {4}).reshaped({2, 2});
  reshaped.mutable_data()[0] = 9;
  REQUIRE(source[0] == 1);
}

TEST_CASE("keep_alive owns borrowed memory for as long as any view of it") {
  auto owner = std::make_shared<Values>(Values{1, 2, 3});
  std::weak_ptr<Values> watch = owner;
  V view;
  {
    const V a = V::borrow(owner->data(), {3}, owner);
    view = a.view({1}, {{1}}, 2);
  }
  owner.reset();
  REQUIRE_FALSE(watch.expired());
  REQUIRE(view.item() == 3);
  view = V();
  REQUIRE(watch.expired());
}

TEST_CASE("reshaped views contiguous memory and copies the rest") {
  const V a = V::from({1, 2, 3, 4, 5, 6}, {2, 3});
  REQUIRE(a.reshaped({3, 2}).data() == a.data());
  REQUIRE(transposed(a).reshaped({6}).to_vector() == Values{1, 4, 2, 5, 3, 6});
  REQUIRE_THROWS_WITH(a.reshaped({4}), contains("[2, 3] has 6") && contains("[4] has 4"));
}

TEMPLATE_TEST_CASE("to moves values between backends in row-major order", "[device]", float, double, std::int32_t) {
  using H = Tensor<TestType, Cpu>;
  const H a = H::arange(6).reshaped({2, 3});
  const auto device = transposed(a).template to<TestDevice>();
  REQUIRE(device.shape() == Shape{3, 2});
  REQUIRE(device.template to<Cpu>().to_vector() == transposed(a).to_vector());
  REQUIRE(a.template to<Cpu>().data() == a.data());
}

TEST_CASE("errors name the operation, the shapes and the numbers") {
  REQUIRE_THROWS_WITH(V::from({1, 2, 3}, {2, 2}), contains("3 values") && contains("[2, 2]") && contains("4"));
  REQUIRE_THROWS_AS(V::from({1, 2, 3}, {2, 2}), ShapeError);
  REQUIRE_THROWS_AS(V::ones({2}).item(), ShapeError);
  REQUIRE_THROWS_WITH(V::ones({2, 3}).extent(2), contains("axis 2") && contains("rank 2"));
  REQUIRE_THROWS_AS(V::ones({2, 3}).extent(-3), ShapeError);
  REQUIRE_THROWS_AS((Shape{1, 1, 1, 1, 1, 1, 1}), ShapeError);
  REQUIRE_THROWS_AS((Shape{2, -1}), ShapeError);
  REQUIRE(V::ones({2, 3}).extent(-1) == 3);
}

TEST_CASE("memory that cannot exist is reported, not wrapped around", "[device]") {
  REQUIRE_THROWS_AS(V::uninitialized({index_t{1} << 45}), OutOfMemory);
  REQUIRE_THROWS_AS((Tensor<float, TestDevice>::uninitialized({index_t{1} << 40})), OutOfMemory);
  // 2^33 * 2^33 elements overflow 64 bits.
  REQUIRE_THROWS_AS(V::uninitialized({index_t{1} << 33, index_t{1} << 33}), Error);
}

TEST_CASE("extents of one and zero do not disturb contiguity") {
  const V a = V::arange(3).view({1, 3, 1}, {{77, 1, 55}}, 0);
  REQUIRE(a.is_contiguous());
  REQUIRE(a.to_vector() == Values{0, 1, 2});
  REQUIRE(V::zeros({3, 0, 2}).contiguous().shape() == Shape{3, 0, 2});
  REQUIRE(transposed(V::zeros({0, 2})).copy().shape() == Shape{2, 0});
}

TEST_CASE("shapes merge axes wherever all strides allow") {
  Shape shape{2, 3, 1, 4};
  Array<Strides, 2> strides{{row_major_strides(shape), row_major_strides(shape)}};
  merge_axes(shape, strides);
  REQUIRE(shape == Shape{24});

  Shape partial{2, 3, 4};
  Array<Strides, 2> mixed{{row_major_strides(partial), {{0, 4, 1}}}};
  merge_axes(partial, mixed);
  REQUIRE(partial == Shape{2, 12});
  REQUIRE(mixed[1][0] == 0);
}
