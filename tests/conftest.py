"""Clusters for the tests: one per module where tests leave it as they found it, one per test where they break it."""

import pytest

from cluster import BEFORE, MERIDIAN, NAMES, Cluster


def _cluster(factory, request, names=NAMES, witness=None, binary=MERIDIAN):
    cluster = Cluster(factory.mktemp("cluster"), names, witness)
    for site in cluster.sites:
        site.binary = binary
    try:
        yield cluster.found()
    finally:
        failed = request.session.testsfailed
        cluster.close()
        if failed:
            for site in cluster.sites:
                print(f"--- {site.name} said last ({site.log}):\n{site.said()}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, request):
    """Three sites, shared by a module's tests."""
    yield from _cluster(tmp_path_factory, request)


@pytest.fixture
def own_cluster(tmp_path_factory, request):
    """Three sites, for one test alone."""
    yield from _cluster(tmp_path_factory, request)


@pytest.fixture
def two_sites(tmp_path_factory, request):
    """Two sites, for one test alone: neither can be fenced by a majority."""
    yield from _cluster(tmp_path_factory, request, NAMES[:2])


@pytest.fixture
def witnessed(tmp_path_factory, request):
    """Two sites and a witness, for one test alone."""
    yield from _cluster(tmp_path_factory, request, NAMES, NAMES[2])


@pytest.fixture
def of_before(tmp_path_factory, request):
    """Three sites of the version before, for one test alone."""
    yield from _cluster(tmp_path_factory, request, binary=BEFORE)
