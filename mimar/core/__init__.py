"""Pure functions on tensors and tuples of tensors: arithmetic, derivatives, series, streams, errors."""
