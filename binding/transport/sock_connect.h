// loop.sock_connect(), natively where the socket is of Python's own class, of TCP, UDP or Unix, and
// the address needs no look-up. All else is left to the `async def` of Python.
#pragma once

#include "sync/coroutine.h"

namespace penstock::py {

extern const CoroutineKind kSockConnect;  // its argument is the address

}  // namespace penstock::py
