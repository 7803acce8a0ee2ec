"""Each notebook as Colab would run it: a real kernel, the wheel, a folder outside the repository that holds the recorded results and nothing else."""
import shutil
import sys

import nbformat
import pytest
from conftest import ROOT, THOROUGH, run

CHOSEN = "*.ipynb" if THOROUGH else "03_*.ipynb"  # a light one, or all
NOTEBOOKS = sorted(path.name for path in (ROOT / "nbs").glob(CHOSEN))
EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
notebook.cells = notebook.cells[1:] + [nbformat.v4.new_code_cell("import emotion_ser; print(emotion_ser.__file__)")]
nbclient.NotebookClient(notebook, timeout=1800, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_outside_the_repository(name, installed, shared_cache, tmp_path, monkeypatch):
    for place in ("EMOTION_SER_RAVDESS", "EMOTION_SER_ENCODER"): monkeypatch.delenv(place, raising=False)
    shutil.copy(ROOT / "nbs" / name, tmp_path)
    shutil.copytree(ROOT / "nbs/results", tmp_path / "results")
    run(installed.python, "-c", EXECUTE, name, cwd=tmp_path, check=True, timeout=3600,
        EMOTION_SER_CACHE=str(shared_cache))
    *cells, where = nbformat.read(tmp_path / name, as_version=4).cells
    assert where.outputs[0].text.startswith(str(installed.python.parent.parent))
    assert sum(bool(cell.get("execution_count")) for cell in cells) > 4


def test_a_second_run_stores_the_same_bytes(tmp_path):
    "Widgets choose random names; `make notebooks` numbers them"
    cell = nbformat.v4.new_code_cell("import ipywidgets\nipywidgets.VBox([ipywidgets.IntSlider(), ipywidgets.Dropdown(options=['a', 'b'])])", id="one")
    stored = []
    for name in ("first.ipynb", "second.ipynb"):
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / name)
        run(sys.executable, "-m", "jupyter", "nbconvert", "--to", "notebook", "--config", ROOT / "nbs/stored.py", "--execute", "--inplace", name,
            "--ExecutePreprocessor.record_timing=False", cwd=tmp_path, check=True)
        stored.append((tmp_path / name).read_text())
    assert stored[0] == stored[1] and stored[0].count("IPY_MODEL_") > 4
