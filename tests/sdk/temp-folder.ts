/** Temporary folders with files, for tests. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A folder that goes away with `using`. */
export interface TempFolder extends Disposable {
  readonly path: string;
  /** Writes a file; makes the folders it needs. */
  write(name: string, content?: string | Uint8Array, mode?: number): string;
}

/** Makes a folder with files. */
export function tempFolder(files: Readonly<Record<string, string>> = {}): TempFolder {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "devmesh-test-")));
  const write = (name: string, content: string | Uint8Array = "", mode = 0o644) => {
    const file = join(path, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content, { mode });
    return file;
  };
  for (const [name, content] of Object.entries(files)) write(name, content);
  return { path, write, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
