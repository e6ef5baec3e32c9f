// The immersed-boundary solver and its derivatives for the GPU: every kernel that they launch.
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/flow/immersed_transition.hpp>

using namespace kolmo::flow;
using Single = kolmo::Tensor<float, kolmo::Cuda>;
using Double = kolmo::Tensor<double, kolmo::Cuda>;

template class kolmo::flow::Immersed<float, kolmo::Cuda>;
template class kolmo::flow::Immersed<double, kolmo::Cuda>;
template auto kolmo::flow::transition(const Immersed<double, kolmo::Cuda>&, const Double&, kolmo::index_t, double);
template auto kolmo::flow::transition(const Immersed<double, kolmo::Cuda>&, const kolmo::Jet<Double>&, kolmo::index_t,
                                      double);
template auto kolmo::flow::transition(const Immersed<float, kolmo::Cuda>&, const kolmo::Var<Single>&, kolmo::index_t,
                                      double);
