"""Prints the n-th command of the README's first code blocks, so that CI runs what users read."""

import pathlib
import re
import sys

README = pathlib.Path(__file__).parent.parent / "README.md"

if __name__ == "__main__":
    blocks = re.findall(r"^```bash\n(.*?)```", README.read_text(), re.DOTALL | re.MULTILINE)
    commands = [line for block in blocks for line in block.splitlines() if line.strip()]
    print(commands[int(sys.argv[1]) - 1])
