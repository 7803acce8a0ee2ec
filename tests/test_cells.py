"""Every cell of every notebook, as `nbdev_test` runs them; each notebook in a process of its own."""
import re

import pytest
from conftest import ROOT, python

NOTEBOOKS = sorted(path.name for path in (ROOT / "nbs").glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_cell_holds(name, shared_cache):
    done = python("tests/cells.py", f"nbs/{name}", cwd=ROOT, check=True, EMOTION_SER_CACHE=str(shared_cache))
    assert int(re.search(rf"{re.escape(name)}: (\d+) cells ran", done.stdout)[1]) > 2, done.stdout
