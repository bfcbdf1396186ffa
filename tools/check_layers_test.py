"""Each dependency rule, broken in a tree of its own, and the real tree, which breaks none."""

from pathlib import Path

import pytest
from check_layers import check

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def tree(tmp_path):
    def write(**files: str) -> list[str]:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return check(tmp_path)

    return write


def test_this_tree_keeps_the_rules():
    assert check(ROOT) == []


@pytest.mark.parametrize(
    "path, header",
    [
        ("core/reactor/loop.h", "base/clock.h"),
        ("core/reactor/loop.h", "reactor/epoll/epoll.h"),
        ("core/net/tcp.cc", "reactor/loop.h"),
        ("core/http1/scanner.cc", "base/bytes.h"),
        ("core/http1/scanner.cc", "scanner.h"),
        ("core/server/server.cc", "http1/request.h"),
        ("core/server/server_test.cc", "server/server.h"),
        ("core/base/fd.cc", "sys/socket.h"),
        ("binding/module.cc", "Python.h"),
        ("binding/module.cc", "net/tcp.h"),
    ],
)
def test_downwards_is_fine(tree, path, header):
    assert tree(**{path: f"#include <{header}>\n"}) == []


@pytest.mark.parametrize(
    "path, header",
    [
        ("core/base/clock.h", "reactor/loop.h"),
        ("core/reactor/loop.h", "net/tcp.h"),
        ("core/http1/scanner.h", "reactor/loop.h"),
        ("core/http2/session.cc", "net/tcp.h"),
        ("core/net/tcp_test.cc", "server/server.h"),
        ("core/websocket/frame.cc", "http1/request.h"),
        ("core/stray/thing.cc", "base/clock.h"),
    ],
)
def test_upwards_and_sideways_are_refused(tree, path, header):
    (error,) = tree(**{path: f'#pragma once\n#include "{header}"\n'})
    assert error.startswith(f"{path}:2: includes {header}: ")


@pytest.mark.parametrize("header", ["Python.h", "structmember.h", "internal/pycore_frame.h"])
def test_core_knows_no_python(tree, header):
    (error,) = tree(**{"core/base/bytes.h": f"# include <{header}>"})
    assert "only binding/ does" in error


def test_core_includes_start_at_core(tree):
    (error,) = tree(**{"core/base/bytes.h": '#include "../net/tcp.h"'})
    assert "start at core/" in error


def test_a_library_belongs_to_one_folder(tree):
    assert tree(**{"core/http2/a.cc": "#include <nghttp2/nghttp2.h>"}) == []
    assert tree(**{"core/http2/b.cc": "#include <nghttp2/nghttp2.h>"}) == []
    errors = tree(**{"core/http1/c.cc": "#include <nghttp2/nghttp2.h>"})
    assert len(errors) == 2
    assert all("nghttp2 belongs to one folder" in error for error in errors)


@pytest.mark.parametrize(
    "call",
    [
        'PyImport_ImportModule("penstock")',
        'PyImport_ImportModule("penstock.runner")',
        'PyImport_ImportModuleLevel(\n    "penstock.cli", nullptr, nullptr, nullptr, 0)',
    ],
)
def test_the_module_never_imports_the_package(tree, call):
    (error,) = tree(**{"binding/module.cc": f"\nauto* package = {call};\n"})
    assert error.startswith("binding/module.cc:2: imports penstock")


def test_the_module_may_import_others(tree):
    assert tree(**{"binding/module.cc": 'PyImport_ImportModule("asyncio")'}) == []
