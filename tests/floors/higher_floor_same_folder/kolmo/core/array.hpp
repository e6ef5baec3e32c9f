#pragma once
#include <kolmo/core/tensor.hpp>
