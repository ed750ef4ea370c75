"""Where W&B runs go: the mode, and whether a server can be used right now.

Nothing here asks the user anything or waits longer than a few seconds.
"""

from __future__ import annotations

import configparser
import difflib
import netrc
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

Mode = Literal["online", "offline", "disabled"]

DEFAULT_URL = "https://api.wandb.ai"
#: Longest wait for the first sign of life of a server.
PROBE_TIMEOUT_S = 4.0
_MODES: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "shared": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


def resolve_mode(setting: str) -> Mode:
    """The mode asked for: ``setting``, where `auto` asks the environment and else is `offline`.

    ``$WANDB_MODE`` and ``$WANDB_DISABLED`` (the older way to switch W&B off) are honoured.

    Raises:
        ValueError: for a value of theirs, or of ``$WANDB_BASE_URL``, that means nothing; names the
            variable.
    """
    url = os.environ.get("WANDB_BASE_URL", "")
    if url and not url.startswith(("http://", "https://")):
        raise ValueError(f"WANDB_BASE_URL={url}: an address was expected, such as {DEFAULT_URL}")
    if setting != "auto":
        return _MODES[setting]
    switched_off = os.environ.get("WANDB_DISABLED", "").strip().lower()
    if switched_off and switched_off not in _TRUE | _FALSE:
        raise ValueError(f"WANDB_DISABLED={switched_off}: allowed are true and false")
    if switched_off in _TRUE:
        return "disabled"
    given = os.environ.get("WANDB_MODE", "").strip().lower()
    if given and given not in _MODES:
        near = difflib.get_close_matches(given, _MODES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"WANDB_MODE={given}: allowed are {', '.join(_MODES)}{hint}")
    return _MODES.get(given, "offline")


def server_url() -> str:
    """Address of the W&B server: ``$WANDB_BASE_URL``, W&B's own settings, or the public one."""
    if given := os.environ.get("WANDB_BASE_URL"):
        return given.rstrip("/")
    return str(_wandb_setting("base_url") or DEFAULT_URL).rstrip("/")


def key_source() -> str | None:
    """Where an API key for the server comes from; None without one. The key is not read out."""
    for variable in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        if os.environ.get(variable, "").strip():
            return f"${variable}"
    path = _netrc_path()
    try:
        if netrc.netrc(path).authenticators(urlsplit(server_url()).netloc):
            return str(path)
    except (OSError, netrc.NetrcParseError):
        pass
    return "W&B settings" if _wandb_setting("api_key") else None


def unreachable(timeout_s: float = PROBE_TIMEOUT_S) -> str | None:
    """Why the server does not answer; None if it does (any HTTP answer counts)."""
    url = server_url()
    local = urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}
    # proxies of the environment are meant for the outside
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))
    try:
        with opener.open(urllib.request.Request(url, method="HEAD"), timeout=timeout_s):
            return None
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"{url} does not answer: {reason}"


def obstacle() -> str | None:
    """What stands in the way of going online, as a sentence; None if nothing does."""
    if key_source() is None:
        return "no W&B key: set WANDB_API_KEY or run `wandb login`"
    return unreachable()


def _netrc_path() -> Path:
    if given := os.environ.get("NETRC"):
        return Path(given).expanduser()
    home = _home()
    return next((p for n in (".netrc", "_netrc") if (p := home / n).is_file()), Path(".netrc"))


def has_home() -> bool:
    """Whether this user has a home folder."""
    return _home() != Path(os.devnull)


def _home() -> Path:
    """The user's folder; one that does not exist for a user without."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)


def _wandb_setting(name: str) -> str | None:
    """A setting that `wandb login` left in the user's settings file."""
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or _home() / ".config" / "wandb")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(folder.expanduser() / "settings", encoding="utf-8")
        return parser.get("default", name, fallback=None)
    except (OSError, configparser.Error, UnicodeDecodeError):
        return None
