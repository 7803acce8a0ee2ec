"""What holds the house together: imports stand alone in their cells and lead to earlier notebooks, no private name is lent, no function is called as a module is."""
import ast
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
IMPORTS = (ast.Import, ast.ImportFrom)


def mixed(notebook):
    "The ids of a notebook's cells in which something stands beside an import: nbdev runs such cells when it makes its docs (those with magics are passed over)"
    found = []
    for cell in json.loads(notebook.read_text())["cells"]:
        try: body = ast.parse("".join(cell["source"])).body if cell["cell_type"] == "code" else []
        except SyntaxError: continue
        if len({isinstance(node, IMPORTS) for node in body}) == 2: found.append(f"{notebook.name}: cell {cell['id']} holds an import and something else")
    return found


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
    found = [line for notebook in sorted((ROOT / "nbs").glob("*.ipynb")) for line in mixed(notebook)]
    sys.exit("\n".join([*found, *lent(modules()), *namesakes(modules())]) or 0)
