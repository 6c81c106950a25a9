"""One frozen object with everything the demo can be told, from flags and SAM_DEMO_* in the environment."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

from demo.guard.clients import Network, read_networks
from demo.guard.hosting import ANY_HOST, Hosting
from demo.guard.rates import PUBLIC, UNLIMITED, Rates, read_rates
from demo.guard.safeguards import Safeguards
from demo.pictures import PICTURE_PIXELS_ROOF, PictureLimits
from demo.watch.logs import FORMATS as LOG_FORMATS

ENVIRONMENT_PREFIX = "SAM_DEMO_"
SPACE_VARIABLE = "SPACE_ID"
SPACE_DEFAULTS = {
    "frame_ancestors": "https://huggingface.co",
    "isolation_headers": False,
    "allowed_hosts": ANY_HOST,
    "trusted_proxies": "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16",
}
"""On a Hugging Face Space, which sets the variable: it frames the page, adds the headers that the README names, and
nothing but its proxy reaches the server, from a private address and under the Space's names."""
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_PREPROCESSING = ("auto", "sam", "medsam")
_ENCODERS = ("auto", "torch", "onnxruntime", "bf16", "ray")
_REPLICAS = re.compile(r"([1-9]\d{0,3})(?:-([1-9]\d{0,3}))?")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_EPILOG = f"""\
Every flag has a variable in the environment: --cache-mb is {ENVIRONMENT_PREFIX}CACHE_MB. The flag wins.

examples:
  python -m demo                              the embedded model, on this machine only
  python -m demo --checkpoint sam_vit_b.pth   Meta's, Hugging Face's, MobileSAM's or your own weights
  python -m demo --checkpoint vit_b           a published checkpoint; asks before it downloads (python -m sam models)
  python -m demo --models vit_b,my_own.pth    further models, to be chosen on the page
  python -m demo --host 0.0.0.0 --no-open     reachable from other machines, by anyone: there is no login
"""


