"""The differentiable parts: hypergradients, relaxations, terms, updates, schedules, derivations.

Each is a frozen dataclass with one call; it knows its neighbours only by argument.
"""
