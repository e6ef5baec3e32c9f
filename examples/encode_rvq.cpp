// Codes vectors by a residual quantizer: an array of numbers of codewords, or packed bits.

#include "encode_rvq_main.hpp"

int main(int argc, char** argv) { return encode_rvq_program::main_program(argc, argv); }
