"""The pages of the site for a newcomer: what stands on them can be copied and runs, and their descriptions, tables and words for the search are made as they should."""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache

import nbformat
import pages
import pytest
from bs4 import BeautifulSoup
from conftest import PATIENCE_S, ROOT, emotion_ser

from emotion_ser import _HOME

MAIN = pages.MAIN
CHEAP = ("00_checks", "00_curate", "00d_own", "05d_refusals")
ALL = os.environ.get("EMOTION_SER_TESTS") == "all"
NAMES = sorted(sum(pages.parts().values(), [])) if ALL else [*MAIN, *CHEAP]


def fresh(code, folder, cache):
    "Run Python code in a process of its own, as a reader would who copied it"
    (folder / "copied.py").write_text(code)
    env = {**os.environ, "EMOTION_SER_CACHE": str(cache), "MPLBACKEND": "Agg", "HF_HUB_CACHE": str(folder / "nowhere"), "PYTHONPATH": str(ROOT)}
    for place in ("EMOTION_SER_RAVDESS", "EMOTION_SER_ENCODER"): env.pop(place, None)
    done = subprocess.run([sys.executable, "copied.py"], cwd=folder, capture_output=True, text=True, env=env, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def blocks(text):
    "(language, code) of the fenced blocks of Markdown, in order"
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)


@pytest.mark.parametrize("name", NAMES)
def test_the_code_of_a_page_runs_from_top_to_bottom(name, tmp_path, shared_cache):
    page = pages.tidy(ROOT / f"nbs/{name}.ipynb", {})
    code = pages.page_code(page)
    here = tmp_path / "nbs"  # as in a clone
    shutil.copytree(ROOT / "nbs/results", here / "results")
    (tmp_path / "emotion_ser").symlink_to(ROOT / "emotion_ser")
    assert code.count("\n") > 20
    fresh(code, here, shared_cache)


@pytest.mark.parametrize("name", MAIN)
def test_a_page_begins_with_the_imports_that_it_needs(name):
    page = pages.tidy(ROOT / f"nbs/{name}.ipynb", {})
    folded = page.cells[1]
    assert {"hide-input", "hidden-lines"} <= set(folded.metadata.tags)
    visible = [cell.source for cell in page.cells[2:] if cell.cell_type == "code"]
    for line in folded.source.splitlines(): assert not line.startswith("from ."), line
    used = set().union(*(pages.reads(node) for code in visible for node in pages.statements(code)))
    imported = [node for node in pages.statements(folded.source) if type(node).__name__.startswith("Import")]
    assert imported and all(pages.makes(node) & used for node in imported)


def test_an_import_that_a_page_lacks_is_noticed(tmp_path, shared_cache):
    page = pages.tidy(ROOT / "nbs/00_checks.ipynb", {})
    del page.cells[1]
    with pytest.raises(AssertionError, match="NameError"): fresh(pages.page_code(page), tmp_path, shared_cache)


def test_hidden_lines_stand_where_what_they_need_is_known():
    cell = nbformat.v4.new_code_cell
    cells = [cell("#| hide\nimport os, sys\nhere = os.getcwd()\nspare = 1"), cell("start = 2"),
             cell("#| hide\ndef twice(): return 2 * start\nlater = twice()"), cell("print(here, later)")]
    top, there = pages.hidden_lines(cells)
    assert top == ["import os", "here = os.getcwd()"]
    assert there == {2: "def twice(): return 2 * start\n\nlater = twice()"}


def test_a_table_has_one_row_of_heads_and_text_at_the_left():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(dict(uar=[1.5, 2.0], system=["a", "b"]), pandas.Index(["x", "y"], name="corpus"))
    soup = BeautifulSoup(pages.tidy_table(frame.to_html()), "html.parser")
    assert [[th.get_text() for th in row.find_all("th")] for row in soup.select("thead tr")] == [["corpus", "uar", "system"]]
    assert [[td.get_text() for td in row.select(".text")] for row in soup.select("tbody tr")] == [["a"], ["b"]]
    assert [th.get_text() for th in soup.select("thead .text")] == ["corpus", "system"]


def test_a_cell_that_only_shows_is_folded_and_one_that_asserts_is_not():
    page = pages.tidy(ROOT / "nbs/17_strangers.ipynb", {})
    tags = {cell.id: cell.metadata.get("tags", []) for cell in page.cells}
    assert "hide-input" in tags["read-runs"] and "hide-input" not in tags["adaptation-figure"]


def test_the_readme_runs_as_it_stands(tmp_path, small, shared_cache):
    text = (ROOT / "README.md").read_text()
    python = [code for language, code in blocks(text) if language == "python"]
    assert len(python) >= 6
    clip = sorted(small.rglob("*.wav"))[0]
    shutil.copy(clip, tmp_path / "my.wav")
    said = fresh(f"clip = {str(clip)!r}\n" + "\n".join(python), tmp_path, shared_cache)
    assert re.search(r"(?m)^(unsure \(\w+\?\)|\w+), \d+%$", said)


