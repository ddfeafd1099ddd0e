"""One policy for everything that waits after a failure."""

from __future__ import annotations

import pytest

from dicom_sr_node.config.loading import load
from dicom_sr_node.runtime.backoff import RetryPolicy


def test_pauses_double_up_to_the_longest_and_are_never_in_step() -> None:
    policy = RetryPolicy(first_s=10, longest_s=100)
    for failures, most in enumerate((10, 20, 40, 80, 100, 100)):
        pauses = {policy.pause_s(failures) for _ in range(50)}
        assert len(pauses) > 1
        assert all(0.8 * most <= pause <= most for pause in pauses)
    assert policy.pause_s(10_000) <= 100


@pytest.mark.parametrize(("most", "failures", "spent"), [(0, 10**6, False), (3, 2, False), (3, 3, True)])
def test_tries_end_where_there_is_a_limit(most: int, failures: int, spent: bool) -> None:
    assert RetryPolicy(1, 2, most).is_spent(failures) is spent


def test_jobs_and_deliveries_are_configured_alike() -> None:
    settings = load(None, {"SRNODE__WORK__RETRY_FIRST_S": "7", "SRNODE__DELIVERY__RETRY_MAX_S": "99"})
    assert settings.work.retry == RetryPolicy(7, 60, most_tries=5)
    assert settings.delivery.retry == RetryPolicy(30, 99)
