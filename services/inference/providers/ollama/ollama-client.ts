/**
 * One call's npm `ollama` client: it carries the caller's signal, which the
 * package does not take, and reads failures before the package prints them.
 */
import { Ollama } from "ollama";
import { fromHttp } from "../http-errors.ts";
import { protocolError } from "../provider-errors.ts";

/** What one call needs. */
export interface OllamaCall {
  readonly baseUrl: string;
  /** The model that is asked. Empty: none. */
  readonly model: string;
  readonly signal: AbortSignal | undefined;
}

/** A client for one call. Failures of the server are DevmeshErrors. */
export function ollamaFor({ baseUrl, model, signal }: OllamaCall): Ollama {
  return new Ollama({
    host: baseUrl,
    fetch: async (input, init) => {
      const signals = [signal, init?.signal].filter((s) => s instanceof AbortSignal);
      const response = await fetch(input, { ...init, signal: AbortSignal.any(signals) });
      if (response.ok) return response;
      const message = await errorText(response);
      if (/error parsing tool call/i.test(message)) {
        throw protocolError("ollama", "its model wrote a broken tool call");
      }
      throw fromHttp({
        provider: "ollama",
        model,
        status: response.status,
        code: "",
        message,
        headers: response.headers,
      });
    },
  });
}

async function errorText(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null && "error" in parsed) {
      return String(parsed.error);
    }
  } catch {
    // Not JSON: the text itself is what the server said.
  }
  return text === "" ? `HTTP ${response.status}` : text;
}
