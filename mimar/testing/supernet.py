"""Kit."""


def check_supernet() -> None:
    """X."""
