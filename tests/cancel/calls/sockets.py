"""sock_*: sockets of the caller's own, which stay the caller's."""

from ..scenario import scenario
from ..stage import MORE_THAN_FITS


@scenario("sock_recv")
async def sock_recv(stage):
    near, far = stage.pair()
    yield stage.loop.sock_recv(near, 10), lambda: far.send(b"x")


@scenario("sock_recv_into")
async def sock_recv_into(stage):
    near, far = stage.pair()
    yield stage.loop.sock_recv_into(near, bytearray(10)), lambda: far.send(b"x")


@scenario("sock_sendall")
async def sock_sendall(stage):
    near, far = stage.pair()
    yield stage.loop.sock_sendall(near, MORE_THAN_FITS), stage.sink(far)


@scenario("sock_accept", asyncio_fails="it loses what it accepted in the turn of the cancellation")
async def sock_accept(stage):
    listener, client = stage.listener(), stage.socket()
    accepted = yield (
        stage.loop.sock_accept(listener),
        lambda: client.connect_ex(listener.getsockname()),
    )
    if accepted is None:
        client.connect_ex(listener.getsockname())
        accepted = await stage.loop.sock_accept(listener)  # the connection was not lost
    accepted[0].close()


@scenario("sock_connect", endless=True)
async def sock_connect_without_answer(stage):
    sock = stage.socket()
    yield stage.loop.sock_connect(sock, stage.full().getsockname())


@scenario("sock_connect")
async def sock_connect_by_name(stage):
    sock, listener = stage.socket(), stage.listener()
    yield stage.loop.sock_connect(sock, ("localhost", listener.getsockname()[1]))
