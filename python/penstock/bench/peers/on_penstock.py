"""The loop with its Task, Future and primitives, as `penstock run` gives them to a program."""

from . import Main, Result, run_on

IMPORT = "import penstock"
RUN = "penstock.run(main())"


def run(main: Main[Result]) -> Result:
    import penstock

    penstock.install()
    return run_on(None, main)
