"""What proxies tell of their clients: X-Forwarded-For and X-Forwarded-Proto, or Forwarded
(RFC 7239).

The native side calls `ProxyHeaders` for requests that have such a field, and for no others.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Hop = tuple[Address, int]  # with the port, or 0

_SCHEMES = frozenset({"http", "https"})
# RFC 7239, 4: one `token=value` of an element, with what separates it from the next.
_PAIR = re.compile(
    r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=
        (?: ([!#$%&'*+.^_`|~0-9A-Za-z-]+) | "((?:[^"\\]|\\.)*)" )
        [ \t]*([;,]|$)""",
    re.VERBOSE,
)


class Peers:
    """Addresses, networks, "unix" for who comes by a Unix socket, and "*" for all.

    Raises ValueError for what is none of them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.everyone = False
        self._unix = False
        self._networks: list[Network] = []
        for name in names:
            if name == "*":
                self.everyone = True
            elif name == "unix":
                self._unix = True
            else:
                self._networks.append(ipaddress.ip_network(name))
        self._has = functools.lru_cache(4096)(self._look)

    def has_client(self, client: tuple[str, int] | None) -> bool:
        """Whether a scope's client is among them; None came by a Unix socket."""
        if self.everyone:
            return True
        return self._unix if client is None else self._has(client[0])

    def has(self, address: Address) -> bool:
        """Whether an address is."""
        return self.everyone or self._has(str(address))

    def _look(self, text: str) -> bool:
        address = address_of(text)
        return address is not None and any(address in network for network in self._networks)


def address_of(text: str) -> Address | None:
    """An IP address; of an IPv4 one in IPv6's clothes, the former."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def hop_of(text: str) -> Hop | None:
    """`1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`; None for anything else."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    address = address_of(host)
    if address is None:
        return None
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
    return address, number if number < 1 << 16 else 0


class ProxyHeaders:
    """Puts the client that trusted proxies tell of into a scope, and the scheme it has used."""

    def __init__(self, trusted: Iterable[str], *, standard: bool = False) -> None:
        """`standard`: Forwarded is what they set, not the X-Forwarded-… fields.

        Never both: what a proxy does not set it may pass on, and then the client has set it.
        """
        self._trusted = Peers(trusted)
        self._read = _forwarded if standard else _x_forwarded

    def __call__(self, scope: dict[str, Any]) -> None:
        """Change the scope, where its peer is trusted and what it tells makes sense."""
        if not self._trusted.has_client(scope["client"]):
            return
        hops, schemes = self._read(scope["headers"])
        chosen = self._client_among(hops)
        if chosen is not None:
            address, port = hops[chosen] or ("", 0)
            scope["client"] = (str(address), port)
        scheme = _scheme_of(schemes, len(hops), chosen)
        if scheme is not None:
            is_websocket = scope["type"] == "websocket"
            scope["scheme"] = scheme.replace("http", "ws") if is_websocket else scheme

    def _client_among(self, hops: list[Hop | None]) -> int | None:
        """The right-most that is not trusted: each proxy adds whom it has heard.

        What is left of one that can't be read is not to be believed; there the last proxy stands
        for its client.
        """
        found = None
        for index in reversed(range(len(hops))):
            hop = hops[index]
            if hop is None:
                break
            found = index
            if not self._trusted.has(hop[0]):
                break
        return found


def _scheme_of(schemes: list[str | None], hops: int, chosen: int | None) -> str | None:
    """The only one, or that which was told with the client."""
    if len(schemes) == 1:
        found = schemes[0]
    elif len(schemes) == hops and chosen is not None:
        found = schemes[chosen]
    else:
        return None
    found = {"ws": "http", "wss": "https"}.get(found or "", found)
    return found if found in _SCHEMES else None


Told = tuple[list[Hop | None], list[str | None]]


def _x_forwarded(headers: Iterable[tuple[bytes, bytes]]) -> Told:
    hops: list[Hop | None] = []
    schemes: list[str | None] = []
    for name, value in headers:
        if name == b"x-forwarded-for":
            hops += [hop_of(each.strip()) for each in value.decode("latin-1").split(",")]
        elif name == b"x-forwarded-proto":
            schemes += [each.strip().lower() for each in value.decode("latin-1").split(",")]
    return hops, schemes


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> Told:
    hops: list[Hop | None] = []
    schemes: list[str | None] = []
    text = ",".join(value.decode("latin-1") for name, value in headers if name == b"forwarded")
    for element in _elements(text):
        hops.append(hop_of(element["for"]) if "for" in element else None)
        schemes.append(element.get("proto", "").lower() or None)
    return hops, schemes


def _elements(text: str) -> list[dict[str, str]]:
    """One dict a proxy. Where it can't be read, nothing is believed."""
    elements: list[dict[str, str]] = [{}]
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            return []
        name, token, quoted, separator = found.groups()
        value = token if token is not None else re.sub(r"\\(.)", r"\1", quoted)
        if elements[-1].setdefault(name.lower(), value) is not value:
            return []
        if separator == ",":
            elements.append({})
        at = found.end()
    return [] if elements == [{}] else elements
