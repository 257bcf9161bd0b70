export function toFahrenheit(celsius) {
  return (celsius * 5) / 9 + 32;
}

export function toCelsius(fahrenheit) {
  return ((fahrenheit - 32) * 5) / 9;
}
