/** Runs cases against a platform, many at a time, and counts what became of them. */
import type { Answer } from "./answer.ts";
import { type CaseId, makeCase, type Request } from "./cases.ts";
import { Http1Sender } from "./http1.ts";
import { Http2Sender } from "./http2.ts";
import { judge, type Verdict } from "./judge.ts";
import type { FuzzedPlatform } from "./platform.ts";
import type { Protocol, Target } from "./surface.ts";

/** Requests that are under way at the same time. */
const inFlight = 32;

/** A case that went wrong. */
export interface Failure {
  readonly target: string;
  readonly protocol: Protocol;
  /** Numbers from here on, where more than one case was under way. */
  readonly number: number;
  readonly faults: readonly string[];
  readonly request: string;
}

/** What became of the cases of one method by one protocol. */
export interface Tally {
  readonly target: string;
  readonly protocol: Protocol;
  readonly calls: number;
  /** By `ok`, the reason of a refusal, or an HTTP status. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly failures: readonly Failure[];
}

/** Which cases to run. */
export interface Part {
  readonly seed: number;
  readonly target: Target;
  readonly protocol: Protocol;
  readonly from: number;
  readonly count: number;
  /** When to stop early, on the clock of `performance.now()`. */
  readonly untilMs: number;
}

/** Runs cases; stops early at a platform that is gone. */
export async function runPart(platform: FuzzedPlatform, part: Part): Promise<Tally> {
  const { seed, target, protocol, from, count, untilMs } = part;
  const outcomes: Record<string, number> = {};
  const failures: Failure[] = [];
  let next = from;
  let calls = 0;
  const http2 = new Http2Sender(platform.port);
  const worker = async () => {
    const http1 = new Http1Sender(platform.port);
    while (next < from + count && performance.now() < untilMs && failures.length < 20) {
      const id = { seed, target, protocol, number: next++ };
      const { request, verdict } = await runCase(platform, id, { http1, http2 });
      calls += 1;
      outcomes[verdict.outcome] = (outcomes[verdict.outcome] ?? 0) + 1;
      if (verdict.faults.length > 0) failures.push(failureOf(id, request, verdict));
      if (platform.hasEnded()) break;
    }
    http1.close();
  };
  await Promise.all(Array.from({ length: Math.min(inFlight, count) }, worker));
  http2.close();
  if (!(await platform.isSound())) {
    const faults = [`the platform is not sound after this: ${platform.up.log().slice(-1500)}`];
    const first = Math.max(from, next - inFlight);
    failures.push({ target: target.name, protocol, number: first, faults, request: "" });
  }
  return { target: target.name, protocol, calls, outcomes, failures };
}

/** The connections that a case may take. */
export interface Senders {
  readonly http1: Http1Sender;
  readonly http2: Http2Sender;
}

/** Runs one case. */
export async function runCase(
  platform: FuzzedPlatform,
  id: CaseId,
  senders: Senders,
): Promise<{ readonly request: Request; readonly answer: Answer; readonly verdict: Verdict }> {
  const request = makeCase(id, platform.world, platform.up.token);
  const answer = await send(platform, request, id.number, senders);
  return { request, answer, verdict: judge(request, answer, platform.secrets) };
}

/** gRPC goes by HTTP/2; of the others each fifth does. */
export async function send(
  { port }: FuzzedPlatform,
  request: Request,
  number: number,
  { http1, http2 }: Senders,
): Promise<Answer> {
  if (request.shape === "grpc" || (number % 5 === 4 && request.shape !== "ws")) {
    // What may cost the connection, or fill its memory, gets one of its own: others share theirs.
    const isAlone = request.broken || request.body.length > 500_000;
    const answer = isAlone ? undefined : await http2.send(request);
    if (answer !== undefined && !isRefused(answer)) return answer;
    const own = new Http2Sender(port);
    const second = await own.send(request);
    own.close();
    if (second !== undefined) return second;
  }
  return http1.send(request);
}

/** True if the server put the request off unread: its connection carries too much already. */
function isRefused(answer: Answer): boolean {
  return answer.kind === "closed" && answer.detail.includes("REFUSED_STREAM");
}

function failureOf({ target, protocol, number }: CaseId, request: Request, verdict: Verdict) {
  return {
    target: target.name,
    protocol,
    number,
    faults: verdict.faults,
    request: describe(request),
  };
}

/** The request in one line, as far as it can be read. */
function describe({ verb, path, headers, body }: Request): string {
  const shown = headers
    .filter(([name]) => name !== "authorization")
    .map(([name, value]) => `${name}: ${value.slice(0, 60)}`);
  const text = JSON.stringify(body.subarray(0, 400).toString("latin1"));
  return `${verb} ${path.slice(0, 300)} [${shown.join("; ")}] ${body.length} bytes ${text}`;
}
