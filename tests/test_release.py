"""What would be uploaded: the sdist builds the same wheel, twine accepts both, and the wheel holds the package and nothing else."""
import sys
import tarfile
import zipfile
from configparser import ConfigParser

import pytest
from conftest import ROOT, run

import emotion_ser


def held(wheel):
    "Name -> bytes of what a wheel holds"
    with zipfile.ZipFile(wheel) as archive: return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_and_nothing_else(installed):
    files, about = held(installed.wheel), f"emotion_ser-{emotion_ser.__version__}.dist-info"
    package = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in (ROOT / "emotion_ser").rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}
    assert {name: files[name] for name in files if not name.startswith(about)} == package
    assert {name.removeprefix(about) for name in files if name.startswith(about)} == {
        "/METADATA", "/WHEEL", "/RECORD", "/entry_points.txt", "/top_level.txt", "/licenses/LICENSE"}
    assert "](nbs/" not in files[f"{about}/METADATA"].decode()  # on PyPI there is no folder beside the README
    assert sum(map(len, files.values())) < 10_000_000


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
