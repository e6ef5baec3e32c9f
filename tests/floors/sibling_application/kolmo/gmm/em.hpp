#pragma once
#include <kolmo/flow/grid.hpp>
