/** A certificate for 127.0.0.1 that its own authority signs, made by openssl. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ensureBinary } from "./debian.ts";
import { attempt, type Found, type PartOptions } from "./part.ts";
import { run } from "./run.ts";

/** A key and its certificate. */
export interface Certificate {
  readonly key: Buffer;
  readonly cert: Buffer;
  /** The file that makes clients trust it. */
  readonly caPath: string;
}

/** Makes one in a folder. */
export async function makeCertificate(
  folder: string,
  options: PartOptions = {},
): Promise<Found<Certificate>> {
  const openssl = await ensureBinary("openssl", ["openssl"], options);
  if (!openssl.ok) return openssl;
  return await attempt("let openssl write into the temp folder", async () => {
    const [key, cert] = [join(folder, "tls.key"), join(folder, "tls.crt")];
    await run(
      openssl.value,
      [
        ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
        ...["-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=devmesh test"],
        ...["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
      ],
      { timeoutMs: 20_000 },
    );
    return { key: await readFile(key), cert: await readFile(cert), caPath: cert };
  });
}
