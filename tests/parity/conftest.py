"""The Hub on the loopback interface, which the tests of loading talk to as well."""

from tests.tf_segformer.conftest import hub

__all__ = ["hub"]
