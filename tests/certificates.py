"""TLS contexts that trust each other: `functools.cache` makes them once a process."""

import functools
import ssl

import trustme


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's and a server's, which is "localhost"."""
    authority = trustme.CA()
    client = ssl.create_default_context()
    authority.configure_trust(client)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    return client, server
