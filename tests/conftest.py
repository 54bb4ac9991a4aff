"""Clusters for the tests: one per module where tests leave it as they found it, one per test where they break it."""

import pytest

from cluster import Cluster


def _cluster(factory, request):
    cluster = Cluster(factory.mktemp("cluster"))
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
