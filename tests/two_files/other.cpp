#include "everything.hpp"

using DivideUp = kolmo::index_t (*)(kolmo::index_t, kolmo::index_t);
DivideUp address_in_other_file();
DivideUp address_in_other_file() { return &kolmo::divide_up; }
