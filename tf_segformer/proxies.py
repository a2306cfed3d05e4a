"""The argument `proxies`, which huggingface_hub 1 and later no longer take for a single download."""

import contextlib
import os
from collections.abc import Iterator, Mapping

from huggingface_hub import close_session

_VARIABLES = {"http": ("http_proxy", "HTTP_PROXY"), "https": ("https_proxy", "HTTPS_PROXY")}


def check_proxies(proxies: Mapping[str, str] | None) -> None:
    """Check the argument.

    Raises:
        ValueError: a key that is neither `"http"` nor `"https"`, such as a single host's.
    """
    unknown = sorted(set(proxies or ()) - set(_VARIABLES))
    if unknown:
        raise ValueError(
            f"proxies has the keys {unknown}; expected 'http' and 'https' only. To leave out a host, list it "
            "in the variable NO_PROXY."
        )


@contextlib.contextmanager
def through_proxies(proxies: Mapping[str, str] | None) -> Iterator[None]:
    """Send the Hub's requests through proxies for the length of a `with` block.

    It sets the variables HTTP_PROXY and HTTPS_PROXY, the way huggingface_hub asks for, and puts the old
    values back; both are the whole process's, so other threads' downloads take the same way meanwhile.

    Args:
        proxies: Addresses for `"http"` and `"https"`, e.g. `{"https": "http://proxy:3128"}`; None does
            nothing.
    """
    if not proxies:
        yield
        return
    values = {
        name: address if "://" in address else f"http://{address}"
        for scheme, address in proxies.items()
        for name in _VARIABLES[scheme]
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    close_session()  # the client reads the variables when it is made
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        close_session()
