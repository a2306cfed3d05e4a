"""The answers as Markdown: a table a question, pictures, a short table, and their places in documents."""

from __future__ import annotations

import importlib
import statistics
from pathlib import Path
from typing import Any

from benchmarks.answers import busy
from benchmarks.measuring import summary
from benchmarks.plans import PLANS
from benchmarks.sides import OTHERS, REFERENCES

# The part of a document between these lines is this command's; {name} is "tables" or "short".
BEGIN, END = "<!-- benchmarks {name} begins -->", "<!-- benchmarks {name} ends -->"
TABLES, SHORT = "tables", "short"
# In which order the answers are shown, whenever they were given.
ORDER = list(dict.fromkeys(question.key for plan in ("full", *PLANS) for question in PLANS[plan]))


def tables(results: dict[str, Any], pictures: str | None = None) -> str:
    """Return all answers.

    Args:
        results: of `benchmarks.answers`.
        pictures: the folder of the pictures, as the document writes it; None for none.
    """
    sections = [circumstances(results)]
    for key, answer in in_order(results):
        lines = [f"### {answer['title']}", ""]
        if "problem" in answer:
            lines.append(f"Not answered: {answer['problem']}")
        else:
            module = importlib.import_module(f"benchmarks.{answer['module']}")
            lines.append(module.report(answer["result"]).strip())
            if pictures is not None and chart_of(answer):
                lines.append(f"\n![{answer['title']}]({pictures}/{file_name(key)})")
        in_use = answer["cores_in_use_before"]
        if busy(in_use, int(results["machine"]["cores"])):
            lines.append(f"\n**The machine was busy** before this: {in_use:.1f} cores in use.")
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def in_order(results: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the answers as the plans ask for them, those of no plan at the end."""
    places = {key: place for place, key in enumerate(ORDER)}
    return sorted(results["answers"].items(), key=lambda item: places.get(item[0], len(places)))


def circumstances(results: dict[str, Any]) -> str:
    """Return the sentences above the tables."""
    where = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    targets = {"quick": "make bench", "full": "make bench-full"}
    target = f"`{targets.get(results['plan'], 'python -m benchmarks --plan trial')}`"
    others: dict[str, list[str]] = {}
    for key, answer in in_order(results):
        if answer.get("plan", results["plan"]) != results["plan"]:
            others.setdefault(answer["plan"], []).append(key)
    for plan, keys in others.items():
        target += f" and, by `python -m benchmarks --plan {plan} --only`, {', '.join(keys)}"
    return (
        f"{target}: {where['processor']}, {where['cores']} cores, {results['threads']} threads a side; "
        f"{versions}. Medians; a ratio is the median of the ratios of neighbouring runs, quartiles in "
        "brackets, and above 1 it is slower than the export here. The fastest of a table, in each precision, "
        "is bold. A line says where a peer was not installed or failed."
    )


def chart_of(answer: dict[str, Any]) -> str | None:
    """Return an answer's picture, if it has one."""
    if "problem" in answer:
        return None
    module = importlib.import_module(f"benchmarks.{answer['module']}")
    found: str | None = module.chart(answer["result"]) if hasattr(module, "chart") else None
    return found


def file_name(key: str) -> str:
    """Return the file of a question's picture."""
    return f"{key}.svg"


def write_pictures(results: dict[str, Any], folder: Path) -> None:
    """Write every picture into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, answer in results["answers"].items():
        if svg := chart_of(answer):
            (folder / file_name(key)).write_text(svg, encoding="utf-8")


def short(results: dict[str, Any]) -> str:
    """Return the README's table: how many times as long the others take, by variant, 512 × 512."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for _, answer in in_order(results):
        options = answer.get("result", {}).get("options", {})
        if answer["module"] == "network" and options["size"] == 512:
            rows = answer["result"]["rows"]
            if any(row["side"] in OTHERS for row in rows):
                continue
            found[options["variant"]] = {row["side"]: row for row in rows if row["seconds"]}
    if not found:
        return "Not measured."
    names = list(dict.fromkeys(name for rows in found.values() for name in rows))
    lines = ["| logits, 512 × 512, batch 1 | " + " | ".join(variant.upper() for variant in found) + " |"]
    lines += ["|---|" + "---:|" * len(found)]
    for name in names:
        cells = [short_cell(rows[name]) if name in rows else "–" for rows in found.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    where = results["machine"]
    lines += ["", f"{where['processor']}, {results['threads']} of {where['cores']} cores. "]
    lines[-1] += "× is this side's time over that of the export here of the same precision, in turns."
    return "\n".join(lines)


def short_cell(row: dict[str, Any]) -> str:
    """Return a time, and for a peer its ratio."""
    seconds = f"{statistics.median(row['seconds']):.3f} s"
    if row["side"] in REFERENCES.values() or not row["ratios"]:
        return seconds
    return f"{seconds}, {summary(row['ratios']).median:.2f} ×"


def between_markers(document: str, name: str, text: str) -> str:
    """Return the document with the text in place of what is between the two markers of a name.

    Raises:
        ValueError: the document has not one of each, in this order.
    """
    first, last = BEGIN.format(name=name), END.format(name=name)
    before, begin, rest = document.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end or first in rest or last in before + after:
        raise ValueError(f"expected one line {first!r} and, below it, one line {last!r}.")
    return f"{before}{first}\n\n{text}\n\n{last}{after}"


def names_in(document: str) -> list[str]:
    """Return for which names the document has a marker."""
    return [name for name in (TABLES, SHORT) if BEGIN.format(name=name) in document]


def write(results: dict[str, Any], path: Path) -> None:
    """Put the tables, the short table or both into a document, by its markers, and the pictures beside it.

    They lie in a folder named after the document, since another may hold those of another machine.

    Raises:
        ValueError: the document has no markers, or not in pairs.
    """
    document = path.read_text(encoding="utf-8")
    names = names_in(document)
    if not names:
        raise ValueError(f"expected a line {BEGIN.format(name=TABLES)!r} or {BEGIN.format(name=SHORT)!r}.")
    pictures = f"pictures/{path.stem}"
    if TABLES in names:
        document = between_markers(document, TABLES, tables(results, pictures))
    if SHORT in names:
        document = between_markers(document, SHORT, short(results))
    if TABLES in names:
        write_pictures(results, path.parent / pictures)
    path.write_text(document, encoding="utf-8")
