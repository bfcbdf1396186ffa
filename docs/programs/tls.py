"""A TLS client: it trusts one authority, and refuses a server that another one vouches for."""

import asyncio
import ssl

import trustme


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello over TLS\n")
    writer.close()


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def read(port: int, trusted: ssl.SSLContext) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted)
    line = await reader.readline()
    writer.close()
    return line.decode().strip()


async def main() -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    # A real client leaves it at this line: it trusts whom the system trusts.
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    for whose in (authority, stranger):
        context = server_context(whose)
        server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
        async with server:
            try:
                print(await read(server.sockets[0].getsockname()[1], trusted))
            except ssl.SSLCertVerificationError as error:
                print("refused:", error.verify_message)


if __name__ == "__main__":
    asyncio.run(main())
