/** Binary content as git writes it into patches: deflated, in its own base 85. */
import { deflateSync } from "node:zlib";

const alphabet =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

/** How many bytes one line holds. */
const lineBytes = 52;

/** A `literal` hunk: the size, then the content. An empty line behind it ends it. */
export function gitLiteral(content: Buffer): string {
  const packed = deflateSync(content);
  const lines = [`literal ${content.length}`];
  for (let at = 0; at < packed.length; at += lineBytes) {
    const line = packed.subarray(at, at + lineBytes);
    lines.push(`${lengthMark(line.length)}${base85(line)}`);
  }
  return `${lines.join("\n")}\n`;
}

/** `A` to `Z` for 1 to 26 bytes, `a` to `z` for 27 to 52. */
function lengthMark(bytes: number): string {
  return String.fromCharCode(bytes <= 26 ? 64 + bytes : 96 + bytes - 26);
}

/** Five digits for four bytes; the last group is filled with zeros. */
function base85(bytes: Buffer): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4) {
    const group = Buffer.alloc(4);
    bytes.copy(group, 0, at, at + 4);
    let value = group.readUInt32BE();
    let digits = "";
    for (let i = 0; i < 5; i++) {
      digits = `${alphabet[value % 85]}${digits}`;
      value = Math.floor(value / 85);
    }
    text += digits;
  }
  return text;
}
