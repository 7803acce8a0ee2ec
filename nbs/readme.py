"""How nbconvert makes README.md from index.ipynb: no directives, no hidden cells, paths as seen from the root."""
import re

from nbconvert.preprocessors import Preprocessor

c = get_config()  # noqa: F821, nbconvert provides it


def _from_root(text):
    text = re.sub(r"\]\((?=(results/|images/|\d\d[a-z]?_)\w)", "](nbs/", text)
    return text.replace("](../docs/", "](docs/")


class ForTheRoot(Preprocessor):
    "Drop nbdev's hidden cells and directives, and point links at nbs/"

    def preprocess(self, nb, resources):
        nb.metadata["language_info"] = {"name": "python"}  # of the blocks of code
        nb.cells = [cell for cell in nb.cells if not re.match(r"#\|\s*(hide|default_exp)\b", cell.source)]
        for cell in nb.cells:
            cell.source = re.sub(r"^#\|.*\n", "", cell.source, flags=re.M)
            if cell.cell_type == "markdown": cell.source = _from_root(cell.source)
            for output in cell.get("outputs", []):
                shown = output.get("data", {})
                if "text/markdown" in shown: shown["text/markdown"] = _from_root(shown["text/markdown"])
        return nb, resources


c.MarkdownExporter.preprocessors = [ForTheRoot]
c.TagRemovePreprocessor.enabled = True
c.TagRemovePreprocessor.remove_input_tags = {"remove-input"}
