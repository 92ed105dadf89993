"""Takes what the tests read of PKITS out of its wheel; the keys of its authorities are published with it.

The keys lie in files that take a tenth of a second each to open, so they are opened once, here.
"""

import sys
import warnings
from pathlib import Path
from zipfile import ZipFile

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

_INSIDE = "cryptography_vectors/x509/PKITS_data/"
_PASSWORD = b"password"


def unpack(folder: Path) -> None:
    """Leave certs/, crls/, smime/ and authority_keys.pem in the folder, and the wheel no more."""
    (wheel,) = folder.glob("*.whl")
    with ZipFile(wheel) as archive:
        for member in archive.namelist():
            kind, _, name = member.removeprefix(_INSIDE).partition("/")
            if member.startswith(_INSIDE) and kind in ("certs", "crls", "smime") and name:
                (folder / kind).mkdir(exist_ok=True)
                (folder / kind / Path(name).name).write_bytes(archive.read(member))
        stores = [name for name in archive.namelist() if name.startswith(_INSIDE) and name.endswith(".p12")]
        keys = [_key(archive.read(name)) for name in stores if not name.endswith("EE.p12")]
    (folder / "authority_keys.pem").write_bytes(b"".join(keys))
    wheel.unlink()


def _key(store: bytes) -> bytes:
    try:
        key = pkcs12.load_key_and_certificates(store, _PASSWORD)[0]
    except ValueError:  # the one key whose parameters are its issuer's
        return b""
    assert key is not None
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    unpack(Path(sys.argv[1]))
