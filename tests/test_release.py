"""What would be uploaded: the sdist builds the same wheel, twine accepts both, and the wheel holds the package and nothing else."""
import ast
import inspect
import sys
import tarfile
import zipfile
from configparser import ConfigParser

import pytest
from conftest import ROOT, run
from fastcore.docments import docments

import emotion_ser
from emotion_ser.docstrings import with_docstrings, write_docstrings


def held(wheel):
    "Name -> bytes of what a wheel holds"
    with zipfile.ZipFile(wheel) as archive: return {name: archive.read(name) for name in archive.namelist()}


def laid_out(tree):
    "A module whose docstrings have no indentation"
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body[0].value.value = ast.get_docstring(node).strip()
    return tree


def test_the_wheel_holds_the_package_and_nothing_else(installed):
    files, about = held(installed.wheel), f"emotion_ser-{emotion_ser.__version__}.dist-info"
    package = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in (ROOT / "emotion_ser").rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}
    package = {name: write_docstrings(data.decode()).encode() if name.endswith(".py") else data for name, data in package.items()}
    assert {name: files[name] for name in files if not name.startswith(about)} == package
    assert {name.removeprefix(about) for name in files if name.startswith(about)} == {
        "/METADATA", "/WHEEL", "/RECORD", "/entry_points.txt", "/top_level.txt", "/licenses/LICENSE"}
    assert "](nbs/" not in files[f"{about}/METADATA"].decode()  # on PyPI there is no folder beside the README
    assert sum(map(len, files.values())) < 10_000_000


def test_help_says_what_the_comments_on_parameters_say(installed):
    "In the checkout when a module is imported, in a release as text, and nothing else of a module changes"
    for name in (name for name, module in emotion_ser._HOME.items()):
        entry = getattr(emotion_ser, name)
        for parameter, comment in docments(entry).items():
            assert not comment or " ".join(comment.split()) in " ".join(entry.__doc__.split()), (name, parameter)
    for name, data in held(installed.wheel).items():
        if not name.startswith("emotion_ser/") or not name.endswith(".py"): continue
        text = (ROOT / name).read_text()
        assert ast.dump(laid_out(with_docstrings(text))) == ast.dump(laid_out(ast.parse(data.decode()))), name
    assert "Parameters\n----------\nmanifest" in inspect.cleandoc(ast.get_docstring(next(
        node for node in ast.parse(held(installed.wheel)["emotion_ser/store.py"]).body if getattr(node, "name", "") == "embed_corpus")))


def test_the_sdist_builds_the_same_wheel(installed, tmp_path):
    "`build` made the wheel from the sdist; here it is made from the sources"
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, installed.sources, check=True)
    direct, = tmp_path.glob("*.whl")
    assert direct.name == installed.wheel.name and held(direct) == held(installed.wheel)
    with tarfile.open(next(installed.dist.glob("*.tar.gz"))) as sdist: names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"settings.ini", "setup.py", "constraints.txt", "LICENSE", "README.md"} <= names
    assert not {name for name in names if name.startswith(("nbs", "tests", "docs", "."))}


def test_twine_accepts_both(installed):
    pytest.importorskip("twine")
    done = run(sys.executable, "-m", "twine", "check", "--strict", *installed.dist.iterdir())
    assert done.returncode == 0 and done.stdout.count("PASSED") == 2, done.stdout + done.stderr


def test_one_version_everywhere():
    ini = ConfigParser(delimiters=["="])
    ini.read(ROOT / "settings.ini")
    version = ini["DEFAULT"]["version"]
    assert version == emotion_ser.__version__ and f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
