#pragma once
#include <kolmo/ops/reduce.hpp>
