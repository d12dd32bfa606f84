# Everything a person or CI does starts here. `make demo` and `make test` do all the set-up themselves.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo drift serve load bench test story lint format lock weights voices spleeter-reference spleeter-golden \
  bench-separation engine run build start stop logs health image-named push deploy terraform-check dvc-remote dvc-pull \
  dvc-push comment plots retrain clean

# An interpreter to begin with: pip is all that it must have. The environment itself is made of Python 3.11 or 3.12.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.complete
# Real recordings with annotations to score the models on as well, if they are there.
REAL ?= $(wildcard ../shared/data/real)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

help: ## show this
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-18s %s\n", $$1, $$2}'

setup: $(STAMP) ## make the environment in .venv, exactly as locked

# uv comes from the machine if it is there and from pip if not, into a folder of its own. The environment is made anew
# whenever the lock changes; an interrupted set-up leaves no stamp and begins again.
$(STAMP): requirements.lock pyproject.toml
	@rm -f $@
	@if command -v uv >/dev/null 2>&1; then uv=uv; else \
	  test -x .uv/bin/uv || $(PYTHON) -m pip install --quiet --disable-pip-version-check --target .uv 'uv>=0.8,<1'; \
	  uv=.uv/bin/uv; fi; \
	set -e; \
	echo "Setting up $(VENV): torch alone is about 5 GB, so this takes a few minutes the first time."; \
	test -x $(VENV)/bin/python || $$uv venv --quiet --python '>=3.11,<3.13' --python-preference system --no-python-downloads $(VENV); \
	$$uv pip sync --quiet --compile-bytecode --python $(VENV) --require-hashes requirements.lock; \
	$$uv pip install --quiet --python $(VENV) --no-deps --editable .
	@touch $@

demo: setup ## compose corpora, train and score the models, show what came out
	dvc repro
	python -m pipelines.summary $(if $(REAL),--real $(REAL))

bench: setup ## compare with other programs on annotated recordings: make bench REAL=folder
	@test -n "$(REAL)" || { echo "make bench REAL=folder: name a folder of annotated recordings" >&2; exit 2; }
	backbeat bench $(REAL) --output reports/bench.json --plot reports/bench.png

test: setup ## run the tests
	pytest -n 2 --dist loadfile

story: setup ## tell the whole loop with real programs: drift, an alert, corrections, retraining, promotion, rollback
	BACKBEAT_STORY=1 pytest -s -q tests/story

