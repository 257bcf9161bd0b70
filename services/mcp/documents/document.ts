/**
 * Owns the rules of a document: what may be taken in, its identity and its
 * content hash. How it is cut and stored is left to `chunks/` and the store.
 */
import { createHash } from "node:crypto";
import { DevmeshError, invalidField } from "@devmesh/mesh/errors";

/** The domains that documents are kept apart by. */
export const collections = ["notes", "code", "runs"] as const;

/** One of the domains. */
export type Collection = (typeof collections)[number];

/** True if the text names a collection. */
export function isCollection(name: string): name is Collection {
  return collections.some((collection) => collection === name);
}

/** What identifies a document. */
export interface DocumentKey {
  readonly collection: Collection;
  /** A relative path with `/`, or any stable name. */
  readonly source: string;
}

/** A document as it is offered; nothing about it has been checked. */
export interface DocumentInput {
  readonly source: string;
  /** A collection's name, or empty: by the source's file ending. */
  readonly collection: string;
  readonly text: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** True: its text never leaves for a cloud provider. */
  readonly localOnly: boolean;
}

/** A document that keeps all rules. */
export interface Document extends DocumentKey {
  readonly text: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly localOnly: boolean;
  /** SHA-256, in hex, of everything that decides what is stored for it. */
  readonly contentHash: string;
}

/** The most text that one document may have, in UTF-8 bytes. */
export const maxDocumentBytes = 4 * 1024 * 1024;

/** Raised when chunks of the same text come out differently: it makes every document changed. */
const chunkingVersion = 1;

const maxSourceBytes = 1024;
const maxMetadata = 32;
const maxMetadataKeyBytes = 63;
const maxMetadataValueBytes = 1024;

/**
 * Checks a document. Throws INVALID_FIELD for a source that is no clean
 * relative path, bad metadata, an unknown collection or binary text, and
 * TOO_LARGE for text over 4 MiB.
 */
export function checkDocument(input: DocumentInput): Document {
  const source = checkSource(input.source);
  if (input.collection !== "" && !isCollection(input.collection)) {
    throw invalidField("collection", `wants one of ${collections.join(", ")}, or empty`);
  }
  const collection = isCollection(input.collection) ? input.collection : collectionOf(source);
  const metadata = checkMetadata(input.metadata);
  checkText(input.text);
  const { text, localOnly } = input;
  const contentHash = createHash("sha256")
    .update(JSON.stringify([chunkingVersion, localOnly, Object.entries(metadata).sort()]))
    .update(text)
    .digest("hex");
  return { source, collection, text, metadata, localOnly, contentHash };
}

function checkSource(source: string): string {
  if (source === "") throw invalidField("source", "must not be empty");
  if (Buffer.byteLength(source) > maxSourceBytes) {
    throw invalidField("source", `must have at most ${maxSourceBytes} bytes`);
  }
  if (!source.isWellFormed() || /\p{Cc}/u.test(source)) {
    throw invalidField("source", "must not have control characters");
  }
  if (source.includes("\\")) throw invalidField("source", "must separate with `/`, not `\\`");
  if (source.startsWith("/") || /^[A-Za-z]:(\/|$)/.test(source)) {
    throw invalidField("source", "must be relative");
  }
  const segments = source.split("/");
  if (segments.some((segment) => segment === "" || segment === "." || segment === "..")) {
    throw invalidField("source", "must be a clean path: no empty, `.` or `..` segments");
  }
  return source;
}

function checkMetadata(metadata: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(metadata);
  if (entries.length > maxMetadata) {
    throw invalidField("metadata", `must have at most ${maxMetadata} entries`);
  }
  for (const [key, value] of entries) {
    const fits =
      key !== "" &&
      Buffer.byteLength(key) <= maxMetadataKeyBytes &&
      Buffer.byteLength(value) <= maxMetadataValueBytes;
    if (!fits) {
      throw invalidField("metadata", "keys have 1 to 63 bytes, values at most 1,024");
    }
    if (!isStorable(key) || !isStorable(value)) {
      throw invalidField("metadata", "must not have NUL or broken characters");
    }
  }
  return Object.fromEntries(entries);
}

function checkText(text: string): void {
  if (Buffer.byteLength(text) > maxDocumentBytes) {
    throw new DevmeshError("TOO_LARGE", "text: must have at most 4 MiB", {
      metadata: { field: "text", maxBytes: String(maxDocumentBytes) },
    });
  }
  if (!isStorable(text) || hasManyControls(text)) {
    throw invalidField("text", "looks binary; only text can be taken in");
  }
}

/** True if every store can keep the text as it is. */
export function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes("\0");
}

/** More than 30 % control characters other than white space. */
function hasManyControls(text: string): boolean {
  let controls = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if ((code < 0x20 && (code < 0x09 || code > 0x0d)) || (code >= 0x7f && code < 0xa0)) {
      controls += 1;
    }
  }
  return controls > text.length * 0.3;
}

const codeEnding =
  /\.(ts|tsx|mts|cts|js|jsx|mjs|cjs|py|pyi|go|rs|java|kt|kts|scala|swift|c|h|cc|cpp|cxx|hh|hpp|cs|rb|php|lua|sh|bash|zsh|ps1|sql|proto|graphql|css|scss|html|vue|svelte|json|jsonc|yaml|yml|toml|ini|xml|gradle|tf|hcl|nix|zig|dart|ex|exs|erl|clj|hs|ml|r|jl|pl)$/i;
const codeName = /(^|\/)(Dockerfile|Makefile|Caddyfile|Jenkinsfile|Rakefile|Gemfile)[^/]*$/;
const runEnding = /\.(log|out|err)$/i;

/** The collection of a document whose sender named none. */
export function collectionOf(source: string): Collection {
  if (codeEnding.test(source) || codeName.test(source)) return "code";
  return runEnding.test(source) ? "runs" : "notes";
}
