"""Verifies a DSSE envelope with securesystemslib, and reads the statement in it
with in-toto's own bindings; neither knows anything of Congruent.

Reads the envelope's JSON from standard input. The arguments are how many of the
keys must have signed, and the public keys' PEM files. Prints the payload.
"""

import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey


def key(file: str) -> SSlibKey:
    """The key in a file, under the id that manifests give it."""
    public = load_pem_public_key(Path(file).read_bytes())
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SSlibKey.from_crypto(public, keyid=f"sha256:{hashlib.sha256(spki).hexdigest()}")


threshold, *files = sys.argv[1:]
envelope = Envelope.from_dict(json.load(sys.stdin))
envelope.verify([key(file) for file in files], threshold=int(threshold))
message = json_format.Parse(envelope.payload, StatementMessage())
Statement.copy_from_pb(message).validate()
sys.stdout.buffer.write(envelope.payload)
