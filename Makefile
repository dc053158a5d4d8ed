# One command here is the same command in CI. Everything is installed into virtual environments in this folder.
PYTHON ?= python3
VENV ?= .venv
SERVING_VENV ?= .venv-serving
TRITON_VENV ?= .venv-triton
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check -c requirements.lock
DEMO_ARGUMENTS = $(if $(VIDEO),--video "$(VIDEO)")

.PHONY: demo test test-slow test-gpu test-serving bench bench-long bench-faults bench-soak bench-decode bench-gpu \
	bench-triton BENCHMARKS.md check format protos lock clean

demo: $(SERVING_VENV)/installed  ## stream a clip through the server and write demo/; VIDEO=path for your own
	$(SERVING_VENV)/bin/streetmask demo $(DEMO_ARGUMENTS)

# One thread each: of small tensors two threads make no less work, and wait for one another. Two processes a core, as a
# test of a server waits for half of its time.
PROCESSES = $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')
PYTEST = OMP_NUM_THREADS=1 $(1)/bin/python -m pytest -n $(PROCESSES) --dist loadfile

test: $(VENV)/installed  ## all tests but slow and GPU ones
	$(call PYTEST,$(VENV))

test-slow: $(VENV)/installed
	$(VENV)/bin/python -m pytest -m slow --timeout 3600

test-gpu: $(VENV)/installed
	$(VENV)/bin/python -m pytest -m gpu

# Minutes of waiting for processes, links and damaged frames, to which torch is nothing.
WAITING = supervised reconnect throttled_link faults drain crew limits hostile_frames reloads

test-serving: $(SERVING_VENV)/installed-tests  ## what serves must work where torch is not installed
	$(call PYTEST,$(SERVING_VENV)) tests/scene tests/protos tests/serve tests/streetmask tests/test_no_torch.py \
		tests/test_bundled_model.py $(addprefix --ignore tests/serve/test_,$(addsuffix .py,$(WAITING)))

BENCH = $(VENV)/bin/bench
BENCH_MODEL = models/street-nano/1
BENCH_DATA = runs/bench/data/instances.json
CPU_ENGINES = onnxruntime onnxruntime-int8 openvino openvino-bfloat16 openvino-int8
GPU_ENGINES = torch torch-float16 torch-compile torch-compile-float16 onnxruntime-cuda onnxruntime-cuda-float16 \
	onnxruntime-tensorrt-float16 tensorrt tensorrt-float16 tensorrt-rtx tensorrt-rtx-float16
BENCH_RUNS = $(wildcard $(addprefix runs/bench/,export.json engine.json jpeg.json published.json tail.json gpu-*.json \
	accuracy.json decode.json serve.json serve-float32.json demo.json demo-long.json soak.json faults.json \
	neighbours.json swaps.json triton.json track.json train.json))

bench: $(VENV)/installed  ## measure here and write BENCHMARKS.md: a quarter of an hour, no GPU
	$(VENV)/bin/streetmask data synth $(dir $(BENCH_DATA)) --count 100 --seed 900
	$(BENCH) engine $(BENCH_MODEL) --engines $(CPU_ENGINES) torch torch-bfloat16 --rows drawn every \
		--rounds 40 --out runs/bench/engine.json
	$(BENCH) engine $(BENCH_MODEL) --engines $(CPU_ENGINES) --instances 20 --decode --rounds 40 --out runs/bench/jpeg.json
	$(BENCH) engine yolact-plus-resnet50 --engines $(CPU_ENGINES) torch-plain torch torch-bfloat16 \
		--instances 20 --rounds 8 --frame-count 6 --out runs/bench/published.json
	$(BENCH) engine street-yolact-plus-resnet50 yolact-plus-resnet50 --engines onnxruntime openvino \
		--instances 100 --rounds 8 --frame-count 6 --out runs/bench/tail.json
	$(BENCH) accuracy $(BENCH_MODEL) --engines $(CPU_ENGINES) torch torch-bfloat16 --data unseen-100=$(BENCH_DATA) \
		--out runs/bench/accuracy.json
	$(BENCH) serve --spawn $(BENCH_MODEL) --rate 30 --size 1280x720 --seconds 30 --out runs/bench/demo.json
	$(BENCH) serve --spawn $(BENCH_MODEL) --rate 10 --bare --overload 0.5 1.5 --sweep --seconds 15 \
		--engine openvino --precision int8 --out runs/bench/serve.json
	$(BENCH) serve --spawn $(BENCH_MODEL) --rate 10 --bare --overload 0.5 1.5 --seconds 20 \
		--engine onnxruntime --precision float32 --out runs/bench/serve-float32.json
	$(BENCH) track $(BENCH_MODEL) --engine openvino --out runs/bench/track.json
	$(BENCH) train street-nano --batch 4 --rounds 20 --fed-steps 10 --out runs/bench/train.json
	$(MAKE) BENCHMARKS.md

