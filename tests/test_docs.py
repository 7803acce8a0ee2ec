"""The site as a reader meets it: built as `make docs` builds it, with the network refused, and walked in a real headless Chromium."""
import json
import posixpath
import re
import shutil
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pages
import pytest
from bs4 import BeautifulSoup
from conftest import PATIENCE_S, ROOT, THOROUGH, offline, run

from emotion_ser import _HOME
from emotion_ser.core import read_run
from emotion_ser.evaluate import plot_confusion

pytest.importorskip("sphinx_book_theme", minversion="1.4", reason="the extra `docs` is not installed, or for a Python before 3.11")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = ROOT / "docs/vendor/axe.min.js"
pytestmark = [pytest.mark.skipif(not CHROMIUM, reason="no Chromium is found"),
              pytest.mark.skipif(not AXE.is_file(), reason="docs/fetch.py has not fetched the site's scripts")]
PARTS = pages.parts()
STUDY = sum(PARTS.values(), [])  # in the order of the site's table of contents
DIRECTIVE = re.compile(r"^\s*#\| ?[a-z-]+", re.M)  # of nbdev, at the start of a line of code; within a line it may be told of
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}  # tags without an end
LOOK = """async () => {
  await Promise.all([...document.images].map(image => image.decode().catch(() => {})));
  const violations = (await axe.run(document, {runOnly: ['wcag2a', 'wcag21a'], preload: false, resultTypes: ['violations']})).violations;
  return {broken: [...document.images].filter(image => !image.naturalWidth).map(image => image.src.slice(0, 99)),
          violations: violations.map(v => `${v.id}: ${v.nodes[0].html.slice(0, 150)}`)}
}"""
# one page of each kind, and the six main notebooks; every page with EMOTION_SER_TESTS=all
KINDS = ["index", "results", "changelog", "api/index", "api/store", "05a_calibrate", "16_demo", "17_strangers", "90_cli", *PARTS["The six main notebooks"]]


class Page(HTMLParser):
    "What a page is made of: its links, ids, images, and the text of its article and of its table of contents"

    def __init__(self, html):
        super().__init__()
        self.links, self.ids, self.images, self.text, self.contents, self.within = [], set(), [], "", "", []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if "id" in found: self.ids.add(found["id"])
        if tag == "a" and found.get("href"): self.links.append(found["href"])
        if tag == "img": self.images.append(found.get("src", ""))
        names = (found.get("class") or "").split()
        if tag not in VOID: self.within.append((tag, {"bd-article": "text", "bd-sidebar-primary": "contents"}.get(next(iter({*names} & {"bd-article", "bd-sidebar-primary"}), ""))))

    def handle_endtag(self, tag):
        while tag in (name for name, _ in self.within):
            if self.within.pop()[0] == tag: break

    def handle_data(self, data):
        if {"script", "style"} & {name for name, _ in self.within}: return
        for part in {part for _, part in self.within if part}: setattr(self, part, getattr(self, part) + data)


@pytest.fixture(scope="module")
def html(listening, tmp_path_factory):
    "The built site's folder; a warning, or a wish for the network, fails the build"
    folder = tmp_path_factory.mktemp("docs")
    run(sys.executable, "docs/pages.py", folder / "source", cwd=ROOT, check=True, **offline(folder))
    run(sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", folder / "source", folder / "html", cwd=ROOT, check=True,
        **offline(folder))
    shutil.copytree(listening, folder / "html/listen")
    return folder / "html"


