// Fits Gaussian mixtures to densities in a CSV file, by any fitter of the library; the learned one (LAMF) with a polish
// is the default.
//
// test: --input @examples@/data/densities.csv --range -15 15 --output fits.csv --picture fits.svg
// test: --input @examples@/data/densities.csv --range -15 15 --method em --components 3 --picture fits.png --threads 2
// test: --input @examples@/data/densities.csv --range -15 15 --method mdn --polish 0
// test: --input @examples@/data/densities.csv --range -15 15 --method em --init lamf --polish 20 --minimax 4
// test: --input @examples@/data/densities.csv --range -15 15 --method em --init qmi --starts 3
// test: --input @examples@/data/densities.csv --range -15 15 --method lp --output lp.csv --picture lp.svg
// test: --input @examples@/data/densities.csv --range -15 15 --method hybrid --components 4
// test: --input @examples@/data/tails.csv --points @examples@/data/tails_points.csv --picture tails.svg

#include "fit_mixture_main.hpp"

int main(int argc, char** argv) { return fit_mixture_program::main_program(argc, argv); }
