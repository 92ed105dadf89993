"""Where checkpoints are pushed, from the settings."""

import ssl
import time
from pathlib import Path

from broker.adapters.ledger_export import (
    CheckpointExport,
    Destination,
    FileDestination,
    HttpDestination,
    SyslogDestination,
)
from broker.errors import ConfigError
from broker.ledger.record_forms import stamp
from broker.settings.broker_file import Export, FileExport, SyslogExport


def checkpoint_export(exports: tuple[Export, ...]) -> CheckpointExport:
    """The export of checkpoints. Raises ConfigError for files that cannot be used."""
    return CheckpointExport([_destination(export) for export in exports])


def _destination(export: Export) -> Destination:
    if isinstance(export, FileExport):
        return FileDestination(Path(export.path))
    if isinstance(export, SyslogExport):
        context = _context(export.ca_file, export.certificate_file, export.key_file)
        return SyslogDestination(export.host, export.port, context=context, now=lambda: stamp(time.time()))
    token_file = Path(export.token_file) if export.token_file else None
    secure = _context(export.ca_file, "", "") if export.url.startswith("https:") else None
    return HttpDestination(export.url, context=secure, token_file=token_file)


def _context(ca_file: str, certificate_file: str, key_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        if certificate_file:
            context.load_cert_chain(certificate_file, key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("export_files", "The certificates of an export cannot be used.", str(error)) from None
    return context
