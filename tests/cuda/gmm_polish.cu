// The polish and the learned fits as a program for the GPU: every kernel that they launch.
#include <kolmo/cuda/cuda.cuh>
#include <kolmo/gmm/lamf_fit.hpp>
#include <kolmo/gmm/mdn_fit.hpp>
#include <kolmo/gmm/polish.hpp>

using namespace kolmo::gmm;
using Single = kolmo::Tensor<float, kolmo::Cuda>;
using Double = kolmo::Tensor<double, kolmo::Cuda>;
using Points = std::span<const double>;

template PolishReport<Single> kolmo::gmm::polish(const Single&, const Grid&, const Mixture<Single>&,
                                                 const PolishOptions&, const std::optional<Single>&,
                                                 const PolishReport<Single>::Integers&);
template PolishReport<Double> kolmo::gmm::polish(const Double&, Points, const Mixture<Double>&, const PolishOptions&,
                                                 const PolishReport<Double>::Integers&);
template FitReport<Single> kolmo::gmm::fit(const Lamf<Single>&, const Single&, const Grid&, const FitOptions&,
                                           const std::optional<Single>&);
template FitReport<Single> kolmo::gmm::fit(const Lamf<Single>&, const Single&, Points, const FitOptions&);
template FitReport<Single> kolmo::gmm::fit(const Mdn<Single>&, const Single&, Points, const FitOptions&);
