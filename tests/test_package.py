"""Notebooks, package, README and wheel agree, and the check of the notebooks can fail."""
import ast
import json
import os
import re
import sys
import zipfile
from urllib.parse import quote

import pytest
from conftest import ROOT, copy_sources, offline, run
from imports import lent, made_here, mixed, namesakes, too_long, unguarded

import emotion_ser


@pytest.fixture
def copy(tmp_path): return copy_sources(tmp_path / "copy")


def sources(folder): return {p.relative_to(folder).as_posix(): p.read_bytes() for kind in ("nbs/*.ipynb", "emotion_ser/*.py") for p in folder.glob(kind)}


def test_notebooks_and_package_agree(copy):
    before = sources(copy)
    assert len(before) > 15
    for code in ("from nbdev.clean import nbdev_clean; nbdev_clean()", "from nbdev.doclinks import nbdev_export; nbdev_export()"):
        run(sys.executable, "-c", code, cwd=copy, check=True, PYTHONPATH=str(copy))
    after = sources(copy)
    assert [name for name in after if after[name] != before.get(name)] == []


def test_readme_is_the_index(copy):
    run(sys.executable, "-m", "jupyter", "nbconvert", "--to", "markdown", "--config", "nbs/readme.py", "nbs/index.ipynb", "--output-dir", ".",
        "--output", "made", cwd=copy, check=True)
    assert (copy / "made.md").read_text() == (ROOT / "README.md").read_text()


@pytest.mark.thorough("a check of the check, in a copy of the project")
def test_a_failing_cell_fails_the_check(copy):
    for notebook in (copy / "nbs").glob("*.ipynb"):
        if notebook.name != "03_head.ipynb": notebook.unlink()
    tested = lambda: run(sys.executable, "tests/cells.py", cwd=copy)
    good = tested()
    assert good.returncode == 0 and "03_head.ipynb: " in good.stdout, good.stdout + good.stderr
    notebook = json.loads((copy / "nbs/03_head.ipynb").read_text())
    notebook["cells"][-1]["source"] = ["assert 1 == 2"]
    (copy / "nbs/03_head.ipynb").write_text(json.dumps(notebook))
    assert tested().returncode != 0
    for cell in notebook["cells"]: cell["source"] = ["#| eval: false\n", "pass"] if cell["cell_type"] == "code" else cell["source"]
    (copy / "nbs/03_head.ipynb").write_text(json.dumps(notebook))
    silent = tested()
    assert silent.returncode != 0 and "no cell ran" in silent.stderr


