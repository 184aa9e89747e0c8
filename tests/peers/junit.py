"""Reads JUnit XML with junitparser, as tools of CI systems do.

Reads the XML from standard input; prints as JSON what there is of each outcome,
and the names of the test cases with their outcomes.
"""

import json
import sys
import tempfile

from junitparser import Error, Failure, JUnitXml

with tempfile.NamedTemporaryFile(suffix=".xml") as file:
    file.write(sys.stdin.buffer.read())
    file.flush()
    xml = JUnitXml.fromfile(file.name)

OUTCOMES = {Failure: "failure", Error: "error"}
cases = []
for suite in xml:
    for case in suite:
        outcomes = [OUTCOMES[type(result)] for result in case.result]
        cases.append([case.name, *(outcomes or ["passed"])])
json.dump(
    {"tests": xml.tests, "failures": xml.failures, "errors": xml.errors, "cases": cases},
    sys.stdout,
)
