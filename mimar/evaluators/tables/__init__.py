"""The published benchmark tables, one file each: a frozen description whose `table()` reads the data."""
