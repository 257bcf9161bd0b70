/** A whole answer out of its pieces. */
import type { ToolCall, Usage } from "../providers/provider.ts";
import { protocolError } from "../providers/provider-errors.ts";
import type { RoutedPiece, RouteReceipt } from "../routing/route.ts";

/** An answer that has ended. */
export interface ChatAnswer {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
  readonly finishReason: "stop" | "length" | "tool_calls";
  readonly usage: Usage;
  readonly receipt: RouteReceipt;
}

/** Waits for all pieces. Throws what the pieces throw. */
export async function collected(pieces: AsyncIterable<RoutedPiece>): Promise<ChatAnswer> {
  let text = "";
  let receipt: RouteReceipt | undefined;
  const toolCalls: ToolCall[] = [];
  for await (const piece of pieces) {
    switch (piece.type) {
      case "route":
        receipt = piece.receipt;
        break;
      case "text":
        text += piece.text;
        break;
      case "toolCall":
        toolCalls.push(piece.call);
        break;
      case "end": {
        if (receipt === undefined) throw protocolError("routing", "an answer without a route");
        const { finishReason, usage } = piece;
        return { text, toolCalls, finishReason, usage, receipt };
      }
      default:
        piece satisfies never;
    }
  }
  throw protocolError("routing", "an answer without an end");
}