@pytest.fixture(scope="module")
def site(html):
    "The site, served, and a browser page that lets nothing else through and keeps what goes wrong in `site.complaints`"
    from playwright.sync_api import sync_playwright
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=html))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=1000 * PATIENCE_S)
        page = browser.new_page(viewport=dict(width=1400, height=1000))
        page.set_default_timeout(1000 * PATIENCE_S)
        site = SimpleNamespace(page=page, base=f"http://127.0.0.1:{server.server_port}/", complaints=[])
        page.on("pageerror", lambda error: site.complaints.append(f"{page.url}: {error}"))
        page.on("console", lambda line: line.type == "error" and site.complaints.append(f"{page.url}: {line.text}"))
        page.on("response", lambda got: got.status >= 400 and site.complaints.append(f"{page.url}: {got.status} {got.url}"))
        page.route(lambda url: not url.startswith((site.base, "data:", "blob:")), lambda route: route.abort())
        yield site
        browser.close()
    server.shutdown()


@pytest.fixture(scope="module")
def pages_read(html):
    "name -> `Page` of every page"
    files = sorted([*html.glob("*.html"), *html.glob("api/*.html")])
    return {file.relative_to(html).as_posix(): Page(file.read_text()) for file in files}


@pytest.fixture(scope="module")
def walked(html, site, pages_read):
    "Pages in the browser: broken images, breaches of WCAG level A, and the width on a phone"
    pages = {}
    for name in pages_read if THOROUGH else [f"{kind}.html" for kind in KINDS]:
        site.page.goto(site.base + name, wait_until="load")
        site.page.add_script_tag(path=AXE)
        pages[name] = site.page.evaluate(LOOK)
        site.page.set_viewport_size(dict(width=390, height=844))
        pages[name]["width"] = site.page.evaluate("document.documentElement.scrollWidth")
        site.page.set_viewport_size(dict(width=1400, height=1000))
    return pages


def test_every_page_is_there_and_nothing_complains(pages_read, walked, site):
    assert {"index.html", "results.html", "changelog.html", "api/index.html", *(f"{name}.html" for name in STUDY)} <= set(pages_read)
    assert len(STUDY) > 16 and site.complaints == []
    assert [name for name, page in pages_read.items() if (len(page.text) < 200 and name != "search.html") or DIRECTIVE.search(page.text) or "Traceback" in page.text] == []


def test_every_link_and_image_resolves(pages_read, walked, html):
    assert {name: page["broken"] for name, page in walked.items() if page["broken"]} == {}
    dead, inner = [], 0
    for name, page in pages_read.items():
        for link in [*page.links, *page.images]:
            if re.match(r"\w+:", link): continue
            place, _, part = link.partition("#")
            inner += 1
            target = posixpath.normpath(posixpath.join(posixpath.dirname(name), place.partition("?")[0])) if place else name
            if not (html / target).is_file() or part and target in pages_read and unquote(part) not in pages_read[target].ids: dead.append((name, link))
    assert inner > 1000 and dead == []


def test_accessible_at_level_a(walked):
    assert {name: page["violations"] for name, page in walked.items() if page["violations"]} == {}


def test_a_phone_does_not_scroll_sideways(walked):
    assert {name: page["width"] for name, page in walked.items() if page["width"] > 390} == {}


def test_every_notebook_stands_in_one_part_of_the_contents(pages_read):
    assert sorted(STUDY) == sorted(path.stem for path in (ROOT / "nbs").glob("[0-9]*_*.ipynb"))
    assert PARTS["The six main notebooks"] == list(pages.MAIN)
    assert pages.MAIN == ("00_data", "01_preprocess", "02_embed", "03_head", "04_train", "05_evaluate")
    assert all(caption in pages_read["index.html"].contents for caption in [*PARTS, "Reference"])
    assert not [name for name in PARTS["Findings"] if pages.exports(name)]


def test_each_notebook_opens_in_colab_and_leads_on(pages_read):
    for name, after in zip(STUDY, [*STUDY[1:], "api/index"]):
        links = pages_read[f"{name}.html"].links
        colab = [link for link in links if link.startswith("https://colab.research.google.com/")]
        assert len(colab) == 2 and all(link.endswith(f"/emotion-ser/emotion_ser/blob/main/nbs/{name}.ipynb") for link in colab)
        assert f"{after}.html" in links


