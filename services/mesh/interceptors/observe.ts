/**
 * The outermost interceptor: names the call, logs it once, leaves its audit
 * row, and turns whatever was thrown (mid-stream too) into the wire's error.
 */
import type { Interceptor } from "@connectrpc/connect";
import { kLogger, kPrincipal, kRequestId, kSubject } from "../context/index.ts";
import { DevmeshError, toConnectError, toDevmeshError } from "../errors/index.ts";
import { type Logger, redact } from "../log/index.ts";
import { type Clock, type Ids, tapStream } from "../runtime/index.ts";
import { accessOf } from "./access.ts";

/** One call that changes something, or was refused. */
export interface AuditEntry {
  readonly timeMs: number;
  readonly actor: string;
  readonly action: string;
  readonly resource: string;
  /** `ok`, or the reason of the refusal. */
  readonly outcome: string;
  readonly correlationId: string;
}

/** Where audit rows go. The call's answer waits for a promise it gets. */
export type AuditSink = (entry: AuditEntry) => Promise<void> | void;

/** What the interceptor works with. */
export interface ObserveOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Absent: audited calls leave a log line only. */
  readonly audit?: AuditSink;
}

const requestIdPattern = /^[A-Za-z0-9._:-]{1,128}$/;

/** Sets `kRequestId`, `kLogger`, `kSubject`; throws ConnectErrors only. */
export function observeInterceptor({ logger, clock, ids, audit }: ObserveOptions): Interceptor {
  return (next) => async (req) => {
    const given = req.header.get("x-request-id");
    const requestId = given !== null && requestIdPattern.test(given) ? given : ids.next("req");
    const subject = { resource: "" };
    req.contextValues.set(kRequestId, requestId);
    req.contextValues.set(kLogger, logger);
    req.contextValues.set(kSubject, subject);
    const startedAtMs = performance.now();
    const rpc = `${req.service.typeName}/${req.method.name}`;
    const rule = accessOf(req.method);

    const end = async (error?: unknown): Promise<unknown> => {
      const failure = error === undefined ? undefined : toDevmeshError(error);
      const outcome = failure?.reason ?? "ok";
      const actor = req.contextValues.get(kPrincipal).id;
      if (failure !== undefined || logger.isLevelEnabled("debug")) {
        const latencyMs = Math.round((performance.now() - startedAtMs) * 1000) / 1000;
        const { resource } = subject;
        const facts = { rpc, requestId, actor, outcome, latencyMs };
        logCall(logger, failure, resource === "" ? facts : { ...facts, resource });
      }
      if (audit !== undefined && rule !== undefined && rule.audit !== "") {
        const resource = redact(subject.resource);
        const entry = { actor, action: rule.audit, resource, outcome, correlationId: requestId };
        try {
          await audit({ timeMs: clock.now(), ...entry });
        } catch (err) {
          // The call has happened: its answer stands, and the log has what the audit lacks so far.
          logger.error({ err, ...entry }, "audit row not stored with its call");
        }
      }
      if (failure === undefined) return undefined;
      const wire = toConnectError(error instanceof DevmeshError ? error : failure);
      wire.metadata.set("x-request-id", requestId);
      return wire;
    };

    try {
      const res = await next(req);
      res.header.set("x-request-id", requestId);
      if (res.stream) return { ...res, message: observed(res.message, req.signal, end) };
      await end();
      return res;
    } catch (error) {
      throw await end(error);
    }
  };
}

function observed<T>(
  messages: AsyncIterable<T>,
  signal: AbortSignal,
  end: (error?: unknown) => Promise<unknown>,
): AsyncIterable<T> {
  return tapStream(messages, {
    async end(how, error) {
      // A handler that returns when it is told to stop has not come to its end.
      const stopped = how === "done" && signal.reason instanceof DevmeshError;
      if (how === "failed" || stopped) throw await end(error ?? signal.reason);
      await end(how === "left" ? new DevmeshError("CANCELLED", "the caller went away") : undefined);
    },
  });
}

function logCall(logger: Logger, failure: DevmeshError | undefined, facts: object): void {
  if (failure === undefined) logger.debug(facts, "rpc");
  else if (failure.reason === "INTERNAL")
    logger.error({ ...facts, err: failure.cause ?? failure }, "rpc");
  else logger.info({ ...facts, detail: failure.message, err: causeOf(failure) }, "rpc");
}

function causeOf(failure: DevmeshError): string | undefined {
  return failure.cause instanceof Error ? failure.cause.message : undefined;
}
