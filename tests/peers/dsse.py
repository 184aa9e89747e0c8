"""Verifies a DSSE envelope with securesystemslib, which knows nothing of Congruent.

Reads the envelope's JSON from standard input; the public key's PEM is the file
in the first argument. Prints the payload.
"""

import json
import sys

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

with open(sys.argv[1], "rb") as file:
    public = load_pem_public_key(file.read())
envelope = Envelope.from_dict(json.load(sys.stdin))
(keyid,) = envelope.signatures
key = SSlibKey.from_crypto(public, keyid=keyid)
envelope.verify([key], threshold=1)
sys.stdout.buffer.write(envelope.payload)
