"""Run `nbdev_test` over the notebooks and count the cells that ran: it says "Success." for an empty list of notebooks too."""
import sys
from collections import Counter

from nbdev import test as nbdev


class CountingShell(nbdev.CaptureShell):
    "The shell in which nbdev runs a notebook, keeping count of what it runs"
    ran = Counter()

    def __init__(self, path):
        super().__init__(path)
        self.name = path.name

    def run(self, code, *args, **kwargs):
        outputs = super().run(code, *args, **kwargs)
        self.ran[self.name] += bool(code.strip()) and self.exc is None
        return outputs


def main(path=None):
    "Test the notebooks in this process, one after the other; exit above zero if a cell fails or a numbered notebook ran none"
    nbdev.CaptureShell = CountingShell
    nbdev.nbdev_test(path=path, n_workers=0, timing=True)
    for name, cells in sorted(CountingShell.ran.items()): print(f"{name}: {cells} cells ran")
    silent = [f.name for f in nbdev.nbglob(path, as_path=True) if f.name[0].isdigit() and not CountingShell.ran[f.name]]
    if silent or not CountingShell.ran: sys.exit(f"no cell ran in {', '.join(silent) or 'any notebook'}")


if __name__ == "__main__": main(*sys.argv[1:])
