"""An OCI image layout with one image in it."""

import gzip
import hashlib
import json
from pathlib import Path as File
from typing import Any

CREATED = "2026-01-02T03:04:05Z"
MEDIA = "application/vnd.oci.image"
TAG = "image"


def write(folder: File, archives: list[bytes], packed: bool = False) -> str:
    """Writes the image that has these layers, lowest first; gives its reference."""
    (folder / "blobs/sha256").mkdir(parents=True)
    packing = "+gzip" if packed else ""
    blobs = [gzip.compress(archive, mtime=0) if packed else archive for archive in archives]
    layers = [put(folder, f"{MEDIA}.layer.v1.tar{packing}", blob) for blob in blobs]
    config = {
        "created": CREATED,
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(one)}" for one in archives]},
        "history": [{"created": CREATED, "created_by": "images"} for _ in archives],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": put(folder, f"{MEDIA}.config.v1+json", as_json(config)),
        "layers": layers,
    }
    described = put(folder, manifest["mediaType"], as_json(manifest))  # type: ignore[arg-type]
    described |= {
        "platform": {"os": "linux", "architecture": "amd64"},
        "annotations": {"org.opencontainers.image.ref.name": TAG},
    }
    (folder / "oci-layout").write_bytes(as_json({"imageLayoutVersion": "1.0.0"}))
    (folder / "index.json").write_bytes(as_json({"schemaVersion": 2, "manifests": [described]}))
    return f"oci:{folder}:{TAG}"


def put(folder: File, media_type: str, blob: bytes) -> dict[str, Any]:
    """Puts a blob in its place, and describes it."""
    (folder / "blobs/sha256" / sha256(blob)).write_bytes(blob)
    return {"mediaType": media_type, "digest": f"sha256:{sha256(blob)}", "size": len(blob)}


def sha256(blob: bytes) -> str:
    """The digest that blobs are named by."""
    return hashlib.sha256(blob).hexdigest()


def as_json(value: object) -> bytes:
    """JSON that is the same each time."""
    return json.dumps(value, indent=1, sort_keys=True).encode()
