// fit_mixture.cpp on a GPU.
//
// without a GPU: --input none.csv --range -1 1

#include "fit_mixture_main.hpp"

int main(int argc, char** argv) { return fit_mixture_program::main_program(argc, argv); }
