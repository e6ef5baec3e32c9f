// expect: BackendMemory
#include <kolmo/backend/cpu.hpp>
#include <kolmo/core/tensor.hpp>

struct NoMemory {
  template <class F>
  static void for_each(kolmo::index_t n, const F& f);
};

#ifdef KOLMO_COMPILES
using Backend = kolmo::Cpu;
#else
using Backend = NoMemory;
#endif

kolmo::Tensor<double, Backend> tensor;
