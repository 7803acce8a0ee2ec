"""Writes what Sphinx reads into a folder: the notebooks as a reader wants them, the API, the recorded results, the changelog."""
import ast
import base64
import builtins
import inspect
import json
import re
import shutil
import sys
import textwrap
from dataclasses import is_dataclass
from html import escape
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import nbformat
from bs4 import BeautifulSoup
from fastcore.docments import docments

import emotion_ser
from emotion_ser.core import read_run
from emotion_ser.docstrings import parameters_of
from emotion_ser.evaluate import interval_text

ROOT = Path(__file__).parent.parent
GITHUB = "https://github.com/emotion-ser/emotion_ser/blob/main"
WIDGETS = "application/vnd.jupyter.widget-state+json"
LISTEN = "https://emotion-ser.github.io/emotion_ser/listen/"
ASSIGN = ast.Assign, ast.AnnAssign
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
MAIN = ("00_data", "01_preprocess", "02_embed", "03_head", "04_train", "05_evaluate")
PARTS = {  # caption in the table of contents -> whether a notebook belongs there, by its name and number
    "The six main notebooks": lambda name, number: name in MAIN,
    "More on data, encoders and heads": lambda name, number: number < 6 and name not in MAIN,
    "Study and protocols": lambda name, number: 6 <= number <= 8,
    "Findings": lambda name, number: number in (9, 10, 11, 17, 18, 21),
    "The classifier": lambda name, number: 12 <= number <= 16,
    "Many recordings, the command line": lambda name, number: number in (20, 80, 81, 82, 83, 84, 90),
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
        self.cells = nbformat.read(ROOT / f"nbs/{notebook}.ipynb", as_version=4).cells
        self.module = import_module(f"emotion_ser.{self.name}")
        self.lines = Path(self.module.__file__).read_text().splitlines()
        nodes, self.patched = {}, {}  # class -> methods that later cells gave it
        for node in ast.parse("\n".join(self.lines)).body:
            if any("patch" in ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])):
                self.patched.setdefault(ast.unparse(node.args.args[0].annotation).strip("'"), []).append(node)
            elif not isinstance(node, ast.AugAssign): nodes.update(dict.fromkeys(names_of(node), node))  # else it was defined before
        self.symbols = {name: nodes[name] for name in self.module.__all__}
        self.lessons = {name: lesson(self.cells, name, self.cell(nodes[name]))
                        for name, home in emotion_ser._HOME.items() if home == self.name}
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

    def line(self, name):
        "A symbol in one line of the index: its name, and the first line about it"
        about = "" if isinstance(self.symbols.get(name), ASSIGN) else (inspect.getdoc(getattr(self.module, name)) or "").split("\n")[0]
        return f"- {{py:obj}}`{name} <emotion_ser.{self.name}.{name}>`" + f": {prose(about, {})}" * bool(about)

    def home(self, node):
        "Where a symbol is written"
        return (f"[in the notebook](#{self.notebook}-{self.cell(node)}) · "
                f"[on GitHub]({GITHUB}/emotion_ser/{self.name}.py#L{node.lineno})")

    def example(self, name):
        "Of a name that is used most: the lesson after it, what that prints, and where it stands"
        if name not in self.lessons: return ""
        cell, code, printed = self.lessons[name]
        said = f"\n```text\n{printed}\n```\n" if printed else ""
        return (f"Example, [from the notebook](#{self.notebook}-{cell}):\n\n"
                f"```{{code-block}} python\n:class: no-search\n\n{code}\n```\n{said}")

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
            return directive("function", name + signature(node), *self.described(obj), home, self.example(name))
        methods = [m for m in [*node.body, *self.patched.get(name, [])]
                   if isinstance(m, ast.FunctionDef) and (not m.name.startswith("_") or m.name == "__call__")]
        inner = [self.method(obj, m) for m in methods if ast.get_docstring(m)]
        kind = "exception" if issubclass(obj, Exception) else "class"
        parts = *self.described(obj), home, self.example(name), *inner
        return directive(kind, name + made_with(obj), *parts, fence="`````")

    def described(self, obj):
        "The docstring, and the docments as a table"
        rows = []
        for name, about in (parameters(obj) if inspect.isclass(obj) else docments(obj, full=True)).items():
            meaning, kind = about.docment or "", about.anno
            if hasattr(kind, "__metadata__"): kind, meaning = kind.__origin__, re.sub(r"\[/?b\]", "", kind.__metadata__[0].help or "")
            kind = "" if kind is inspect.Parameter.empty else re.sub(r"\b(\w+\.)+(?=\w)", "", inspect.formatannotation(kind))
            kind = {"NoneType": "", "function": "Callable", "builtin_function_or_method": "Callable"}.get(kind, kind)
            if name not in ("self", "cls") and (kind or meaning):
                rows.append([f"`{name}`" if name != "return" else "*returns*", f"`{kind}`" if kind else "",
                             prose(" ".join(meaning.split()), self.links)])
        about = re.split(r"(?:^|\n\n)(?:Parameters|Returns)\n-+\n", inspect.getdoc(obj) or "")[0]  # the table says it
        return prose(about, self.links), table(["parameter", "type", "meaning"], rows) if rows else ""


