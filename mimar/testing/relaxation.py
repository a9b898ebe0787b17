"""Kit."""


def check_relaxation() -> None:
    """X."""
