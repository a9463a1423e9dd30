"""Signing keys by KEYREF: a file, the environment, or somebody who keeps them."""

KINDS = "a PEM file, cosign's encrypted PEM, env://NAME, awskms://, gcpkms://, azurekms://, hashivault://, pkcs11: or k8s://NAMESPACE/SECRET"
