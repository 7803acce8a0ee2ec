"""How nbconvert stores a notebook that it has run: widgets are numbered in the order in which they were made, so that a second run gives the same bytes."""
import json

import nbformat
from nbconvert.preprocessors import Preprocessor

c = get_config()  # noqa: F821, nbconvert provides it


class NumberedWidgets(Preprocessor):
    "Replace the random names of widgets"

    def preprocess(self, nb, resources):
        text = json.dumps(nb)
        for states in nb.metadata.get("widgets", {}).values():
            for number, name in enumerate(states["state"]): text = text.replace(name, f"{number:032x}")
        return nbformat.from_dict(json.loads(text)), resources


c.NotebookExporter.preprocessors = [NumberedWidgets]
