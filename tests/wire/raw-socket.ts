/** A TCP connection on which a test says whatever it likes. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { until, within } from "./waiting.ts";

/** An open connection and what came over it. */
export interface RawSocket {
  readonly socket: Socket;
  /** All that came so far. */
  text(): string;
  /** Waits until the text is there. */
  says(text: string): Promise<void>;
  /** Waits until the server has ended or cut the connection; answers all that came. */
  closed(): Promise<string>;
}

/** Connects to a port of this host. */
export async function openRaw(port: number): Promise<RawSocket> {
  const socket = connect(port, "127.0.0.1");
  let got = "";
  socket.setEncoding("latin1");
  socket.on("data", (chunk: string) => {
    got += chunk;
  });
  // A reset is one of the ways in which a connection ends.
  socket.on("error", () => {});
  const gone = once(socket, "close").catch(() => {});
  await within(once(socket, "connect"), "the connection");
  return {
    socket,
    text: () => got,
    says: (text) => until(() => got.includes(text), `${JSON.stringify(text)} on the connection`),
    async closed() {
      await within(gone, "the end of the connection");
      return got;
    },
  };
}
