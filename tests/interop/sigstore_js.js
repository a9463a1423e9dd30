// The sigstore libraries for Node, asked by tests: one JSON question on stdin, one JSON answer on stdout.
//   {"verify": [{bundle, root, artifact?, key?, thresholds, identity?}, ...]}  ->  [null or the reason of a refusal, ...]
//   {"sign": {signingConfig, token, data, type?}}                              ->  the bundle
"use strict";
const { bundleFromJSON, bundleToJSON } = require("@sigstore/bundle");
const { PublicKeyDetails, SigningConfig, TrustedRoot } = require("@sigstore/protobuf-specs");
const { bundleBuilderFromSigningConfig } = require("@sigstore/sign");
const { toSignedEntity, toTrustMaterial, Verifier } = require("@sigstore/verify");

function keys(found) {
  if (!found) return undefined;
  return { [found.hint]: { rawBytes: Buffer.from(found.der, "base64"), keyDetails: PublicKeyDetails.PKIX_ECDSA_P256_SHA_256 } };
}

function refusal(asked) {
  try {
    const trust = toTrustMaterial(TrustedRoot.fromJSON(asked.root), keys(asked.key));
    const artifact = asked.artifact === undefined ? undefined : Buffer.from(asked.artifact, "base64");
    new Verifier(trust, asked.thresholds).verify(toSignedEntity(bundleFromJSON(asked.bundle), artifact), asked.identity);
    return null;
  } catch (error) {
    return `${error.code || error.name}: ${error.message}`;
  }
}

async function sign(asked) {
  const builder = bundleBuilderFromSigningConfig({
    signingConfig: SigningConfig.fromJSON(asked.signingConfig),
    identityProvider: { getToken: async () => asked.token },
    bundleType: asked.type === undefined ? "messageSignature" : "dsseEnvelope",
  });
  return bundleToJSON(await builder.create({ data: Buffer.from(asked.data, "base64"), type: asked.type }));
}

async function main() {
  const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const said = asked.verify ? asked.verify.map(refusal) : await sign(asked.sign);
  process.stdout.write(JSON.stringify(said));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
