"""What the README, the notebooks and the list of recorded runs tell a user to type is what the command takes, and the first lines of Python run as they stand."""
import json
import re
import shlex
import subprocess
import sys

import pytest
import typer
from conftest import ROOT

from emotion_ser.cli import app
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "nbs").glob("*.ipynb"))]
COMMAND = re.compile(r"(?m)^(?:\w+=\S+ )*emotion_ser ([a-z]+ .*?)$")


def prose(page):
    "The text of a page; of a notebook its Markdown"
    if page.suffix == ".md": return page.read_text()
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(page.read_text())["cells"] if cell["cell_type"] == "markdown")


def commands():
    "Every command that stands in a block of its own or between backticks, and every recorded one"
    for page in PAGES:
        text = prose(page).replace("\\\n", " ")  # one command on several lines
        blocks = re.findall(r"```(?:\w*)\n(.*?)```", text, re.S)
        inline = re.findall(r"`(emotion_ser [a-z]+ -[^`]*)`", text)
        for command in [found for block in [*blocks, *inline] for found in COMMAND.findall(block)]:
            if not re.search(r"[\[|]|\.\.\.|[A-Z]{3,}| --\S+$", command): yield page.name, command  # no usage, no place-holder, no option's name alone
    for line in (ROOT / "nbs/results/commands.txt").read_text().splitlines():
        if not line.startswith("#"):
            command, place, options = line.split(maxsplit=2)
            yield "commands.txt", f"{command} --corpus ravdess {options} --out {place}"


@pytest.mark.parametrize("page", sorted({page for page, _ in commands()}))
def test_every_command_can_be_typed(page):
    group = typer.main.get_command(app)
    for where, command in commands():
        if where != page: continue
        name, *words = shlex.split(command, comments=True)
        group.commands[name].make_context(name, words)  # raises for an option or a value that there is not


def test_the_first_lines_hear_a_file(tmp_path, small):
    first = re.search(r"```python\n(.*?)```\n+```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    lines = [line for block in first.groups() for line in block.strip().splitlines()]
    assert len(lines) == 3 and "my.wav" in lines[2]
    (tmp_path / "my.wav").write_bytes(next(small.rglob("*.wav")).read_bytes())
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True)
    assert re.fullmatch(r"(unsure \(\w+\?\)|\w+), \d+%\n", done.stdout), done.stderr
