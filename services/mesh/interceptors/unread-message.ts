/**
 * A request that is read and decoded when its caller is known: who may not
 * call is refused before the body is looked at.
 */
import type { Message } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";

/** Stands for the message of a unary call until somebody needs it. */
export class UnreadMessage {
  /** Reads it, once. Throws TOO_LARGE, MALFORMED_BODY, INVALID_FIELD. */
  readonly read: () => Promise<Message> | Message;

  constructor(read: () => Promise<Message> | Message) {
    this.read = read;
  }
}

/** Reads the message: whatever stands behind this has it. */
export function readInterceptor(): Interceptor {
  return (next) => (req) => {
    const unread: unknown = req.message;
    if (!(unread instanceof UnreadMessage)) return next(req);
    const go = (message: Message) => {
      // The request is this call's own: what is in front has looked at no message.
      Object.assign(req, { message });
      return next(req);
    };
    try {
      const message = unread.read();
      return message instanceof Promise ? message.then(go) : go(message);
    } catch (error) {
      return Promise.reject(error);
    }
  };
}
