from tests.integration.tls.conftest import pki, run

__all__ = ["pki", "run"]
