#pragma once
#include <kolmo/core/absent.hpp>