def test_the_handful_is_importable_and_light():
    code = "import sys, emotion_ser; sys.exit(bool({'torch', 'transformers', 'pandas', 'scipy', 'sklearn'} & set(sys.modules)))"
    assert run(sys.executable, "-c", code).returncode == 0
    for name in emotion_ser.__all__: assert getattr(emotion_ser, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"): emotion_ser.nonsense


def test_the_wheel_works_elsewhere(installed, shared_cache, tmp_path, monkeypatch):
    "A study outside the repository, then a prediction without a network"
    monkeypatch.setenv("EMOTION_SER_CACHE", str(shared_cache))
    where = run(installed.python, "-c", "import emotion_ser; print(emotion_ser.__file__)", cwd=tmp_path, check=True).stdout
    assert str(installed.python.parent.parent) in where
    done = run(installed.python.parent / "emotion_ser", "study", "--seed", "2", "--out", "A", cwd=tmp_path, check=True)
    assert "UAR" in done.stdout and (tmp_path / "A/metrics.json").is_file()
    clip = sorted(shared_cache.glob("sample-1/Actor_01/*.wav"))[0]
    said = run(installed.python.parent / "emotion_ser", "predict", clip, cwd=tmp_path, check=True, **offline(tmp_path)).stdout
    assert clip.name in said and "%" in said  # with the classifier that the wheel carries


def index_of_torch(folder, version):
    "A package index in a folder, which has one build of a torch that does nothing; its address"
    wheel = f"torch-{version}-py3-none-any.whl"
    (folder / "torch").mkdir(parents=True)
    about = {"METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n",
             "WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n", "RECORD": ""}
    with zipfile.ZipFile(folder / "torch" / wheel, "w") as archive:
        for name, text in about.items(): archive.writestr(f"torch-{version}.dist-info/{name}", text)
    (folder / "torch/index.html").write_text(f'<a href="{quote(wheel)}">{wheel}</a>')
    return folder.as_uri()


def test_torch_without_cuda_can_be_chosen(tmp_path):
    "`make study TORCH=cpu` asks a second index, whose build fits the exact version and is preferred"
    recipe = lambda *words: run("make", "-n", "-W", "settings.ini", "study", *words, cwd=ROOT, check=True).stdout
    assert "--extra-index-url" not in recipe()
    assert "--extra-index-url https://download.pytorch.org/whl/cpu -c constraints.txt" in recipe("TORCH=cpu")
    exact = re.search(r"(?m)^torch==([\d.]+)$", (ROOT / "constraints.txt").read_text())[1]
    both, cpu = index_of_torch(tmp_path / "pypi", exact), index_of_torch(tmp_path / "cpu", f"{exact}+cpu")
    options = re.search(r"pip install -q (.*) -e ", recipe("TORCH=cpu", f"TORCH_INDEX={cpu}"))[1].split()
    chosen = run(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--isolated", "--index-url", both,
                 *options, "torch", cwd=ROOT, check=True, PIP_CONFIG_FILE=os.devnull).stdout
    assert f"torch-{exact}+cpu" in chosen


def test_imports_stand_alone(tmp_path):
    assert run(sys.executable, ROOT / "tests/imports.py").returncode == 0
    cell = lambda code: dict(cell_type="code", id=code, source=[code])
    (tmp_path / "n.ipynb").write_text(json.dumps(dict(cells=[cell("import os"), cell("import os; os.getcwd()"), cell("%pwd"), cell("1")])))
    assert mixed(tmp_path / "n.ipynb") == ["n.ipynb: cell import os; os.getcwd() holds an import and something else"]


def test_long_lines_and_the_machine_in_outputs_are_seen(tmp_path):
    long = dict(cell_type="code", id="long", source=["#| fig-cap: " + "x" * 200, f"\nprint({'1' * 120})"], outputs=[dict(text=["on\n", "/tmp/abc/x.wav\n"])])
    (tmp_path / "n.ipynb").write_text(json.dumps(dict(cells=[long, dict(long, id="short", source=["1"], outputs=[dict(data={"text/plain": "tmp"})])])))
    line, = too_long(tmp_path / "n.ipynb")
    assert line.startswith("n.ipynb: cell long has a line of 127 characters: print(111")
    assert made_here(tmp_path / "n.ipynb") == ["n.ipynb: the output of cell long shows /tmp/abc"]


def test_slow_cells_that_run_all_would_start_are_seen(tmp_path):
    def notebook(*codes):
        (tmp_path / "n.ipynb").write_text(json.dumps(dict(cells=[dict(cell_type="code", id="c", source=[code]) for code in codes])))
        return unguarded(tmp_path / "n.ipynb")
    colab = "if 'google.colab' in sys.modules: pass"
    assert notebook(colab, "#| slow\ntrain()") == ["n.ipynb: has slow cells, and its first cell does not call skip_slow_cells"]
    assert notebook(colab + "\nskip_slow_cells()", "#| slow\ntrain()") == notebook(colab, "train()") == []


def test_what_holds_the_house_together_is_seen():
    trees = {name: ast.parse(code) for name, code in dict(
        first="from .second import later\ndef second(): pass", second="from .first import _own, given\nfrom os import _exit").items()}
    assert lent(trees) == ["first imports from second, a later notebook", "second imports the private _own of first"]
    assert namesakes(trees) == ["first.second has the name of a module"]
