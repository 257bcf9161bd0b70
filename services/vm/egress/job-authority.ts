/**
 * A certificate authority for one job: its key is in this process alone and is
 * gone with the job. Which hosts get a certificate is left to the proxy.
 */
import { createHash, generateKeyPair, type KeyObject, randomBytes, sign } from "node:crypto";
import { createSecureContext, type SecureContext } from "node:tls";
import { promisify } from "node:util";
import { AsnConvert, OctetString } from "@peculiar/asn1-schema";
import * as asn1 from "@peculiar/asn1-x509";

const hourMs = 3_600_000;

/** Sandboxes' clocks may be off: certificates begin before, and last longer than any job may run. */
const lifetime = { beforeMs: 24 * hourMs, afterMs: 48 * hourMs };

/** Certificates that are kept at once; beyond that they are made anew. */
const maxContexts = 1_000;

const ecdsaWithSha256 = "1.2.840.10045.4.3.2";
const serverAuth = "1.3.6.1.5.5.7.3.1";
const commonName = "2.5.4.3";

const makeKeyPair = promisify(generateKeyPair);

/** What a certificate is made of. */
interface CertificateInput {
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly issuerPublicKey: KeyObject;
  readonly signingKey: KeyObject;
  readonly nowMs: number;
  readonly extensions: readonly asn1.Extension[];
}

/** Gives certificates for hosts that a sandbox trusts for one job. */
export class JobAuthority {
  /** The authority's own certificate, PEM. */
  readonly certificate: string;
  readonly #name: string;
  readonly #caKey: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  /** All hosts' certificates have the same key. */
  readonly #hostKey: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly #nowMs: number;
  readonly #contexts = new Map<string, SecureContext>();

  private constructor(
    name: string,
    nowMs: number,
    caKey: { readonly publicKey: KeyObject; readonly privateKey: KeyObject },
    hostKey: { readonly publicKey: KeyObject; readonly privateKey: KeyObject },
  ) {
    this.#name = name;
    this.#nowMs = nowMs;
    this.#caKey = caKey;
    this.#hostKey = hostKey;
    const isCa = new asn1.BasicConstraints({ cA: true, pathLenConstraint: 0 });
    const usage = new asn1.KeyUsage(asn1.KeyUsageFlags.keyCertSign);
    this.certificate = toPem(
      this.#issue(name, caKey.publicKey, [
        extension(asn1.id_ce_basicConstraints, isCa, true),
        extension(asn1.id_ce_keyUsage, usage, true),
      ]),
    );
  }

  /** Makes an authority for a job. */
  static async create(jobId: string, nowMs: number): Promise<JobAuthority> {
    const options = { namedCurve: "P-256" };
    const keys = await Promise.all([makeKeyPair("ec", options), makeKeyPair("ec", options)]);
    return new JobAuthority(`devmesh egress of ${jobId}`, nowMs, keys[0], keys[1]);
  }

  /** What a TLS server needs to be taken for `host` by the job's sandbox. */
  contextFor(host: string): SecureContext {
    const known = this.#contexts.get(host);
    if (known !== undefined) return known;
    if (this.#contexts.size >= maxContexts) this.#contexts.clear();
    const context = createSecureContext({
      cert: toPem(this.#hostCertificate(host)),
      key: this.#hostKey.privateKey.export({ type: "pkcs8", format: "pem" }),
      minVersion: "TLSv1.2",
    });
    this.#contexts.set(host, context);
    return context;
  }

  #hostCertificate(host: string): Buffer {
    const names = new asn1.SubjectAlternativeName([new asn1.GeneralName({ dNSName: host })]);
    const usage = new asn1.KeyUsage(asn1.KeyUsageFlags.digitalSignature);
    // A common name has at most 64 characters; who checks looks at the alternative names.
    return this.#issue(host.slice(0, 64), this.#hostKey.publicKey, [
      extension(asn1.id_ce_basicConstraints, new asn1.BasicConstraints({ cA: false }), true),
      extension(asn1.id_ce_keyUsage, usage, true),
      extension(asn1.id_ce_extKeyUsage, new asn1.ExtendedKeyUsage([serverAuth])),
      extension(asn1.id_ce_subjectAltName, names),
    ]);
  }

  #issue(subject: string, publicKey: KeyObject, extensions: readonly asn1.Extension[]): Buffer {
    return makeCertificate({
      subject,
      issuer: this.#name,
      publicKey,
      issuerPublicKey: this.#caKey.publicKey,
      signingKey: this.#caKey.privateKey,
      nowMs: this.#nowMs,
      extensions,
    });
  }
}

function makeCertificate(input: CertificateInput): Buffer {
  const { subject, issuer, publicKey, issuerPublicKey, signingKey, nowMs, extensions } = input;
  const algorithm = new asn1.AlgorithmIdentifier({ algorithm: ecdsaWithSha256 });
  const keyInfo = publicKey.export({ type: "spki", format: "der" });
  const body = new asn1.TBSCertificate({
    version: asn1.Version.v3,
    serialNumber: bytesOf(serial()),
    signature: algorithm,
    issuer: nameOf(issuer),
    validity: new asn1.Validity({
      notBefore: new Date(nowMs - lifetime.beforeMs),
      notAfter: new Date(nowMs + lifetime.afterMs),
    }),
    subject: nameOf(subject),
    subjectPublicKeyInfo: AsnConvert.parse(keyInfo, asn1.SubjectPublicKeyInfo),
    extensions: new asn1.Extensions([
      ...extensions,
      extension(asn1.id_ce_subjectKeyIdentifier, new asn1.SubjectKeyIdentifier(keyId(publicKey))),
      extension(
        asn1.id_ce_authorityKeyIdentifier,
        new asn1.AuthorityKeyIdentifier({
          keyIdentifier: new asn1.KeyIdentifier(keyId(issuerPublicKey)),
        }),
      ),
    ]),
  });
  const signature = sign("sha256", Buffer.from(AsnConvert.serialize(body)), signingKey);
  const certificate = new asn1.Certificate({
    tbsCertificate: body,
    signatureAlgorithm: algorithm,
    signatureValue: bytesOf(signature),
  });
  return Buffer.from(AsnConvert.serialize(certificate));
}

/** Positive, and never two alike. */
function serial(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function keyId(key: KeyObject): ArrayBuffer {
  const der = key.export({ type: "spki", format: "der" });
  return bytesOf(createHash("sha1").update(der).digest());
}

function nameOf(text: string): asn1.Name {
  const value = new asn1.AttributeValue({ utf8String: text });
  const part = new asn1.AttributeTypeAndValue({ type: commonName, value });
  return new asn1.Name([new asn1.RelativeDistinguishedName([part])]);
}

function extension(id: string, value: object, critical = false): asn1.Extension {
  const extnValue = new OctetString(AsnConvert.serialize(value));
  return new asn1.Extension({ extnID: id, critical, extnValue });
}

/** A copy: the library keeps the memory that it is given. */
function bytesOf(buffer: Buffer): ArrayBuffer {
  return new Uint8Array(buffer).buffer;
}

function toPem(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}
