/**
 * The one estimate of tokens, for where no tokenizer can be asked. It errs
 * upwards: budgets and windows that trust it are not overrun.
 */
import type { ChatMessage, Tool } from "./provider.ts";

/** Tokens that a chat template adds to each message, at most. */
const tokensPerMessage = 8;

/**
 * An upper estimate of the tokens of a text: three letters to a token, every
 * digit, sign and line end one, every character beyond Latin up to two.
 */
export function estimateTokens(text: string): number {
  let tokens = 0;
  let letters = 0;
  let spaces = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if ((code >= 97 && code <= 122) || (code >= 65 && code <= 90)) {
      // A single space joins the word after it; a longer run is a token of its own.
      if (spaces > 1) tokens += 1;
      spaces = 0;
      letters += 1;
      continue;
    }
    tokens += Math.ceil(letters / 3);
    letters = 0;
    if (code === 32) {
      spaces += 1;
      continue;
    }
    if (spaces > 0) tokens += 1;
    spaces = 0;
    tokens += code < 0x250 ? 1 : 2;
  }
  return tokens + Math.ceil(letters / 3) + (spaces > 0 ? 1 : 0);
}

/** An upper estimate of the tokens of a whole conversation with its tools. */
export function estimatePrompt(messages: readonly ChatMessage[], tools: readonly Tool[]): number {
  let tokens = 0;
  for (const message of messages) {
    tokens += tokensPerMessage + estimateTokens(message.content);
    for (const call of message.toolCalls) {
      tokens += estimateTokens(call.name) + estimateTokens(call.arguments);
    }
  }
  for (const tool of tools) {
    tokens += estimateTokens(tool.name) + estimateTokens(tool.description);
    tokens += estimateTokens(JSON.stringify(tool.parameters));
  }
  return tokens;
}
