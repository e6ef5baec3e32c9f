#pragma once
// Elementary functions of float and double, for host and device.
//
// Each is a straight line of arithmetic and selections without a branch, table or call, so a loop over
// it vectorises; results are within 2 units in the last place and exact at zeros, infinities and NaN,
// denormal arguments and results included. Products and sums may be contracted or not: the bound holds
// both ways. `pow`, and `sin` and `cos` of double, are the standard library's.

#include <kolmo/core/math/basic.hpp>
#include <kolmo/core/math/error_function.hpp>
#include <kolmo/core/math/exponential.hpp>
#include <kolmo/core/math/logarithm.hpp>
#include <kolmo/core/math/trigonometric.hpp>
