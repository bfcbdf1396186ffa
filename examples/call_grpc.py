"""grpc.aio, server and client: one answer, a stream of them, both ways at once, and deadlines."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio

# Of a service that is described in a .proto file, protoc writes what stands here.
SERVICE = "examples.Words"


class Words:
    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def upper(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        if not request:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no word")
        return request.upper()

    async def letters(
        self, request: bytes, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        for letter in request:
            yield bytes([letter])

    async def backwards(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request[::-1]

    async def wait(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b"waited"

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Upper": grpc.unary_unary_rpc_method_handler(self.upper),
                "Letters": grpc.unary_stream_rpc_method_handler(self.letters),
                "Backwards": grpc.stream_stream_rpc_method_handler(self.backwards),
                "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            },
        )


async def calls(channel: grpc.aio.Channel) -> None:
    upper = channel.unary_unary(f"/{SERVICE}/Upper")
    print("upper:", await upper(b"penstock"))
    many = await asyncio.gather(*(upper(b"word %d" % number) for number in range(200)))
    print("200 calls at once:", many == [b"WORD %d" % number for number in range(200)])
    large = await upper(b"x" * 1_000_000)
    print("a large one:", len(large), "bytes")
    try:
        await upper(b"")
    except grpc.aio.AioRpcError as error:
        print("refused:", error.code().name, error.details())

    letters = channel.unary_stream(f"/{SERVICE}/Letters")(b"abcdef")
    print("letters:", [letter async for letter in letters])

    backwards = channel.stream_stream(f"/{SERVICE}/Backwards")()
    for word in (b"level", b"stressed", b"deliver"):
        await backwards.write(word)
        print("backwards:", await backwards.read())
    await backwards.done_writing()
    print("the end:", await backwards.read() is grpc.aio.EOF)


async def main() -> None:
    server = grpc.aio.server()
    words = Words()
    server.add_generic_rpc_handlers((words.handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await calls(channel)
        wait = channel.unary_unary(f"/{SERVICE}/Wait")
        try:
            await wait(b"", timeout=0.2)
        except grpc.aio.AioRpcError as error:
            print("too late:", error.code().name)
        await asyncio.wait_for(words.cancelled.wait(), 30)
        print("the server has noticed")
        words.cancelled.clear()

        call = wait(b"")
        try:
            async with asyncio.timeout(0.2):
                await call
        except TimeoutError:
            print("cancelled:", call.cancelled())
        await asyncio.wait_for(words.cancelled.wait(), 30)
        print("the server has noticed")
    await server.stop(grace=1)


if __name__ == "__main__":
    asyncio.run(main())
