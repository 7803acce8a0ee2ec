"""Writes what Sphinx reads into a folder: the notebooks as a reader wants them, the API, the recorded results, the changelog."""
import ast
import inspect
import json
import re
import shutil
import sys
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path

import nbformat
from fastcore.docments import docments

import emotion_ser
from emotion_ser.core import read_run
from emotion_ser.evaluate import interval_text

ROOT = Path(__file__).parent.parent
GITHUB = "https://github.com/emotion-ser/emotion_ser/blob/main"
WIDGETS = "application/vnd.jupyter.widget-state+json"
LISTEN = "https://emotion-ser.github.io/emotion_ser/listen/"
ASSIGN = ast.Assign, ast.AnnAssign
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
STORY = ("00_data", "01_preprocess", "02_embed", "03_head", "04_train", "05_evaluate")
PARTS = {  # caption in the table of contents -> whether a notebook belongs there, by its name and number
    "The story": lambda name, number: name in STORY,
    "Rooms beside it": lambda name, number: number < 6 and name not in STORY,
    "Study and protocols": lambda name, number: 6 <= number <= 8,
    "Findings": lambda name, number: number in (9, 10, 11, 17, 18, 21),
    "The classifier": lambda name, number: 12 <= number <= 16,
    "Scale and shell": lambda name, number: number in (20, 80, 81, 82, 84, 90),
}


def parts():
    "caption -> the names of its notebooks, in order. Raises `ValueError` for one that belongs nowhere"
    names = sorted(path.stem for path in (ROOT / "nbs").glob("[0-9]*_*.ipynb"))
    found = {caption: [name for name in names if belongs(name, int(name[:2]))] for caption, belongs in PARTS.items()}
    if lost := set(names) - set(sum(found.values(), [])): raise ValueError(f"{', '.join(sorted(lost))}: in no part of the site")
    return found


def exports(name):
    "Whether a notebook makes a module; findings do not"
    return "#| default_exp" in (ROOT / f"nbs/{name}.ipynb").read_text()


