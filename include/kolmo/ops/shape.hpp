#pragma once
// All operations on the shape of a tensor: views, and joining, cutting and padding.

#include <kolmo/ops/join.hpp>
#include <kolmo/ops/views.hpp>
