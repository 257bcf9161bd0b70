/** What the demo gets for itself, so that the platform can show all it has. */
import { ensureGuest } from "../../deploy/guest/ensure-guest.ts";
import { findBubblewrap } from "../parts/bubblewrap.ts";
import { ensureChatModel, ensureEmbeddingModel } from "../parts/models.ts";
import type { Found } from "../parts/part.ts";

/** What was found, and what the platform is told of it. */
export interface DemoParts {
  /** Environment variables for `devmesh up`. */
  readonly env: Record<string, string>;
  /** Why there will be no virtual machine. Empty: there will be one. */
  readonly vmReason: string;
}

/** Gets sandboxes and small models; what cannot be had costs only its own part of the demo. */
export async function getParts(say: (line: string) => void): Promise<DemoParts> {
  const tell = <T>(name: string, found: Found<T>): Found<T> => {
    say(found.ok ? `${name}: ready` : `${name}: not here (${found.reason}); ${found.remedy}`);
    return found;
  };
  // Debian packages are installed one after the other; downloads of models go beside.
  const models = Promise.all([ensureChatModel({ log: say }), ensureEmbeddingModel({ log: say })]);
  tell("process sandbox (bubblewrap)", await findBubblewrap({ log: say }));
  const guest = tell("virtual machines (QEMU)", await ensureGuest({ log: say }));
  const [chat, embedding] = await models;
  tell("chat model", chat);
  tell("embedding model", embedding);
  return {
    env: {
      ...(chat.ok && { EMBEDDED_CHAT_MODEL: chat.value.ggufPath }),
      ...(embedding.ok && { EMBEDDED_EMBEDDING_MODEL: embedding.value.modelPath }),
      ...(guest.ok && { VM_GUEST_DIR: guest.value.guestDir, QEMU_BINARY: guest.value.binary }),
    },
    vmReason: guest.ok ? "" : guest.reason,
  };
}