class Module:
    "A module of the package: its public symbols as they are written, and the notebook cells that they come from"

    def __init__(self, notebook, links):
        self.notebook, self.name, self.links = notebook, notebook.split("_", 1)[1], links
        self.module = import_module(f"emotion_ser.{self.name}")
        self.lines = Path(self.module.__file__).read_text().splitlines()
        nodes, self.patched = {}, {}  # class -> methods that later cells gave it
        for node in ast.parse("\n".join(self.lines)).body:
            if any("patch" in ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])):
                self.patched.setdefault(ast.unparse(node.args.args[0].annotation).strip("'"), []).append(node)
            elif not isinstance(node, ast.AugAssign): nodes.update(dict.fromkeys(names_of(node), node))  # else it was defined before
        self.symbols = {name: nodes[name] for name in self.module.__all__}
        if self.name not in ("cli", "measure", "shell"):  # whose names are those of the functions it runs
            for name in self.symbols: links.setdefault(name, f"{{py:obj}}`{name} <emotion_ser.{self.name}.{name}>`")

    def cell(self, node):
        "The id of the cell that a symbol was exported from"
        return next(line.split("#")[-1] for line in reversed(self.lines[:node.lineno]) if line.startswith("# %% "))

    def page(self):
        "The module's page of the API, in MyST Markdown"
        question = self.module.__doc__ or ""
        constants = [self.entry(name, node) for name, node in self.symbols.items() if isinstance(node, ASSIGN)]
        others = [self.entry(name, node) for name, node in self.symbols.items() if not isinstance(node, ASSIGN)]
        others += [self.method(getattr(self.module, owner), m, f"{owner}.", self.home(m))  # that a class of an earlier module is given here
                   for owner, methods in self.patched.items() if owner not in self.symbols for m in methods if ast.get_docstring(m)]
        return "\n\n".join([f"# emotion_ser.{self.name}", f"{question} Made in [{self.notebook}](../{self.notebook}.ipynb).",
                            f"````{{py:module}} emotion_ser.{self.name}\n````", "## Functions and classes", *others,
                            *(["## Constants"] if constants else []), *constants])

    def home(self, node):
        "Where a symbol is written"
        return (f"[in the notebook](#{self.notebook}-{self.cell(node)}) · "
                f"[on GitHub]({GITHUB}/emotion_ser/{self.name}.py#L{node.lineno})")

    def method(self, owner, node, prefix="", *more):
        "A method or a property of a class"
        if not inspect.isroutine(inspect.getattr_static(owner, node.name)):
            return directive("property", prefix + node.name, ast.get_docstring(node), *more)
        return directive("method", prefix + node.name + signature(node, skip=1), *self.described(getattr(owner, node.name)), *more)

    def entry(self, name, node):
        "A symbol: signature, docstring, parameters, where it is written"
        home = self.home(node)
        if isinstance(node, ASSIGN):
            written = self.lines[node.lineno - 1:node.end_lineno]
            code = "" if len(written) > 12 else "\n```python\n" + "\n".join(written) + "\n```\n"
            return directive("data", name, code, home)
        obj = getattr(self.module, name)
        if isinstance(node, ast.FunctionDef):
            return directive("function", name + signature(node), *self.described(obj), home)
        methods = [m for m in [*node.body, *self.patched.get(name, [])]
                   if isinstance(m, ast.FunctionDef) and (not m.name.startswith("_") or m.name == "__call__")]
        inner = [self.method(obj, m) for m in methods if ast.get_docstring(m)]
        made = next((signature(m, skip=1) for m in node.body if getattr(m, "name", "") == "__init__"), "")
        return directive("exception" if issubclass(obj, Exception) else "class", name + made, *self.described(obj), home, *inner, fence="`````")

    def described(self, obj):
        "The docstring, and the docments as a table"
        rows, docs = [], {}
        if inspect.isroutine(obj) or is_dataclass(obj): docs = docments(obj, full=True, returns=not inspect.isclass(obj))
        for name, about in docs.items():
            meaning, kind = about.docment or "", about.anno
            if hasattr(kind, "__metadata__"): kind, meaning = kind.__origin__, re.sub(r"\[/?b\]", "", kind.__metadata__[0].help or "")
            kind = "" if kind is inspect.Parameter.empty else re.sub(r"\b(\w+\.)+(?=\w)", "", inspect.formatannotation(kind))
            if name not in ("self", "cls") and (kind or meaning):
                rows.append([f"`{name}`" if name != "return" else "*returns*", f"`{kind}`" if kind else "",
                             prose(" ".join(meaning.split()), self.links)])
        return prose(inspect.getdoc(obj) or "", self.links), table(["parameter", "type", "meaning"], rows) if rows else ""


def names_of(node):
    "The names that a statement defines"
    targets = getattr(node, "targets", [getattr(node, "target", node)])
    for target in targets:
        for one in getattr(target, "elts", [target]): yield getattr(one, "id", getattr(one, "name", None))


def directive(kind, head, *parts, fence="````"):
    "A description in Sphinx's Python domain"
    return f"{fence}{{py:{kind}}} {head}\n" + "\n\n".join(part for part in parts if part) + f"\n{fence}"


def signature(node, skip=0):
    "Names and defaults, as they are written"
    args = ast.parse(ast.unparse(node)).body[0].args
    for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
        if arg: arg.annotation = None
    args.args = args.args[skip:]
    return f"({ast.unparse(args)})"


def table(head, rows):
    "A Markdown table"
    cells = lambda row: "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
    return "\n".join([cells(head), "|" + "---|" * len(head), *map(cells, rows)])