def fields_of(obj):
    "Whether a class is made with its fields: a dataclass, a named tuple"
    return is_dataclass(obj) or hasattr(obj, "_fields")


def constructor(obj):
    "The `__init__` of a class, if this package wrote it"
    ours = (getattr(obj.__init__, "__module__", None) or "").startswith("emotion_ser")
    return obj.__init__ if ours and not fields_of(obj) else None


def made_with(obj):
    "Names and defaults of what a class is made with"
    if made := constructor(obj): return signature(ast.parse(textwrap.dedent(inspect.getsource(made))).body[0], skip=1)
    if not fields_of(obj): return ""
    short = lambda default: text if len(text := repr(default)) < 30 and "<" not in text else "..."
    args = [f"{name}" + f"={short(p.default)}" * (p.default is not p.empty)
            for name, p in inspect.signature(obj).parameters.items()]
    return f"({', '.join(args)})"


def parameters(obj):
    "name -> type and meaning of what a class is made with; fields have their comments where they are written first"
    if made := constructor(obj): return docments(made, full=True, returns=False)
    if not fields_of(obj): return {}
    comments = {}
    for base in obj.__mro__:
        if not base.__module__.startswith("emotion_ser"): continue
        text = textwrap.dedent(inspect.getsource(base))
        for name, _, about in parameters_of(ast.parse(text).body[0], text.split("\n")):
            if about: comments.setdefault(name, about)
    return {name: SimpleNamespace(anno=p.annotation, docment=comments.get(name))
            for name, p in inspect.signature(obj).parameters.items()}


def lesson(cells, name, after, longest=10):
    """The first cell after an exported one that uses a name in a few lines: its id, its code without what only fails,
    and what it printed. Raises `ValueError` if there is none"""
    place = next(place for place, cell in enumerate(cells) if cell.id == after)
    for cell in cells[place + 1:]:
        marks, code = marks_of(cell)
        if cell.cell_type != "code" or {"hide", "export", "exporti"} & set(marks): continue
        kept = [node for node in statements(code) if "test_fail" not in reads(node)]
        wanted = sorted({line for node in kept for line in range(node.lineno - 1, node.end_lineno)})
        if name not in set().union(*map(reads, kept)) or len(wanted) > longest: continue
        lines = code.splitlines()
        return cell.id, "\n".join(lines[line] for line in wanted), printed(cell)
    raise ValueError(f"{name}: no lesson of {longest} lines or fewer uses it")


