"""Requests as clients write them.

To JSON Schema 914.0 is an integer. No client that is made of the description writes
one so, and the server takes integers without a fraction alone (docs/api.md).
"""

import schemathesis


def whole(value):
    """Writes what is an integer as one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, (float, list, dict)):
        case.body = whole(case.body)
