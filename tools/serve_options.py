"""Write the tables of docs/reference/serve.md from the options of `penstock serve`.

Run it with a Python that has penstock after an option has changed; `--check` exits 1 where the page
is stale.
"""

import sys
from itertools import groupby
from pathlib import Path

from penstock._serve.options import OPTIONS, Option, boolean, size

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "serve.md"
BEGIN, END = "<!-- options -->\n", "<!-- end of options -->\n"


def default(option: Option) -> str:
    value = option.default
    if value is None or value == "" or value == ():
        return ""
    if isinstance(value, tuple):
        return ",".join(value)
    if option.parse is boolean:
        return "on" if value else "off"
    if option.parse is size:
        for unit, name in ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")):
            if value and value % unit == 0:
                return f"{value // unit}{name}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def row(option: Option) -> str:
    flag = f"`{option.flag}`"
    if option.parse is boolean:
        flag += f", `{option.flag.replace('--', '--no-', 1)}`"
    text = option.help.replace("|", "\\|")
    return f"| {flag} | {default(option)} | {text} |"


def tables() -> str:
    """Markdown: a table a group."""
    parts = []
    for group, options in groupby(OPTIONS, key=lambda option: option.group):
        rows = "\n".join(map(row, options))
        parts.append(f"## {group}\n\n| option | default | |\n|---|---|---|\n{rows}\n")
    return "\n" + "\n".join(parts) + "\n"


def main() -> int:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = before + BEGIN + tables() + END + after
    if "--check" in sys.argv[1:]:
        if made != text:
            print(f"{PAGE.name} is stale: run tools/{Path(__file__).name}", file=sys.stderr)
        return int(made != text)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
