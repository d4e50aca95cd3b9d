"""What the data is made of: three npm packages of fixed version and content, unpacked into a folder."""

import base64
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A package of the npm registry; `integrity` is the SHA-512 that the registry states, `files` what is taken."""

    name: str
    version: str
    integrity: str
    files: tuple[str, ...]

    @property
    def folder(self) -> str:
        return self.name.split("/")[-1]

    @property
    def specifier(self) -> str:
        return f"{self.name}@{self.version}"


GLYPHS = Package(
    "@iconify-json/noto",
    "1.2.9",
    "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    ("icons.json", "chars.json", "info.json"),
)
NAMES = Package(
    "cldr-annotations-full",
    "48.2.0",
    "DV7A+rEcgUSNTRsVGNGqBZRmAkGfwhGHO5Q1dRwzBoBnVrHWp804JP7/QJdEc66iHmx3+zLWVIMCFLm0lW7PUQ==",
    ("annotations/en/annotations.json",),
)
DERIVED_NAMES = Package(
    "cldr-annotations-derived-full",
    "48.2.0",
    "log62km+AOzI7n/NEuNNFV0mg9DWnt67EYCh1RwxZq9dyRuyteB586LT83Ke8TchEfnwI9cIk2P31zO4nTvZmw==",
    ("annotationsDerived/en/annotations.json",),
)


def fetch(folder: Path) -> None:
    """Puts the packages' files into `folder`. Fails when a package is not what it was when this was written."""
    for package in (GLYPHS, NAMES, DERIVED_NAMES):
        if all((folder / package.folder / file).exists() for file in package.files):
            continue
        print(f"fetching {package.specifier}", flush=True)
        with tempfile.TemporaryDirectory() as place:
            command = ["npm", "pack", "--silent", "--pack-destination", place, package.specifier]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            (archive,) = Path(place).iterdir()
            _unpack(package, archive.read_bytes(), folder / package.folder)


def _unpack(package: Package, archive: bytes, folder: Path) -> None:
    found = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != package.integrity:
        raise SystemExit(f"{package.specifier} has the SHA-512 {found}, not {package.integrity}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        for file in package.files:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(members.extractfile(f"package/{file}").read())


def read(folder: Path, package: Package, file: str) -> dict:
    """A JSON file of a fetched package."""
    return json.loads((folder / package.folder / file).read_text(encoding="utf-8"))
