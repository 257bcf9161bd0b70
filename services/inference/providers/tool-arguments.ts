/** Tool arguments between JSON text, as the port has them, and objects, as some providers do. */

/**
 * The arguments as an object. Text that is no JSON object, as weak models
 * write it, goes back to them under `arguments` so that the conversation lives.
 */
export function argumentsObject(text: string): Record<string, unknown> {
  if (text === "") return {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) {
      return { ...parsed };
    }
  } catch {
    // Not JSON: handed back as text below.
  }
  return { arguments: text };
}
