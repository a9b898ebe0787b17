"""A run is a folder: run.json, an append-only events.jsonl, and snapshots; only JSON and safetensors, never code."""

from mimar.runs.store import Store, create, is_run, open_run
from mimar.runs.versions import versions

__all__ = ["Store", "create", "is_run", "open_run", "versions"]
