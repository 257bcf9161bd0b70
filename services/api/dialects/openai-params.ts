/** What clients of the OpenAI dialect call the fields of the contract's conversations. */

/** The client's own name for a field that a refusal names. */
export type ParamName = (field: string) => string;

/** Where in a Responses request the parts of its conversation come from, by their index. */
export interface Places {
  readonly messages: readonly string[];
  readonly tools: readonly string[];
}

const params: Readonly<Record<string, string>> = {
  maxTokens: "max_tokens",
  topP: "top_p",
  contextTokens: "context_tokens",
};

/** Of `POST /v1/chat/completions`. */
export const completionParam: ParamName = (field) => {
  const path = withoutRequest(field);
  const param = paramIn(path);
  if (param !== undefined) return nameOf(param);
  return path
    .replace(/^tools\[(\d+)\]\./, "tools[$1].function.")
    .replace(/\.toolCalls\[(\d+)\]\.(name|arguments)$/, ".tool_calls[$1].function.$2")
    .replace(".toolCalls", ".tool_calls")
    .replace(".toolCallId", ".tool_call_id");
};

/** Of `POST /v1/responses`. */
export function responsesParam({ messages, tools }: Places): ParamName {
  return (field) => {
    const path = withoutRequest(field);
    const param = paramIn(path);
    if (param !== undefined) return param === "maxTokens" ? "max_output_tokens" : nameOf(param);
    const [, list, index = "", rest = ""] = /^(messages|tools)(?:\[(\d+)\])?(.*)$/.exec(path) ?? [];
    if (list === "messages") return messages[Number(index)] ?? "input";
    if (list === "tools" && index !== "") return `${tools[Number(index)] ?? "tools"}${rest}`;
    return path;
  };
}

/** A stream's request wraps the other's. */
function withoutRequest(field: string): string {
  return field.replace(/^request\./, "");
}

function paramIn(path: string): string | undefined {
  return /^params\.(\w+)/.exec(path)?.[1];
}

function nameOf(param: string): string {
  return params[param] ?? param;
}
