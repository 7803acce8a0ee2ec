"""Fetches the scripts that the site serves itself, and the one that examines it, from npm: once, in fixed versions, verified."""
import tarfile
import tempfile
from pathlib import Path

import pooch

VENDOR = Path(__file__).parent / "vendor"
WIDGETS = "root/@jupyter-widgets", "root/@jupyter-widgets/html-manager/dist"  # where embed-amd.js may look for its fonts
NPM = {  # package and its SHA-256: the files that are wanted, and where they go
    ("mathjax/-/mathjax-3.2.2", "1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09"): {"es5/tex-svg.js": ["static"]},
    ("requirejs/-/requirejs-2.3.7", "31f3330c978fb28684622fe71165dc946432cf0210b2ea8a1ca0233e70f2737d"): {"require.js": ["static"]},
    ("@jupyter-widgets/html-manager/-/html-manager-1.0.14", "9d647396585ef74da93f87f645c5dcc14bebf5784192c577f72b199597614e81"): {
        "dist/embed-amd.js": ["static"], "dist/1551f4f60c37af51121f.woff2": WIDGETS, "dist/7a3337626410ca2f4071.woff2": WIDGETS,
        "dist/d878b0a6a1144760244f.woff2": WIDGETS},
    ("onnxruntime-web/-/onnxruntime-web-1.30.0", "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"): {
        "dist/ort.wasm.bundle.min.mjs": ["listen"], "dist/ort-wasm-simd-threaded.wasm": ["listen"]},
    ("axe-core/-/axe-core-4.10.3", "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292"): {"axe.min.js": [""]},
}


def fetch():
    "Put into docs/vendor what is not there yet"
    for (package, sha256), files in NPM.items():
        places = [(file, VENDOR / folder / Path(file).name) for file, folders in files.items() for folder in folders]
        if all(place.is_file() for _, place in places): continue
        with tempfile.TemporaryDirectory() as cache:
            archive = pooch.retrieve(f"https://registry.npmjs.org/{package}.tgz", f"sha256:{sha256}", path=cache)
            with tarfile.open(archive) as tar:
                for file, place in places:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(tar.extractfile(f"package/{file}").read())


if __name__ == "__main__":
    pooch.get_logger().setLevel("WARNING")
    fetch()
