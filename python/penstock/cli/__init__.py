"""The command `penstock`.

`penstock run` starts somebody else's program, so what this package imports before that is what the
program's start-up pays: argument parsing is by hand, and each sub-command imports its own needs.
"""

import sys

USAGE = """\
usage: penstock run [-m module | -c code | script | -] [args]
       penstock serve module:app [options]
       penstock doctor
       penstock bench [AREA ...] [options]
       penstock --version

  run      run a Python program with penstock as its asyncio
  serve    serve an ASGI or WSGI application over HTTP
  doctor   tell what this kernel and this Python give, and what is in use
  bench    measure it beside the other loops that are installed
"""


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command; what it returns is the exit status."""
    words = sys.argv[1:] if argv is None else argv
    command = words[0] if words else "--help"
    if command == "run":
        from penstock.cli import run

        return run.command(words[1:])
    if command == "serve":
        from penstock.cli import serve

        return serve.command(words[1:])
    if command == "doctor" and words[1:] not in (["-h"], ["--help"]):
        from penstock.cli import doctor

        return doctor.command(words[1:])
    if command == "bench":
        from penstock.cli import bench

        return bench.command(words[1:])
    if command in ("-h", "--help", "help", "doctor"):
        print(USAGE, end="")
        return 0 if words else 2
    if command in ("-V", "--version"):
        import penstock

        print(f"penstock {penstock.__version__}")
        return 0
    print(f"penstock: no such command: {command}\n{USAGE}", end="", file=sys.stderr)
    return 2
