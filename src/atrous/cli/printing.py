"""Print tables with rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..score_tables import Table


def print_table(table: Table) -> None:
    """Print a table on the terminal's width."""
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(title=table.title, caption=table.caption or None)
    drawn.add_column(table.columns[0])
    for heading in table.columns[1:]:
        drawn.add_column(heading, justify="right")
    for rows in table.sections:
        drawn.add_section()
        for row in rows:
            drawn.add_row(*row)
    Console().print(drawn)
