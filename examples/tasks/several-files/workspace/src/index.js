import { toFahrenheit } from "./convert.js";
import { format } from "./format.js";

export function describe(celsius) {
  return `${format(celsius, "C")} is ${format(toFahrenheit(celsius), "C")}`;
}
