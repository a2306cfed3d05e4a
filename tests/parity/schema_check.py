"""Enough of JSON Schema to check a report: refuses keywords it does not know."""

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
KNOWN = {
    *("$schema", "$defs", "$ref", "title", "description", "type", "const", "enum", "required"),
    *("properties", "additionalProperties", "items", "minItems", "maxItems", "anyOf"),
}


def violations(value, schema, root=None, path="$"):
    """The places where `value` breaks `schema`, as sentences."""
    root = root or schema
    assert set(schema) <= KNOWN, f"unknown keywords at {path}: {set(schema) - KNOWN}"
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return violations(value, target, root, path)
    if "anyOf" in schema:
        tried = [violations(value, each, root, path) for each in schema["anyOf"]]
        return [] if any(not each for each in tried) else min(tried, key=len)
    found = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{path}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path}: {value!r} is none of {schema['enum']}")
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(is_of(value, name) for name in types):
            return [*found, f"{path}: {value!r} is no {' or '.join(types)}"]
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        found += [f"{path}: {name} missing" for name in schema.get("required", ()) if name not in value]
        more = schema.get("additionalProperties", True)
        for name, item in value.items():
            if name in properties:
                found += violations(item, properties[name], root, f"{path}.{name}")
            elif more is False:
                found.append(f"{path}: {name} unexpected")
            elif isinstance(more, dict):
                found += violations(item, more, root, f"{path}.{name}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{path}: {len(value)} items")
        for i, item in enumerate(value):
            found += violations(item, schema.get("items", {}), root, f"{path}[{i}]")
    return found


def is_of(value, name):
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])