def tidy(path, links):
    "A notebook for readers: no directives, no hidden cells, helpers that no prose introduces folded, an anchor at each exported cell, captions, names linked"
    nb, cells, section = nbformat.read(path, as_version=4), [], ""
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            section = (re.findall(r"^#+ (.*)", cell.source, re.M) or [section])[-1]
            cell.source = prose(re.sub(r"^# (?=[a-z]+$)", f"# {path.stem.split('_')[0]} ", cell.source, count=1, flags=re.M), links)
        else:
            marks = dict(re.findall(r"^#\|\s*([\w-]+):?\s*(.*)", cell.source, re.M))
            cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip()
            exported = {"export", "exporti"} & set(marks)
            if {"hide", "default_exp"} & set(marks) or exported and only_imports(cell.source): continue
            if exported:
                introduced = not cells or cells[-1].cell_type == "markdown"
                cells.append(nbformat.v4.new_markdown_cell(f"({path.stem}-{cell.id})="))
                cell.metadata.setdefault("tags", []).extend(["export"] if introduced or not only_helpers(cell.source) else ["export", "hide-input"])
            caption = marks.get("fig-cap", "").strip("\"'")
            shown = {"image": {"alt": marks.get("fig-alt", "").strip("\"'") or caption or f"figure: {section}"},
                     **({"figure": {"caption": caption}} if caption else {})}
            pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
            if caption and len(pictures) < len(cell.outputs):  # a caption is the picture's alone
                cell.outputs = [output for output in cell.outputs if output not in pictures]
                picture = nbformat.v4.new_code_cell(cell.source, outputs=pictures, metadata={"mystnb": shown, "tags": ["remove-input"]})
                cells += [cell, picture]
                continue
            cell.metadata["mystnb"] = shown
        if cell.source: cells.append(cell)
    nb.cells = cells
    if states := nb.metadata.get("widgets", {}).get(WIDGETS): states["state"] = shown_widgets(nb, states["state"])
    return nb


def only_imports(code): return all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(code).body)


def only_helpers(code): return all(getattr(node, "name", "").startswith("_") for node in ast.parse(code).body)


def shown_widgets(nb, states):
    "The states of the widgets that the notebook shows, and of what they are made of"
    todo, kept = re.findall(r"'model_id': '(\w+)'", str([cell.get("outputs") for cell in nb.cells])), {}
    while todo:
        name = todo.pop()
        if name in kept: continue
        kept[name] = states[name]
        todo += re.findall(r"IPY_MODEL_(\w+)", json.dumps(states[name]["state"]))
        for output in states[name]["state"].get("outputs", []):  # pictures in widgets have no alternative text of their own
            if picture := output.get("data", {}).pop("image/png", None):
                output["data"]["text/html"] = f'<img alt="figure" src="data:image/png;base64,{picture}">'
    return kept


def prose(text, links):
    "Markdown with a badge that needs no network, the page that listens beside it, and each public name linked to its page of the API"
    text = re.sub(rf"\[([^\]]*)\]\({LISTEN}\)", r'<a href="listen/index.html">\1</a>', text.replace(BADGE, "colab.svg"))
    blocks = re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)
    blocks[::2] = [re.sub(r"(?<![\[`])`(\w+)`(?![\]`])", lambda m: links.get(m[1], m[0]), block) for block in blocks[::2]]
    return "".join(blocks)


HEADS = {"mlp-baseline": "baseline", "mlp": "MLP, 5-fold ensemble", "lda": "discriminant", "logistic": "logistic regression",
         "ensemble": "heterogeneous ensemble", "robust": "robust head", "tuned": "fine-tuned network"}


def system(c):
    "What a run's configuration trained, in words"
    if "recipe" in c: return f"{c['recipe']}{', top %d blocks fine-tuned' % c['finetune'] if c.get('finetune') else ''}"
    networks = f"{c['members']} networks" if c.get("members", 1) > 1 else ""
    tuned = f"top {c['finetune']} blocks fine-tuned" if c.get("finetune") else ""
    view = f"{c['pooling']} only" if c["pooling"] else ""
    front = f"front end {c['front']}" if c.get("front", "as-is") != "as-is" else ""
    channels = f"{c['channels']} copies through other channels" if c.get("channels") else ""
    return ", ".join(filter(None, [HEADS[c["head"]], front, channels, "augmentation" * c["augment"], "normalised per speaker" * c["speaker_norm"], view, tuned, networks]))


def command(run):
    "A run's command in today's words"
    text = run["command"]
    for option in ("protocol", "head", "recipe"): text = re.sub(rf"--{option} \S+", f"--{option} {run['config'].get(option)}", text)
    return text


def maker(file, note):
    "The command that a recorded table names, with the notebook that records it today"
    notebooks = {name: (ROOT / f"nbs/{name}.ipynb").read_text() for name in sum(parts().values(), [])}
    mentions = [name for name, text in notebooks.items() if f"{file.stem}.csv" in text]
    records = [name for name in mentions if f"results/{file.stem}.csv\\\"," in notebooks[name]] or mentions
    return re.sub(r"nbs/\w+\.ipynb", f"nbs/{records[0]}.ipynb" if records else r"\g<0>", note["command"])


