// A program that uses Eigen and xtensor, both got through kolmo's components.
#include <Eigen/Core>
#include <xtensor-blas/xlinalg.hpp>
#include <xtensor/xtensor.hpp>

#include <kolmo/core/array.hpp>

int main() {
  const Eigen::Matrix2d a = Eigen::Matrix2d::Identity();
  const xt::xtensor<double, 2> b{{1, 2}, {3, 4}};
  const xt::xtensor<double, 2> c = xt::linalg::dot(b, b);
  return a.trace() == 2 && c(1, 1) == 22 && kolmo::divide_up(5, 2) == 3 ? 0 : 1;
}
