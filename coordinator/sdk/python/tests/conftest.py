"""Fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from undoubt import Client

from processes import Coordinator, Proxy, Service


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


@pytest.fixture(scope="session")
def coordinator(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[Coordinator]:
    folder: Path = tmp_path_factory.mktemp("coordinator")
    coordinator = Coordinator(folder, [service.url])
    yield coordinator
    coordinator.kill()


@pytest.fixture
def proxy(coordinator: Coordinator) -> Iterator[Proxy]:
    proxy = Proxy(coordinator.port)
    yield proxy
    proxy.close()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.url) as client:
        yield client
