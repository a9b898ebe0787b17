"""Kit."""


def check_space() -> None:
    """X."""
