"""Whom a certificate is for, as a string: RFC 4514.

Made of the certificate's DER. What ssl's getpeercert() gives has neither the order within a name's
parts nor the types of their values. OpenSSL has verified the certificate: it is well-formed.
"""

from __future__ import annotations

from collections.abc import Iterator

# RFC 4514, 3; and of RFC 4519 what stands in certificates.
_NAMES = {
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "2.5.4.3": "CN",
    "2.5.4.4": "sn",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.15": "businessCategory",
    "2.5.4.17": "postalCode",
    "2.5.4.42": "givenName",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.46": "dnQualifier",
}
# By their tags; T61String is ISO 8859-1 to OpenSSL, and to those who issue.
_CODINGS = {
    12: "utf-8",  # UTF8String
    18: "ascii",  # NumericString
    19: "ascii",  # PrintableString
    20: "latin-1",  # T61String
    22: "ascii",  # IA5String
    26: "ascii",  # VisibleString
    28: "utf-32-be",  # UniversalString
    30: "utf-16-be",  # BMPString
}
_VERSION = 0xA0  # the only part before the serial number, and not always there
_SUBJECT = 4  # parts behind that: serial number, algorithm, issuer, validity


def subject_of(certificate: bytes) -> str:
    """The subject of a certificate in DER."""
    [(_, whole)] = _parts(certificate)
    (_, signed), *_ = _parts(whole)
    parts = [content for tag, content in _parts(signed) if tag != _VERSION]
    return text_of(parts[_SUBJECT])


def text_of(name: bytes) -> str:
    """The content of a Name in DER."""
    groups = [content for _, content in _parts(name)]
    return ",".join("+".join(map(_pair, _contents(group))) for group in reversed(groups))


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each of the values that stand there."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        yield tag, data[at : at + length]
        at += length


def _contents(data: bytes) -> list[bytes]:
    return [content for _, content in _parts(data)]


def _pair(content: bytes) -> str:
    (_, kind), (tag, value) = _parts(content)
    number = _number(kind)
    encoded = content[2 + len(kind) :]  # an OID is short
    name = _NAMES.get(number)
    if name is None or tag not in _CODINGS:
        return f"{name or number}=#{encoded.hex()}"
    try:
        return f"{name}={_escaped(value.decode(_CODINGS[tag]))}"
    except UnicodeDecodeError:
        return f"{name}=#{encoded.hex()}"


def _number(oid: bytes) -> str:
    numbers = [0]
    for byte in oid:
        numbers[-1] = numbers[-1] << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(0)
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:-1])))


def _escaped(text: str) -> str:
    """RFC 4514, 2.4. Control characters too, which nobody wants in a log."""
    made = "".join(map(_escaped_character, text))
    if made.startswith((" ", "#")):
        made = "\\" + made
    if text.endswith(" ") and len(text) > 1:
        made = made[:-1] + "\\ "
    return made


def _escaped_character(character: str) -> str:
    if character in '"+,;<>\\':
        return "\\" + character
    if character < " " or character == "\x7f":
        return f"\\{ord(character):02x}"
    return character
