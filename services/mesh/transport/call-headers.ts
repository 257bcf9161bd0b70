/**
 * The headers of one call within our own engines. The platform's `Headers`
 * check and sort what came over a checked wire anyway, and cost as much as the
 * rest of a small call; these are a map with the same interface.
 */

/** What `HeadersInit` is in the DOM's types. */
export type HeadersSource = ConstructorParameters<typeof Headers>[0];

/** Names in lower case; values of one name are joined with a comma. In order of arrival. */
export class CallHeaders implements Headers {
  readonly #values = new Map<string, string>();

  constructor(init?: HeadersSource) {
    if (init === undefined) return;
    const pairs = Symbol.iterator in init ? init : Object.entries(init);
    for (const [name, value] of pairs) if (name !== undefined) this.append(name, value ?? "");
  }

  get(name: string): string | null {
    return this.#values.get(name.toLowerCase()) ?? null;
  }

  has(name: string): boolean {
    return this.#values.has(name.toLowerCase());
  }

  set(name: string, value: string): void {
    this.#values.set(name.toLowerCase(), value);
  }

  append(name: string, value: string): void {
    const key = name.toLowerCase();
    const before = this.#values.get(key);
    this.#values.set(key, before === undefined ? value : `${before}, ${value}`);
  }

  delete(name: string): void {
    this.#values.delete(name.toLowerCase());
  }

  /** Cookies are no matter of these calls: one value at most. */
  getSetCookie(): string[] {
    const value = this.get("set-cookie");
    return value === null ? [] : [value];
  }

  forEach(visit: (value: string, key: string, headers: Headers) => void): void {
    for (const [key, value] of this.#values) visit(value, key, this);
  }

  keys() {
    return this.#values.keys();
  }

  values() {
    return this.#values.values();
  }

  entries() {
    return this.#values.entries();
  }

  [Symbol.iterator]() {
    return this.#values.entries();
  }
}
