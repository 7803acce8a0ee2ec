"""Builds the package from `settings.ini`, the one place where name, version and requirements are written."""
import re
import runpy
import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ini = ConfigParser(delimiters=["="])
ini.read("settings.ini", encoding="utf-8")
cfg = ini["DEFAULT"]
readme = Path("README.md").read_text(encoding="utf-8")
readme = re.sub(r"(!\[[^\]]*\]\()(?=nbs/)", rf"\1{cfg['git_url']}/raw/{cfg['branch']}/", readme)  # on PyPI there is no folder beside it
readme = re.sub(r"\]\((?=nbs/|docs/)", f"]({cfg['git_url']}/blob/{cfg['branch']}/", readme)


class BuildPy(build_py):
    "Modules with what their comments say of parameters in their docstrings, where editors read it"

    def build_module(self, module, module_file, package):
        made, copied = super().build_module(module, module_file, package)
        write = runpy.run_path("emotion_ser/docstrings.py")["write_docstrings"]
        Path(made).write_text(write(Path(made).read_text(encoding="utf-8")), encoding="utf-8")
        return made, copied


setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=readme,
    long_description_content_type="text/markdown",
    keywords=cfg["keywords"].split(),
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    project_urls={"Documentation": cfg["doc_host"] + cfg["doc_baseurl"], "Changelog": cfg["git_url"] + "/blob/main/CHANGELOG.md"},
    license="Apache-2.0",
    classifiers=["Intended Audience :: Science/Research", "Programming Language :: Python :: 3", "Typing :: Typed",
                 "Topic :: Multimedia :: Sound/Audio :: Analysis", "Topic :: Scientific/Engineering :: Artificial Intelligence"],
    python_requires=">=" + cfg["min_python"],
    packages=find_packages(include=["emotion_ser", "emotion_ser.*"]),
    package_data={"emotion_ser": ["py.typed", "models/*/*"]},
    install_requires=shlex.split(cfg["requirements"]),
    extras_require={**{extra: shlex.split(cfg[f"{extra}_requirements"]) for extra in ("docs", "mic", "onnx", "ray")},
                    "dev": shlex.split(" ".join(cfg[f"{extra}_requirements"] for extra in ("dev", "docs", "onnx", "ray")))},
    entry_points={"console_scripts": shlex.split(cfg["console_scripts"]),
                  "nbdev": [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]},
    cmdclass={"build_py": BuildPy},
    zip_safe=False,
)