@pytest.fixture
def recordings(tmp_path, small):
    "A folder with what the README and the pages name"
    for clip in sorted(small.rglob("*.wav")):
        emotion, speaker = clip.stem.split("-")[2], clip.parent.name
        if emotion not in ("03", "04", "05"): continue
        to = tmp_path / "my_recordings" / {"03": "happy", "04": "sad", "05": "angry"}[emotion] / speaker
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, to / f"clip{clip.stem[9:]}.wav".replace("-", ""))
    found = sorted((tmp_path / "my_recordings").rglob("*.wav"))
    for folder in ("calls", "talks"): (tmp_path / folder).mkdir()
    for i, path in enumerate(found[:8]): shutil.copy(path, tmp_path / f"calls/{i}.wav")
    for name in ("my.wav", "unsure.wav", "talk.flac", "talks/a.flac"): shutil.copy(found[0], tmp_path / name)
    return tmp_path


def test_the_commands_of_the_readme_run_where_they_need_no_network(recordings, shared_cache):
    ran = []
    for _, block in blocks((ROOT / "README.md").read_text().replace("\\\n", " ")):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] != ["emotion_ser"] or re.search(r"ravdess|whisper|wav2vec|s3:", line): continue
            done = emotion_ser(*words[1:], cwd=recordings, EMOTION_SER_CACHE=str(shared_cache))
            assert done.returncode == 0, line + done.stderr
            ran.append(words[1])
    assert {"predict", "train", "study", "export"} <= set(ran) and ran.count("predict") >= 4


def test_the_page_on_own_recordings_runs_and_ends_in_a_measured_model(tmp_path, shared_cache):
    text, python, said = (ROOT / "docs/own.md").read_text(), "", ""
    for language, code in blocks(text):
        if language == "python":
            python += code  # one session
            said = fresh(python, tmp_path, shared_cache)
        elif language == "bash":
            for line in code.splitlines():
                done = emotion_ser(*shlex.split(line)[1:], cwd=tmp_path, EMOTION_SER_CACHE=str(shared_cache))
                assert done.returncode == 0, line + done.stderr
        elif "understood" in code:
            for line in map(str.strip, code.splitlines()): assert line in said, line
        elif "UAR" in code: assert re.search(r"UAR [\d.]+, chance 33\.3", said)
    run = json.loads((tmp_path / "runs/mine/metrics.json").read_text())
    card = (tmp_path / "my_model/README.md").read_text()
    assert f"| UAR | {100 * run['uar']:.1f} |" in card and run["uar"] > 0.5
    assert f"UAR {100 * run['uar']:.1f}," in text and f"a UAR of {100 * run['uar']:.1f} " in text


def test_the_commands_of_the_new_pages_can_be_typed(recordings, shared_cache):
    import typer

    from emotion_ser.cli import app
    group, typed = typer.main.get_command(app), 0
    for name in ("install", "own", "faq"):
        text = (ROOT / f"docs/{name}.md").read_text()
        lines = [line for _, code in blocks(text) for line in code.splitlines()] + re.findall(r"`(emotion_ser [^`]+)`", text)
        for line in lines:
            words = shlex.split(line, comments=True)
            if words[:1] != ["emotion_ser"] or words[1] == "--help" or re.search(r"[A-Z]{3}|\.\.\.", line) or len(words) < 3: continue
            group.commands[words[1]].make_context(words[1], words[2:])
            typed += 1
    assert typed >= 6


def test_the_links_of_the_new_pages_lead_somewhere():
    for name in ("install", "own", "faq", "glossary"):
        links = re.findall(r"\]\((\.\./[^)#]+)\)", (ROOT / f"docs/{name}.md").read_text())
        assert links and all((ROOT / "docs" / link).is_file() for link in links)


def test_the_glossary_has_the_words_and_the_index_knows_them():
    page = pages.own_page("glossary", {})
    for word in ("UAR", "EmoBox", "LDA", "ECE", "Ensemble", "Augmentation", "Baseline", "Layer", "Fold", "Calibration", "Abstention", "Unseen speaker"):
        assert f"! single: {word}\n" in page


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    "A small site of four pages, made as the whole one is"
    pytest.importorskip("sphinx_book_theme", minversion="1.4", reason="the extra `docs` is not installed, or for a Python before 3.11")
    folder = tmp_path_factory.mktemp("pages")
    pages.write(folder / "all")
    (folder / "source").mkdir()
    for name in ("glossary.md", "02_embed.ipynb", "17_strangers.ipynb", "05_evaluate.ipynb"): shutil.copy(folder / "all" / name, folder / "source")
    (folder / "source/index.md").write_text("# Home\n\nWhat this is.\n\n```{toctree}\nglossary\n02_embed\n17_strangers\n05_evaluate\n```\n")
    subprocess.run([sys.executable, "-m", "sphinx", "-q", "-c", ROOT / "docs", folder / "source", folder / "html"], check=True, capture_output=True)  # its links lead to pages that are not there
    return folder / "html"


