"""Cut Klaviyo's OpenAPI description down to what the tests of the simulator need: ``python trim.py stable.json``.

What stays, word for word: the operations below, with their limits, what a query may say, and the schemas of their
answers; and, as ``x-filters``, what the words about a filter say. What goes: descriptions, examples,
bodies of requests, and how a segment describes its profiles.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

TAGS = {"Accounts", "Data Privacy", "Events", "Lists", "Metrics", "Profiles", "Segments"}
BESIDES = {"create_back_in_stock_subscription"}
WORDS = {"description", "example", "title"}
CUT = {"SegmentDefinition"}


def wordless(node: Any, *, named: bool = False) -> Any:
    """Return a schema without its words.

    Args:
        named: The keys are names of properties, which may be words too.
    """
    if isinstance(node, list):
        return [wordless(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: wordless(value, named=key == "properties" and not named)
        for key, value in node.items()
        if named or (key not in WORDS and not key.startswith("x-"))
    }


def filters(parameter: dict[str, Any]) -> dict[str, Any]:
    """Return the operators of each field of a filter, which Klaviyo describes in words."""
    if parameter["name"] != "filter":
        return {}
    words = re.findall(r"`([\w.-]+)`: ((?:`[\w-]+`(?:, )?)+)", parameter["description"])
    return {"x-filters": {field: re.findall(r"`([\w-]+)`", operators) for field, operators in words}}


def operation(found: dict[str, Any]) -> dict[str, Any]:
    """Return what stays of one operation."""
    asked = [{**wordless(each), **filters(each)} for each in found["parameters"] if each["in"] == "query"]
    answers = {status: answer for status, answer in found["responses"].items() if status.startswith("2")}
    return {
        "operationId": found["operationId"],
        "x-klaviyo-ratelimit": found["x-klaviyo-ratelimit"],
        "parameters": asked,
        "responses": {status: wordless({"content": answer.get("content", {})}) for status, answer in answers.items()},
    }


def needed(schemas: dict[str, Any], node: Any) -> set[str]:
    """Return the names of the schemas that a node refers to, directly or not."""
    todo, found = [node], set[str]()
    while todo:
        for name in set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(todo.pop()))) - found:
            found.add(name)
            todo.append(schemas[name])
    return found


def trimmed(whole: dict[str, Any]) -> dict[str, Any]:
    """Return what stays."""
    parts = whole["components"]
    schemas = {name: {"type": "object"} if name in CUT else wordless(each) for name, each in parts["schemas"].items()}
    paths: dict[str, Any] = {}
    for path, methods in whole["paths"].items():
        kept = {
            method: operation(found)
            for method, found in methods.items()
            if isinstance(found, dict)
            and (found.get("operationId") in BESIDES or TAGS.intersection(found.get("tags", ())))
        }
        if kept:
            paths[path] = kept
    errors = {"ClientError": wordless(parts["responses"]["ClientError"])}
    names = needed(schemas, [paths, errors])
    components = {"responses": errors, "schemas": {name: schemas[name] for name in sorted(names)}}
    return {"openapi": whole["openapi"], "info": whole["info"], "paths": paths, "components": components}


if __name__ == "__main__":
    description = json.loads(Path(sys.argv[1]).read_text())
    version = description["info"]["version"]
    target = Path(__file__).with_name(f"klaviyo-{version}.json")
    target.write_text(json.dumps(trimmed(description), separators=(",", ":")).replace('},"/api/', '},\n"/api/') + "\n")