def test_every_public_symbol_is_described(pages_read):
    for module in (name.split("_", 1)[1] for name in STUDY if pages.exports(name)):
        public = {f"emotion_ser.{module}.{name}" for name in import_module(f"emotion_ser.{module}").__all__}
        assert public <= pages_read[f"api/{module}.html"].ids


def test_each_name_used_most_has_an_example_that_leads_to_its_notebook(html):
    for name, module in _HOME.items():
        soup = BeautifulSoup((html / f"api/{module}.html").read_text(), "html.parser")
        entry = soup.find(id=f"emotion_ser.{module}.{name}").find_next_sibling("dd")
        example = next(p for p in entry.find_all("p") if p.get_text().startswith("Example, "))
        assert re.fullmatch(r"\.\./\w+\.html#[\w-]+", example.a["href"]), name
        assert name in example.find_next("pre").get_text()


# what a reader types -> what must be among the first five, the definition or the answer first of these
SEARCHES = {"UAR": ["glossary", "05_evaluate", "results"],
            "confusion matrix": ["glossary", "05_evaluate", "09_results"],
            "fine-tune": ["glossary", "04b_finetune", "11_finetuning"], "class weights": ["glossary", "04_train"],
            "microphone": ["12_windows", "faq"], "licence": ["12b_licences", "faq"],
            "macro F1": ["glossary", "05_evaluate", "09_results"],
            "unseen speaker": ["glossary", "00b_splits", "results"]}
RESULTS = "#search-results ul.search > li"
MATRICES = """.bd-article img[alt^="Confusion matrix"]:not([alt*="random answers"])"""


@pytest.mark.parametrize("words", SEARCHES)
def test_the_search_finds_what_is_meant_first(words, site):
    site.page.goto(f"{site.base}search.html?q={words.replace(' ', '+')}", wait_until="load")
    site.page.wait_for_function("/found/.test(document.querySelector('#search-results p')?.innerText)")
    links = site.page.evaluate(f"[...document.querySelectorAll('{RESULTS} > a')].map(a => a.getAttribute('href'))")
    first = [re.sub(r"\.html.*", "", link) for link in links[:5]]
    site.page.wait_for_function(f"document.querySelectorAll('{RESULTS} > p.context').length >= 5")  # a passage each
    assert first[0] == SEARCHES[words][0] and set(SEARCHES[words]) <= set(first), first


@pytest.fixture(scope="module")
def drawn():
    "A confusion matrix of eight emotions as it is drawn today: width and height in inches, its numbers in points"
    from emotion_ser.data import EMOTIONS
    fig = plot_confusion(np.array(EMOTIONS), np.array(EMOTIONS), "RAVDESS, whisper-base, layers all, mean+std")
    return *fig.get_size_inches(), min(text.get_fontsize() for text in fig.axes[0].texts)


@pytest.mark.parametrize("name", ["index", "05_evaluate", "06_study", "09_results"])
def test_a_confusion_matrix_can_be_read_on_a_phone(name, site, drawn):
    site.page.set_viewport_size(dict(width=390, height=844))
    site.page.goto(f"{site.base}{name}.html", wait_until="load")
    sizes = site.page.evaluate("""place => [...document.querySelectorAll(place)].map(
        image => [image.clientWidth, image.clientHeight, image.naturalWidth, image.naturalHeight])""", MATRICES)
    site.page.set_viewport_size(dict(width=1400, height=1000))
    wide, high, points = drawn
    assert sizes
    for width, height, of_width, of_height in sizes:
        assert abs(of_width / of_height - wide / high) < 0.02, "not as it is drawn today"
        assert abs(width / height - of_width / of_height) < 0.02, "out of shape"
        assert points / 72 * width / wide >= 11


def test_a_picture_of_a_notebook_opens_in_full_size(html):
    soup = BeautifulSoup((html / "05_evaluate.html").read_text(), "html.parser")
    pictures = soup.select(".cell_output img[src$='.png']")
    assert len(pictures) >= 3 and all(picture.parent.get("href") == picture["src"] for picture in pictures)


