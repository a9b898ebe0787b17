"""Kit."""


def check_task() -> None:
    """X."""
