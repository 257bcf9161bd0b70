/** Cuts a byte stream of server-sent events into the data of each event; nothing else of them counts. */
import { StringDecoder } from "node:string_decoder";

/** The largest event taken, in characters. */
const maxEventLength = 16 * 1024 * 1024;

/** Reads one stream. Lines end with LF, CR LF; an event ends with an empty line. */
export class EventDataReader {
  readonly #decoder = new StringDecoder("utf8");
  #rest = "";
  #data: string | undefined;

  /** The data of each event that these bytes complete. Throws on an event without end. */
  push(bytes: Buffer): string[] {
    const found: string[] = [];
    const text = this.#rest + this.#decoder.write(bytes);
    let from = 0;
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", from)) {
      const line = text.slice(from, text[end - 1] === "\r" ? Math.max(from, end - 1) : end);
      from = end + 1;
      if (line === "") {
        if (this.#data !== undefined) found.push(this.#data);
        this.#data = undefined;
      } else if (line.startsWith("data:")) {
        const value = line.slice(line[5] === " " ? 6 : 5);
        this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
      }
    }
    this.#rest = text.slice(from);
    if (this.#rest.length + (this.#data?.length ?? 0) > maxEventLength) {
      throw new Error(`an event is larger than ${maxEventLength} characters`);
    }
    return found;
  }
}
