"""Where a recipe comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """A publication: `authors` as "Family, Given and …", year, venue, title, and its public address."""

    authors: str
    year: int
    venue: str
    title: str
    link: str = ""

    @property
    def key(self) -> str:
        """The citation key: first family name and year."""
        return re.sub(r"\W", "", self.authors.split(",")[0]).lower() + str(self.year)

    def bibtex(self) -> str:
        """Return the BibTeX entry."""
        fields = {"author": self.authors, "title": self.title, "booktitle": self.venue, "year": str(self.year)}
        if self.link:
            fields["url"] = self.link
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@inproceedings{{{self.key},\n{lines}\n}}"
