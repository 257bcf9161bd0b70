const signs = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };

export function escape(text) {
  return text.replace(/[&<>]/g, (sign) => signs[sign]);
}