def test_every_recorded_run_has_its_row_in_words_of_today(pages_read):
    shown = pages_read["results.html"].text
    for file in (ROOT / "nbs/results").rglob("metrics.json"):
        wanted = json.loads(file.read_text())["command"]
        for option, value in read_run(file.parent)["config"].items(): wanted = re.sub(rf"--{option} (?!None)[a-z]\S*", f"--{option} {value}", wanted)
        assert wanted in shown, file
    assert not re.search(r"--recipe seed|mlp-seed|committee|--protocol actors", shown)
    named = re.findall(r"nbs/(\w+)\.ipynb", shown)
    assert len(named) > 5 and set(named) <= set(STUDY)


def test_every_recorded_table_is_listed_with_the_notebook_that_makes_it():
    listed = (ROOT / "nbs/results/README.md").read_text()
    for file in sorted((ROOT / "nbs/results").glob("*.json")):
        row = next((line for line in listed.splitlines() if line.startswith("|") and f"`{file.stem}.csv`" in line), "")
        made = re.findall(r"nbs/(\w+)\.ipynb", pages.maker(file, json.loads(file.read_text())))
        assert row and all(f"nbs/{name}.ipynb" in row for name in made), file.stem


@pytest.mark.parametrize("name, code", [("04_train", "plot_learning_curves(history, caption(metrics))"), ("05_evaluate", 'show("whisper-base_actor-holdout_tuned")')])
def test_figures_are_large_enough_to_read(site, name, code):
    site.page.goto(f"{site.base}{name}.html")
    image = site.page.locator("div.cell", has_text=code).locator("img").first
    image.scroll_into_view_if_needed()
    assert image.is_visible() and image.bounding_box()["width"] >= 600 and image.evaluate("image => image.naturalWidth") >= 600


def test_the_home_page_leads_to_the_page_that_listens(site):
    site.page.goto(site.base + "index.html")
    link = site.page.locator("a[href='listen/index.html']").first
    assert link.bounding_box()["y"] < 700  # of its first screen
    link.click()
    site.page.wait_for_selector("body[data-ready~=acoustic]")
    site.page.click("header a")
    site.page.wait_for_url(site.base)
    assert site.complaints == []


def test_search_finds_a_symbol(site):
    site.page.goto(site.base + "index.html")
    site.page.locator(".search-button-field:visible").click()
    site.page.locator("input[type=search]:visible").fill("embed_corpus")
    site.page.keyboard.press("Enter")
    site.page.wait_for_selector("#search-results li a")
    found = [link.get_attribute("href") for link in site.page.query_selector_all("#search-results li a")]
    assert any(link.startswith("api/store.html") for link in found) and any(link.startswith("02b_store.html") for link in found)


def test_players_play_and_widgets_stand(site):
    site.page.goto(site.base + "05_evaluate.html")
    assert site.page.evaluate("""async () => {
      const player = document.querySelector('audio');
      player.muted = true;
      await player.play();
      while (!player.currentTime) await new Promise(done => setTimeout(done, 50));
      return player.duration }""") > 0
    site.page.goto(site.base + "01_preprocess.html")
    site.page.wait_for_selector(".jupyter-widgets select")
    assert site.complaints == []


def test_formulas_are_set_without_network(site):
    site.page.goto(site.base + "05a_calibrate.html")
    formula = site.page.locator("mjx-container svg").first
    formula.wait_for()
    assert formula.bounding_box()["width"] > 50 and site.complaints == []


def test_figures_stand_on_white_in_dark_mode(site):
    site.page.goto(site.base + "05_evaluate.html")
    site.page.evaluate("document.documentElement.dataset.theme = 'dark'")
    ground = lambda what: site.page.locator(what).first.evaluate("e => getComputedStyle(e).backgroundColor")
    assert ground(".cell_output img") == "rgb(255, 255, 255)" != ground("body")