@pytest.mark.parametrize("name", ["index", "glossary", "02_embed"])
def test_a_page_describes_itself(built, name):
    soup = BeautifulSoup((built / f"{name}.html").read_text(), "html.parser")
    text = soup.select_one("meta[name=description]")["content"]
    assert 10 < len(text) <= 201 and "<" not in text
    assert soup.select_one("meta[property='og:description']")["content"] == text and soup.select_one("meta[property='og:title']")["content"]
    image = soup.select_one("meta[property='og:image']")["content"]
    assert image.startswith("https://") and (built / image.split("/emotion_ser/")[1]).is_file()


def test_the_search_knows_the_glossary_and_no_test_code(built):
    index = json.loads(re.sub(r"^Search.setIndex\(|\)$", "", (built / "searchindex.js").read_text()))
    place = index["docnames"].index("glossary")
    assert {"uar", "unweighted average recall", "lda", "ece", "emobox", "fine-tune", "macro f1"} <= set(index["indexentries"])
    for found in index["indexentries"].values():
        assert [bool(anchor) for there, anchor, main in found] == [there == place for there, _, _ in found]
        assert all(main for _, _, main in found)
    explains = [index["docnames"][there] for there, _, _ in index["indexentries"]["uar"]]
    assert explains == ["05_evaluate", "glossary"]
    assert "test_eq" not in index["terms"] and "frozenencod" in index["terms"]


def test_words_for_the_search_are_entries_of_the_index():
    assert pages.entries(pages.words_of("glossary", "F1, macro F1", "F measure")).count("! single: ") == 3
    assert pages.words_of("faq", "My language?", None) == []
    page = pages.own_page("faq", {})
    assert "% search" not in page and page.index("! single: licence\n") > page.index("## May I use it commercially?")
    assert {"UAR", "Confusion matrix"} <= set(pages.explained()["05_evaluate"])
    assert {"Fine-tuning", "fine-tune"} <= set(pages.explained()["04b_finetune"])


MODULES = [name for name in sum(pages.parts().values(), []) if pages.exports(name)]


@cache
def module_of(notebook): return pages.Module(notebook, {})


@pytest.mark.parametrize("notebook", MODULES)
def test_every_constructor_says_what_its_parameters_mean(notebook):
    module = module_of(notebook)
    for name, node in module.symbols.items():
        made = getattr(module.module, name)
        if not isinstance(made, type) or not pages.constructor(made): continue
        said = pages.parameters(made).items()
        meant = {one: about.docment for one, about in said if one not in ("self", "settings")}
        assert all(meant.values()), (made, meant)
        entries = module.page().split("`````")
        entry, = (part for part in entries if re.match(rf"\{{py:(class|exception)\}} {name}\W", part))
        assert all(f"| `{one}` |" in entry for one in meant), entry


def test_each_name_used_most_has_a_short_example_from_its_notebook():
    found = {name: lesson for module in map(module_of, MODULES) for name, lesson in module.lessons.items()}
    assert set(found) == set(_HOME)
    for name, (cell, code, said) in found.items():
        assert name in set().union(*map(pages.reads, pages.statements(code))), name
        assert len(code.splitlines()) <= 10 and len(said.splitlines()) <= 8 and "test_fail" not in code


def test_an_example_leaves_out_what_fails_and_what_is_long():
    cell = lambda text, name: nbformat.v4.new_code_cell(text, id=name)
    long = cell("\n".join(["f(0)"] * 11), "long")
    cells = [cell("#| export\ndef f(x): return x", "f"), cell("test_fail(lambda: f())", "fails"), long,
             cell("#| hide\nf(3)", "hidden"), cell("y = f(2)\ntest_fail(lambda: f(1, 2))\ny", "shown")]
    cells[-1].outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "2"})]
    assert pages.lesson(cells, "f", "f") == ("shown", "y = f(2)\ny", "2")
    cells[-1].outputs[0].data["text/plain"] = "1\n" * 9
    assert pages.lesson(cells, "f", "f")[2] == ""
    with pytest.raises(ValueError, match="g: no lesson"): pages.lesson(cells, "g", "f")


def test_a_wide_picture_is_known():
    from base64 import b64encode
    from io import BytesIO

    from PIL import Image
    out = BytesIO()
    Image.new("RGB", (901, 7)).save(out, "PNG")
    assert pages.png_width(b64encode(out.getvalue()).decode()) == 901


def test_an_answer_is_folded_on_the_site(built):
    soup = BeautifulSoup((built / "02_embed.html").read_text(), "html.parser")
    answers = soup.select("#try-it details")
    assert len(answers) >= 2 and all(answer.summary.get_text() == "Answer" and len(answer.get_text()) > 40 for answer in answers)
