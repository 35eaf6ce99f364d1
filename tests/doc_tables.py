"""Tables of the code as the documentation shows them."""

from dataclasses import fields

from reconad_plugin.gate.limits import GateLimits
from reconad_plugin.ledger.eligibility import TABLE, Status, Use, Which


def limits_table() -> str:
    """Return the numbers as a table in Markdown, one row each."""
    rows = ["| number | value | belongs to | why |", "|---|---|---|---|"]
    for each in fields(GateLimits):
        value, about = f"{each.default:,}", each.metadata
        rows.append(
            f"| `{each.name}` | {value} {about['unit']} | {about['rule']} | {about['why']} |"
        )
    return "\n".join(rows)


def eligibility_table() -> str:
    """Write the table as the documentation shows it."""
    head = ["status of a night", *Use]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for status in Status:
        cells = ["" if TABLE[status, use] is Which.NONE else str(TABLE[status, use]) for use in Use]
        lines.append("| " + " | ".join([f"**{status}**", *cells]) + " |")
    return "\n".join(lines)
