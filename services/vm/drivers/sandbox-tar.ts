/**
 * Packing and unpacking the work dir by the `tar` inside a sandbox, as the
 * sandbox's own user: no path of the host is ever walked for a guest.
 */
import { Readable } from "node:stream";
import { DevmeshError } from "@devmesh/mesh/errors";
import type { SandboxProcess } from "./driver.ts";
import { sandboxFailed } from "./driver-errors.ts";
import { workspaceInvalid } from "./tar-format.ts";

/** Unpacks stdin into the work dir. */
export const unpackCommand = ["tar", "-x", "-p", "-f", "-", "-C", "/work"] as const;

/** Packs the work dir to stdout. */
export const packCommand = ["tar", "-c", "-f", "-", "-C", "/work", "."] as const;

/** What a failed unpacking means: tar's own errors are the archive's fault. */
export function unpackFailure(driver: string, exitCode: number, text: string): DevmeshError {
  const line = text.trim().split("\n")[0] ?? "";
  if (exitCode === 1 || exitCode === 2) {
    return workspaceInvalid(`the archive cannot be unpacked: ${line}`, "", new Error(text));
  }
  return sandboxFailed(driver, `unpacking was ended (exit code ${exitCode})`, new Error(text));
}

/**
 * The archive that a program running `packCommand` writes. Ends with an error
 * if tar fails. Files that change meanwhile are packed as they were read.
 */
export function readArchive(
  driver: string,
  program: SandboxProcess,
  signal?: AbortSignal,
): Readable {
  const kill = () => {
    program.signal("SIGKILL").catch(() => {
      // The sandbox is gone, and the program with it.
    });
  };
  signal?.addEventListener("abort", kill, { once: true });
  const stream = Readable.from(chunks(driver, program, signal), { objectMode: false });
  stream.once("close", () => {
    signal?.removeEventListener("abort", kill);
    kill();
  });
  return stream;
}

async function* chunks(
  driver: string,
  program: SandboxProcess,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  let errors = "";
  for await (const { stream, data } of program.output()) {
    if (stream === "stdout") yield data;
    else if (errors.length < 4096) errors += data.toString();
  }
  const { exitCode } = await program.exit;
  if (signal?.aborted) throw new DevmeshError("CANCELLED", "the download was cancelled");
  // 1: a file changed while it was read.
  if (exitCode > 1) {
    throw sandboxFailed(driver, "the work dir could not be packed", new Error(errors.trim()));
  }
}
