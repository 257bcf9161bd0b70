/**
 * A TCP proxy that breaks connections on purpose: cuts after so many bytes,
 * resets, holds still, swallows, delays, leaves one side open. Its upstream can
 * be switched. Which fault hits which connection a plan says, so that a seed
 * repeats it.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** What shall happen to one connection. Absent parts: nothing. */
export interface Fault {
  /** Each piece of data is passed on so many milliseconds late, in order. */
  readonly latencyMs?: number;
  /** Cut once so many bytes went to the client, in the middle of whatever they are. */
  readonly cutAfterBytes?: number;
  /** Cut once so many bytes went to the upstream. */
  readonly cutAfterSentBytes?: number;
  /** `reset` (RST) or `end` (FIN). Default: `reset`. */
  readonly cut?: "reset" | "end";
  /** What is said in either direction is swallowed. */
  readonly blackHole?: boolean;
  /** Pieces of data to the client for which this is true are swallowed. */
  readonly losesToClient?: (data: Buffer) => boolean;
}

/** The fault of the connection with this number, from 0. */
export type FaultPlan = (index: number) => Fault;

/** Where connections go. */
export interface ProxyOptions {
  /** A port of this host. */
  readonly upstreamPort: number;
  /** Default: no faults. */
  readonly plan?: FaultPlan;
}

/** A proxy on a port of its own. */
export class TcpProxy {
  #upstreamPort: number;
  #plan: FaultPlan;
  #held = false;
  #accepted = 0;
  #server: Server | undefined;
  #port = 0;
  readonly #pairs = new Set<Pair>();

  private constructor({ upstreamPort, plan = () => ({}) }: ProxyOptions) {
    this.#upstreamPort = upstreamPort;
    this.#plan = plan;
  }

  /** Opens the proxy on a free port of 127.0.0.1. */
  static async open(options: ProxyOptions): Promise<TcpProxy> {
    const proxy = new TcpProxy(options);
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (client) =>
      proxy.#accept(client),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    proxy.#server = server;
    proxy.#port = (server.address() as AddressInfo).port;
    return proxy;
  }

  /** Where clients connect. */
  get port(): number {
    return this.#port;
  }

  /** How many connections came so far. */
  get accepted(): number {
    return this.#accepted;
  }

  /** How many are open. */
  get open(): number {
    return this.#pairs.size;
  }

  /** New connections go elsewhere; those that are there stay. */
  switchTo(upstreamPort: number): void {
    this.#upstreamPort = upstreamPort;
  }

  /** New connections get these faults. */
  planFrom(plan: FaultPlan): void {
    this.#plan = plan;
  }

  /** Cuts every connection. */
  cutAll(how: "reset" | "end" = "reset"): void {
    for (const pair of [...this.#pairs]) pair.cut(how);
  }

  /** Holds every connection still, new ones too: nothing is read, so senders fill their buffers. */
  hold(): void {
    this.#held = true;
    for (const pair of this.#pairs) pair.hold();
  }

  /** Lets them go on. */
  release(): void {
    this.#held = false;
    for (const pair of this.#pairs) pair.release();
  }

  /** From now on every open connection swallows all that is said. */
  swallowAll(): void {
    for (const pair of this.#pairs) pair.swallow();
  }

  /** The upstreams lose their connections and no client is told, as after a host's death. */
  halfOpenAll(): void {
    for (const pair of this.#pairs) pair.halfOpen();
  }

  /** Ends it all. */
  async close(): Promise<void> {
    const server = this.#server;
    this.cutAll();
    if (server === undefined) return;
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  #accept(client: Socket): void {
    const fault = this.#plan(this.#accepted);
    this.#accepted += 1;
    const upstream = connect({ port: this.#upstreamPort, host: "127.0.0.1", allowHalfOpen: true });
    const pair = new Pair(client, upstream, fault, () => this.#pairs.delete(pair));
    this.#pairs.add(pair);
    if (this.#held) pair.hold();
  }
}

/** What happens to data that goes one way. */
interface Direction {
  readonly latencyMs: number;
  readonly cutAfter: number | undefined;
  readonly how: "reset" | "end";
  readonly loses?: ((data: Buffer) => boolean) | undefined;
}

/** One connection: the client's side and the upstream's. */
class Pair {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #onEnd: () => void;
  #swallows: boolean;
  #isHalfOpen = false;
  #isHeld = false;

  constructor(client: Socket, upstream: Socket, fault: Fault, onEnd: () => void) {
    this.#client = client;
    this.#upstream = upstream;
    this.#onEnd = onEnd;
    this.#swallows = fault.blackHole ?? false;
    const how = fault.cut ?? "reset";
    const { latencyMs = 0, losesToClient: loses } = fault;
    this.#pass(upstream, client, { latencyMs, cutAfter: fault.cutAfterBytes, how, loses });
    this.#pass(client, upstream, { latencyMs, cutAfter: fault.cutAfterSentBytes, how });
    for (const socket of [client, upstream]) {
      // A reset of one side is passed on as a reset of the other.
      socket.on("error", () => this.#isHalfOpen || this.cut("reset"));
      socket.on("close", () => {
        if (client.destroyed && upstream.destroyed) this.#onEnd();
      });
    }
  }

  cut(how: "reset" | "end"): void {
    for (const socket of [this.#client, this.#upstream]) {
      if (how === "reset") socket.resetAndDestroy();
      else socket.destroySoon();
    }
  }

  hold(): void {
    this.#isHeld = true;
    this.#client.pause();
    this.#upstream.pause();
  }

  release(): void {
    this.#isHeld = false;
    this.#client.resume();
    this.#upstream.resume();
  }

  swallow(): void {
    this.#swallows = true;
  }

  halfOpen(): void {
    this.#isHalfOpen = true;
    this.#upstream.resetAndDestroy();
    this.#swallows = true;
  }

  #pass(from: Socket, to: Socket, { latencyMs, cutAfter, how, loses }: Direction): void {
    let passed = 0;
    let isCut = false;
    let order = Promise.resolve();
    const write = (data: Buffer) => {
      if (this.#swallows || to.destroyed || isCut || loses?.(data)) return;
      const left = (cutAfter ?? Number.POSITIVE_INFINITY) - passed;
      passed += data.length;
      if (data.length < left) {
        if (to.write(data)) return;
        from.pause();
        to.once("drain", () => this.#isHeld || from.resume());
        return;
      }
      isCut = true;
      if (how === "end") {
        to.end(data.subarray(0, left));
        this.cut("end");
      } else {
        // What was passed so far is to arrive: a reset may overtake it.
        to.write(data.subarray(0, left), () => this.cut("reset"));
      }
    };
    from.on("data", (data: Buffer) => {
      if (latencyMs === 0) write(data);
      else order = order.then(() => later(latencyMs)).then(() => write(data));
    });
    from.on("end", () => {
      order = order.then(() => {
        if (!this.#swallows) to.end();
      });
    });
  }
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
