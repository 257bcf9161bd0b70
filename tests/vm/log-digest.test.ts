/** The digest of a log is that of its bytes, however they come. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import fc from "fast-check";
import { LogDigest } from "../../services/vm/runner/log-digest.ts";

describe("log digest", () => {
  it("is that of all bytes so far", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array()), (chunks) => {
        const digest = new LogDigest();
        for (const chunk of chunks) {
          digest.update(chunk);
          // Looking does not end it.
          digest.current();
        }
        const all = Buffer.concat(chunks);
        const logSha256 = createHash("sha256").update(all).digest("hex");
        expect(digest.current()).to.deep.equal({ logSha256, logBytes: BigInt(all.length) });
      }),
    );
  });
});