def results():
    "The recorded figures, one line per run, and what else is recorded"
    rows, curves = [], []
    for file in sorted((ROOT / "nbs/results").rglob("metrics.json")):
        run = read_run(file.parent)
        c = run["config"]
        if "uar" not in run:  # a table, and how it was made
            table_file = next(file.parent.glob("*.csv")).relative_to(ROOT).as_posix()
            curves.append([f"[{table_file.removeprefix('nbs/results/')}]({GITHUB}/{table_file})", run["corpus"], run["encoder"], f"`{run['command']}`"])
            continue
        seeds = sorted({split["seed"] for split in run.get("splits", [c])})
        uar, interval = run["uar"], run["intervals"]["uar"]
        if "unseen" in run: uar, interval = (run["unseen"]["mean"][key] for key in ("uar", "interval"))  # each corpus counts the same
        rows.append([run["corpus"], run["encoder"], c["protocol"], system(c), str(seeds[0]) + (f" to {seeds[-1]}" if seeds[1:] else ""),
                     f"{100 * run['accuracy']:.1f}", f"{100 * uar:.1f}", interval_text(*interval), f"`{command(run)}`"])
    protocols = ["corpora", "transfer", "emobox", "loso", "actor-kfold", "actor-holdout", "random"]
    rows.sort(key=lambda row: (protocols.index(row[2]), "per speaker" in row[3], row[1] == "acoustic", -float(row[6])))
    head = ["corpus", "encoder", "protocol", "system", "seeds", "accuracy %", "UAR %", "95% interval of UAR", "command"]
    notes = {file: json.loads(file.read_text()) for file in sorted((ROOT / "nbs/results").glob("*.json"))}
    others = [[f"[{file.stem}.csv]({GITHUB}/nbs/results/{file.stem}.csv)", note.get("corpus", ""), note.get("encoder", ""),
               f"`{maker(file, note)}`"] for file, note in notes.items()] + curves
    return (Path(__file__).parent / "results.md").read_text().format(runs=table(head, rows), others=table(
        ["table", "corpus", "encoder", "command"], others))


def write(folder):
    "Everything that Sphinx reads"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "api").mkdir(parents=True)
    groups, links = parts(), {}
    notebooks = [ROOT / f"nbs/{name}.ipynb" for name in sorted(sum(groups.values(), []))]
    modules = [Module(notebook.stem, links) for notebook in notebooks if exports(notebook.stem)]
    home = tidy(ROOT / "nbs/index.ipynb", links)
    toc = "```{{toctree}}\n:hidden:\n:caption: {}\n\n{}\n```"
    groups["Reference"] = ["api/index", "results", "changelog"]
    trees = [toc.format(caption, "\n".join(names)) for caption, names in groups.items()]
    home.cells.append(nbformat.v4.new_markdown_cell("\n\n".join(trees)))
    nbformat.write(home, folder / "index.ipynb")
    for notebook in notebooks: nbformat.write(tidy(notebook, links), folder / notebook.name)
    for module in modules: (folder / f"api/{module.name}.md").write_text(module.page())
    most_used = "\n".join(f"- {{py:obj}}`{name} <emotion_ser.{home}.{name}>`" for name, home in emotion_ser._HOME.items())
    (folder / "api/index.md").write_text((Path(__file__).parent / "api.md").read_text().format(
        most_used=most_used, toc=toc.format("", "\n".join(m.name for m in modules)).replace(":caption: \n", "").replace(":hidden:\n", "")))
    (folder / "results.md").write_text(results())
    shutil.copy(ROOT / "CHANGELOG.md", folder / "changelog.md")
    shutil.copy(Path(__file__).parent / "static/colab.svg", folder)
    shutil.copytree(ROOT / "nbs/images", folder / "images")
    shutil.copytree(ROOT / "nbs/results", folder / "results", ignore=shutil.ignore_patterns("*.md", "*.json", "*.csv", "*.txt"))


if __name__ == "__main__": write(Path(sys.argv[1]))
