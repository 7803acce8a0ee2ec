"""How Sphinx builds the site from what `pages.py` wrote: stored outputs are shown, nothing is run, nothing comes from the network."""
import os

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
html_static_path = ["static", "vendor/static"]
html_extra_path = ["vendor/root"]
html_css_files, html_js_files = ["site.css"], ["site.js"]
html_use_index = html_domain_indices = False
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
