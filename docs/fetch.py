"""Fetches the scripts that the site serves itself, and the one that examines it, from npm: once, in fixed versions, verified."""
import tarfile
import tempfile
from pathlib import Path

import pooch

VENDOR = Path(__file__).parent / "vendor"
SCRIPTS = [  # package, its SHA-256, the file that is wanted, where it goes
    ("mathjax/-/mathjax-3.2.2", "1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09", "es5/tex-svg.js", "static"),
    ("requirejs/-/requirejs-2.3.7", "31f3330c978fb28684622fe71165dc946432cf0210b2ea8a1ca0233e70f2737d", "require.js", "static"),
    ("@jupyter-widgets/html-manager/-/html-manager-1.0.14", "9d647396585ef74da93f87f645c5dcc14bebf5784192c577f72b199597614e81",
     "dist/embed-amd.js", "static"),
    ("axe-core/-/axe-core-4.10.3", "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292", "axe.min.js", ""),
]


def fetch():
    "Put into docs/vendor what is not there yet"
    for package, sha256, file, folder in SCRIPTS:
        place = VENDOR / folder / Path(file).name
        if place.is_file(): continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            archive = pooch.retrieve(f"https://registry.npmjs.org/{package}.tgz", f"sha256:{sha256}", path=folder)
            with tarfile.open(archive) as tar: place.write_bytes(tar.extractfile(f"package/{file}").read())


if __name__ == "__main__": fetch()
