#pragma once
// Losses of the mixture density network:
//
//   lambda_ce CE + lambda_mom sum_n (M_n(g) - M_n(f))^2 + lambda_pdf d(f, g)
//
// with d the mean squared (l2) or absolute (l1) difference over the grid, or a smooth maximum (linf), and the sampled
// densities and batches of LAMF (lamf_train.hpp), from which the model is also selected: by the whole validation set.

#include <kolmo/gmm/lamf_train.hpp>
#include <kolmo/gmm/mdn.hpp>

namespace kolmo::gmm {

/// Which difference of densities counts.
enum class DensityDistance { l2, l1, linf };

/// The loss of one distance with the given weights. Cross entropy enters as the divergence KL, which differs from it by a
/// constant as long as no spike hides between grid points, or as itself when `convex`: then (1 - pdf) CE + pdf d, the
/// published form with pdf = 0.2, for the l2 distance only. Throws ArgumentError for another.
inline LamfLossOptions mdn_loss(DensityDistance distance, double pdf, double moments = 0, bool convex = false,
                                double alpha = 10) {
  LamfLossOptions terms;
  (distance == DensityDistance::l2 ? terms.l2 : distance == DensityDistance::l1 ? terms.l1 : terms.soft_max) = pdf;
  terms.alpha = alpha;
  terms.moments = moments;
  terms.convex = convex;
  if (convex && distance != DensityDistance::l2)
    throw ArgumentError("mdn_loss: the convex form is that of the l2 distance; use it, or the sum");
  return terms;
}

}  // namespace kolmo::gmm
