// A program that multiplies matrices on both CPU backends, and reads HDF5 if it is there; the libraries come through
// kolmo's components.
#include <kolmo/backend/xtensor.hpp>
#include <kolmo/ops/linalg.hpp>
#ifdef KOLMO_HDF5
#include <kolmo/io/hdf5.hpp>
#endif

template <class B>
double corner() {
  using Tensor = kolmo::Tensor<double, B>;
  const Tensor a = Tensor::from({1, 2, 3, 4}, {2, 2});
  return kolmo::matmul(a, a).to_vector()[3];
}

bool missing_file_is_an_error() {
#ifdef KOLMO_HDF5
  try {
    kolmo::io::Hdf5Reader(kolmo::io::trusted("no_such_file.h5"));
    return false;
  } catch (const kolmo::IoError&) {
  }
#endif
  return true;
}

int main() {
  return missing_file_is_an_error() && corner<kolmo::Cpu>() == 22 && corner<kolmo::CpuBlas>() == 22 ? 0 : 1;
}
