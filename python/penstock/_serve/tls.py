"""TLS: the context that the options ask for, and what an application is told of a connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .config import Config, ServerError
from .distinguished_name import subject_of

if TYPE_CHECKING:
    from .certificates import Certificates

_REQUIREMENTS = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


def ssl_context(config: Config) -> ssl.SSLContext | None:
    """The options' TLS, or None. Raises ServerError where a file can't be used."""
    if config.ssl_certfile is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    files = " and ".join(filter(None, (config.ssl_certfile, config.ssl_keyfile)))

    def no_password() -> str:
        # Without this OpenSSL asks at the terminal, and the loop waits for an answer.
        raise ServerError(
            f"TLS can't be set up from {files}: the key is encrypted: give ssl_keyfile_password"
        )

    password = config.ssl_keyfile_password
    try:
        context.load_cert_chain(
            config.ssl_certfile,
            config.ssl_keyfile,
            no_password if password is None else password,
        )
        if config.ssl_ca_certs:
            context.load_verify_locations(config.ssl_ca_certs)
        if config.ssl_ciphers:
            context.set_ciphers(config.ssl_ciphers)
    except (OSError, ValueError) as error:  # ssl.SSLError is one
        raise ServerError(f"TLS can't be set up from {files}: {error}") from error
    context.verify_mode = _REQUIREMENTS[config.ssl_cert_reqs]
    return context


def describe(certificates: Certificates | None) -> Callable[[asyncio.Transport], dict[str, Any]]:
    """What makes the ASGI extension `tls` of a connection: its spec, version 0.2."""

    def described(transport: asyncio.Transport) -> dict[str, Any]:
        connection = transport.get_extra_info("ssl_object")
        encoded = connection.getpeercert(binary_form=True)
        cipher = connection.cipher()
        return {
            "server_cert": certificates.chain_of(connection.context) if certificates else None,
            "client_cert_chain": _client_chain(connection, encoded) if encoded else [],
            "client_cert_name": subject_of(encoded) if encoded else None,
            "client_cert_error": None,
            "tls_version": _VERSIONS.get(connection.version()),
            "cipher_suite": _suite_number(connection, cipher[0] if cipher else None),
        }

    return described


def _client_chain(connection: Any, certificate: bytes) -> list[str]:
    """The client's certificate, and behind it those that it was verified by, PEM."""
    # From Python 3.13 on. A session that is resumed has verified nothing anew.
    verified: list[bytes] = getattr(connection, "get_verified_chain", list)()
    return [ssl.DER_cert_to_PEM_cert(each) for each in verified or [certificate]]


def _suite_number(connection: ssl.SSLObject, name: str | None) -> int | None:
    """The number of a cipher suite, of which OpenSSL's identifiers have the low two bytes."""
    for cipher in connection.context.get_ciphers():
        if cipher["name"] == name:
            return int(cipher["id"]) & 0xFFFF
    return None
