/**
 * The file tree of a fake sandbox: `/work` and `/tmp` in memory, nothing else.
 */
import { Readable } from "node:stream";
import { padding, type TarEntry, tarEnd, tarHeader } from "./tar-format.ts";
import type { GuardedEntry } from "./tar-guard.ts";

interface FakeNode {
  readonly type: "file" | "directory" | "symlink";
  readonly mode: number;
  readonly data: Buffer;
  /** Of a symlink. */
  readonly target: string;
}

const roots = ["/work", "/tmp"];

/** Files by absolute path. Refuses paths outside of `/work` and `/tmp`, and more than `maxBytes`. */
export class FakeFiles {
  readonly #nodes = new Map<string, FakeNode>();
  readonly #maxBytes: number;
  #isFull = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** True if the last write was refused for want of room. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** The content of a file; undefined if there is none. Follows links. */
  read(path: string): Buffer | undefined {
    const node = this.#nodes.get(this.#resolve(path));
    return node?.type === "file" ? node.data : undefined;
  }

  /** The mode of a file; undefined if there is none. Follows links. */
  mode(path: string): number | undefined {
    const node = this.#nodes.get(this.#resolve(path));
    return node?.type === "file" ? node.mode : undefined;
  }

  /** True for a directory, the roots included. */
  isDirectory(path: string): boolean {
    const real = this.#resolve(path);
    return roots.includes(real) || this.#nodes.get(real)?.type === "directory";
  }

  /** Writes a file; throws where a real one would fail (`EROFS`, `ENOSPC`). */
  write(path: string, data: Uint8Array, mode = 0o644): void {
    this.#set(this.#resolve(path), { type: "file", mode, data: Buffer.from(data), target: "" });
  }

  /** Adds what came out of an archive. */
  async add({ entry, content }: GuardedEntry): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of content) parts.push(part);
    const path = `/work/${entry.path}`;
    const parents = entry.path.split("/").slice(0, -1);
    for (let depth = 1; depth <= parents.length; depth++) {
      const parent = `/work/${parents.slice(0, depth).join("/")}`;
      if (!this.#nodes.has(parent)) this.#set(parent, directory(0o755));
    }
    switch (entry.type) {
      case "file":
        return this.#set(path, {
          type: "file",
          mode: entry.mode,
          data: Buffer.concat(parts),
          target: "",
        });
      case "directory":
        return this.#set(path, directory(entry.mode));
      case "symlink":
        return this.#set(path, {
          type: "symlink",
          mode: 0o777,
          data: Buffer.alloc(0),
          target: entry.target,
        });
      case "link": {
        const node = this.#nodes.get(`/work/${entry.target}`);
        return node && this.#set(path, node);
      }
      default:
        return entry.type satisfies never;
    }
  }

  /** The work dir as a plain tar stream. */
  archive(): Readable {
    const nodes = [...this.#nodes].filter(([path]) => path.startsWith("/work/")).sort();
    return Readable.from(
      (function* () {
        for (const [path, node] of nodes) {
          const entry: TarEntry = {
            type: node.type,
            path: path.slice("/work/".length),
            target: node.target,
            mode: node.mode,
            size: node.data.length,
            mtimeSeconds: 0,
          };
          yield Buffer.concat([tarHeader(entry), node.data, padding(node.data.length)]);
        }
        yield tarEnd();
      })(),
      { objectMode: false },
    );
  }

  /** How many bytes its files hold. */
  get bytes(): number {
    return [...this.#nodes.values()].reduce((sum, { data }) => sum + data.length, 0);
  }

  #set(path: string, node: FakeNode): void {
    if (!roots.some((root) => path.startsWith(`${root}/`))) throw fault("EROFS", path);
    let bytes = node.data.length;
    for (const [other, { data }] of this.#nodes) if (other !== path) bytes += data.length;
    this.#isFull = bytes > this.#maxBytes;
    if (this.#isFull) throw fault("ENOSPC", path);
    this.#nodes.set(path, node);
  }

  #resolve(path: string, hops = 0): string {
    const real: string[] = [];
    for (const part of path.split("/")) {
      if (part === "" || part === ".") continue;
      if (part === "..") {
        real.pop();
        continue;
      }
      real.push(part);
      const node = this.#nodes.get(`/${real.join("/")}`);
      if (node?.type !== "symlink") continue;
      if (hops > 40) throw fault("ELOOP", path);
      real.pop();
      const next = this.#resolve(`/${real.join("/")}/${node.target}`, hops + 1);
      real.splice(0, real.length, ...next.split("/").slice(1));
    }
    return `/${real.join("/")}`;
  }
}

function directory(mode: number): FakeNode {
  return { type: "directory", mode, data: Buffer.alloc(0), target: "" };
}

function fault(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
