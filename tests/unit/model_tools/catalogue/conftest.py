"""Networks are tiny here."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread(two_threads: None) -> None:  # noqa: ARG001  # after it
    """A second thread would mostly wait."""
    torch.set_num_threads(1)
