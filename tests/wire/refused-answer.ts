/** Reads a refusal as a problem document, and holds it to what every refusal must have. */
import type { Problem } from "@devmesh/mesh/errors";
import { expect } from "chai";
import type { Asked, Sender } from "./http-senders.ts";
import { gather } from "./waiting.ts";

/** A refusal that was read. */
export interface Refused {
  readonly status: number;
  readonly problem: Problem;
  header(name: string): string;
}

/** Sends a request that is refused: with one body, one id in head and body, and the status in both. */
export async function refusedBy(sender: Sender, asked: Asked): Promise<Refused> {
  const answer = await sender.send(asked);
  const text = Buffer.concat(await gather(answer.chunks)).toString("utf8");
  return checked({ status: answer.status, text, header: answer.header });
}

/** The same of what came on a connection on which a test wrote for itself. */
export function refusedIn(said: string): Refused {
  const [head = "", text = ""] = said.split("\r\n\r\n");
  const [first = "", ...lines] = head.split("\r\n");
  const headers = new Map(
    lines.map((line) => {
      const at = line.indexOf(":");
      return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const;
    }),
  );
  const header = (name: string) => headers.get(name) ?? "";
  return checked({ status: Number(first.split(" ")[1]), text, header });
}

interface Read {
  readonly status: number;
  readonly text: string;
  header(name: string): string;
}

function checked({ status, text, header }: Read): Refused {
  expect(header("content-type"), text).to.equal("application/problem+json");
  const problem = JSON.parse(text) as Problem;
  expect(problem.status).to.equal(status);
  expect(problem.detail).to.not.equal("");
  expect(problem.requestId).to.match(/^req_/);
  expect(header("x-request-id")).to.equal(problem.requestId);
  return { status, problem, header };
}
