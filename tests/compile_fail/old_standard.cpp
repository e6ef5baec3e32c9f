// flags: -std=c++17
// expect: kolmo needs C\+\+20
#include <kolmo/config.hpp>
