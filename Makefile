# make demo and make test need nothing but Python 3.11 or later; each makes .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
.PHONY: setup demo check site test coverage slow wheel bench clean

setup: .venv/ready  ## install assay and everything it needs into .venv

.venv/ready: pyproject.toml constraints.txt src/assay/images/_resample.c src/assay/modelzoo/_numbers.c
	@echo "assay: installing into .venv (a minute or two, about 2.5 GB)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "assay needs Python 3.11 or later")'
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[export,onnxruntime,quantize,loadgen,ray,zoo,dev]'
	@touch $@

demo: setup  ## the main job on images and weights made on the spot
	@$(BIN)/assay demo -o demo --overwrite

check: setup  ## formatting, lint, types, import rules, links of the documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(SITE) --quiet

site: setup  ## the documentation as a site, into build/site
	$(SITE)

test: check  ## everything that must hold before a change lands
	$(BIN)/pytest -n 3 --dist worksteal -m "not slow"

coverage: setup  ## the same tests, and how much of the code they run: two thirds more processor time
	$(BIN)/pytest -n 3 --dist worksteal -m "not slow" --cov --cov-report=term

slow: setup  ## the tests that take longer, the demo among them
	$(BIN)/pytest -n 2 --dist loadfile -m slow

wheel: setup  ## the wheel and the source archive, into dist/
	$(BIN)/python -m build --outdir dist .

bench: setup  ## measurements, by hand, on a quiet machine
	$(BIN)/python benchmarks/resize.py
	$(BIN)/python benchmarks/host_pipeline.py
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/end_to_end.py
	$(BIN)/python benchmarks/startup.py

clean:  ## remove what make made
	rm -rf .venv build dist demo .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
