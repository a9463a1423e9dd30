"""The clouds whose registries are known."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import Struct

from verifier.oci.clouds import aws, azure, google
from verifier.oci.clouds.lease import Asking, Lease


class Cloud(Struct, frozen=True):
    """One cloud; `hosts` must match the whole host."""

    hosts: re.Pattern[str]
    log_in: Callable[[str, Asking], Lease]


CLOUDS = (Cloud(aws.HOSTS, aws.log_in), Cloud(google.HOSTS, google.log_in), Cloud(azure.HOSTS, azure.log_in))
