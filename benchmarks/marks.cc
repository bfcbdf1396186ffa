// What callgrind is told from Python, by ctypes: where the counting begins, and that it ends with a
// profile of that name.
#include <valgrind/callgrind.h>

#define VISIBLE extern "C" __attribute__((visibility("default")))

VISIBLE void begin() { CALLGRIND_ZERO_STATS; }
VISIBLE void end(const char* name) { CALLGRIND_DUMP_STATS_AT(name); }
