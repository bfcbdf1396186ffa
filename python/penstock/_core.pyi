"""The native module: the scheduler, and what the package's loop stands on.

Only what the package itself and typed programs use is declared; names with an underscore are between this module and
the package.
"""

import asyncio
import contextvars
import socket
from asyncio import gather as gather
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol, TypeVar, TypeVarTuple, overload

from _typeshed import FileDescriptorLike

_LoopType = TypeVar("_LoopType", bound=type[Any])
_Class = TypeVar("_Class", bound=type[Any])
_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_Coroutine = Generator[Any, None, _T] | Coroutine[Any, Any, _T]
_TaskFactory = Callable[..., asyncio.Future[Any]]

# Whether Future and Task are native. Where the layout of CPython's own could not be verified they are not, and a
# RuntimeWarning has said so.
native_task: bool

class Future(asyncio.Future[_T]): ...
class Task(asyncio.Task[_T]): ...
class _GatheringFuture(Future[list[Any]]): ...
class Handle(asyncio.Handle): ...
class TimerHandle(asyncio.TimerHandle): ...
class SocketTransport(asyncio.Transport): ...

class SSLTransport(asyncio.Transport):
    # None once the connection is lost.
    @property
    def _app_transport(self) -> SSLTransport | None: ...
    # The transport below is there; it has this one as its protocol. The handshake begins.
    def _begin(self, below: asyncio.BaseTransport, /) -> None: ...
    # Ciphertext that was received before.
    def _feed(self, data: bytes, /) -> None: ...

@overload
def sleep(delay: float) -> Coroutine[Any, Any, None]: ...
@overload
def sleep(delay: float, result: _T) -> Coroutine[Any, Any, _T]: ...

# They return asyncio.Timeout to whoever asks with isinstance().
def timeout(delay: float | None) -> asyncio.Timeout: ...
def timeout_at(when: float | None) -> asyncio.Timeout: ...
def wait_for(fut: Awaitable[_T], timeout: float | None) -> Coroutine[Any, Any, _T]: ...

class QueueShutDown(Exception): ...

# The native parts of asyncio's primitives.
class Waiters: ...

class QueuePart:
    def __new__(cls, order: str, maxsize: float, /) -> QueuePart: ...

class ReaderPart:
    def __new__(cls, owner: object, limit: float, loop: object, /) -> ReaderPart: ...

class ReaderProtocolPart:
    def __new__(
        cls, owner: object, reader: object, client_connected_cb: object, loop: object, /
    ) -> ReaderProtocolPart: ...

class WriterPart:
    def __new__(
        cls, transport: object, protocol: object, reader: object, loop: object, /
    ) -> WriterPart: ...

class GroupPart: ...

def furnish(cls: _Class, /) -> _Class: ...
def adopt_sock_methods(cls: _Class, /) -> _Class: ...
def adopt_hot_methods(subclass: _LoopType, /) -> _LoopType: ...
def call_outermost(function: Callable[..., object], /, *args: object) -> object: ...
def put_off_handler_callback(
    protocol: asyncio.StreamReaderProtocol,
    transport: object,
    task: object,
    make: Callable[[Any, Any], Callable[[Any], object]],
    /,
) -> bool: ...
def live_tasks() -> list[Any]: ...
def end_when_orphaned(seconds: float, /) -> None: ...
def tls_path() -> tuple[bool, str | None]: ...
def _http1_events(
    pieces: list[bytes], limits: dict[str, int] | None = None, /
) -> list[tuple[Any, ...]]: ...  # for tests
def create_task(
    coro: _Coroutine[_T],
    *,
    name: str | None = None,
    context: contextvars.Context | None = None,
    **kwargs: Any,
) -> asyncio.Task[_T]: ...

class _Server(Protocol):
    def _attach(self, transport: asyncio.Transport, /) -> None: ...
    def _detach(self, transport: asyncio.Transport, /) -> None: ...