lint: setup ## check style, types and workflows
	ruff check
	ruff format --check
	mypy
	zizmor --offline --quiet .github
	check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --quiet --builtin-schema vendor.github-actions .github/actions/*/action.yml

format: setup ## put the code in shape
	ruff check --fix
	ruff format

lock: setup ## lock the versions that pyproject.toml allows
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --extra dev pyproject.toml --output-file requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --group serving \
	  --constraint requirements.lock --output-file serving/image/gpu.lock
	python serving/image/cpu_lock.py

run: setup ## chart the songs in input/, or some: make run ARGS="song.mp3 --batch"; the charts go to output/
	backbeat chart --input input --output output $(ARGS)

serve: setup ## serve the models over HTTP, on port 8000 of this machine
	bentoml serve serving.service:Backbeat --host 127.0.0.1 --port 8000

# Exit codes of its own: 4 for drift, 5 for too little traffic. `make` answers both with 2.
drift: setup ## hold what the service was sent against what the models were made for
	python -m pipelines.drift

# BUILDAH_FORMAT is for Podman, whose own format of images has no health check.
FLAVOUR ?= cpu
build: setup ## pack the service as a Bento, and make an image of it: make build FLAVOUR=gpu
	@bento=$$(bentoml build --output tag | sed -n 's/^__tag__://p') && place=$$(bentoml get $$bento --output path) && \
	echo "Bento $$bento: bentoml serve $$bento" && engine=$$(sh serving/engine.sh) && \
	BUILDAH_FORMAT=docker $$engine build --build-arg FLAVOUR=$(FLAVOUR) --tag backbeat:$(FLAVOUR) \
	  --file serving/image/Dockerfile "$$place" && echo "image backbeat:$(FLAVOUR): make start"

engine:
	@sh serving/engine.sh >/dev/null

# Passwords are made once, of random bytes.
serving/.env:
	@umask 077; while read -r line; do case "$$line" in \
	  *PASSWORD=) echo "$$line$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')";; *) echo "$$line";; esac; \
	done <serving/.env.example >$@

start: engine serving/.env ## start the service in containers, with all that watches it; make start GPU=1 on a GPU
	@sh serving/engine.sh up --detach --wait --wait-timeout 600 || \
	  { echo "not everything is ready: \`make logs\` says why; \`make build\` makes the image" >&2; exit 1; }
	@echo "ready: the service at http://127.0.0.1:8000, Grafana at http://127.0.0.1:3000 (admin, password in serving/.env)," \
	  "MLflow at http://127.0.0.1:5000; keys: sh serving/engine.sh exec service python -m serving.keys create NAME"

stop: ## stop the containers; what they keep stays in volumes
	@sh serving/engine.sh down

logs: ## follow the logs of the containers; make logs OF=service for one
	@sh serving/engine.sh logs --follow --tail 100 $(OF)

health: engine ## tell how the containers are, and whether the service is ready
	@sh serving/engine.sh ps --all
	@sh serving/engine.sh exec -T service python -c \
	  "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)" >/dev/null 2>&1 \
	  && echo "ready: http://127.0.0.1:8000" || { echo "not ready: \`make logs OF=service\` says why" >&2; exit 1; }

# What is pushed and deployed is named IMAGE:TAG-FLAVOUR. Names go into files and commands: they are of what names are made of.
TAG ?=
OVERLAY ?= $(if $(filter gpu,$(FLAVOUR)),serving/k8s/overlays/gpu,serving/k8s/base)
image-named:
	@case "$$IMAGE" in '' | *[!a-zA-Z0-9._:/-]*) echo "IMAGE=registry.example/backbeat: where images are pushed to" >&2; exit 2;; esac
	@case "$$TAG" in '' | *[!a-zA-Z0-9._-]*) echo "TAG=1.2.0: which version it is" >&2; exit 2;; esac

export IMAGE TAG FLAVOUR
push: image-named ## push the image that `make build` made: make push IMAGE=registry.example/backbeat TAG=1.2.0
	@engine=$$(sh serving/engine.sh) && set -x && $$engine tag "backbeat:$$FLAVOUR" "$$IMAGE:$$TAG-$$FLAVOUR" && \
	$$engine push "$$IMAGE:$$TAG-$$FLAVOUR"

deploy: image-named ## roll out an image that was pushed on Kubernetes: make deploy IMAGE=... TAG=... OVERLAY=folder
	@mkdir -p build/deploy && printf '%s\n' 'resources: [../../$(OVERLAY)]' 'images:' \
	  "  - {name: backbeat, newName: '$$IMAGE', newTag: '$$TAG-$$FLAVOUR'}" >build/deploy/kustomization.yaml
	kubectl apply --kustomize build/deploy
	kubectl rollout status deployment/backbeat --namespace backbeat --timeout 15m

terraform-check: ## check what Terraform makes on AWS; no account is needed
	terraform -chdir=serving/terraform fmt -check -recursive
	terraform -chdir=serving/terraform init -backend=false -input=false
	terraform -chdir=serving/terraform validate

# Where DVC_REMOTE is given it becomes this checkout's own remote; else the one of .dvc/config is taken.
dvc-remote: setup
	@test -z "$$DVC_REMOTE" || dvc remote add --quiet --local --force --default own "$$DVC_REMOTE"

dvc-pull: dvc-remote ## bring the data and models that dvc.lock names: make dvc-pull DVC_REMOTE=s3://bucket/dvc
	dvc pull --allow-missing

dvc-push: dvc-remote ## send them
	dvc push

BASE ?= HEAD
export BASE NOW
comment: setup ## write reports/comment.md, for a pull request: scores beside those of BASE, and what the gate decided
	python -m pipelines.comment --base "$$BASE" --now "$$NOW"

plots: setup ## draw curves and scores beside those of BASE, in reports/plots
	dvc plots diff --out reports/plots "$$BASE"

retrain: setup ## train again if there is a reason, promote what is better: make retrain RETRAIN="--because drift"
	python -m pipelines.retrain $(RETRAIN)

load: setup ## measure the service under load, beside an empty endpoint and the library
	python benchmarks/load.py

weights: setup ## ship the models that the pipeline has trained (experiment: full) in the package
	python -m pipelines.ship $(if $(REAL),--real $(REAL))

# Files of the kind of MIR-1K: accompaniment left, voice right, names that begin with the singer. Everything goes to
# build/voices and nothing of it ships.
VOICES_PATHS := $(foreach place,corpora labels stems models reports,paths.$(place)=build/voices/$(place)) \
  paths.checkpoints=build/voices/checkpoints
VOICES_CORPUS := corpus=stems corpus.name=voices $(VOICES_PATHS)
VOICES_TASK := $(VOICES_PATHS) task=separation 'task.instruments=[vocals,accompaniment:*]' \
  task.network.sample_rate_hz=16000 task.network.frame_length=1024 task.network.frame_step=256 task.network.bins=512 \
  'task.network.filters=[16,32,64,128,128,128]' task.optimisation.window_s=2.0 task.optimisation.batch_size=16 \
  task.augmentation.mix=0.8 task.augmentation.speed=1.15 +task.optimisation.epochs=160
voices: setup ## train separation of voices, an hour, and score it on other singers: make voices SONGS=folder
	@test -d "$(SONGS)" || { echo "make voices SONGS=folder: name a folder of karaoke recordings" >&2; exit 2; }
	python -m pipelines.corpus $(VOICES_CORPUS) "corpus.source=$(SONGS)" 'corpus.channels=[accompaniment,vocals]' \
	  'corpus.group_pattern="[^_]+"' corpus.shares.train=0.5 corpus.shares.valid=0.17 corpus.shares.test=0.33
	python -m pipelines.validate $(VOICES_CORPUS)
	python -m pipelines.stems corpus=stems corpus.name=voices $(VOICES_TASK)
	python -m pipelines.train $(VOICES_TASK)
	python -m pipelines.evaluate $(VOICES_TASK)

# Spleeter's own program, with TensorFlow, never comes into the environment above: it has one of its own (2 GB).
SPLEETER := .spleeter
SPLEETER_PYTHON ?= python3.11
$(SPLEETER)/.complete:
	$(SPLEETER_PYTHON) -m venv $(SPLEETER)
	$(SPLEETER)/bin/python -m pip install --quiet --disable-pip-version-check spleeter==2.4.2
	@touch $@

spleeter-reference: setup $(SPLEETER)/.complete ## compare separation with Spleeter 2.4.2 at the real size, on random weights
	cd tests/golden && ../../$(SPLEETER)/bin/python spleeter_reference.py ../../build/spleeter
	BACKBEAT_SPLEETER_REFERENCE=build/spleeter pytest tests/unit/test_separation.py -k spleeter

spleeter-golden: setup $(SPLEETER)/.complete ## make the small reference anew that every test run compares with
	cd tests/golden && ../../$(SPLEETER)/bin/python spleeter_reference.py spleeter --small

bench-separation: setup $(SPLEETER)/.complete ## time separation beside Spleeter 2.4.2: make bench-separation SONG=file
	@test -n "$(SONG)" || { echo "make bench-separation SONG=file: name a song" >&2; exit 2; }
	@test -d build/spleeter/5stems || $(MAKE) spleeter-reference
	python benchmarks/separation.py $(SONG)

clean: ## remove what the pipeline made, but not the environment
	rm -rf data/corpora data/labels data/features data/stems data/listening models/separation models/beat models/onset \
	  models/genre models/pairing models/listening models/.checkpoints reports
