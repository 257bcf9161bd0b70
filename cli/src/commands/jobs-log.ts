/** `devmesh jobs log`. */
import { open } from "node:fs/promises";
import type { Args } from "../args.ts";
import type { Command } from "../command.ts";
import { newOutputFile } from "../output-place.ts";
import { UsageError } from "../usage-error.ts";

/** The command. */
export const command: Command = {
  summary: "Prints a job's raw log, or saves it.",
  usage: "jobs log ID [options]",
  options: {
    out: { value: "FILE", help: "save it in this new file" },
    range: { value: "A-B", help: "bytes A to B, both counted from 0; also A-" },
    attempt: { value: "N", help: "the log of this attempt (default: the last)" },
    stream: { value: "NAME", help: "stdout or stderr alone" },
  },
  notes: "The bytes are those that the program wrote. Of a running job: those that are there.",
  run: async ({ args, output, interrupts, devmesh }) => {
    const [id = ""] = args.words("ID");
    const asked = args.filled("out");
    const out = asked && (await newOutputFile("--out", asked));
    const attempt = args.integer("attempt", 1, 999_999_999);
    const stream = streamOf(args);
    const range = rangeOf(args);
    if (output.json && out === undefined) {
      throw new UsageError("--json: the log is bytes and no JSON; save it with --out");
    }
    const chunks = devmesh().jobs.log(id, {
      signal: interrupts.signal,
      ...(attempt !== undefined && { attempt }),
      ...(stream !== undefined && { stream }),
      ...(range !== undefined && { range }),
    });
    if (out === undefined) {
      for await (const chunk of chunks) await output.data(chunk);
      return 0;
    }
    const bytes = await save(chunks, out);
    if (output.json) await output.document({ file: out, bytes });
    else await output.talk(`${bytes} bytes in ${out}`);
    return 0;
  },
};

/** Writes a new file. It is made with the first bytes: a refusal leaves none. */
async function save(chunks: AsyncIterable<Uint8Array>, path: string): Promise<number> {
  const [first, rest] = await split(chunks);
  const file = await open(path, "wx");
  let bytes = 0;
  try {
    for await (const chunk of joined(first, rest)) {
      await file.writeFile(chunk);
      bytes += chunk.length;
    }
  } finally {
    await file.close();
  }
  return bytes;
}

async function split(chunks: AsyncIterable<Uint8Array>) {
  const rest = chunks[Symbol.asyncIterator]();
  return [await rest.next(), rest] as const;
}

async function* joined(first: IteratorResult<Uint8Array>, rest: AsyncIterator<Uint8Array>) {
  for (let next = first; next.done !== true; next = await rest.next()) yield next.value;
}

function streamOf(args: Args): "stdout" | "stderr" | undefined {
  const name = args.text("stream");
  if (name === undefined || name === "stdout" || name === "stderr") return name;
  throw new UsageError("--stream: needs stdout or stderr");
}

function rangeOf(args: Args): { start: number; end?: number } | undefined {
  const text = args.text("range");
  if (text === undefined) return undefined;
  const match = /^(\d{1,15})-(\d{1,15})?$/.exec(text);
  const start = Number(match?.[1]);
  const last = match?.[2] === undefined ? undefined : Number(match[2]);
  if (match === null || (last !== undefined && last < start)) {
    throw new UsageError("--range: needs A-B or A-, for example 0-1023");
  }
  return last === undefined ? { start } : { start, end: last + 1 };
}
