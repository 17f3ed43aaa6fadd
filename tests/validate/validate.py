"""usage: validate.py FILE...

Validates JSON and NDJSON files of FHIR R4 resources with PyPI fhir.resources (its R4B models; R4B changed none of the types that this
gateway emits). Prints one line per finding and what was checked; exit 1 on any finding, 2 on wrong use.
"""

import json
import sys

from fhir.resources.R4B import get_fhir_model_class


def resources(path):
    """Each resource's line number and JSON text."""
    with open(path, encoding="utf-8") as file:
        if not path.endswith(".ndjson"):
            yield 1, file.read()
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def unique(pairs):
    """Refuses a member that is given twice, which json would drop silently."""
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise ValueError("a member is given twice")
    return dict(pairs)


def findings(text):
    """What is wrong with one resource, if anything."""
    try:
        resource = json.loads(text, object_pairs_hook=unique)
        model = get_fhir_model_class(resource["resourceType"])
    except (ValueError, KeyError, TypeError, LookupError) as error:
        return [f"not a resource: {error}"]
    try:
        model.model_validate(resource)
    except Exception as error:  # the library wraps, and sometimes leaks, several kinds
        details = getattr(error, "errors", None)
        if details is None:
            return [f"{type(error).__name__}: {error}"]
        return [f"{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in details()]
    return []


def main(paths):
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    checked = found = 0
    for path in paths:
        for number, text in resources(path):
            checked += 1
            for finding in findings(text):
                found += 1
                print(f"{path}:{number} fhir.resources: {finding}")
    print(f"fhir.resources: {checked} resources, {found} findings")
    return 1 if found or not checked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
