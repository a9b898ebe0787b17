"""Kit."""


def check_recipe() -> None:
    """X."""
