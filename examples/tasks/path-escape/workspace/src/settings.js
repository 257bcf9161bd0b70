const defaults = { theme: "light", size: 12 };

export function readSettings(text) {
  return JSON.parse(text);
}

export { defaults };
