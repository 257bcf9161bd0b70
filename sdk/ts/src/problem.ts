/** Owns reading problem documents (RFC 9457): how plain HTTP answers tell errors. */
import { Code, DevmeshApiError, type Reason } from "./errors.ts";
import type { HttpAnswer } from "./http-get.ts";

/** The error that a problem document (RFC 9457) stands for. */
export async function problemOf({ status, header, body }: HttpAnswer): Promise<DevmeshApiError> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of body) text += decoder.decode(piece, { stream: true });
  const problem = header("content-type").includes("json") ? parse(text) : undefined;
  const { reason, detail, requestId, metadata } = problem ?? {};
  const retryAfter = Number(header("retry-after"));
  return new DevmeshApiError(detail ?? `the server answered with status ${status}`, {
    reason: (reason as Reason | undefined) ?? (status >= 500 ? "UNAVAILABLE" : "INTERNAL"),
    code: status === 404 ? Code.NotFound : status >= 500 ? Code.Unavailable : Code.Unknown,
    requestId: requestId ?? header("x-request-id"),
    fromServer: reason !== undefined,
    ...(metadata && { metadata }),
    ...(retryAfter > 0 && { retryAfterMs: retryAfter * 1000 }),
  });
}

interface ProblemDocument {
  readonly reason?: string;
  readonly detail?: string;
  readonly requestId?: string;
  readonly metadata?: Record<string, string>;
}

function parse(text: string): ProblemDocument | undefined {
  try {
    return JSON.parse(text) as ProblemDocument;
  } catch {
    // A proxy's own page: its status says what there is to say.
    return undefined;
  }
}
