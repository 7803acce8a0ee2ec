# `make study` and `make test` set up all they need in .venv; both are safe to repeat.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# `make study TORCH=cpu` takes PyTorch without CUDA, 1.9 GB instead of 5.8 in all, from PyTorch's own index (cu126 ...: for that CUDA); where another is installed, after `make clean`
TORCH ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/$(TORCH)
INDEX := $(if $(TORCH),--extra-index-url $(TORCH_INDEX))

.PHONY: help study test check ci dist notebooks readme docs docs-serve results reproduce bench bench-scale demo lock clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/  /'

.venv/study: settings.ini setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("emotion_ser needs Python 3.10 or later; try make PYTHON=python3.11") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q $(INDEX) -c constraints.txt -e .
	touch $@

.venv/test: .venv/study
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	-$(BIN)/python docs/fetch.py
	touch $@

study: .venv/study  ## install (TORCH=cpu: without CUDA), run the study on the embedded corpus, print its metrics
	$(BIN)/emotion_ser study --out runs/sample

WORKERS ?= 2
test: .venv/test  ## install with the development extras, run every cell and every test (WORKERS=4: so many processes side by side)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder

check: .venv/test  ## clean and export the notebooks, and look them and the package over; before every commit
	$(BIN)/nbdev_clean
	$(BIN)/nbdev_export
	$(BIN)/python tests/imports.py
	$(BIN)/ruff check emotion_ser docs tests bench nbs/results
	$(BIN)/ruff check --select F821 nbs
	$(BIN)/mypy emotion_ser bench

ci: check  ## all there is to check: what is made is committed, every notebook from the wheel, the tests, and what a release uploads
	git diff --exit-code
	EMOTION_SER_TESTS=all .ci/run
	$(MAKE) dist

dist: .venv/test  ## what a release uploads: sdist and wheel, examined
	rm -rf dist
	$(BIN)/python -m build -q --no-isolation
	$(BIN)/twine check --strict dist/*

notebooks: .venv/test  ## run all notebooks anew, keep their outputs, export, and write README.md
	$(BIN)/nbdev_export
	cd nbs && ../$(BIN)/jupyter nbconvert --to notebook --config stored.py --execute --inplace [0-9]*.ipynb index.ipynb
	$(BIN)/nbdev_clean
	$(MAKE) readme

readme: .venv/test  ## README.md from nbs/index.ipynb
	$(BIN)/jupyter nbconvert --to markdown --config nbs/readme.py nbs/index.ipynb --output-dir . --output README

.venv/docs: .venv/study docs/fetch.py
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/fetch.py
	touch $@

docs: .venv/docs  ## the site in _docs/html, from the notebooks as they are stored; needs no network after its install
	$(BIN)/python docs/pages.py _docs/source
	$(BIN)/python -m sphinx -q -W --keep-going -c docs _docs/source _docs/html
	$(BIN)/python docs/listen.py _docs/html/listen

docs-serve: docs  ## the site in a browser: http://127.0.0.1:8000
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory _docs/html 8000

ENCODER ?= models/whisper-base
results: .venv/study  ## the recorded runs on RAVDESS and the bundled classifiers (nbs/results/commands.txt; RUNS='protocols/*lda*' for some; ENCODER=a hub name or a folder); hours
	$(BIN)/python nbs/results/record.py $(RUNS) --encoder $(ENCODER)

reproduce: .venv/study  ## run them and compare with what is recorded, label for label (RUNS, ENCODER as above)
	$(BIN)/python nbs/results/record.py $(RUNS) --encoder $(ENCODER) --check

bench: .venv/test  ## how fast it embeds and answers, against the bare network and what users would run instead: nbs/results/speed*.csv, contact.csv; half an hour
	$(BIN)/python -W ignore bench/contact.py
	$(BIN)/python -W ignore bench/speed.py

bench-scale: .venv/test  ## what the commands take on 1,250 to 20,000 clips: nbs/results/scale.csv; a quarter of an hour
	$(BIN)/python -W ignore bench/scale.py

.venv/demo: .venv/study docs/fetch.py
	$(BIN)/pip install -q -c constraints.txt -e '.[onnx]'
	$(BIN)/python docs/fetch.py
	touch $@

PORT ?= 8866
demo: .venv/demo  ## the page that listens, in a browser: http://127.0.0.1:8866 (PORT=...), on this machine only
	$(BIN)/python docs/listen.py _docs/listen
	@echo "open http://127.0.0.1:$(PORT); Ctrl-C ends it"
	@-$(BIN)/python -m http.server --bind 127.0.0.1 --directory _docs/listen $(PORT) 2> /dev/null

lock:  ## constraints.txt: the exact versions for every Python from 3.10; keeps those that stand there and still fit
	$(PYTHON) -m venv .venv/lock && .venv/lock/bin/pip install -q uv
	$(PYTHON) -c 'import configparser as c; i = c.ConfigParser(); i.read("settings.ini"); s = i["DEFAULT"]; print("\n".join(r for k in s if k.endswith("requirements") for r in s[k].split()))' > .venv/lock/in.txt
	cp constraints.txt .venv/lock/out.txt
	.venv/lock/bin/uv pip compile --universal --python-version 3.10 --no-annotate --no-header -q .venv/lock/in.txt -o .venv/lock/out.txt
	(echo "# Exact versions for Python 3.10 and later, every platform: \`make lock\` writes this file."; cat .venv/lock/out.txt) > constraints.txt

clean:  ## remove the environment and what runs left behind
	rm -rf .venv runs build dist _docs docs/vendor *.egg-info
