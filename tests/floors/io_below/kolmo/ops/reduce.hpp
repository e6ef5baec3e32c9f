#pragma once
#include <kolmo/io/csv.hpp>
