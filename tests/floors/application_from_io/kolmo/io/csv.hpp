#pragma once
#include <kolmo/gmm/em.hpp>
