/** Hides secrets in what comes back from a host, so that an echo does not give them to the sandbox. */
import { Transform, type TransformCallback } from "node:stream";

/** Stands for a secret in a header. */
const hidden = "[redacted]";

/** A header's value without the secrets. */
export function veilText(text: string, secrets: readonly string[]): string {
  return secrets.reduce((veiled, secret) => veiled.replaceAll(secret, hidden), text);
}

/**
 * Passes bytes on with every secret in them replaced by as many asterisks, so
 * that lengths stay true. Only an end that may be the beginning of a secret
 * waits for what follows; nothing else is held back.
 */
export class SecretVeil extends Transform {
  readonly #secrets: readonly Buffer[];
  #held: Buffer = Buffer.alloc(0);

  constructor(secrets: readonly string[]) {
    super();
    this.#secrets = secrets.map((secret) => Buffer.from(secret));
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const bytes = Buffer.concat([this.#held, chunk]);
    for (const secret of this.#secrets) {
      for (let at = bytes.indexOf(secret); at >= 0; at = bytes.indexOf(secret, at)) {
        bytes.fill("*", at, at + secret.length);
      }
    }
    const keep = Math.max(0, ...this.#secrets.map((secret) => openEnd(bytes, secret)));
    this.#held = bytes.subarray(bytes.length - keep);
    if (keep < bytes.length) this.push(bytes.subarray(0, bytes.length - keep));
    done();
  }

  override _flush(done: TransformCallback): void {
    if (this.#held.length > 0) this.push(this.#held);
    done();
  }
}

/** How many bytes at the end are the beginning of the secret. */
function openEnd(bytes: Buffer, secret: Buffer): number {
  for (let size = Math.min(secret.length - 1, bytes.length); size > 0; size--) {
    if (bytes.subarray(bytes.length - size).equals(secret.subarray(0, size))) return size;
  }
  return 0;
}
