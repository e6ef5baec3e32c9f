#pragma once
// The error of a flow solver whose step is too long or whose solution has blown up.

#include <array>
#include <string>

#include <kolmo/core/array.hpp>
#include <kolmo/error.hpp>
#include <kolmo/io/number_text.hpp>

namespace kolmo::flow {

/// A step that violates its stability limit, or a state that is no longer finite. The state before the call is
/// untouched.
class UnstableStep : public Error {
 public:
  /// `what` says which limit was broken and what to do; step, cell and number are appended to the message.
  UnstableStep(const std::string& what, index_t step, std::array<index_t, 2> cell, double number)
      : Error(what + " (step " + std::to_string(step) + ", cell (" + std::to_string(cell[0]) + ", " +
              std::to_string(cell[1]) + "), value " + io::to_text(number, 5) + ")"),
        step_(step),
        cell_(cell),
        number_(number) {}

  /// The step, counted from the start of the run or call, in which it was noticed.
  index_t step() const { return step_; }
  /// Index (x, y) of the worst cell.
  std::array<index_t, 2> cell() const { return cell_; }
  /// The Courant number, or the value that is not finite.
  double number() const { return number_; }

 private:
  index_t step_;
  std::array<index_t, 2> cell_;
  double number_;
};

}  // namespace kolmo::flow
