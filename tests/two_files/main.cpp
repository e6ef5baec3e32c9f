// Two files that include every header, linked into one program that sees one definition of each inline function.
#include "everything.hpp"

using DivideUp = kolmo::index_t (*)(kolmo::index_t, kolmo::index_t);
DivideUp address_in_other_file();

int main() {
  const bool same = address_in_other_file() == static_cast<DivideUp>(&kolmo::divide_up);
  return same ? 0 : 1;
}
