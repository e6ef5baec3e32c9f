// Eigen and xtensor objects in and out without copies.

#include <kolmo/interop/eigen.hpp>
#include <kolmo/interop/xtensor.hpp>
#include <kolmo/kolmo.hpp>

#include "catch.hpp"

using namespace kolmo;

TEST_CASE("an Eigen matrix is borrowed, viewed, and never written") {
  interop::RowMajorMatrix<double> matrix(2, 3);
  matrix << 1, 2, 3, 4, 5, 6;
  Tensor<double, Cpu> x = interop::borrow<Cpu>(matrix);
  CHECK(x.data() == matrix.data());
  CHECK(x.shape() == Shape{2, 3});
  x.mutable_data()[0] = 9;
  CHECK(matrix(0, 0) == 1);
  CHECK(x.to_vector()[0] == 9);
  const auto view = interop::as_eigen(x);
  CHECK(view.data() == x.data());
  CHECK(view(1, 2) == 6);
  CHECK(interop::as_eigen(slice(x, 1, 1, 3))(1, 0) == 5);
  CHECK_THROWS_AS(interop::as_eigen(transpose(x)), ShapeError);
  CHECK_THROWS_WITH(interop::as_eigen(Tensor<double, Cpu>::ones({2})), kolmo_test::contains("rank 2"));
}

TEST_CASE("an xtensor array is borrowed, and tensors of any layout are viewed") {
  const xt::xarray<float> array{{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}};
  const Tensor<float, Cpu> x = interop::borrow<Cpu>(array);
  CHECK(x.data() == array.data());
  CHECK(x.shape() == Shape{2, 2, 2});
  const auto turned = transpose(x);
  const auto view = interop::as_xtensor(turned);
  CHECK(view(1, 0, 1) == 7);
  CHECK(view.data() == x.data());
}