def printed(cell, longest=8):
    "What a cell printed or showed, if that is text in a few lines"
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    lines = "\n".join(text.rstrip() for text in texts if not text.startswith("<")).splitlines()
    cut = any(line.rstrip().endswith("\\") for line in lines)  # a table that goes on below
    return "" if cut or len(lines) > longest else "\n".join(lines)


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


def marks_of(cell):
    "The directives of a cell, and its code without them"
    return (dict(re.findall(r"^#\|\s*([\w-]+):?\s*(.*)", cell.source, re.M)), re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip())


def statements(code):
    "The statements of a cell; none of one that is not Python alone"
    try: return ast.parse(code).body
    except SyntaxError: return []


def reads(node):
    "The names that a statement uses, in annotations that are text too"
    texts = [a.annotation.value for a in ast.walk(node) if isinstance(getattr(a, "annotation", None), ast.Constant) and isinstance(a.annotation.value, str)]
    return {n.id for part in [node, *map(ast.parse, texts)] for n in ast.walk(part) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def makes(node):
    "The names that a statement binds"
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)): return {node.name}
    imported = {(a.asname or a.name).split(".")[0] for n in ast.walk(node) if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names}
    return imported | {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def is_setting(node, known):
    "Whether a statement sets something of an imported module: a seed, the size of figures"
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(getattr(node, "value", None), "func", None)
    if not isinstance(target, (ast.Attribute, ast.Subscript)): return False
    return reads(target) <= known and bool(re.search(r"\b(rcParams|options|environ|manual_seed|seed)\b", ast.unparse(target)))


def only_needed(node, needed):
    "An import, of what is needed; None if that is nothing"
    node.names = [name for name in node.names if (name.asname or name.name).split(".")[0] in needed]
    return node if node.names else None


def import_line(node):
    "An import as it is written, on lines that fit the page"
    line = ast.unparse(node)
    if len(line) <= 110 or not isinstance(node, ast.ImportFrom): return line
    module, names = line.split(" import ")
    return f"{module} import (\n{textwrap.fill(names, 106, initial_indent='    ', subsequent_indent='    ')})"


def hidden_lines(cells):
    """What the code of a page needs and its cells do not show: imports, and lines of hidden cells.
    Returns the lines for its top, and for each hidden cell, by its place, those that build on what stands above it"""
    known, needed, imports, kept = set(dir(builtins)), set(), [], {}
    for place, cell in reversed([*enumerate(cells)]):
        if cell.cell_type != "code": continue
        marks, code = marks_of(cell)
        if "default_exp" in marks or {"hide", "eval"} <= set(marks): continue
        hidden = "hide" in marks or "echo" in marks
        for node in reversed(statements(code)):
            is_import = isinstance(node, (ast.Import, ast.ImportFrom))
            if is_import and (hidden or "export" in marks): imports.append(node)
            elif not hidden:
                inner = {name for part in ast.walk(node) if isinstance(part, (ast.FunctionDef, ast.Lambda)) for name in reads(part)}
                needed = needed - (makes(node) - inner) | reads(node)
            elif makes(node) & needed or is_setting(node, needed | {"plt", "pd", "torch", "np", "os"}):
                first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
                kept.setdefault(place, []).insert(0, (node, "\n".join(code.splitlines()[first - 1:node.end_lineno])))
                needed |= reads(node)
    if "display" in needed: imports.append(ast.parse("from IPython.display import display").body[0])
    imports = list(filter(None, (only_needed(node, needed) for node in reversed(imports))))
    known |= set().union(*map(makes, imports), set())
    top, there = list(dict.fromkeys(map(import_line, imports))), {}
    for place in sorted(kept):
        for node, text in kept[place]:
            if reads(node) - makes(node) <= known and not isinstance(node, (ast.FunctionDef, ast.ClassDef)) and place not in there:
                top.append(text)
                known |= makes(node)
            else: there.setdefault(place, []).append(text)
    return top, {place: "\n\n".join(texts) for place, texts in there.items()}


def folded(code, title):
    "A cell of code behind a line to open it"
    prompts = {"code_prompt_show": f"{title}: show", "code_prompt_hide": f"{title}: hide"}
    return nbformat.v4.new_code_cell(code, metadata={"mystnb": prompts, "tags": ["hide-input", "hidden-lines"]})


def folded_imports(lines):
    "The cell near the top of a page that holds what its code needs"
    return folded("\n".join(lines), "Imports of this page")


READS_RESULTS = "# This page reads recorded figures or models: run it in the folder nbs of a clone"


def only_shows(cell, code):
    "Whether a cell does nothing but build a table or a figure, in many lines"
    shown = any({"image/png", "text/html"} & set(output.get("data", {})) for output in cell.outputs)
    return shown and code.count("\n") > 4 and not re.search(r"\bassert\b|\btest_\w+\(", code)


def tidy_table(html):
    "A table of pandas with one row of heads, in which columns of text are marked as such"
    soup = BeautifulSoup(html, "html.parser")
    for table in soup.select("table.dataframe"):
        heads = table.select("thead tr")
        if len(heads) > 1:  # the last holds the names of the index
            above, names = heads[-2].find_all("th"), heads[-1].find_all("th")
            named = [th for th in names if th.get_text(strip=True)]
            if names[:len(named)] == named and len(names) == len(above) > len(named):
                for old, new in zip(above, named):
                    old.string = " \\ ".join(filter(None, [new.get_text(strip=True), old.get_text(strip=True)]))
                    old["class"] = "text"
                heads[-1].extract()
        rows = [row.find_all("td") for row in table.select("tbody tr")]
        for column in zip(*(row[::-1] for row in rows)):  # from the right: heads of rows may span
            texts = [td.get_text(strip=True) for td in column]
            if any(not re.fullmatch(r"[-+]?[\d.,]*(e[-+]?\d+)?%?|nan|inf|NaN|None", text) for text in texts):
                heads_of = table.select("thead tr")[-1].find_all("th")
                at = [row[::-1] for row in rows][0].index(column[0]) if rows else 0
                for cell in [*column, *heads_of[::-1][at:at + 1]]: cell["class"] = [*cell.get("class", []), "text"]
    return str(soup)


def png_width(text):
    "Pixels across a picture that a notebook holds"
    return int.from_bytes(base64.b64decode(text[:32])[16:20], "big")


def tidy(path, links, examples=()):
    """A notebook for readers: no directives; hidden cells only so far as the page's code needs them, its imports in
    one folded cell at the top; helpers that no prose introduces, and cells that only show, folded; an anchor at each
    exported cell and at those that are examples, captions, names linked, pictures that open in full size"""
    nb, cells, section = nbformat.read(path, as_version=4), [], ""
    top, there = hidden_lines(nb.cells)
    for place, cell in enumerate(nb.cells):
        if cell.cell_type == "markdown":
            section = (re.findall(r"^#+ (.*)", cell.source, re.M) or [section])[-1]
            cell.source = prose(re.sub(r"^# (?=[a-z]+$)", f"# {path.stem.split('_')[0]} ", cell.source, count=1, flags=re.M), links)
        else:
            marks, cell.source = marks_of(cell)
            exported = {"export", "exporti"} & set(marks)
            for output in cell.outputs:
                if "<table" in (html := output.get("data", {}).get("text/html", "")): output["data"]["text/html"] = tidy_table(html)
            if place in there: cells.append(folded(there[place], "Setup"))
            if {"hide", "default_exp"} & set(marks) or exported and only_imports(cell.source): continue
            if exported:
                introduced = not cells or cells[-1].cell_type == "markdown"
                cells.append(nbformat.v4.new_markdown_cell(f"({path.stem}-{cell.id})="))
                cell.metadata.setdefault("tags", []).extend(["export"] if introduced or not only_helpers(cell.source) else ["export", "hide-input"])
            elif only_shows(cell, cell.source): cell.metadata.setdefault("tags", []).append("hide-input")
            if cell.id in examples: cells.append(nbformat.v4.new_markdown_cell(f"({path.stem}-{cell.id})="))
            if {"slow", "cuda", "net", "eval"} & set(marks): cell.metadata.setdefault("tags", []).append("on-demand")
            caption = marks.get("fig-cap", "").strip("\"'")
            alt = marks.get("fig-alt", "").strip("\"'") or caption or f"figure: {section}"
            shown = {"image": {"alt": alt, "scale": "100%"}, **({"figure": {"caption": caption}} if caption else {})}
            pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
            widths = [png_width(output["data"]["image/png"]) for output in pictures]
            if max(widths, default=0) > 700: shown["image"]["classes"] = "wide"
            if caption and len(pictures) < len(cell.outputs):  # a caption is the picture's alone
                cell.outputs = [output for output in cell.outputs if output not in pictures]
                picture = nbformat.v4.new_code_cell(cell.source, outputs=pictures, metadata={"mystnb": shown, "tags": ["remove-input"]})
                cells += [cell, picture]
                continue
            cell.metadata["mystnb"] = shown
            if "hide-input" in cell.metadata.get("tags", []) and not exported:
                shown.update(code_prompt_show="Show the code of this output", code_prompt_hide="Hide the code of this output")
        if cell.source: cells.append(cell)
    if any(cell.cell_type == "code" and re.search(r"[\"'](results[/\"']|\.\./)", cell.source) for cell in cells): top.insert(0, READS_RESULTS)
    if top:
        made = set().union(*(makes(node) for node in statements("\n".join(top))))
        code = [at for at, cell in enumerate(cells) if cell.cell_type == "code" and made & set().union(*map(reads, statements(cell.source)), set())]
        at = code[0] if "index" in path.stem else 1  # the first page has much before its code
        cells.insert(at, folded_imports(top))
    nb.cells = cells
    if states := nb.metadata.get("widgets", {}).get(WIDGETS): states["state"] = shown_widgets(nb, states["state"])
    return nb


def page_code(nb):
    "The code of a page of `tidy` from top to bottom, as a reader copies it, without the cells that run on demand"
    return "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "code" and not {"on-demand", "remove-input"} & set(cell.metadata.get("tags", [])))


def only_imports(code): return all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(code).body)


