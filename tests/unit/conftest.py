"""Unit tests open no socket; one that must says so with `@pytest.mark.enable_socket`."""

from collections.abc import Iterator

import pytest
import pytest_socket
from hypothesis import HealthCheck, settings

# A busy machine is no failure of the code.
settings.register_profile("forebay", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("forebay")


@pytest.fixture(autouse=True)
def no_sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("enable_socket"):
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
