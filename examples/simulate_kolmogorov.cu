// simulate_kolmogorov.cpp on a GPU.
//
// without a GPU: --output none.npy

#include "simulate_kolmogorov_main.hpp"

int main(int argc, char** argv) { return simulate_kolmogorov_program::main_program(argc, argv); }
