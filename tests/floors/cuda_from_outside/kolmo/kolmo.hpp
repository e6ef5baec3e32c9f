#pragma once
#include <kolmo/cuda/runtime.hpp>
