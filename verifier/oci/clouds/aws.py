"""Amazon ECR, private and public: GetAuthorizationToken gives user `AWS` and a password for twelve hours.

Credentials, region of the account, roles and proxies are the SDK's own business (AWS_PROFILE, IRSA, EKS pod identity, instance roles ...); the
registry's region stands in its name. Needs the right ecr:GetAuthorizationToken. Source:
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html, .../userguide/ecr-repositories.html (endpoints)
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Any

from verifier.oci.clouds.lease import CONNECT_SECONDS, SECONDS, Asking, Lease, failed, logging_in
from verifier.oci.credentials import Basic

_PUBLIC = ("public.ecr.aws", "ecr-public.aws.com")
HOSTS = re.compile(
    r"public\.ecr\.aws|ecr-public\.aws\.com"
    r"|(?P<account>\d{12})\.dkr[.-]ecr(?P<fips>-fips)?\.(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d+)"
    r"\.(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn|sc2s\.sgov\.gov|c2s\.ic\.gov)"
)


def log_in(host: str, asking: Asking) -> Lease:
    """A password for the registry; raises InconclusiveError `login-failed`."""
    found = HOSTS.fullmatch(host)
    with logging_in("AWS", "aws", host):
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    public = found is None or found["region"] is None
    with logging_in("AWS", "aws", host, BotoCoreError, ClientError, ValueError):
        timeouts = {"connect_timeout": CONNECT_SECONDS, "read_timeout": SECONDS, "retries": {"total_max_attempts": 2}}
        config = Config(**timeouts, use_fips_endpoint=bool(found and found["fips"]))
        region = "us-east-1" if public or found is None else found["region"]  # the public registry is asked about there only
        client: Any = boto3.session.Session().client("ecr-public" if public else "ecr", region_name=region, config=config)
        answer = client.get_authorization_token()["authorizationData"]
    data = answer if public else (answer or [{}])[0]
    try:
        user, _, password = base64.b64decode(data["authorizationToken"], validate=True).decode().partition(":")
        seconds = (data["expiresAt"] - datetime.now(UTC)).total_seconds()
    except (KeyError, TypeError, binascii.Error, UnicodeDecodeError) as error:
        raise failed("AWS: the answer holds no token", host) from error
    return Lease(Basic(user, password), seconds)