def only_helpers(code): return all(getattr(node, "name", "").startswith("_") for node in ast.parse(code).body)


def shown_widgets(nb, states):
    "The states of the widgets that the notebook shows and of their parts; their pictures are called as their cell's"
    todo, kept = [], {}
    for cell in nb.cells:
        named = re.findall(r"'model_id': '(\w+)'", str(cell.get("outputs")))
        todo += [(name, cell.metadata["mystnb"]["image"]["alt"]) for name in named]
    while todo:
        name, alt = todo.pop()
        if name in kept: continue
        kept[name] = states[name]
        todo += [(part, alt) for part in re.findall(r"IPY_MODEL_(\w+)", json.dumps(states[name]["state"]))]
        for output in states[name]["state"].get("outputs", []):
            if picture := output.get("data", {}).pop("image/png", None):
                output["data"]["text/html"] = f'<img alt="{escape(alt)}" src="data:image/png;base64,{picture}">'
    return kept


def prose(text, links):
    "Markdown with a badge that needs no network, the page that listens beside it, and each public name linked to its page of the API"
    text = re.sub(r"\]\(\.\./(docs|nbs)/", "](", text)
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
    n = c.get("channels", 0)
    channels = {0: "", 1: "a copy through another channel"}.get(n, f"{n} copies through other channels")
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
    text = (Path(__file__).parent / "results.md").read_text().format(runs=table(head, rows), others=table(
        ["table", "corpus", "encoder", "command"], others))
    return re.sub(r"^% search: (.*)\n", lambda m: entries(m[1].split(", ")), text, flags=re.M)


