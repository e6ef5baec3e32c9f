# Fails unless the machine code of OBJECT has the instructions listed in WANTED:
#   cmake -D cuobjdump= -D object= -D wanted= -P check_sass.cmake
execute_process(COMMAND "${cuobjdump}" --dump-sass "${object}" OUTPUT_VARIABLE code RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${cuobjdump} could not read ${object}")
endif()
foreach(instruction IN LISTS wanted)
  string(FIND "${code}" "${instruction}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "${object} has no ${instruction}")
  endif()
endforeach()
