"""Clients that have certificates: who is let in, and what an application is told of them."""

import asyncio
import ssl
import sys

import penstock
import pytest
import trustme
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from penstock._serve.distinguished_name import _parts, subject_of, text_of

from .conftest import hello

OK = b"HTTP/1.1 200 OK\r\n"


class Files:
    """A server's certificate and key, and those that clients' are verified by."""

    def __init__(self, directory, authority):
        self.chain = directory / "chain.pem"
        self.key = directory / "key.pem"
        self.trusted = directory / "trusted.pem"
        self.authority = authority
        self.issue()
        self.trust(authority)

    def issue(self):
        made = self.authority.issue_cert("localhost")
        self.chain.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        self.key.write_bytes(made.private_key_pem.bytes())

    def trust(self, authority):
        self.trusted.write_bytes(authority.cert_pem.bytes())

    @property
    def options(self):
        return {"ssl_certfile": str(self.chain), "ssl_keyfile": str(self.key)}

    def options_for(self, requirement):
        return {**self.options, "ssl_ca_certs": str(self.trusted), "ssl_cert_reqs": requirement}

    def client(self, issuer=None, **names):
        """The context of a client, with a certificate of that issuer."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if issuer is not None:
            issuer.issue_cert("client@localhost", **names).configure_cert(context)
        return context


AUTHORITY, OTHER = trustme.CA(), trustme.CA()


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path, AUTHORITY)


class Recorder:
    """An application that keeps what it is told, and echoes what a WebSocket says."""

    def __init__(self):
        self.scopes = []

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        if scope["type"] == "http":
            return await hello(scope, receive, send)
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    @property
    def tls(self):
        return self.scopes[-1]["extensions"]["tls"]


def der(pem):
    return ssl.PEM_cert_to_DER_cert(pem)


@pytest.mark.parametrize(
    ("requirement", "issuer", "is_let_in", "is_told"),
    [
        ("none", None, True, False),
        ("none", AUTHORITY, True, False),
        ("none", OTHER, True, False),
        ("optional", None, True, False),
        ("optional", AUTHORITY, True, True),
        ("optional", OTHER, False, False),
        ("required", None, False, False),
        ("required", AUTHORITY, True, True),
        ("required", OTHER, False, False),
    ],
)
async def test_who_is_let_in(serve, files, requirement, issuer, is_let_in, is_told):
    app = Recorder()
    async with serve(app, **files.options_for(requirement)) as serving, asyncio.timeout(20):
        line = await serving.first_line(files.client(issuer, common_name="somebody"))
    assert line == (OK if is_let_in else b"")
    assert len(app.scopes) == is_let_in
    if is_let_in:
        name = app.tls["client_cert_name"]
        assert (name or "").startswith("CN=somebody,OU=") == is_told
        assert (name is not None) == is_told
        assert bool(app.tls["client_cert_chain"]) == is_told
        assert app.tls["client_cert_error"] is None


async def test_the_chain(serve, files):
    app = Recorder()
    between = AUTHORITY.create_child_ca()
    names = {"common_name": "a,O=b", "organization_name": "c", "organization_unit_name": "d"}
    async with serve(app, **files.options_for("required")) as serving, asyncio.timeout(20):
        assert await serving.first_line(files.client(between, **names)) == OK
    assert app.tls["client_cert_name"] == r"CN=a\,O=b,OU=d,O=c"
    found = list(map(der, app.tls["client_cert_chain"]))
    assert subject_of(found[0]) == app.tls["client_cert_name"]
    issuers = [der(each.cert_pem.bytes().decode()) for each in (between, AUTHORITY)]
    assert found[1:] == (issuers if sys.version_info >= (3, 13) else [])


@pytest.mark.parametrize("is_one_file", [False, True])
async def test_the_servers_certificate_without_its_key(serve, files, is_one_file):
    app = Recorder()
    options = files.options
    chain = files.chain.read_text()
    if is_one_file:
        files.chain.write_text(files.key.read_text() + "caf\u00e9\n" + chain + "more\n")
        del options["ssl_keyfile"]
    async with serve(app, **options) as serving, asyncio.timeout(20):
        assert await serving.first_line(files.client()) == OK
    assert app.tls["server_cert"] == chain


async def test_others_are_trusted_from_now_on(serve, files):
    async with serve(hello, **files.options_for("required")) as serving, asyncio.timeout(20):
        former, next_ = files.client(AUTHORITY), files.client(OTHER)
        assert await serving.first_line(former) == OK
        files.trust(OTHER)
        while await serving.first_line(next_) != OK:
            await asyncio.sleep(0.05)
        assert await serving.first_line(former) == b""


async def test_a_websockets_scope_and_certificates_that_change_meanwhile(serve, files):
    app = Recorder()
    options = {"timeout_linger": 60, **files.options_for("required")}
    async with serve(app, **options) as serving, asyncio.timeout(20):

        def connect():
            return websockets.connect(
                f"wss://127.0.0.1:{serving.port}",
                ssl=files.client(AUTHORITY, common_name="somebody"),
                server_hostname="localhost",
                proxy=None,
                close_timeout=None,  # it is for the server to close the connection
            )

        before = files.chain.read_text()
        async with connect() as first:
            files.issue()
            serving.server.reload_certificates()
            async with connect() as second:
                for client in (first, second):
                    await client.send("here")
                    assert await client.recv() == "here"
    told = [scope["extensions"]["tls"] for scope in app.scopes]
    assert [scope["scheme"] for scope in app.scopes] == ["wss", "wss"]
    assert [each["server_cert"] for each in told] == [before, files.chain.read_text()]
    assert all(each["client_cert_name"].startswith("CN=somebody,") for each in told)


# ---- the server's key --------------------------------------------------------------------------


def encrypted(key, password=b"secret"):
    loaded = serialization.load_pem_private_key(key, None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )


async def test_an_encrypted_key(serve, files):
    files.key.write_bytes(encrypted(files.key.read_bytes()))
    async with serve(hello, ssl_keyfile_password="secret", **files.options) as serving:
        assert await serving.first_line(files.client()) == OK
        files.issue()
        files.key.write_bytes(encrypted(files.key.read_bytes()))
        serving.server.reload_certificates()
        assert await serving.first_line(files.client()) == OK


# What stands instead of a key, and what is said of it.
KEYS = {
    "absent": (lambda key: None, "No such file or directory"),
    "empty": (lambda key: b"", ""),
    "garbage": (lambda key: b"no key", ""),
    "another's": (
        lambda key: OTHER.issue_cert("localhost").private_key_pem.bytes(),
        "key values mismatch",
    ),
    "encrypted": (encrypted, "the key is encrypted: give ssl_keyfile_password"),
}
with_bad_keys = pytest.mark.parametrize("kind", KEYS)


def spoil(path, kind):
    made = KEYS[kind][0](path.read_bytes())
    if made is None:
        path.unlink()
    else:
        path.write_bytes(made)


def told_of(files, kind):
    return f"TLS can't be set up from {files.chain} and {files.key}: ", KEYS[kind][1]


@with_bad_keys
async def test_keys_that_can_not_be_used(files, kind):
    spoil(files.key, kind)
    server = penstock.Server(hello, port=0, lifespan="off", **files.options)
    with pytest.raises(penstock.ServerError) as caught:
        await server.serve()
    for part in told_of(files, kind):
        assert part in str(caught.value)


@with_bad_keys
async def test_a_key_that_can_not_be_used_leaves_the_one_before(serve, files, kind, caplog):
    async with serve(hello, **files.options) as serving, asyncio.timeout(20):
        spoil(files.key, kind)
        serving.server.reload_certificates()
        for part in ("The certificates that were in use stay: ", *told_of(files, kind)):
            assert part in caplog.text
        assert await serving.first_line(files.client()) == OK


@pytest.mark.parametrize("password", ["other", "", "x" * 2000])
async def test_a_password_that_is_not_the_keys(files, password):
    files.key.write_bytes(encrypted(files.key.read_bytes()))
    options = {"ssl_keyfile_password": password, **files.options}
    with pytest.raises(penstock.ServerError, match="TLS can't be set up from"):
        await penstock.Server(hello, port=0, lifespan="off", **options).serve()


SUITES = {"ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C, "ECDHE-RSA-AES256-GCM-SHA384": 0xC030}


async def test_ciphers(serve, files):
    app = Recorder()
    client = files.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serve(app, ssl_ciphers=":".join(SUITES), **files.options) as serving:
        async with asyncio.timeout(20):
            assert await serving.first_line(client) == OK
            client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
            assert await serving.first_line(client) == b""
    assert (app.tls["tls_version"], app.tls["cipher_suite"] in SUITES.values()) == (0x0303, True)


async def test_ciphers_that_are_none(files):
    server = penstock.Server(hello, port=0, lifespan="off", ssl_ciphers="none", **files.options)
    with pytest.raises(penstock.ServerError, match="TLS can't be set up from"):
        await server.serve()


# ---- names -------------------------------------------------------------------------------------


def name_of(*groups):
    """A Name of groups of (type, value)."""
    return x509.Name(
        x509.RelativeDistinguishedName(x509.NameAttribute(*pair) for pair in group)
        for group in groups
    )


def text(name):
    [(_, content)] = _parts(name.public_bytes())
    return text_of(content)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], ""),
        # RFC 4514, 4.
        (
            [
                [(NameOID.DOMAIN_COMPONENT, "net")],
                [(NameOID.DOMAIN_COMPONENT, "example")],
                [(NameOID.USER_ID, "jsmith")],
            ],
            "UID=jsmith,DC=example,DC=net",
        ),
        (
            [
                [(NameOID.DOMAIN_COMPONENT, "net")],
                [(NameOID.ORGANIZATIONAL_UNIT_NAME, "Sales"), (NameOID.COMMON_NAME, "J.  Smith")],
            ],
            "OU=Sales+CN=J.  Smith,DC=net",  # of a set, which has DER's order
        ),
        ([[(NameOID.COMMON_NAME, 'James "Jim" Smith, III')]], r"CN=James \"Jim\" Smith\, III"),
        ([[(NameOID.COMMON_NAME, "Before\rAfter")]], r"CN=Before\0dAfter"),
        ([[(NameOID.COMMON_NAME, "Lučić")]], "CN=Lučić"),
        ([[(NameOID.COMMON_NAME, " a ")]], r"CN=\ a\ "),
        ([[(NameOID.COMMON_NAME, " ")]], r"CN=\ "),
        ([[(NameOID.COMMON_NAME, "#a#")]], r"CN=\#a#"),
        ([[(NameOID.COMMON_NAME, "a+b;c<d>e\\f\0")]], r"CN=a\+b\;c\<d\>e\\f\00"),
        (
            [
                [(NameOID.COUNTRY_NAME, "DE")],
                [(NameOID.STATE_OR_PROVINCE_NAME, "BY")],
                [(NameOID.LOCALITY_NAME, "M")],
                [(NameOID.STREET_ADDRESS, "S")],
                [(NameOID.SERIAL_NUMBER, "1")],
            ],
            "serialNumber=1,STREET=S,L=M,ST=BY,C=DE",
        ),
        # One without a short name that is registered: its value as it is encoded.
        ([[(NameOID.EMAIL_ADDRESS, "a@b")]], "1.2.840.113549.1.9.1=#1603614062"),
    ],
)
def test_names(groups, expected):
    assert text(name_of(*groups)) == expected


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=10), max_size=4))
def test_any_name_can_be_read_again(values):
    kinds = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.USER_ID)
    name = name_of(*([(kinds[i % 3], value)] for i, value in enumerate(values)))
    assert x509.Name.from_rfc4514_string(text(name)) == name if values else text(name) == ""
