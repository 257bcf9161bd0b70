const signs = [
  [10, "X"],
  [5, "V"],
  [1, "I"],
];

export function roman(number) {
  let text = "";
  for (const [value, sign] of signs) {
    while (number >= value) {
      text += sign;
      number -= value;
    }
  }
  return text;
}
