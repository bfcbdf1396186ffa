# penstock_zlib: the library for compressed WebSocket messages. The static one is preferred, so that a
# wheel asks for nothing that a system may lack.
include(CheckCXXSourceCompiles)
include(CMakePushCheckState)

# find_static_zlib(): sets PENSTOCK_ZLIB to a static library that the module can be made with. Debian's is
# compiled for executables: its names have to be the module's own, as exports.map makes them.
function(find_static_zlib)
  find_path(PENSTOCK_ZLIB_INCLUDE zlib.h)
  find_library(PENSTOCK_libz NAMES libz.a PATH_SUFFIXES ${CMAKE_SYSTEM_PROCESSOR}-linux-gnu)
  if(NOT PENSTOCK_ZLIB_INCLUDE OR NOT PENSTOCK_libz)
    return()
  endif()
  cmake_push_check_state(RESET)
  set(CMAKE_REQUIRED_INCLUDES ${PENSTOCK_ZLIB_INCLUDE})
  set(CMAKE_REQUIRED_LIBRARIES ${PENSTOCK_libz})
  set(CMAKE_REQUIRED_LINK_OPTIONS -shared -Wl,-z,defs
      -Wl,--version-script=${CMAKE_SOURCE_DIR}/binding/exports.map)
  check_cxx_source_compiles("
    #include <zlib.h>
    extern \"C\" __attribute__((visibility(\"default\"))) int PyInit__core() {
      z_stream in{}, out{};
      return inflateInit2(&in, -15) + deflateInit2(&out, 6, Z_DEFLATED, -15, 8, 0) + deflate(&out, 0) +
             inflate(&in, 0);
    }
    int main() {}" zlib_fits)
  cmake_pop_check_state()
  if(zlib_fits)
    set(PENSTOCK_ZLIB ${PENSTOCK_libz} PARENT_SCOPE)
  endif()
endfunction()

set(PENSTOCK_ZLIB "")
find_static_zlib()
add_library(penstock_zlib INTERFACE)
if(PENSTOCK_ZLIB)
  target_include_directories(penstock_zlib SYSTEM INTERFACE ${PENSTOCK_ZLIB_INCLUDE})
  target_link_libraries(penstock_zlib INTERFACE ${PENSTOCK_ZLIB})
else()
  find_package(ZLIB REQUIRED)
  target_link_libraries(penstock_zlib INTERFACE ZLIB::ZLIB)
endif()