class Loop:
    slow_callback_duration: float
    def __init__(self) -> None: ...
    def call_soon(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle: ...
    def call_soon_threadsafe(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle: ...
    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle: ...
    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle: ...
    def time(self) -> float: ...
    def create_future(self) -> asyncio.Future[Any]: ...
    def create_task(
        self,
        coro: _Coroutine[_T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        eager_start: bool | None = None,
        **kwargs: Any,
    ) -> asyncio.Task[_T]: ...
    def set_task_factory(self, factory: _TaskFactory | None) -> None: ...
    def get_task_factory(self) -> _TaskFactory | None: ...
    def stop(self) -> None: ...
    def is_running(self) -> bool: ...
    def is_closed(self) -> bool: ...
    def get_debug(self) -> bool: ...
    def set_debug(self, enabled: bool) -> None: ...
    def add_reader(
        self, fd: FileDescriptorLike, callback: Callable[[*_Ts], Any], *args: *_Ts
    ) -> None: ...
    def remove_reader(self, fd: FileDescriptorLike) -> bool: ...
    def add_writer(
        self, fd: FileDescriptorLike, callback: Callable[[*_Ts], Any], *args: *_Ts
    ) -> None: ...
    def remove_writer(self, fd: FileDescriptorLike) -> bool: ...

    # Runs until stop(); raises the KeyboardInterrupt or SystemExit that ended it otherwise.
    def _run(self) -> None: ...
    # Drops what is scheduled and watched, and closes the loop's own descriptors. Idempotent.
    def _close(self) -> None: ...
    # Watches a descriptor of the package's own: not counted among the user's, never a transport's.
    def _signal_fd(self) -> int: ...
    def _backend(self) -> tuple[str, str]: ...
    # Done once `fd` is ready. Cancelling withdraws the wait; the kernel's registration stays for the next one.
    def _wait_readable(self, fd: int) -> asyncio.Future[None]: ...
    def _wait_writable(self, fd: int) -> asyncio.Future[None]: ...
    # `fd`, which may have been waited on, is about to be closed.
    def _forget_fd(self, fd: int) -> None: ...
    # RuntimeError if a transport has `fd`.
    def _ensure_fd_no_transport(self, fd: FileDescriptorLike) -> None: ...
    # Calls callback(*args) once, when the child process `pid` has ended; nothing is reaped. OSError where the kernel
    # gives no pidfd.
    def _watch_child(self, pid: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None: ...
    # Takes over `sock`; connection_made(), reading and the waiter's result follow in later callbacks.
    def _make_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol | SSLTransport,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
        server: _Server | None = None,
    ) -> asyncio.Transport: ...
    # Take over `pipe`; what follows is as above.
    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None,
    ) -> asyncio.ReadTransport: ...
    def _make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None,
    ) -> asyncio.WriteTransport: ...
    # Takes over `sock`, as above. `address` is the only one to send to, or None.
    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any,
        waiter: asyncio.Future[None],
        /,
    ) -> asyncio.DatagramTransport: ...
    # A TLS transport that waits to become the protocol of another; the waiter's result follows its handshake. Where
    # the protocol has its transport already, connection_made() isn't called.
    def _make_tls(
        self,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        waiter: asyncio.Future[None] | None,
        server_side: bool,
        server_hostname: str | None,
        handshake_timeout: float | None,
        shutdown_timeout: float | None,
        call_connection_made: bool,
        /,
    ) -> SSLTransport: ...
    # Accepts on `sock`, which listens already, until _unlisten(). The caller keeps the socket. `tls` is a server's
    # SSLContext and the timeouts of handshake and shutdown.
    def _listen(
        self,
        sock: socket.socket,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        server: _Server,
        backlog: int,
        tls: tuple[Any, float | None, float | None] | None = None,
    ) -> None: ...
    def _unlisten(self, sock: socket.socket) -> None: ...
    # Those of our transports that have called its _attach() and not its _detach().
    def _transports_of(self, server: asyncio.AbstractServer, /) -> list[asyncio.Transport]: ...
    # getaddrinfo(3) in a pool of threads: (family, type, protocol, canonical name, address), the first three as
    # plain integers. Raises no audit event.
    def _resolve(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        family: int,
        type: int,
        proto: int,
        flags: int,
    ) -> asyncio.Future[list[tuple[int, int, int, str, Any]]]: ...

class HttpServer:
    """A protocol factory; `options` is what penstock._serve.server makes of a Config."""

    def __new__(
        cls, loop: asyncio.AbstractEventLoop, app: Any, options: dict[str, Any], /
    ) -> HttpServer: ...
    def __call__(self) -> asyncio.Protocol: ...
    def check_deadlines(self) -> None: ...
    def drain(self, restarts: bool = False) -> None: ...
    def abort(self) -> None: ...
    def metrics(self) -> dict[str, Any]: ...
    @property
    def connections(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def running(self) -> int: ...
