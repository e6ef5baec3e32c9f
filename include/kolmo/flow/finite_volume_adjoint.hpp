#pragma once
#include <kolmo/flow/finite_volume_run.hpp>
namespace kolmo::flow::detail {
template <class T, class B, Value V>
struct FiniteVolumePullBack {
  std::shared_ptr<const FiniteVolumeCore<T, B>> core;
  V x;
  double dt;
  index_t steps;
  template <Value G>
  auto operator()(const G& gradient, const Wanted<1>&) const { return std::tuple<G>(gradient); }
};
}