SECTION = re.compile(r"^## (.*)\n(?:% search: (.*)\n)?", re.M)  # its heading, words for the search


def entries(words):
    "Entries of the index, which the search knows"
    return "".join(f"```{{index}} ! single: {word}\n```\n\n" for word in words)


def words_of(name, heading, more):
    "The words that a section is found by: those of its line `% search`, and in the glossary its heading"
    return [word for text in (heading if name == "glossary" else None, more) if text for word in text.split(", ")]


def own_page(name, links):
    "A page that stands in this folder, in MyST Markdown"
    text = prose((Path(__file__).parent / f"{name}.md").read_text(), links)
    return SECTION.sub(lambda m: f"## {m[1]}\n\n" + entries(words_of(name, *m.groups())), text)


def explained():
    "notebook -> the words that the glossary and the FAQ explain with a link to it"
    found = {}
    for name in ("glossary", "faq"):
        _, *parts = SECTION.split((Path(__file__).parent / f"{name}.md").read_text())
        for heading, more, body in zip(parts[::3], parts[1::3], parts[2::3]):
            for notebook in dict.fromkeys(re.findall(r"\]\(\.\./nbs/(\w+)\.ipynb\)", body)):
                found.setdefault(notebook, []).extend(words_of(name, heading, more))
    return found


