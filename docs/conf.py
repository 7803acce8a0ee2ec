"""How Sphinx builds the site from what `pages.py` wrote: stored outputs are shown, nothing is run, nothing comes from the network."""
import os
import re

from docutils import nodes
from sphinx import addnodes

project, author, copyright = "emotion_ser", "The emotion_ser authors", "2026 onwards, the emotion_ser authors"
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "https://emotion-ser.github.io/emotion_ser/")

extensions = ["myst_nb", "sphinx_copybutton"]
nb_execution_mode, nb_render_markdown_format = "off", "myst"
nb_code_prompt_show, nb_code_prompt_hide = "Helpers: show the {type}", "Helpers: hide the {type}"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
myst_linkify_fuzzy_links = False
add_module_names = False
toc_object_entries_show_parents = "hide"
copybutton_selector = "div.highlight pre"

html_theme = "sphinx_book_theme"
html_title = "emotion_ser"
html_static_path = ["static", "vendor/static", "../nbs/images"]
html_extra_path = ["vendor/root"]
html_css_files, html_js_files = ["site.css"], ["site.js"]
html_use_index = html_domain_indices = False
html_search_scorer = os.path.join(os.path.dirname(__file__), "scorer.js")
html_favicon = "static/icon.svg"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "repository_url": "https://github.com/emotion-ser/emotion_ser", "repository_branch": "main", "path_to_docs": "nbs",
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    "use_repository_button": True, "use_download_button": False, "navbar_persistent": [], "show_toc_level": 2,
}
mathjax_path = "tex-svg.js"
nb_ipywidgets_js = {"require.js": {}, "embed-amd.js": {"data-jupyter-widgets-cdn-only": ""}}
html_context = {"default_mode": "auto"}


def leave_out_of_search(app, doctree):
    "The search knows the prose, the outputs and the exported code of a notebook, not the code of its tests"
    for cell in doctree.findall(nodes.container):
        if "cell" not in cell["classes"] or "tag_export" in cell["classes"]: continue
        for part in cell.children:
            if isinstance(part, nodes.container) and "cell_input" in part["classes"]: part["classes"].append("no-search")


def find_sections(app, doctree):
    "A word for the search finds the section that it stands in, one above the title the page"
    for node in doctree.findall(addnodes.index):
        place = next(iter(node.parent["ids"]), "")
        node["entries"] = [(kind, word, place if main else target, main, key)
                           for kind, word, target, main, key in node["entries"]]


def drop_empty_heads(app, doctree):
    "A table of keys and values has no row of heads"
    for head in list(doctree.findall(nodes.thead)):
        if not head.astext().strip(): head.parent.remove(head)


def described(doctree):
    "A page in a sentence or two: its subtitle and its first paragraph, without badges"
    section = next(doctree.findall(nodes.section), doctree)
    texts = [" ".join(p.astext().split()) for p in section.findall(nodes.paragraph) if not p.next_node(nodes.image)]
    text = " ".join(texts[:2]) or f"{project}, speech emotion recognition: {section.next_node(nodes.title).astext()}"
    return text if len(text) <= 200 else re.sub(r"\W*\s\S*$", " ...", text[:197])


def describe(app, pagename, templatename, context, doctree):
    "What search engines and messengers show of a page"
    if doctree is None: return
    about = {"description": described(doctree)}
    opened = {"title": re.sub("<[^>]+>", "", context.get("title", project)), "description": about["description"], "type": "website",
              "image": f"{html_baseurl}_static/listen.png", "url": f"{html_baseurl}{pagename}.html"}
    escape = lambda text: text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    lines = [f'<meta name="{k}" content="{escape(v)}" />' for k, v in about.items()]
    lines += [f'<meta property="og:{k}" content="{escape(v)}" />' for k, v in opened.items()]
    context["metatags"] = context.get("metatags", "") + "\n" + "\n".join(lines)


def setup(app):
    app.connect("doctree-read", leave_out_of_search)
    app.connect("doctree-read", find_sections)
    app.connect("doctree-read", drop_empty_heads)
    app.connect("html-page-context", describe)
