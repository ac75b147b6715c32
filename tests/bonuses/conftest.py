import pytest


@pytest.fixture(autouse=True)
def compile_quickly(quick_compilation):
    """Tests of bonuses compile many small programs."""
