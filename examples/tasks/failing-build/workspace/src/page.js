import { escapeHtml } from "./escape.js";

export function render(name) {
  return `<h1>Hello, ${escapeHtml(name}</h1>\n`;
}
