"""Verifies a delivery with the reference library of Standard Webhooks.

Reads JSON with secret, headers and body from standard input; fails where the
library refuses.
"""

import json
import sys

from standardwebhooks import Webhook

delivery = json.load(sys.stdin)
Webhook(delivery["secret"]).verify(delivery["body"], delivery["headers"])
