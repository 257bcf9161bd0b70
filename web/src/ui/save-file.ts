/** Owns handing a file to the user. */

/** Saves pieces as a file named `name`. */
export function saveFile(name: string, pieces: readonly Uint8Array[], mediaType: string): void {
  const blob = new Blob(
    pieces.map((piece) => new Uint8Array(piece)),
    { type: mediaType || "application/octet-stream" },
  );
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name.split("/").at(-1) ?? name;
  link.click();
  // The browser has taken the content once the click is handled.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
