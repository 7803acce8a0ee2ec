"""How nbconvert makes README.md from index.ipynb: no directives, no hidden cells, paths as seen from the root."""
import re

from nbconvert.preprocessors import Preprocessor

c = get_config()  # noqa: F821, nbconvert provides it


class ForTheRoot(Preprocessor):
    "Drop nbdev's hidden cells and directives, and point links at nbs/"

    def preprocess(self, nb, resources):
        nb.cells = [cell for cell in nb.cells if not re.match(r"#\|\s*(hide|default_exp)\b", cell.source)]
        for cell in nb.cells:
            cell.source = re.sub(r"^#\|.*\n", "", cell.source, flags=re.M)
            if cell.cell_type == "markdown": cell.source = re.sub(r"\]\((?=(results/|images/|\d\d_)\w)", "](nbs/", cell.source)
        return nb, resources


c.MarkdownExporter.preprocessors = [ForTheRoot]
c.TagRemovePreprocessor.enabled = True
c.TagRemovePreprocessor.remove_input_tags = {"remove-input"}