bench-long: $(VENV)/installed  ## every precision of four networks, and 10,000 frames through the server: half an hour
	$(BENCH) export $(BENCH_MODEL) yolact-resnet50 yolact-plus-resnet50 yolact-plus-base --out runs/bench/export.json
	$(BENCH) serve --spawn $(BENCH_MODEL) --rate 30 --size 1280x720 --seconds 334 --out runs/bench/demo-long.json
	$(MAKE) BENCHMARKS.md

FAULTS = malformed messages bombs throttled engine kill holds
NEIGHBOURS = stalled-readers slow-senders vanishing idle-streams

bench-faults: $(VENV)/installed  ## hostile input, misbehaving clients, dying workers, new models: a quarter of an hour
	$(BENCH) serve --spawn $(BENCH_MODEL) --fault $(FAULTS) --out runs/bench/faults.json
	$(BENCH) serve --spawn $(BENCH_MODEL) --fault $(NEIGHBOURS) --out runs/bench/neighbours.json
	$(BENCH) serve --spawn $(BENCH_MODEL) --fault swaps --fault-share 0.1 --out runs/bench/swaps.json
	$(MAKE) BENCHMARKS.md

bench-soak: $(VENV)/installed  ## an hour at full speed: does memory grow?
	$(BENCH) serve --spawn $(BENCH_MODEL) --rate 70 --seconds 3600 --engine openvino --precision int8 \
		--out runs/bench/soak.json
	$(MAKE) BENCHMARKS.md

SCENE_SIZES = 1280x720 1920x1080 2560x1440 3840x2160
SCENES = $(foreach size,$(SCENE_SIZES),unseen-$(size)=runs/bench/scenes-$(size)/instances.json)

bench-decode: $(VENV)/installed  ## AP and time of JPEGs decoded at reduced scale: twenty minutes
	for size in $(SCENE_SIZES); do $(VENV)/bin/streetmask data synth runs/bench/scenes-$$size --count 200 --seed 900 \
		--width $${size%x*} --height $${size#*x} || exit 1; done
	$(BENCH) decode $(BENCH_MODEL) --data $(SCENES) --out runs/bench/decode.json
	$(MAKE) BENCHMARKS.md

bench-gpu: $(VENV)/installed  ## the published networks on an NVIDIA GPU, in batches of 1, 4 and 16
	for network in yolact-plus-resnet50 yolact-plus-base; do for batch in 1 4 16; do \
		$(BENCH) engine $$network --device cuda --engines $(GPU_ENGINES) --batch $$batch --instances 100 \
			--rounds 40 --out runs/bench/gpu-$$network-$$batch.json || exit 1; \
	done; done
	$(MAKE) BENCHMARKS.md

bench-triton: $(VENV)/installed  ## the server against Triton Inference Server: seven minutes, and two to install that
	$(BENCH) triton $(BENCH_MODEL) --environment $(TRITON_VENV) --clients 2 4 --seconds 4 --out runs/bench/triton.json
	$(MAKE) BENCHMARKS.md

BENCHMARKS.md:  # of whatever was measured here until now
	$(BENCH) table $(BENCH_RUNS)

check: $(VENV)/installed  ## style, types, direction of imports, generated code
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m protos.generate --check

format: $(VENV)/installed
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

protos: $(VENV)/installed  ## write the generated protobuf code anew
	$(VENV)/bin/python -m protos.generate

lock:  ## write requirements.lock anew, from the newest versions that the ranges allow
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check -e '.[serve,tracking,client,openvino,tensorrt-rtx,train,export,study,bench,dev]'
	head -2 requirements.lock > requirements.lock.new
	.venv-lock/bin/python -m pip freeze --exclude-editable | sed 's/+cpu//' >> requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf $(VENV) $(SERVING_VENV) $(TRITON_VENV) .venv-lock demo

%/python-is-new-enough:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "StreetMask needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(@D) && touch $@

$(VENV)/installed: pyproject.toml requirements.lock | $(VENV)/python-is-new-enough
	$(VENV)/bin/python $(PIP_INSTALL) -e '.[serve,tracking,client,openvino,tensorrt-rtx,train,export,study,bench,dev]'
	@touch $@

$(SERVING_VENV)/installed: pyproject.toml requirements.lock | $(SERVING_VENV)/python-is-new-enough
	$(SERVING_VENV)/bin/python $(PIP_INSTALL) -e '.[serve,tracking,client,openvino]'
	@touch $@

$(SERVING_VENV)/installed-tests: $(SERVING_VENV)/installed
	$(SERVING_VENV)/bin/python $(PIP_INSTALL) faster-coco-eval hypothesis onnx pytest pytest-asyncio pytest-timeout pytest-xdist
	@touch $@