def write(folder):
    "Everything that Sphinx reads"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "api").mkdir(parents=True)
    groups, links = parts(), {}
    notebooks = [ROOT / f"nbs/{name}.ipynb" for name in sorted(sum(groups.values(), []))]
    modules = [Module(notebook.stem, links) for notebook in notebooks if exports(notebook.stem)]
    home = tidy(ROOT / "nbs/index.ipynb", links)
    toc = "```{{toctree}}\n:hidden:\n:caption: {}\n\n{}\n```"
    groups = {"Start": ["install", "own", "faq", "glossary"], **groups, "Reference": ["api/index", "results", "changelog"]}
    trees = [toc.format(caption, "\n".join(names)) for caption, names in groups.items()]
    home.cells.append(nbformat.v4.new_markdown_cell("\n\n".join(trees)))
    nbformat.write(home, folder / "index.ipynb")
    examples = {module.notebook: {cell for cell, _, _ in module.lessons.values()} for module in modules}
    words = explained()
    for notebook in notebooks:
        page = tidy(notebook, links, examples.get(notebook.stem, ()))
        if there := words.get(notebook.stem): page.cells.insert(0, nbformat.v4.new_markdown_cell(entries(there)))
        nbformat.write(page, folder / notebook.name)
    for name in groups["Start"]: (folder / f"{name}.md").write_text(own_page(name, links))
    for module in modules: (folder / f"api/{module.name}.md").write_text(module.page())
    by_name = {module.name: module for module in modules}
    most_used = "\n".join(by_name[home].line(name) for name, home in emotion_ser._HOME.items())
    index = "\n\n".join("\n".join([f"## [{m.name}]({m.name}.md)\n\n{m.module.__doc__ or ''}\n", *map(m.line, m.symbols)])
                        for m in modules)
    tree = "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(f"{m.name} <{m.name}>" for m in modules) + "\n```"
    (folder / "api/index.md").write_text((Path(__file__).parent / "api.md").read_text().format(
        most_used=most_used, index=index, toc=tree))
    (folder / "results.md").write_text(results())
    shutil.copy(ROOT / "CHANGELOG.md", folder / "changelog.md")
    shutil.copy(Path(__file__).parent / "static/colab.svg", folder)
    shutil.copytree(ROOT / "nbs/images", folder / "images")
    shutil.copytree(ROOT / "nbs/results", folder / "results", ignore=shutil.ignore_patterns("*.md", "*.json", "*.csv", "*.txt"))


if __name__ == "__main__": write(Path(sys.argv[1]))
