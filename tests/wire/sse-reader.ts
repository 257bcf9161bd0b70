/** Reads server-sent events as the HTML standard words them, in the part that the tests need. */

/** One event. */
export interface SseEvent {
  /** `message` where the server named none. */
  readonly type: string;
  readonly data: string;
  /** Empty: the event had none. */
  readonly id: string;
}

/** The events of a body, as they come. */
export async function* readEvents(chunks: AsyncIterable<Uint8Array>): AsyncIterable<SseEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of chunks) {
    const blocks = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) yield parse(block);
  }
}

function parse(block: string): SseEvent {
  const fields = new Map<string, string>();
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    fields.set(line.slice(0, at), line.slice(at + 1).replace(/^ /, ""));
  }
  return {
    type: fields.get("event") ?? "message",
    data: fields.get("data") ?? "",
    id: fields.get("id") ?? "",
  };
}
