"""Imports stand alone in their cells: nbdev runs every cell that holds one when it makes its docs, whatever else the cell does."""
import ast
import json
import sys
from pathlib import Path

NBS = Path(__file__).parent.parent / "nbs"


def mixed(path):
    "The ids of a notebook's cells in which something stands beside an import (cells with magics are not Python and are passed over)"
    found = []
    for cell in json.loads(path.read_text())["cells"]:
        try: body = ast.parse("".join(cell["source"])).body if cell["cell_type"] == "code" else []
        except SyntaxError: continue
        if len({isinstance(node, (ast.Import, ast.ImportFrom)) for node in body}) == 2: found.append(cell["id"])
    return found


if __name__ == "__main__":
    wrong = {path.name: cells for path in sorted(NBS.glob("*.ipynb")) if (cells := mixed(path))}
    sys.exit(f"cells that hold an import and something else: {wrong}" if wrong else 0)
