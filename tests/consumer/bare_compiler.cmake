# Compiles and runs one file with the compiler alone. cmake -D compiler= -D source= -D include= -D output= -P ...
cmake_minimum_required(VERSION 3.25)
get_filename_component(folder "${output}" DIRECTORY)
file(MAKE_DIRECTORY "${folder}")
execute_process(COMMAND "${compiler}" -std=c++20 -O1 -pthread -I "${include}" "${source}" -o "${output}"
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${output}" COMMAND_ERROR_IS_FATAL ANY)
