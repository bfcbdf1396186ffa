"""CPython's own tests of asyncio, run with penstock's loop, Task and Future."""
