# PENSTOCK_LIBURING: the library for the io_uring backend, which is optional; empty where there is none
# that is fit. The static one is preferred, so that a wheel asks for nothing that a system may lack.
include(CheckCXXSourceCompiles)
include(CMakePushCheckState)

# find_liburing(NAMES...): sets PENSTOCK_LIBURING to the first that a shared module can be made with.
function(find_liburing)
  find_path(PENSTOCK_LIBURING_INCLUDE liburing.h)
  foreach(name IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER "has_${name}" fits)
    find_library(PENSTOCK_${name} NAMES ${name} PATH_SUFFIXES ${CMAKE_SYSTEM_PROCESSOR}-linux-gnu)
    if(NOT PENSTOCK_LIBURING_INCLUDE OR NOT PENSTOCK_${name})
      continue()
    endif()
    cmake_push_check_state(RESET)
    set(CMAKE_REQUIRED_INCLUDES ${PENSTOCK_LIBURING_INCLUDE})
    set(CMAKE_REQUIRED_LIBRARIES ${PENSTOCK_${name}})
    set(CMAKE_REQUIRED_LINK_OPTIONS -shared -Wl,-z,defs)
    # The functions of 2.3, and a flag of its kernel.
    check_cxx_source_compiles("
      #include <liburing.h>
      int main() {
        io_uring ring;
        io_uring_params params{};
        params.flags = IORING_SETUP_DEFER_TASKRUN;
        return io_uring_queue_init_params(8, &ring, &params) + io_uring_submit_and_get_events(&ring);
      }" ${fits})
    cmake_pop_check_state()
    if(${fits})
      set(PENSTOCK_LIBURING ${PENSTOCK_${name}} PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

set(PENSTOCK_LIBURING "")
find_liburing(liburing.a liburing.so)
if(PENSTOCK_LIBURING)
  add_library(penstock_liburing INTERFACE)
  target_include_directories(penstock_liburing SYSTEM INTERFACE ${PENSTOCK_LIBURING_INCLUDE})
  target_link_libraries(penstock_liburing INTERFACE ${PENSTOCK_LIBURING})
  target_compile_definitions(penstock_liburing INTERFACE PENSTOCK_LIBURING)
else()
  message(STATUS "no liburing 2.3 or later: the io_uring backend is left out")
endif()
