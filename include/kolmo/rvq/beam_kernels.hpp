#pragma once
// One step of a beam search for one vector: which children of which paths are kept, and what they leave.

#include <kolmo/backend/nearest_score.hpp>
#include <kolmo/rvq/code.hpp>

namespace kolmo::rvq::detail {

using namespace kolmo::detail;

/// |r|^2 in double, whose products of float are exact.
template <class T>
KOLMO_HD double squared_norm(const T* r, index_t d) {
  double sum = 0;
  for (index_t j = 0; j < d; ++j) sum = multiply_add(static_cast<double>(r[j]), static_cast<double>(r[j]), sum);
  return sum;
}

/// The `width` best of all children of the paths of a vector, by the squared errors norm - 2 score they leave; of equal
/// ones the path that was better before comes first, then the nearer codeword. `index` and `score` [paths, count] hold
/// the children of every path, best first, `taken` [paths] is room.
template <class T>
KOLMO_HD void choose_children(index_t paths, index_t count, index_t width, const double* norm, const Code* index,
                              const T* score, Code* taken, Code* parent, Code* code) {
  for (index_t p = 0; p < paths; ++p) taken[p] = 0;
  for (index_t place = 0; place < width; ++place) {
    double least = 0;
    index_t chosen = -1;
    for (index_t p = 0; p < paths; ++p) {
      if (taken[p] == count) continue;
      const double error = norm[p] - 2 * static_cast<double>(score[p * count + taken[p]]);
      if (chosen >= 0 && !(error < least)) continue;
      least = error;
      chosen = p;
    }
    parent[place] = static_cast<Code>(chosen);
    code[place] = index[chosen * count + taken[chosen]++];
  }
}

/// The codes and the residual of a child.
template <class T>
KOLMO_HD void follow_child(index_t stages, index_t d, const Code* codes, const T* residual, Code code,
                           const T* codeword, Code* next_codes, T* next_residual) {
  for (index_t q = 0; q < stages; ++q) next_codes[q] = codes[q];
  next_codes[stages] = code;
  for (index_t j = 0; j < d; ++j) next_residual[j] = residual[j] - codeword[j];
}

}  // namespace kolmo::rvq::detail
