/** SHA-256 by Node's own crypto. */
import { createHash } from "node:crypto";
import type { CreateSha256 } from "../sha256.ts";

/** Several times quicker than the portable one. */
export const createNodeSha256: CreateSha256 = () => {
  const hash = createHash("sha256");
  return {
    update: (data) => {
      hash.update(data);
    },
    hex: () => hash.digest("hex"),
  };
};
