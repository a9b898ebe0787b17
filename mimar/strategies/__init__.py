"""Ask/tell searchers over architectures; their state is serialisable and holds no network weights."""
