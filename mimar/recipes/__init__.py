"""One paper a file, each a single expression of parts; the folder is the list of recipes."""