@dataclass(frozen=True)
class Settings:
    """What `python -m demo` runs with. Raises ValueError naming what was given and what is allowed."""

    host: str = "127.0.0.1"
    port: int = 8000
    checkpoint: str = "tiny"
    models: str = ""
    models_mb: int = 4000
    offer_downloads: bool = False
    preprocessing: str = "auto"
    download: bool = False
    device: str = "auto"
    encoder: str = "auto"
    replicas: str = "1"
    cache_mb: int = 512
    max_upload_mb: int = 50
    max_megapixels: int = 60
    max_wait_s: int = 60
    drain_s: int = 20
    root_path: str = ""
    allowed_hosts: str = ""
    trusted_proxies: str = ""
    rate_limits: str = "auto"
    private: bool = False
    metrics: str = ""
    log_format: str = "text"
    frame_ancestors: str = ""
    isolation_headers: bool = True
    open: bool = True

    def __post_init__(self) -> None:
        _within("port", self.port, 0, 65535)
        _within("cache-mb", self.cache_mb, 16, 1_000_000)
        _within("models-mb", self.models_mb, 100, 1_000_000)
        _within("max-upload-mb", self.max_upload_mb, 1, 2_000)
        _within("max-megapixels", self.max_megapixels, 1, PICTURE_PIXELS_ROOF // 1_000_000)
        _within("max-wait-s", self.max_wait_s, 1, 3_600)
        _within("drain-s", self.drain_s, 5, 3_600)
        if not _DEVICE.fullmatch(self.device):
            raise ValueError(f"device is {self.device!r}; allowed are auto, cpu, cuda, cuda:<number> and mps")
        _one_of("preprocessing", self.preprocessing, _PREPROCESSING)
        _one_of("encoder", self.encoder, _ENCODERS)
        _one_of("log-format", self.log_format, LOG_FORMATS)
        if not self.host or not self.checkpoint:
            raise ValueError(f"host is {self.host!r} and checkpoint is {self.checkpoint!r}; neither may be empty")
        _ = self.hosting, self.proxy_networks, self.safeguards, self.replica_range  # refuse what they cannot do

    @property
    def sources(self) -> tuple[str, ...]:
        """The checkpoint and the further models."""
        return (self.checkpoint, *filter(None, (name.strip() for name in self.models.split(","))))

    @property
    def models_bytes(self) -> int:
        return self.models_mb * 1_000_000

    @property
    def replica_range(self) -> tuple[int, int]:
        """The least and the most encoders on Ray."""
        found = _REPLICAS.fullmatch(self.replicas)
        least, most = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if least > most:
            raise ValueError(f"replicas is {self.replicas!r}; it looks like 2, or like 1-8")
        return least, most

    @property
    def cache_bytes(self) -> int:
        return self.cache_mb * 1_000_000

    @property
    def hosting(self) -> Hosting:
        return Hosting(self.root_path, self.frame_ancestors, self.isolation_headers, self.hosts, self.host)

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.host == "localhost" or self.host == "::1" or self.host.startswith("127.")

    @property
    def is_at_home(self) -> bool:
        """Whether whoever sees the page is who started the server: it opens here, and nobody else reaches it."""
        return self.open and self.is_local and not (self.trusted_proxies or self.root_path or self.allowed_hosts)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names that were given; none where only this machine reaches the server, any where nobody could know."""
        named = tuple(self.allowed_hosts.replace(",", " ").split())
        return named or (() if self.is_local else (ANY_HOST,))

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        return read_networks(self.trusted_proxies, "trusted-proxies")

    @property
    def rates(self) -> Rates:
        """As given; else those of a public server, unless nobody else reaches this one or clients cannot be told."""
        if self.rate_limits == "auto":
            return UNLIMITED if self.is_local and not self.proxy_networks else PUBLIC
        return UNLIMITED if self.rate_limits == "off" else read_rates(self.rate_limits)

    @property
    def safeguards(self) -> Safeguards:
        return Safeguards(self.rates, self.private, read_networks(self.metrics, "metrics"))

    @property
    def limits(self) -> PictureLimits:
        return PictureLimits(max_bytes=self.max_upload_mb * 1_000_000, max_pixels=self.max_megapixels * 1_000_000)


def parse_settings(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Flags over environment over defaults, ours or a Space's; raises ValueError, exits on --help and unknown flags."""
    flags = vars(_parser().parse_args(arguments))
    given = _from_environment(environment) | {name: value for name, value in flags.items() if value is not None}
    settings = Settings(**(SPACE_DEFAULTS if SPACE_VARIABLE in environment else {}) | given)
    offers = given.get("offer_downloads", settings.is_at_home and has_desktop(environment))
    return replace(settings, offer_downloads=offers)


def has_desktop(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a browser can open; without a desktop, Python would start one of text in the terminal."""
    return sys.platform in ("win32", "darwin") or any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Serve the page: drop in a picture, move the mouse, and a mask follows it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Settings()
    add = parser.add_argument
    add("--host", metavar="ADDRESS", help=f"address to listen on (default {default.host}: this machine only)")
    add("--port", type=int, metavar="NUMBER", help=f"port, or 0 for any free one (default {default.port})")
    add(
        "--checkpoint",
        metavar="NAME|FILE",
        help=f"weights: a file, a folder, a published name or owner/name (default {default.checkpoint}: embedded)",
    )
    add("--models", metavar="LIST", help="further models to choose from, each like a checkpoint, with commas between")
    add(
        "--models-mb",
        type=int,
        metavar="MB",
        help=f"memory for loaded models; the one used longest ago makes room (default {default.models_mb})",
    )
    add(
        "--offer-downloads",
        action=argparse.BooleanOptionalAction,
        help="let visitors agree to download published models (default: where the page opens by itself, on a desktop)",
    )
    add(
        "--preprocessing",
        choices=_PREPROCESSING,
        help="medsam for a checkpoint tuned from MedSAM's (default: what is known)",
    )
    add("--download", action=argparse.BooleanOptionalAction, help="agree to download the checkpoint (default: ask)")
    add(
        "--encoder",
        choices=_ENCODERS,
        help="how pictures are encoded (default auto: the fastest exact way here); bf16 is not exact, fast with AMX; "
        "ray: on a cluster, that of RAY_ADDRESS or of this machine",
    )
    add("--replicas", metavar="LEAST-MOST", help=f"encoders on Ray (default {default.replicas})")
    add("--device", help=f"auto, cpu, cuda, cuda:1 or mps (default {default.device})")
    add("--cache-mb", type=int, metavar="MB", help=f"memory for encoded pictures (default {default.cache_mb})")
    add(
        "--max-upload-mb",
        type=int,
        metavar="MB",
        help=f"largest picture file (default {default.max_upload_mb})",
    )
    add("--max-megapixels", type=int, metavar="MP", help=f"largest picture (default {default.max_megapixels})")
    add(
        "--max-wait-s",
        type=int,
        metavar="SECONDS",
        help=f"who would wait longer in line for an encode is told when to come again (default {default.max_wait_s})",
    )
    add(
        "--drain-s",
        type=int,
        metavar="SECONDS",
        help="from SIGTERM to the end: what is in line is worked off, or told to come again "
        f"(default {default.drain_s})",
    )
    add("--root-path", metavar="/PREFIX", help="where a reverse proxy mounts the server (default: at its root)")
    add(
        "--allowed-hosts",
        metavar="NAMES",
        help="names that the server goes by, as example.org,*.example.net (default: this machine's own for itself, "
        "any where others reach it)",
    )
    add(
        "--trusted-proxies",
        metavar="NETWORKS",
        help="reverse proxies whose X-Forwarded-For and -Proto are believed, as 127.0.0.1,10.0.0.0/8 (default: none)",
    )
    public = ",".join(f"{name}={rate}" for name, rate in asdict(PUBLIC).items())
    add(
        "--rate-limits",
        metavar="RATES",
        help=f"what a client may ask for in a minute, off, or as {public}: the default where others reach the server",
    )
    add(
        "--private",
        action=argparse.BooleanOptionalAction,
        help="keep pictures for the visitor who uploaded them, by a cookie (default: shared by content)",
    )
    add(
        "--metrics",
        metavar="NETWORKS",
        help="who may read /metrics, for Prometheus, as 127.0.0.1,10.0.0.0/8 (default: nobody)",
    )
    add("--log-format", choices=LOG_FORMATS, help="json logs every request as a line, too (default text: warnings)")
    add("--frame-ancestors", metavar="ORIGINS", help="who may show the page in a frame (default: nobody)")
    add(
        "--isolation-headers",
        action=argparse.BooleanOptionalAction,
        help="isolate the page, for threads; off where a proxy does (default: on)",
    )
    add("--open", action=argparse.BooleanOptionalAction, help="open the page in the browser (default: open)")
    return parser


def _from_environment(environment: Mapping[str, str]) -> dict[str, str | int | bool]:
    readers = {"str": _read_str, "int": _read_int, "bool": _read_bool}
    given = {}
    for field in fields(Settings):
        variable = ENVIRONMENT_PREFIX + field.name.upper()
        if variable in environment:
            given[field.name] = readers[str(field.type)](environment[variable], variable)
    return given


def _read_str(text: str, variable: str) -> str:
    return text


def _read_int(text: str, variable: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{variable} is {text!r}; a whole number is needed") from None


def _read_bool(text: str, variable: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(f"{variable} is {text!r}; allowed are {', '.join(_TRUE + _FALSE)}")
    return text.lower() in _TRUE


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}; allowed is {low} to {high}")
