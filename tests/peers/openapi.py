"""Holds the document on standard input to the rules of OpenAPI 3.1."""

import json
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator, validate

validate(json.load(sys.stdin.buffer), cls=OpenAPIV31SpecValidator)
