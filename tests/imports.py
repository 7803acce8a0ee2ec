"""What holds the house together: imports stand alone in their cells and lead to earlier notebooks, no private name is lent, no function is called as a module is,
lines of code fit the site's column, and no output shows the machine that it was made on."""
import ast
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
IMPORTS = (ast.Import, ast.ImportFrom)
COLUMN = 118  # characters of code that the site shows without scrolling, at a window of 1440 px
MACHINE = re.compile(r"(?:/home|/root|/Users|/tmp|/var/folders)/\w+|site-packages|ipykernel_\d+")


def mixed(notebook):
    "The ids of a notebook's cells in which something stands beside an import: nbdev runs such cells when it makes its docs (those with magics are passed over)"
    found = []
    for cell in json.loads(notebook.read_text())["cells"]:
        try: body = ast.parse("".join(cell["source"])).body if cell["cell_type"] == "code" else []
        except SyntaxError: continue
        if len({isinstance(node, IMPORTS) for node in body}) == 2: found.append(f"{notebook.name}: cell {cell['id']} holds an import and something else")
    return found


def too_long(notebook):
    "The lines of a notebook's code that are wider than the site's column; directives are not shown there"
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    return [f"{notebook.name}: cell {cell['id']} has a line of {len(line)} characters: {line[:60]}..." for cell in cells
            for line in "".join(cell["source"]).splitlines() if len(line) > COLUMN and not line.startswith("#|")]


def made_here(notebook):
    "The outputs in which a folder of the machine stands that made them"
    found = []
    for cell in json.loads(notebook.read_text())["cells"]:
        for output in cell.get("outputs", []):
            texts = [output.get("text", ""), *(text for kind, text in output.get("data", {}).items() if kind == "text/plain")]
            found += [f"{notebook.name}: the output of cell {cell['id']} shows {place[0]}" for text in texts
                      if (place := MACHINE.search("".join(text)))]
    return found


def unguarded(notebook):
    "Whether a notebook has cells that are slow, and nothing that makes Jupyter pass over them"
    codes = ["".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    slow = any(re.search(r"^#\|\s*(slow|cuda|net)\b", code, re.M) for code in codes)
    guarded = any("google.colab" in code and "skip_slow_cells()" in code for code in codes)
    return [f"{notebook.name}: has slow cells, and its first cell does not call skip_slow_cells"] if slow and not guarded else []


def modules():
    "The modules of the package, name -> syntax tree, in the order of their notebooks"
    trees = {}
    for notebook in sorted((ROOT / "nbs").glob("[0-9]*.ipynb")):
        named = re.search(r"#\|\s*default_exp (\w+)", notebook.read_text())
        if named: trees[named[1]] = ast.parse((ROOT / f"emotion_ser/{named[1]}.py").read_text())
    return trees


def lent(trees):
    "What is wrong with the imports between modules, at the top of a module and inside its functions"
    order, wrong = list(trees), []
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom): continue
            source = node.module or ""
            if not node.level and not source.startswith("emotion_ser."): continue
            source = source.removeprefix("emotion_ser.")
            if source in order and order.index(source) >= order.index(name): wrong.append(f"{name} imports from {source}, a later notebook")
            wrong += [f"{name} imports the private {alias.name} of {source}" for alias in node.names if alias.name.startswith("_")]
    return wrong


def namesakes(trees):
    "Functions and classes that are called as a module is"
    defined = [(module, node.name) for module, tree in trees.items() for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return [f"{module}.{name} has the name of a module" for module, name in defined if name in trees]


if __name__ == "__main__":
    found = [line for notebook in sorted((ROOT / "nbs").glob("*.ipynb")) for look in (mixed, too_long, made_here, unguarded) for line in look(notebook)]
    sys.exit("\n".join([*found, *lent(modules()), *namesakes(modules())]) or 0)
